"""What holds of list kernels for any lists."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tonearm.data.catalogue import Tags
from tonearm.data.vocabulary import Vocabulary
from tonearm.kernels.best.lists import best_of_rows, first_unseen, union
from tonearm.kernels.content import recommend_sets
from tonearm.sources.content import distinct_sets
from tonearm.types import Int32s, Int64s

ITEMS = 12
item_lists = st.lists(st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=8), max_size=6)


def flat(rows: list[list[int]]) -> tuple[Int64s, Int32s]:
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return indptr, np.array([i for row in rows for i in row], dtype=np.int32)


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(ITEMS)), kept=st.integers(0, ITEMS), rows=item_lists, k=st.integers(0, 15))
def test_first_unseen_is_the_order_without_the_seen(order: list[int], kept: int, rows: list[list[int]], k: int) -> None:
    seen = flat([sorted(row) for row in rows])
    indptr, item = first_unseen(np.array(order[:kept], np.int32), k, *seen)
    for r, row in enumerate(rows):
        assert item[indptr[r] : indptr[r + 1]].tolist() == [i for i in order[:kept] if i not in row][:k]


@settings(max_examples=60, deadline=None)
@given(
    lists=st.lists(st.lists(st.permutations(range(7)), min_size=3, max_size=3), min_size=1, max_size=4), data=st.data()
)
def test_union_holds_exactly_the_distinct_items_with_their_ranks(
    lists: list[list[list[int]]], data: st.DataObject
) -> None:
    lists = [[row[: data.draw(st.integers(0, 7))] for row in rows] for rows in lists]
    parts = [flat(rows) for rows in lists]
    offsets = np.cumsum([0, *(len(item) for _, item in parts)])[:-1].astype(np.int64)
    indptr, item, ranks = union(
        np.stack([indptr for indptr, _ in parts]), offsets, np.concatenate([item for _, item in parts])
    )
    assert ranks.shape == (len(item), len(lists))
    for r, rows in enumerate(zip(*lists, strict=True)):
        own = item[indptr[r] : indptr[r + 1]].tolist()
        assert own == sorted({i for row in rows for i in row})
        for which, row in enumerate(rows):
            of_list = ranks[indptr[r] : indptr[r + 1], which]
            # reading the ranks back gives the list
            assert [own[int(np.flatnonzero(of_list == rank)[0])] for rank in range(1, len(row) + 1)] == row
            assert (of_list > 0).sum() == len(row)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.sampled_from([-1.5, -0.0, 0.0, 0.25, 1e30]), max_size=9), max_size=5),
    k=st.integers(0, 12),
)
def test_best_of_rows_keeps_the_best_and_breaks_ties_by_place(rows: list[list[float]], k: int) -> None:
    indptr, item = flat([list(range(3, 3 + 2 * len(row), 2)) for row in rows])
    score = np.array([s for row in rows for s in row], np.float32)
    out_indptr, out_item, out_score, place = best_of_rows(indptr, item, score, k)
    assert np.diff(out_indptr).tolist() == [min(k, len(row)) for row in rows]
    np.testing.assert_array_equal(out_item, item[place])
    np.testing.assert_array_equal(out_score, score[place])
    for r, row in enumerate(rows):
        own = place[out_indptr[r] : out_indptr[r + 1]]
        assert (own - indptr[r]).tolist() == sorted(range(len(row)), key=lambda j: -row[j])[:k]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32), k=st.integers(1, 20), n_tags=st.integers(1, 4), empty=st.sampled_from([0.0, 0.3, 1.0])
)
def test_content_lists_are_brute_force_cosine(seed: int, k: int, n_tags: int, empty: float) -> None:
    """Profiles have one genre or all in equal parts, so that cosines tie often and ties are exact."""
    rng = np.random.default_rng(seed)
    n, b = int(rng.integers(1, 15)), int(rng.integers(1, 5))
    genres = [sorted(rng.choice(n_tags, rng.integers(1, n_tags + 1), replace=False).tolist()) for _ in range(n)]
    genres = [[] if rng.random() < empty else own for own in genres]
    order = rng.permutation(n)[: rng.integers(1, n + 1)].astype(np.int32)
    profile = np.zeros((b, n_tags), np.float32)
    for row in range(b):
        some = rng.integers(n_tags) if rng.random() < 0.5 else slice(None)
        profile[row, some] = 1 if rng.random() < 0.8 else 0
    profile /= np.maximum(np.sqrt((profile**2).sum(axis=1, keepdims=True)), 1)
    seen = [sorted(rng.choice(n, rng.integers(0, n + 1), replace=False).tolist()) for _ in range(b)]

    set_of, set_indptr, set_tag = distinct_sets(Tags(*flat(genres), Vocabulary(pl.Series(range(n_tags)))))
    members = [[int(i) for i in order if set_of[i] == s] for s in range(len(set_indptr) - 1)]
    place = np.full(n, -1, np.int32)
    place[order] = np.arange(len(order))
    norm = np.sqrt(np.diff(set_indptr).astype(np.float32))
    indptr, item, score = recommend_sets(
        profile, set_indptr, set_tag, norm, *flat(members), place, order, *flat(seen), k
    )

    for row in range(b):
        cosine = {
            int(i): float(profile[row, genres[i]].sum(dtype=np.float32)) / np.sqrt(len(genres[i])) if genres[i] else 0.0
            for i in order
            if i not in seen[row]
        }
        found = item[indptr[row] : indptr[row + 1]].tolist()
        best = sorted(cosine, key=lambda i: (-round(cosine[i], 5), place[i]))[:k]
        assert found == best
        np.testing.assert_allclose(score[indptr[row] : indptr[row + 1]], [cosine[i] for i in best], atol=1e-6)
