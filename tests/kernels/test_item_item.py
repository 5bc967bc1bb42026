"""Item-item kernels against dense matrix products."""

from itertools import pairwise

import numpy as np
import pytest
from tests.kernels.twins import (
    slow_cooccurrence,
    slow_neighbours,
    slow_regress_on_neighbours,
    slow_score_sparse,
    slow_sums_search,
    slow_weights_to,
)

from tonearm.kernels.best.keys import key_of, sort_keys
from tonearm.kernels.item_item import cooccurrence, cost_by_rank, keep_items, neighbours, regress_on_neighbours
from tonearm.kernels.machine.simd import SCAN
from tonearm.kernels.sums import score_sparse, search, weights_to
from tonearm.types import Float32s, Float64s, Int32s, Int64s


def csr_of(dense: Float64s) -> tuple[Int64s, Int32s, Float32s]:
    row, column = np.nonzero(dense)
    indptr = np.searchsorted(row, np.arange(len(dense) + 1)).astype(np.int64)
    return indptr, column.astype(np.int32), dense[row, column].astype(np.float32)


def some_matrix(rng: np.random.Generator, rows: int, columns: int, share: float) -> Float64s:
    """Powers of two, so that sums are exact and ties are many; some rows and columns are empty."""
    dense = np.where(rng.random((rows, columns)) < share, 2.0 ** rng.integers(-2, 2, (rows, columns)), 0)
    dense[rng.random(rows) < 0.2] = 0
    dense[:, rng.random(columns) < 0.2] = 0
    return dense


@pytest.mark.parametrize("size", [1, 3, 40])
def test_neighbours_are_the_best_of_the_dense_formula(size: int) -> None:
    rng = np.random.default_rng(size)
    played = np.sign(some_matrix(rng, 11, 17, 0.4))
    weight = 2.0 ** rng.integers(-1, 2, 11).astype(np.float64)
    row_norm, column_norm = rng.choice([1.0, 2, 4], 17), rng.choice([1.0, 2], 17)
    by_user, by_item = csr_of(played)[:2], csr_of(played.T)[:2]
    rows, columns = row_norm.astype(np.float32), column_norm.astype(np.float32)
    for shrink in (0.0, 4.0):
        expected = [
            slow_neighbours(played, weight, float(row_norm[i]), column_norm, shrink, i, size) for i in range(17)
        ]
        for lo, hi in ((0, 17), (0, 5), (5, 17), (9, 9)):
            indptr, item, value = neighbours(
                2, lo, hi, *by_user, weight.astype(np.float32), *by_item, rows, columns, shrink, size
            )
            found = list(zip(item.tolist(), value.tolist(), strict=True))
            assert [found[a:b] for a, b in pairwise(indptr)] == expected[lo:hi]


@pytest.mark.parametrize("threads", [1, 2])
def test_regressions_on_neighbours_equal_those_of_dense_columns(threads: int) -> None:
    rng = np.random.default_rng(5)
    played = (rng.random((300, 90)) < 0.2).astype(float)
    played[:, 4] = 0
    target = rng.permutation(90)[:40].astype(np.int32)
    sizes = rng.choice([0, 1, 7, 63], len(target))
    near = [rng.choice(np.delete(np.arange(90), t), n, replace=False) for t, n in zip(target, sizes, strict=True)]
    indptr = np.cumsum([0, *sizes]).astype(np.int64)
    item = np.concatenate(near).astype(np.int32)
    found = regress_on_neighbours(threads, indptr, item, target, *csr_of(played.T)[:2], 300, 2.5)
    for t, columns, lo in zip(target, near, indptr, strict=False):
        expected = slow_regress_on_neighbours(played[:, columns], played[:, t], 2.5)
        np.testing.assert_allclose(found[lo : lo + len(columns)], expected, atol=1e-6)
    assert np.abs(found).max() > 0.05


