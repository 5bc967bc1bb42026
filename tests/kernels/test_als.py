"""ALS kernels against NumPy that follows the formula word for word."""

import numba
import numpy as np
import pytest
from tests.kernels.twins import slow_solve_rows

from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.kernels.als.fit import Factors, fit_als, fold_in
from tonearm.kernels.machine.dense import column_squares, gram, rotate
from tonearm.types import Float32s, Float64s


def some_log(n_users: int = 40, n_items: int = 27, seed: int = 3, weighted: bool = True) -> Csr:
    """Users 5 and 11 have no events, user 0 has nearly all items, item 4 is unseen."""
    rng = np.random.default_rng(seed)
    seen = rng.random((n_users, n_items)) < 0.2
    seen[0] = rng.random(n_items) < 0.9
    seen[[5, 11]] = False
    seen[:, 4] = False
    row, index = np.nonzero(seen)
    indptr = np.searchsorted(row, np.arange(n_users + 1)).astype(np.int64)
    value = rng.integers(1, 6, len(index)).astype(np.float32) if weighted else None
    return Csr(indptr, index.astype(np.int32), value, n_items)


def dense(matrix: Csr) -> Float64s:
    out = np.zeros((matrix.n_rows, matrix.n_columns))
    for r in range(matrix.n_rows):
        for e in range(matrix.indptr[r], matrix.indptr[r + 1]):
            out[r, matrix.index[e]] = 1.0 if matrix.value is None else matrix.value[e]
    return out


def objective(matrix: Csr, user: Float32s, item: Float32s, regularization: float, alpha: float) -> float:
    plays = dense(matrix)
    confidence = np.where(plays > 0, alpha * plays, 1.0)
    error = (plays > 0) - user.astype(np.float64) @ item.astype(np.float64).T
    penalty = (user.astype(np.float64) ** 2).sum() + (item.astype(np.float64) ** 2).sum()
    return float((confidence * error**2).sum() + regularization * penalty)


def fit(matrix: Csr, **changed: object) -> Factors:
    options = {"factors": 5, "regularization": 0.3, "alpha": 2.0, "iterations": 4, "cg_steps": 3} | changed
    rng = np.random.default_rng(7)
    return fit_als(matrix, transpose_csr(matrix), rng=rng, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0.5, 1.0, 20.0])
@pytest.mark.parametrize("weighted", [True, False])
def test_many_steps_give_exact_alternating_least_squares(weighted: bool, alpha: float) -> None:
    matrix = some_log(weighted=weighted)
    item = np.random.default_rng(1).standard_normal((27, 5)).astype(np.float32)
    found = fit(matrix, alpha=alpha, iterations=2, cg_steps=40, init=(None, item))
    plays = dense(matrix)
    y = item * (plays.sum(axis=0) > 0)[:, None].astype(np.float64)
    for _ in range(2):
        x = slow_solve_rows(plays, y, 0.3, alpha)
        y = slow_solve_rows(plays.T, x, 0.3, alpha)
    np.testing.assert_allclose(found.user, x, atol=2e-5)
    np.testing.assert_allclose(found.item, y, atol=2e-5)


@pytest.mark.parametrize("weighted", [True, False])
def test_losses_are_the_objective_and_fall(weighted: bool) -> None:
    matrix = some_log(weighted=weighted)
    found = fit(matrix, iterations=6, cg_steps=2, alpha=1.0)
    assert found.losses[-1] == pytest.approx(objective(matrix, found.user, found.item, 0.3, 1.0), rel=1e-5)
    assert all(b <= a for a, b in zip(found.losses, found.losses[1:], strict=False))
    assert len(found.losses) == 6


def test_a_width_that_is_no_multiple_of_eight_and_rows_longer_than_a_piece() -> None:
    rng = np.random.default_rng(0)
    n_items = 40_000
    index = np.concatenate((np.arange(n_items), rng.choice(n_items, 30, replace=False))).astype(np.int32)
    matrix = Csr(np.array([0, n_items, n_items + 30]), index, np.full(len(index), 2.0, np.float32), n_items)
    item = (rng.standard_normal((n_items, 3)) * 0.1).astype(np.float32)
    found = fit(matrix, factors=3, iterations=1, cg_steps=20, init=(None, item))
    assert found.losses[0] == pytest.approx(objective(matrix, found.user, found.item, 0.3, 2.0), rel=1e-5)


def test_rows_without_events_are_zero_and_change_nothing() -> None:
    matrix = some_log()
    found = fit(matrix)
    assert not found.user[[5, 11]].any()
    assert not found.item[4].any()
    wider = Csr(matrix.indptr, matrix.index + 2, matrix.value, matrix.n_columns + 9)
    again = fit(wider)
    np.testing.assert_array_equal(again.user, found.user)
    np.testing.assert_array_equal(again.item[2:29], found.item)
    assert not again.item[:2].any()
    assert not again.item[29:].any()


@pytest.mark.parametrize("weighted", [True, False])
def test_the_same_bytes_on_one_thread_and_on_all(weighted: bool) -> None:
    matrix = some_log(400, 300, weighted=weighted)
    many = fit(matrix, factors=12, alpha=1.0)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        one = fit(matrix, factors=12, alpha=1.0)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(one.user, many.user)
    np.testing.assert_array_equal(one.item, many.item)
    assert one.losses == many.losses


