"""The same matrix and options give the same objective and the same lists as implicit's own ALS.

With plays counted the peer is implicit's exact solver: its three plain steps of conjugate gradients reach the
same objective by another path, and agree with its own exact solver on no more than 84 to 94% of the lists here. On 0/1
data, the classic setting, its default is the peer.
"""

import numpy as np
import pytest
from scipy import sparse

from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.kernels.als.fit import fit_als
from tonearm.kernels.nearest.topk import index_items, top_k
from tonearm.types import Float32s

als = pytest.importorskip("implicit.cpu.als")

FACTORS, ITERATIONS, REGULARIZATION = 50, 50, 0.05


def planted_taste(n_users: int = 500, n_items: int = 700, seed: int = 11) -> sparse.csr_matrix:
    """Users of some tastes, items of skewed popularity, plays counted."""
    rng = np.random.default_rng(seed)
    taste, style = rng.gamma(0.15, 1.0, (n_users, 60)), rng.gamma(0.15, 1.0, (n_items, 60))
    rate = taste @ style.T * rng.lognormal(0, 1, n_items)
    plays = rng.poisson(rate * 0.08 / rate.mean()).astype(np.float32)
    return sparse.csr_matrix(plays)


def objective(plays: sparse.csr_matrix, user: Float32s, item: Float32s, alpha: float) -> float:
    dense = plays.toarray()
    confidence = np.where(dense > 0, alpha * dense, 1.0)
    x, y = user.astype(np.float64), item.astype(np.float64)
    error = (dense > 0) - x @ y.T
    return float((confidence * error**2).sum() + REGULARIZATION * ((x**2).sum() + (y**2).sum()))


@pytest.mark.filterwarnings("ignore:OpenBLAS is configured:RuntimeWarning")
@pytest.mark.parametrize(("alpha", "counted"), [(1.0, False), (1.0, True), (4.0, True)])
def test_objective_within_a_tenth_of_a_percent_and_lists_alike(alpha: float, counted: bool) -> None:
    plays = planted_taste()
    if not counted:
        plays.data[:] = 1
    rng = np.random.default_rng(0)
    x0, y0 = (rng.random((n, FACTORS), dtype=np.float32) * np.float32(0.01) for n in plays.shape)

    options = {"iterations": ITERATIONS, "num_threads": 1, "use_cg": not counted}
    peer = als.AlternatingLeastSquares(FACTORS, REGULARIZATION, alpha, **options)
    peer.user_factors, peer.item_factors = x0.copy(), y0.copy()
    peer.fit(plays, show_progress=False)

    value = plays.data if counted else None
    matrix = Csr(plays.indptr.astype(np.int64), plays.indices, value, plays.shape[1])
    ours = fit_als(
        matrix,
        transpose_csr(matrix),
        factors=FACTORS,
        regularization=REGULARIZATION,
        alpha=alpha,
        iterations=ITERATIONS,
        rng=rng,
        init=(x0, y0),
    )
    theirs = objective(plays, peer.user_factors, peer.item_factors, alpha)
    assert ours.losses[-1] == pytest.approx(theirs, rel=1e-3)
    assert ours.losses[-1] == pytest.approx(objective(plays, ours.user, ours.item, alpha), rel=1e-5)

    known = np.diff(plays.indptr) > 0
    _, item, _ = top_k(ours.user[known], index_items(ours.item), 10, matrix_rows(plays[known]), plays[known].indices)
    users = np.flatnonzero(known)
    other, _ = peer.recommend(users, plays[users], N=10, filter_already_liked_items=True)
    shared = [len(set(a) & set(b)) for a, b in zip(item.reshape(-1, 10).tolist(), other.tolist(), strict=True)]
    assert np.mean(shared) / 10 >= 0.95


def matrix_rows(plays: sparse.csr_matrix) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return plays.indptr.astype(np.int64)
