"""Content kernels and the content source against brute-force cosine."""

import numpy as np
import polars as pl
import pytest
from tests.kernels.twins import slow_profiles, slow_score_sets

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.kernels.content import profiles, score_sets
from tonearm.sources.content import Content, distinct_sets
from tonearm.types import Int32s, Int64s


def flat(rows: list[list[int]]) -> tuple[Int64s, Int32s]:
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return indptr, np.array([i for row in rows for i in row], dtype=np.int32)


def test_profiles_by_hand() -> None:
    genres = flat([[0, 2], [1], [], [2]])
    history = flat([[0, 1], [2], [], [0, 3]])
    weight = np.array([2, 1, 5, 4, 1], np.float32)
    found = profiles(*history, weight, *genres, 3)
    expected = np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0], [2, 0, 3]]) / np.sqrt([[3], [1], [1], [13]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_profiles_and_scores_are_those_of_the_twins(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genres = [sorted(rng.choice(6, rng.integers(0, 4), replace=False).tolist()) for _ in range(20)]
    histories = [
        dict(zip(sorted(rng.choice(20, n, replace=False).tolist()), rng.uniform(0.5, 3, n).tolist(), strict=True))
        for n in (4, 0, 1, 9, 2)
    ]
    indptr, item = flat([list(h) for h in histories])
    weight = np.array([w for h in histories for w in h.values()], np.float32)
    found = profiles(indptr, item, weight, *flat(genres), 6)
    expected = np.stack([slow_profiles(h, genres, 6) for h in histories])
    np.testing.assert_allclose(found, expected, atol=1e-6)

    set_of, set_indptr, set_tag = distinct_sets(Tags(*flat(genres), Vocabulary(pl.Series(range(6)))))
    candidates = [rng.integers(0, 20, n).tolist() for n in (3, 20, 0, 5, 7)]
    norm = np.sqrt(np.diff(set_indptr).astype(np.float32))
    scores = score_sets(found, set_indptr, set_tag, norm, set_of, *flat(candidates))
    cosines = [
        slow_score_sets(profile, genres[i]) for profile, row in zip(expected, candidates, strict=True) for i in row
    ]
    np.testing.assert_allclose(scores, cosines, atol=1e-6)


def test_distinct_sets_ignore_the_order_of_genres() -> None:
    tags = Tags(*flat([[2, 0], [], [1], [0, 2], [0], [1]]), Vocabulary(pl.Series(["a", "b", "c"])))
    set_of, indptr, tag = distinct_sets(tags)
    assert set_of.tolist() == [0, -1, 1, 0, 2, 1]
    assert [tag[indptr[s] : indptr[s + 1]].tolist() for s in range(3)] == [[0, 2], [1], [0]]
    none = distinct_sets(Tags(*flat([[], []]), Vocabulary(pl.Series([], dtype=pl.String))))
    assert [part.tolist() for part in none] == [[-1, -1], [0], []]


GENRES = [["rock"], ["pop", "rock"], [], ["pop"], ["rock", "pop"], ["jazz"], ["jazz", "rock"]]
HISTORIES = [[0, 0, 0], [2], [], [3, 3, 1, 5], [1, 4, 3], [0, 6]]


def some_data(genres: list[list[str]] | None) -> Dataset:
    stop = np.cumsum([len(h) for h in HISTORIES]).astype(np.int64)
    item = np.array([i for h in HISTORIES for i in h], dtype=np.int32)
    log = Log(np.concatenate(([0], stop[:-1])).astype(np.int64), stop, item, None, None, 8)
    labels = Vocabulary(pl.Series(["jazz", "pop", "rock"]))
    tags = None
    if genres is not None:
        rows = [labels.encode(pl.Series(own, dtype=pl.String)).tolist() for own in [*genres, ["jazz"]]]
        tags = Tags(*flat(rows), labels)
    catalogue = Catalogue(Vocabulary(pl.Series(range(8))), genres=tags)
    return Dataset(Vocabulary(pl.Series(range(len(HISTORIES)))), catalogue, log, 0)


def test_lists_by_hand() -> None:
    data = some_data(GENRES)
    # plays 4, 2, 1, 3, 1, 1, 1 and none for item 7
    assert data.popularity_order.tolist() == [0, 3, 1, 2, 4, 5, 6]
    model = Content().fit(data, np.random.default_rng(0))
    lists = model.recommend(data.block(0, 6, True), 5)
    rows = [lists.item[lists.indptr[r] : lists.indptr[r + 1]].tolist() for r in range(6)]
    assert rows[0] == [1, 4, 6, 3, 2]  # rock: two genres with rock in them, by popularity, then the rest by popularity
    assert rows[1] == [0, 3, 1, 4, 5]  # heard only what has no genre: all cosines are zero
    assert rows[2] == [0, 3, 1, 2, 4]  # heard nothing
    assert rows[5] == [1, 4, 5, 3, 2]  # much rock and some jazz
    assert lists.score[:5].tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0.5**0.5, 0, 0])
    assert len(rows[3]) == len(rows[4]) == 4  # all that is left


@pytest.mark.parametrize("filter_seen", [True, False])
def test_scores_of_lists_and_of_candidates_agree(filter_seen: bool) -> None:
    data = some_data(GENRES)
    model = Content().fit(data, np.random.default_rng(0))
    block = data.block(0, 6, filter_seen)
    lists = model.recommend(block, 3)
    np.testing.assert_array_equal(model.score(block, lists), lists.score)
    for row, history in enumerate(HISTORIES):
        own = lists.item[lists.indptr[row] : lists.indptr[row + 1]].tolist()
        assert not filter_seen or not set(own) & set(history)
        assert 7 not in own
    unheard = Lists(np.array([0, 0, 0, 0, 1, 1, 1]), np.array([7], np.int32), np.zeros(1, np.float32))
    jazz, pop, rock = np.log(2), np.log(3) + np.log(2) / 2, np.log(2) / 2
    assert model.score(block, unheard)[0] == pytest.approx(jazz / np.sqrt(jazz**2 + pop**2 + rock**2), rel=1e-6)


def test_without_genres_there_is_no_content_source() -> None:
    with pytest.raises(DataError, match="no genres"):
        Content().fit(some_data(None), np.random.default_rng(0))


def test_empty_genre_lists_give_the_popular_list() -> None:
    data = some_data([[]] * 7)
    lists = Content().fit(data, np.random.default_rng(0)).recommend(data.block(0, 3, True), 2)
    assert lists.item.tolist() == [3, 1, 0, 3, 0, 3]
    assert lists.score.tolist() == [0] * 6