def test_warm_start_goes_on_where_it_stopped() -> None:
    matrix = some_log()
    whole = fit(matrix, iterations=5)
    first = fit(matrix, iterations=3)
    rest = fit(matrix, iterations=2, init=(first.user, first.item))
    np.testing.assert_allclose(rest.losses, whole.losses[3:], rtol=1e-5)


def test_a_penalty_by_frequency_is_larger_for_busy_rows() -> None:
    matrix = some_log()
    plays = dense(matrix)
    item = np.random.default_rng(1).standard_normal((27, 5)).astype(np.float32)
    found = fit(matrix, iterations=1, cg_steps=40, init=(None, item), frequency_exponent=0.8)
    lengths = (plays > 0).sum(axis=1)
    scale = (lengths + 27.0) ** 0.8
    penalty = 0.3 * scale / scale[lengths > 0].mean()
    y = item * (plays.sum(axis=0) > 0)[:, None].astype(np.float64)
    x = np.array([slow_solve_rows(plays[[u]], y, float(penalty[u]), 2.0)[0] for u in range(len(plays))])
    np.testing.assert_allclose(found.user, x, atol=2e-5)
    other = (lengths_i := (plays > 0).sum(axis=0)) + 40.0
    scale_i = other**0.8
    penalty_i = 0.3 * scale_i / scale_i[lengths_i > 0].mean()
    data = objective(matrix, found.user, found.item, 0.0, 2.0)
    full = data + penalty @ (found.user**2).sum(axis=1) + penalty_i @ (found.item**2).sum(axis=1)
    assert found.losses[0] == pytest.approx(full, rel=1e-5)


def test_progress_hears_of_each_iteration() -> None:
    heard: list[tuple[int, int, float]] = []
    found = fit(some_log(), iterations=3, progress=lambda done, of, loss: heard.append((done, of, loss)))
    assert heard == [(1, 3, found.losses[0]), (2, 3, found.losses[1]), (3, 3, found.losses[2])]


def test_fold_in_solves_a_history_exactly() -> None:
    matrix = some_log()
    item = np.random.default_rng(2).standard_normal((27, 6)).astype(np.float32)
    common = item.T.astype(np.float64) @ item + 0.3 * np.eye(6)
    assert matrix.value is not None
    found = fold_in(matrix.indptr, matrix.index, matrix.value, 2.0, item, common)
    np.testing.assert_allclose(found, slow_solve_rows(dense(matrix), item.astype(np.float64), 0.3, 2.0), atol=1e-6)
    bare = fold_in(matrix.indptr, matrix.index, np.empty(0, np.float32), 2.0, item, common)
    ones = (dense(matrix) > 0).astype(np.float64)
    np.testing.assert_allclose(bare, slow_solve_rows(ones, item.astype(np.float64), 0.3, 2.0), atol=1e-6)


def test_long_histories_are_folded_in_by_pieces() -> None:
    rng = np.random.default_rng(3)
    item, weight = rng.standard_normal((2_500, 20)).astype(np.float32), rng.uniform(1, 9, 2_570).astype(np.float32)
    index = np.concatenate((np.arange(2_500), np.arange(70))).astype(np.int32)  # a long one, none, and a short one
    indptr, common = np.array([0, 2_500, 2_500, 2_570]), 40 * np.eye(20)
    found = fold_in(indptr, index, weight, 2.0, item, common)
    for u in (0, 2):
        y, c = item[index[indptr[u] : indptr[u + 1]]].astype(np.float64), 2.0 * weight[indptr[u] : indptr[u + 1]]
        np.testing.assert_allclose(found[u], np.linalg.solve(common + (y.T * (c - 1)) @ y, c @ y), atol=1e-6)
    assert not found[1].any()


def test_users_who_are_solved_last_have_the_vectors_of_their_history_folded_in() -> None:
    matrix = some_log()
    assert matrix.value is not None
    first, last = fit(matrix, cg_steps=8), fit(matrix, users_last=True, cg_steps=8)
    d = last.item.shape[1]
    common = last.item.T.astype(np.float64) @ last.item + 0.3 * np.eye(d)
    folded = fold_in(matrix.indptr, matrix.index, matrix.value, 2.0, last.item, common)
    np.testing.assert_allclose(last.user, folded, atol=1e-4)
    assert np.abs(first.user - folded).max() > 10 * np.abs(last.user - folded).max()


@pytest.mark.parametrize("n", [1, 7, 1030, 3000])
def test_dense_products(n: int) -> None:
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, 24)).astype(np.float32)
    m = rng.standard_normal((24, 24)).astype(np.float32)
    np.testing.assert_allclose(gram(a), a.T.astype(np.float64) @ a, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(column_squares(a), (a.astype(np.float64) ** 2).sum(axis=0))
    expected = a.astype(np.float64) @ m
    rotate(a, m, a)
    np.testing.assert_allclose(a, expected, atol=1e-4)
