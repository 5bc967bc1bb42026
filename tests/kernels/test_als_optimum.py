"""The spectral solution against a full singular value decomposition and against many passes of ALS."""

import numpy as np
import pytest

from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.kernels.als.fit import Factors, fit_als
from tonearm.kernels.als.optimum import fit_optimum

REGULARIZATION = 0.4


def some_log() -> Csr:
    rng = np.random.default_rng(2)
    seen = rng.random((90, 60)) < np.outer(rng.beta(1, 3, 90), rng.beta(1, 1, 60))
    seen[:, 7] = False
    row, index = np.nonzero(seen)
    return Csr(np.searchsorted(row, np.arange(91)), index.astype(np.int32), None, 60)


def fit(matrix: Csr, factors: int) -> Factors:
    return fit_optimum(
        matrix,
        transpose_csr(matrix),
        factors=factors,
        regularization=REGULARIZATION,
        iterations=200,
        rng=np.random.default_rng(0),
        tolerance=0.0,
    )


@pytest.mark.parametrize("factors", [1, 6, 13])
def test_products_are_the_soft_thresholded_decomposition(factors: int) -> None:
    matrix = some_log()
    dense = np.zeros((90, 60))
    dense[np.repeat(np.arange(90), np.diff(matrix.indptr)), matrix.index] = 1
    u, s, vt = np.linalg.svd(dense)
    kept = np.maximum(s[:factors] - REGULARIZATION, 0)
    found = fit(matrix, factors)
    np.testing.assert_allclose(found.user @ found.item.T, (u[:, :factors] * kept) @ vt[:factors], atol=1e-4)
    loss = ((dense - found.user @ found.item.T) ** 2).sum()
    loss += REGULARIZATION * ((found.user**2).sum() + (found.item**2).sum())
    assert found.losses[-1] == pytest.approx(loss, rel=1e-5)
    assert not found.item[7].any()


def test_many_passes_of_als_end_at_the_same_objective() -> None:
    matrix = some_log()
    slow = fit_als(
        matrix,
        transpose_csr(matrix),
        factors=6,
        regularization=REGULARIZATION,
        alpha=1.0,
        iterations=300,
        rng=np.random.default_rng(1),
    )
    assert fit(matrix, 6).losses[-1] == pytest.approx(slow.losses[-1], rel=1e-5)
