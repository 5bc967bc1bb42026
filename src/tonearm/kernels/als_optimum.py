"""The optimum of implicit ALS when every confidence is 1, without alternating.

With c = 1 everywhere the objective is ‖C − X Yᵀ‖² + λ (‖X‖² + ‖Y‖²) for the 0/1 matrix C, and its minimum over rank d
is X = U √t, Y = W √t, t_k = max(s_k − λ, 0), from the d largest singular triples of C (Srebro and Shraibman 2005 for
the norm, Mazumder, Hastie and Tibshirani 2010, theorem 2, for the threshold). Block power iteration finds them, with
some more columns than asked for, so that the last ones converge quickly too (Halko, Martinsson and Tropp 2011, 4.5).
"""

from collections.abc import Callable

import numpy as np

from tonearm.kernels._dense import gram, jacobi, rotate
from tonearm.kernels.als import Factors
from tonearm.kernels.csr import Csr, multiply
from tonearm.types import Float16s, Float32s, Float64s

_SPARE = 16
"""Columns beyond those asked for."""


def fit_optimum(
    by_user: Csr,
    by_item: Csr,
    *,
    factors: int,
    regularization: float,
    iterations: int,
    rng: np.random.Generator,
    tolerance: float = 1e-5,
    start: Float16s | Float32s | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Factors:
    """Factors that minimise the objective of `fit_als` at alpha 1 over entries that all count 1.

    iterations: the most passes over the matrix; fewer when one lowers the objective by less than `tolerance` of it
    start: (n_items, factors), item factors to begin with; what they leave open is drawn at random
    """
    assert by_user.value is None
    assert by_item.value is None
    width = -(-(factors + _SPARE) // 8) * 8
    users = np.zeros((by_user.n_rows, width), np.float32)
    items = np.zeros((by_item.n_rows, width), np.float32)
    seen = np.diff(by_item.indptr) > 0
    items[seen] = rng.standard_normal((int(seen.sum()), width), dtype=np.float32)
    if start is not None:
        given = np.flatnonzero(start.any(axis=0))
        items[:, given] = start[:, given] * seen[:, None]
    losses: list[float] = []
    root = np.zeros(width)
    left = np.eye(width)
    for done in range(iterations):
        multiply(by_user, items, users)
        vectors, values = _principal(users)
        rotate(users, (vectors * _inverse_root(values)).astype(np.float32), users)
        multiply(by_item, users, items)
        left, values = _principal(items)
        rotate(items, (left * _inverse_root(values)).astype(np.float32), items)
        root = np.sqrt(np.maximum(np.sqrt(np.maximum(values, 0.0)) - regularization, 0.0))
        root[factors:] = 0.0
        losses.append(float(len(by_user.index) - (root**4).sum()))
        if progress is not None:
            progress(done + 1, iterations, losses[-1])
        if done and losses[-2] - losses[-1] <= tolerance * losses[-1]:
            break
    rotate(users, (left * root).astype(np.float32), users)
    item = items[:, :factors] * root[:factors].astype(np.float32)
    return Factors(np.ascontiguousarray(users[:, :factors]), np.ascontiguousarray(item), losses)


def _principal(a: Float32s) -> tuple[Float64s, Float64s]:
    """Eigenvectors (one per column) and eigenvalues of aᵀa, largest first."""
    values, vectors = jacobi(gram(a))
    order = np.argsort(-values, kind="stable")
    return vectors[:, order], values[order]


def _inverse_root(values: Float64s) -> Float64s:
    """1 / √v, and 0 for a direction that float32 cannot tell from nothing."""
    real = values > max(float(values[0]), 1e-30) * 1e-10
    return np.where(real, 1.0 / np.sqrt(np.where(real, values, 1.0)), 0.0)
