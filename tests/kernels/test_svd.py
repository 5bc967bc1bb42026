import numpy as np
import pytest

from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.kernels.als.svd import Triples, singular_triples
from tonearm.types import Float64s


def some_matrix(n: int, m: int, share: float = 0.2, weighted: bool = True) -> tuple[Csr, np.ndarray]:
    """A sparse matrix with an empty row and an empty column, and the same dense."""
    rng = np.random.default_rng(n)
    dense = (rng.random((n, m)) < share) * (rng.random((n, m)) if weighted else 1.0)
    dense[n // 2], dense[:, m // 2] = 0, 0
    row, column = np.nonzero(dense)
    indptr = np.searchsorted(row, np.arange(n + 1)).astype(np.int64)
    return Csr(indptr, column.astype(np.int32), dense[row, column].astype(np.float32) if weighted else None, m), dense


def triples(matrix: Csr, factors: int, passes: int, seed: int = 0, start: np.ndarray | None = None) -> Triples:
    rng = np.random.default_rng(seed)
    return singular_triples(matrix, transpose_csr(matrix), factors, passes, rng, start=start)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("n", "m", "factors"), [(300, 200, 10), (200, 300, 40), (20, 90, 12)])
def test_triples_are_those_of_the_dense_matrix(n: int, m: int, factors: int, weighted: bool) -> None:
    matrix, dense = some_matrix(n, m, weighted=weighted)
    found = triples(matrix, factors, 40)
    expected = np.linalg.svd(dense, compute_uv=False)[:factors]
    np.testing.assert_allclose(found.value, expected, rtol=1e-4)
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(factors), atol=1e-5)
    np.testing.assert_allclose(dense @ found.right, found.left, atol=1e-4)
    np.testing.assert_allclose(found.left.T @ found.left, np.diag(found.value**2), atol=1e-3 * expected[0] ** 2)


def test_beyond_the_rank_there_is_nothing() -> None:
    matrix, dense = some_matrix(9, 60)
    found = triples(matrix, 20, 20)
    rank = np.linalg.matrix_rank(dense)
    assert rank < 9
    np.testing.assert_allclose(found.value[:rank], np.linalg.svd(dense, compute_uv=False)[:rank], rtol=1e-4)
    assert np.abs(found.value[rank:]).max() < 1e-3
    assert np.isfinite(found.left).all()
    assert np.isfinite(found.right).all()


def plain(dense: np.ndarray, factors: int, passes: int) -> Float64s:
    """What as many power passes without momentum find, with as many spare columns."""
    right = np.linalg.qr(np.random.default_rng(0).random((dense.shape[1], factors + 32)) - 0.5)[0]
    for _ in range(passes):
        right = np.linalg.qr(dense.T @ (dense @ right))[0]
    return np.linalg.svd(dense @ right, compute_uv=False)[:factors]


def test_momentum_is_ahead_of_powers() -> None:
    matrix, dense = some_matrix(900, 1000, share=0.05, weighted=False)  # the flat spectrum of noise
    expected = (np.linalg.svd(dense, compute_uv=False)[:32] ** 2).sum()
    ours, powers = (expected - (v**2).sum() for v in (triples(matrix, 32, 8).value, plain(dense, 32, 8)))
    assert 0 < ours < powers / 2


def test_a_start_close_by_is_gone_on_from() -> None:
    matrix, dense = some_matrix(300, 200)
    exact = np.linalg.svd(dense)[2][:10].T.astype(np.float32)
    near, far = triples(matrix, 10, 1, start=exact), triples(matrix, 10, 1)
    expected = np.linalg.svd(dense, compute_uv=False)[:10]
    assert np.abs(near.value - expected).max() < 1e-4
    assert np.abs(far.value - expected).max() > 1e-2


def test_it_ends_when_told_that_it_is_enough() -> None:
    matrix, _ = some_matrix(300, 200)
    heard: list[tuple[int, Float64s]] = []

    def enough(done: int, values: Float64s) -> bool:
        heard.append((done, values))
        return done == 3

    found = singular_triples(matrix, transpose_csr(matrix), 10, 9, np.random.default_rng(0), enough=enough)
    assert [done for done, _ in heard] == [0, 1, 2, 3]
    sums = [float((values**2).sum()) for _, values in heard]
    assert sums == sorted(sums)
    np.testing.assert_array_equal(found.value, triples(matrix, 10, 3).value)
