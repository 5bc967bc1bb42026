"""Item-item kernels against dense matrix products."""

import numpy as np
import pytest

from tonearm.kernels.item_item import cooccurrence, neighbours, recommend_sparse, score_sparse, weights_to
from tonearm.types import Float32s, Float64s, Int32s, Int64s


def csr_of(dense: Float64s) -> tuple[Int64s, Int32s, Float32s]:
    row, column = np.nonzero(dense)
    indptr = np.searchsorted(row, np.arange(len(dense) + 1)).astype(np.int64)
    return indptr, column.astype(np.int32), dense[row, column].astype(np.float32)


def best_of(scores: Float64s, k: int) -> list[tuple[int, float]]:
    """The k best positive scores, ties by ascending item."""
    kept = [(i, s) for i, s in enumerate(scores.tolist()) if s > 0]
    return sorted(kept, key=lambda pair: (-pair[1], pair[0]))[:k]


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
    weight = 2.0 ** rng.integers(-1, 2, 11)
    row_norm, column_norm = rng.choice([1.0, 2, 4], 17), rng.choice([1.0, 2], 17)
    by_user, by_item = csr_of(played)[:2], csr_of(played.T)[:2]
    rows, columns = row_norm.astype(np.float32), column_norm.astype(np.float32)
    for shrink in (0.0, 4.0):
        table = (played.T @ (weight[:, None] * played)) / (shrink + row_norm[:, None] * column_norm[None, :])
        np.fill_diagonal(table, 0)
        for lo, hi in ((0, 17), (0, 5), (5, 17), (9, 9)):
            indptr, item, value = neighbours(
                2, lo, hi, *by_user, weight.astype(np.float32), *by_item, rows, columns, shrink, size
            )
            found = list(zip(item.tolist(), value.tolist(), strict=True))
            for i, row in enumerate(table[lo:hi].astype(np.float32).astype(np.float64)):
                assert found[indptr[i] : indptr[i + 1]] == best_of(row, size)


def test_users_of_two_items_are_counted() -> None:
    played = np.sign(some_matrix(np.random.default_rng(0), 30, 70, 0.3))
    np.testing.assert_array_equal(cooccurrence(*csr_of(played)[:2], *csr_of(played.T)[:2]), played.T @ played)


def recommended(
    histories: Float64s, model: Float64s, seen_indptr: Int64s, seen: Int32s, k: int
) -> list[list[tuple[int, float]]]:
    indptr, item, weight = csr_of(histories)
    model_indptr, model_item, value = csr_of(model)
    model_place, targets, _ = by_place(model_item, model.shape[1])
    indptr, item, score = recommend_sparse(
        indptr, item, weight, model_indptr, model_place, value, targets, seen_indptr, seen, k
    )
    pairs = list(zip(item.tolist(), score.tolist(), strict=True))
    return [pairs[indptr[r] : indptr[r + 1]] for r in range(len(indptr) - 1)]


def scored(histories: Float64s, model: Float64s, candidate_indptr: Int64s, candidate: Int32s) -> Float32s:
    indptr, item, weight = csr_of(histories)
    model_indptr, model_item, value = csr_of(model)
    model_place, _, place = by_place(model_item, model.shape[1])
    return score_sparse(indptr, item, weight, model_indptr, model_place, value, place, candidate_indptr, candidate)


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
        assert weights_to(item, *csr_of(model), target).tolist() == model[item, target].tolist()
    assert not weights_to(item, *csr_of(model), -1).any()


@pytest.mark.parametrize("k", [1, 4, 60])
def test_lists_and_scores_are_those_of_the_dense_product(k: int) -> None:
    rng = np.random.default_rng(k)
    histories, model = some_matrix(rng, 39, 13, 0.3), some_matrix(rng, 13, 13, 0.3)
    left_out = (rng.random(histories.shape) < 0.2) | (histories > 0)
    left_out[1] = False
    seen_row, seen = np.nonzero(left_out)
    seen_indptr = np.searchsorted(seen_row, np.arange(40)).astype(np.int64)
    scores = histories @ model
    expected = [best_of(own, k) for own in np.where(left_out, 0, scores)]
    assert recommended(histories, model, seen_indptr, seen.astype(np.int32), k) == expected
    assert len(set(map(len, expected))) > 1  # some rows are short

    asked_row, asked = np.nonzero(rng.random(histories.shape) < 0.5)
    asked_indptr = np.searchsorted(asked_row, np.arange(40)).astype(np.int64)
    found = scored(histories, model, asked_indptr, asked.astype(np.int32))
    np.testing.assert_array_equal(found, scores[asked_row, asked].astype(np.float32))


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