@pytest.mark.parametrize("size", [3, 150])
def test_neighbours_in_a_wide_catalogue(size: int) -> None:
    """Items of few and of many additions, and more neighbours than are sorted by comparison."""
    rng = np.random.default_rng(size)
    played = (rng.random((60, 6000)) < np.where(np.arange(60) < 50, 0.0004, 0.1)[:, None]).astype(float)
    weight = 2.0 ** rng.integers(-1, 2, 60).astype(np.float64)
    row_norm, column_norm = rng.choice([1.0, 2, 4], 6000), rng.choice([1.0, 2], 6000)
    by_user, by_item = csr_of(played)[:2], csr_of(played.T)[:2]
    additions = played.T @ played.sum(axis=1)
    few = np.flatnonzero((additions > 0) & (additions * SCAN < 6000))
    many = np.flatnonzero(additions * SCAN >= 6000)
    assert len(few) > 20
    assert len(many) > 20
    rows, columns = row_norm.astype(np.float32), column_norm.astype(np.float32)
    indptr, item, value = neighbours(
        2, 0, 6000, *by_user, weight.astype(np.float32), *by_item, rows, columns, 0.0, size
    )
    found = list(zip(item.tolist(), value.tolist(), strict=True))
    for i in (*few[:20].tolist(), *many[:20].tolist()):
        expected = slow_neighbours(played, weight, float(row_norm[i]), column_norm, 0.0, i, size)
        assert found[indptr[i] : indptr[i + 1]] == expected


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("n", [5, 127, 128, 5000])
def test_keys_are_sorted_by_score_then_item(n: int, in_order: bool) -> None:
    rng = np.random.default_rng(n)
    scores = rng.choice(rng.standard_normal(1 + n // 3), n).astype(np.float32)
    items = np.sort(rng.choice(2**31 - 1, n, replace=False)) if in_order else rng.choice(2**31 - 1, n, replace=False)
    keys = np.array(
        [key_of(int(bits), int(i)) for bits, i in zip(scores.view(np.int32), items, strict=True)], np.uint64
    )
    expected = np.sort(keys)[::-1]
    sort_keys(keys, n, in_order, np.empty(n, np.uint64), np.empty(2048, np.int64))
    np.testing.assert_array_equal(keys, expected)


@pytest.mark.parametrize("items", [1, 64, 70, 130])
def test_users_of_two_items_are_counted(items: int) -> None:
    played = np.sign(some_matrix(np.random.default_rng(0), 30, items, 0.3))
    np.testing.assert_array_equal(cooccurrence(*csr_of(played)[:2], *csr_of(played.T)[:2]), slow_cooccurrence(played))


@pytest.mark.parametrize("timed", [True, False])
def test_entries_of_some_items_are_kept(timed: bool) -> None:
    rng = np.random.default_rng(1)
    dense = some_matrix(rng, 30, 20, 0.4)
    indptr, item, plays = csr_of(dense)
    last = rng.integers(0, 99, len(item) if timed else 0).astype(np.int32)
    kept = np.flatnonzero(rng.random(20) < 0.5)
    place = np.full(20, -1, np.int32)
    place[kept] = np.arange(len(kept))
    found = keep_items(indptr, item, plays, last, place)
    for got, expected in zip(found, csr_of(dense[:, kept]), strict=False):
        np.testing.assert_array_equal(got, expected)
    assert found[3].tolist() == (last[np.isin(item, kept)].tolist() if timed else [])


def recommended(
    histories: Float64s, model: Float64s, seen_indptr: Int64s, seen: Int32s, k: int
) -> list[list[tuple[int, float]]]:
    none = np.zeros(len(histories) + 1, np.int64)
    return searched(histories, [model], [1.0], seen_indptr, seen, k, none, np.empty(0, np.int32))[0][0]


def searched(
    histories: Float64s,
    models: list[Float64s],
    scales: list[float],
    seen_indptr: Int64s,
    seen: Int32s,
    k: int,
    wanted_indptr: Int64s,
    wanted: Int32s,
) -> tuple[list[list[list[tuple[int, float]]]], Int64s, Int32s, Float32s]:
    """The lists of each model by user, and what is scored; equal models share their sums."""
    indptr, item, weight = csr_of(histories)
    first = [next(j for j, other in enumerate(models) if other is model) for model in models]
    distinct = sorted(set(first))
    csr = [csr_of(models[j]) for j in distinct]
    place = [by_place(model_item, models[0].shape[1]) for _, model_item, _ in csr]
    sums_of = np.array([distinct.index(j) for j in first])
    items, scores, count, out_indptr, out_item, out_score = search(
        2,
        indptr,
        item,
        tuple(weight for _ in csr),
        tuple(one[0] for one in csr),
        tuple(one[0] for one in place),
        tuple(one[2] for one in csr),
        tuple(one[1] for one in place),
        tuple(one[2] for one in place),
        sums_of,
        tuple(np.full(len(place[j][1]), scale, np.float32) for j, scale in zip(sums_of.tolist(), scales, strict=True)),
        seen_indptr,
        seen,
        k,
        wanted_indptr,
        wanted,
    )
    lists = [
        [list(zip(items[m, u, :n].tolist(), scores[m, u, :n].tolist(), strict=True)) for u, n in enumerate(count[m])]
        for m in range(len(models))
    ]
    return lists, out_indptr, out_item, out_score


def scored(histories: Float64s, model: Float64s, candidate_indptr: Int64s, candidate: Int32s) -> Float32s:
    indptr, item, weight = csr_of(histories)
    model_indptr, model_item, value = csr_of(model)
    model_place, targets, place = by_place(model_item, model.shape[1])
    scale = np.ones(len(targets), np.float32)
    return score_sparse(
        2, indptr, item, weight, model_indptr, model_place, value, place, scale, candidate_indptr, candidate
    )


def by_place(model_item: Int32s, n_items: int) -> tuple[Int32s, Int32s, Int32s]:
    """The columns as places in the targets, in an order of their own; the targets; and each item's place."""
    targets = np.unique(model_item)[::-1].astype(np.int32)
    place = np.full(n_items, -1, np.int32)
    place[targets] = np.arange(len(targets), dtype=np.int32)
    return place[model_item], targets, place


def test_weights_to_one_target_are_its_column() -> None:
    model = some_matrix(np.random.default_rng(2), 17, 13, 0.4)
    item = np.array([3, 0, 16, 3, 8, 9], np.int32)
    for target in range(13):
        assert weights_to(item, *csr_of(model), target).tolist() == slow_weights_to(item, model, target)
    assert not weights_to(item, *csr_of(model), -1).any()


@pytest.mark.parametrize("k", [1, 4, 60])
def test_lists_and_scores_are_those_of_the_dense_product(k: int) -> None:
    rng = np.random.default_rng(k)
    histories, model = some_matrix(rng, 39, 13, 0.3), some_matrix(rng, 13, 13, 0.3)
    left_out = (rng.random(histories.shape) < 0.2) | (histories > 0)
    left_out[1] = False
    seen_row, seen = np.nonzero(left_out)
    seen_indptr = np.searchsorted(seen_row, np.arange(40)).astype(np.int64)
    scores = slow_score_sparse(histories, model)
    expected = slow_sums_search(histories, model, 1.0, left_out, k)
    assert recommended(histories, model, seen_indptr, seen.astype(np.int32), k) == expected
    assert len(set(map(len, expected))) > 1  # some rows are short

    asked_row, asked = np.nonzero(rng.random(histories.shape) < 0.5)
    asked_indptr = np.searchsorted(asked_row, np.arange(40)).astype(np.int64)
    found = scored(histories, model, asked_indptr, asked.astype(np.int32))
    np.testing.assert_array_equal(found, scores[asked_row, asked].astype(np.float32))


@pytest.mark.parametrize("k", [0, 1, 4, 60])
@pytest.mark.parametrize("n_items", [13, 900])
def test_several_models_are_searched_and_scored_at_once(k: int, n_items: int) -> None:
    """With 13 items all sums are looked at; with 900 some histories add to so few that these are noted instead."""
    rng = np.random.default_rng(k)
    histories = np.where(rng.random(39)[:, None] < 0.5, 1, rng.random((39, n_items)) < 13 / n_items) * some_matrix(
        rng, 39, n_items, 4 / n_items
    )
    first, second = some_matrix(rng, n_items, n_items, 4 / n_items), some_matrix(rng, n_items, n_items, 2 / n_items)
    additions = np.sign(histories) @ np.sign(first).sum(axis=1)
    assert (n_items == 13) or ((additions > 0) & (additions * SCAN < len(np.unique(first.nonzero()[1])))).sum() > 3
    seen_row, seen = np.nonzero(histories)
    seen_indptr = np.searchsorted(seen_row, np.arange(40)).astype(np.int64)
    wanted = rng.random(histories.shape) < 3 / n_items
    wanted_row, wanted_item = np.nonzero(wanted)
    wanted_indptr = np.searchsorted(wanted_row, np.arange(40)).astype(np.int64)
    models, scales = [first, second, first], [1.0, 1.0, 0.5]
    lists, indptr, item, score = searched(
        histories, models, scales, seen_indptr, seen.astype(np.int32), k, wanted_indptr, wanted_item.astype(np.int32)
    )
    for found, model, scale in zip(lists, models, scales, strict=True):
        assert found == slow_sums_search(histories, model, scale, histories > 0, k)
    for user in range(39):
        own = sorted({i for found in lists for i, _ in found[user]} | set(np.flatnonzero(wanted[user]).tolist()))
        assert item[indptr[user] : indptr[user + 1]].tolist() == own
        expected_scores = np.stack(
            [s * (histories[user] @ m)[own] for m, s in zip(models, scales, strict=True)], axis=1
        )
        np.testing.assert_array_equal(score[indptr[user] : indptr[user + 1]], expected_scores.astype(np.float32))


def test_cost_of_each_rank_is_that_of_its_sources_listeners() -> None:
    indptr, source = np.array([0, 3, 3, 4]), np.array([2, 0, 1, 2], np.int32)  # three targets, best source first
    assert cost_by_rank(indptr, source, np.array([10, 20, 5]), 4).tolist() == [5 + 5, 10, 20, 0]


NOTHING = np.empty(0, np.int32)


def test_negative_weights_are_summed_but_not_recommended() -> None:
    histories = np.array([[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    model = np.array([[0.0, 0.0, 3.0, -1.0], [0.0, 0.0, -1.0, -1.0], [0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert recommended(histories, model, np.zeros(3, np.int64), NOTHING, 3) == [[(2, 1.0)], [(0, 0.5)]]
    all_items = np.tile(np.arange(4, dtype=np.int32), 2)
    assert scored(histories, model, np.array([0, 4, 8]), all_items).tolist() == [0, 0, 1, -3, 0.5, 0, 0, 0]


def test_no_users_get_no_lists() -> None:
    nobody, model = np.zeros((0, 3)), np.ones((3, 3))
    assert recommended(nobody, model, np.zeros(1, np.int64), NOTHING, 2) == []
    assert len(scored(nobody, model, np.zeros(1, np.int64), NOTHING)) == 0
