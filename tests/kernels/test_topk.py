"""Top-k kernels on cases small enough to check by hand, and against sorting everything."""

import numpy as np
import pytest

from tonearm.kernels.best.keys import cut_keys, key_of
from tonearm.kernels.nearest.topk import index_items, score_pairs, similar_top_k, top_k, unit_vectors
from tonearm.types import Float32s, Int32s, Int64s


def rows_of(lists: tuple[Int64s, Int32s, Float32s]) -> list[list[tuple[int, float]]]:
    indptr, item, score = lists
    pairs = list(zip(item.tolist(), score.tolist(), strict=True))
    return [pairs[indptr[r] : indptr[r + 1]] for r in range(len(indptr) - 1)]


ITEMS = np.array([[1, 0], [0, 2], [3, 0], [1, 0], [0, 0], [-1, -1]], dtype=np.float32)


def test_best_first_with_ties_by_lowest_index() -> None:
    users = np.array([[1, 0], [0, -1], [0, 0]], dtype=np.float32)
    assert rows_of(top_k(users, index_items(ITEMS), 3)) == [
        [(2, 3.0), (0, 1.0), (3, 1.0)],
        [(5, 1.0), (0, 0.0), (2, 0.0)],
        [(0, 0.0), (1, 0.0), (2, 0.0)],
    ]


def test_seen_items_and_items_not_allowed_are_left_out() -> None:
    users = np.array([[1, 0], [1, 1]], dtype=np.float32)
    allowed = np.array([True, True, True, True, False, True])
    seen_indptr, seen = np.array([0, 2, 2]), np.array([0, 2], dtype=np.int32)
    assert rows_of(top_k(users, index_items(ITEMS, allowed), 3, seen_indptr, seen)) == [
        [(3, 1.0), (1, 0.0), (5, -1.0)],
        [(2, 3.0), (1, 2.0), (0, 1.0)],
    ]


@pytest.mark.parametrize("k", [6, 7, 100])
def test_k_above_the_number_of_items_gives_all_of_them(k: int) -> None:
    seen_indptr, seen = np.array([0, 1]), np.array([2], dtype=np.int32)
    found = rows_of(top_k(np.array([[2, 1]], dtype=np.float32), index_items(ITEMS), k, seen_indptr, seen))
    assert found == [[(0, 2.0), (1, 2.0), (3, 2.0), (4, 0.0), (5, -3.0)]]


def test_nothing_in_nothing_out() -> None:
    users = np.ones((2, 2), np.float32)
    nothing = np.zeros(6, np.bool_)
    assert rows_of(top_k(users, index_items(ITEMS, nothing), 3)) == [[], []]
    assert rows_of(top_k(users, index_items(ITEMS), 0)) == [[], []]
    assert rows_of(top_k(users[:0], index_items(ITEMS), 3)) == []


def test_lists_do_not_depend_on_the_other_users_of_the_call() -> None:
    rng = np.random.default_rng(0)
    items = (rng.standard_normal((900, 7)) * rng.lognormal(0, 1, (900, 1))).astype(np.float32)
    users = rng.standard_normal((250, 7)).astype(np.float32)
    index = index_items(items)
    together = rows_of(top_k(users, index, 20))
    apart = [rows_of(top_k(users[[u]], index, 20))[0] for u in range(0, 250, 31)]
    assert apart == together[::31]


def test_the_score_of_a_pair_is_the_score_of_the_list() -> None:
    rng = np.random.default_rng(1)
    items = rng.standard_normal((300, 11)).astype(np.float32)
    users = rng.standard_normal((13, 11)).astype(np.float32)
    indptr, item, score = top_k(users, index_items(items), 9)
    np.testing.assert_array_equal(score_pairs(users, items, indptr, item), score)


def test_cosine_neighbours_leave_the_item_itself_out() -> None:
    # 0 and 3 and 2 point the same way whatever their length; 5 points away from all
    found = rows_of(similar_top_k(unit_vectors(ITEMS), 2))
    assert found[2] == [(0, 1.0), (3, 1.0)]
    assert found[0] == [(2, 1.0), (3, 1.0)]
    assert found[1] == [(0, 0.0), (2, 0.0)]
    assert found[4] == [(0, 0.0), (1, 0.0)]
    wanted = np.array([3, 1], dtype=np.int32)
    assert rows_of(similar_top_k(unit_vectors(ITEMS), 2, wanted)) == [found[3], found[1]]


def test_cosine_neighbours_are_those_of_a_full_table() -> None:
    rng = np.random.default_rng(4)
    items = (rng.standard_normal((700, 6)) * rng.lognormal(0, 2, (700, 1))).astype(np.float32)
    unit = unit_vectors(items)
    allowed = rng.random(700) < 0.8
    table = unit.astype(np.float64) @ unit.T
    table[:, ~allowed] = -np.inf
    np.fill_diagonal(table, -np.inf)
    indptr, item, score = similar_top_k(unit, 10, index=index_items(unit, allowed))
    assert (np.diff(indptr) == 10).all()
    np.testing.assert_array_equal(item.reshape(700, 10), np.argsort(-table, axis=1, kind="stable")[:, :10])
    np.testing.assert_allclose(score.reshape(700, 10), -np.sort(-table, axis=1)[:, :10], atol=1e-6)


@pytest.mark.parametrize(("n", "k", "most"), [(1, 1, 1), (30, 30, 30), (30, 1, 1), (166, 100, 106), (500, 10, 10)])
@pytest.mark.parametrize("levels", [1, 3, 1_000_000])
def test_cutting_back_keeps_the_best(n: int, k: int, most: int, levels: int) -> None:
    rng = np.random.default_rng(n + levels)
    scores = (rng.integers(0, levels, n) / levels - 0.5).astype(np.float32)
    keys = np.array([key_of(b, i) for i, b in enumerate(scores.view(np.int32).tolist())], np.uint64)
    best_first = np.sort(keys)[::-1].copy()
    rng.shuffle(keys)
    kept = cut_keys(keys, n, k, most)
    assert k <= kept <= most
    assert np.array_equal(np.sort(keys[:kept])[::-1], best_first[:kept])
