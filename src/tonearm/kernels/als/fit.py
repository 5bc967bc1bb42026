"""Implicit-feedback ALS: the objective of Hu, Koren and Volinsky 2008, solved row by row with conjugate gradients.

Minimised over X (n_users, d) and Y (n_items, d):

    Σ_ui c_ui (p_ui − x_u·y_i)² + λ (Σ_u |x_u|² + Σ_i |y_i|²)

where p = 1 and c = α · value for an observed pair, p = 0 and c = 1 for every other pair (as in the library implicit).
While the users are solved, the items are held: each user minimises a quadratic with matrix
M + Σ_i (c_ui − 1) y_i y_iᵀ, where M = YᵀY + λI is common to all users. One change of basis turns M into the identity
for everybody, after which a step of conjugate gradients touches a user's own items only, and users with few events need
few steps. That is preconditioning by M at the price of one product per half-iteration. Where all confidences are 1,
`als_optimum` is faster by far.

Arrays inside have rows padded to a multiple of eight, so that vector instructions need no tail.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from tonearm.kernels.als.csr import Csr, plan
from tonearm.kernels.als.rows import solve_rows
from tonearm.kernels.machine.dense import AT_ONCE, SLICE, add_squares, gram, rotate, solve_positive
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.threads import on_one_blas_thread
from tonearm.kernels.machine.tile import TALL, WIDE
from tonearm.types import Float16s, Float32s, Float64s, Int32s, Int64s


@dataclass(frozen=True)
class Factors:
    """What `fit_als` found.

    user: (n_users, d) float32, item: (n_items, d) float32; zero for a row without events
    losses: the objective after each iteration
    """

    user: Float32s
    item: Float32s
    losses: list[float]


@dataclass
class _Side:
    """The factors of one side, held in the basis they were last solved in: true factors = tilde @ basisᵀ."""

    matrix: Csr
    order: Int32s
    bounds: Int64s
    penalty: Float64s
    tilde: Float32s
    basis: Float64s


@on_one_blas_thread
def fit_als(
    by_user: Csr,
    by_item: Csr,
    *,
    factors: int,
    regularization: float,
    alpha: float,
    iterations: int,
    rng: np.random.Generator,
    cg_steps: int = 3,
    frequency_exponent: float = 0.0,
    init: tuple[Float32s | None, Float16s | Float32s | None] = (None, None),
    users_last: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
) -> Factors:
    """Alternate between users and items; the same data and generator give the same bytes on any number of threads.

    by_user, by_item: the same matrix by rows and by columns
    frequency_exponent: ν > 0 scales λ by (events of the row + columns)^ν, divided by its mean over the rows with an
        event (Rendle et al. 2022, eq. 5 with weight 1 for unobserved pairs); 0 leaves λ alone
    init: user (n_users, d) and item (n_items, d) factors to start from; None starts users at zero and items at
        random, drawn in order for items with an event only
    users_last: solve the users once more in the end, so that their vectors are those that `fold_in` gives
    progress: called as progress(iterations done, iterations in all, objective)
    """
    width = -(-factors // 8) * 8
    users = _side(by_user, regularization, frequency_exponent, width)
    items = _side(by_item, regularization, frequency_exponent, width)
    start = init[1] if init[1] is not None else _random_start(by_item, factors, rng)
    _adopt(items, start)
    if init[0] is not None:
        _adopt(users, init[0])
    losses: list[float] = []
    room = np.empty((max(by_user.n_rows, by_item.n_rows), width), np.float32)
    for done in range(iterations):
        _half(users, items, factors, regularization, alpha, cg_steps, room)
        losses.append(_half(items, users, factors, regularization, alpha, cg_steps, room))
        if progress is not None:
            progress(done + 1, iterations, losses[-1])
    if users_last:
        _half(users, items, factors, regularization, alpha, cg_steps, room)
    return Factors(_true_factors(users, factors), _true_factors(items, factors), losses)


def _side(matrix: Csr, regularization: float, exponent: float, width: int) -> _Side:
    order, bounds = plan(matrix.indptr)
    penalty = np.empty(0)
    if exponent > 0:
        lengths = np.diff(matrix.indptr)
        scale = (lengths + float(matrix.n_columns)) ** exponent
        seen = lengths > 0
        penalty = regularization * scale / (scale[seen].mean() if seen.any() else 1.0)
    tilde = np.zeros((matrix.n_rows, width), np.float32)
    return _Side(matrix, order, bounds, penalty, tilde, np.eye(width))


def _random_start(matrix: Csr, factors: int, rng: np.random.Generator) -> Float32s:
    seen = np.diff(matrix.indptr) > 0
    start = np.zeros((matrix.n_rows, factors), np.float32)
    start[seen] = rng.standard_normal((int(seen.sum()), factors), dtype=np.float32) * np.float32(0.01)
    return start


def _adopt(side: _Side, start: Float16s | Float32s) -> None:
    seen = np.diff(side.matrix.indptr) > 0
    side.tilde[:, : start.shape[1]] = start * seen[:, None]


def _half(
    side: _Side, other: _Side, factors: int, regularization: float, alpha: float, cg_steps: int, room: Float32s
) -> float:
    """Solve one side with the other held; returns the objective afterwards."""
    product = gram(other.tilde)
    common = other.basis @ product @ other.basis.T
    lowest = float(side.penalty.min()) if len(side.penalty) else regularization
    basis, inverse, spectrum = _whitening(common, factors, lowest)
    held = room[: len(other.tilde)]
    rotate(other.tilde, (other.basis.T @ basis).astype(np.float32), held)
    matrix = side.matrix
    losses = np.zeros(matrix.n_rows)
    value = matrix.value if matrix.value is not None else np.empty(0, np.float32)
    rotate(side.tilde, (side.basis.T @ inverse.T).astype(np.float32), side.tilde)
    task = (numba.get_num_threads(), side.order, side.bounds, matrix.indptr, matrix.index)
    solve_rows(*task, value, alpha, held, side.penalty, lowest, spectrum, cg_steps, side.tilde, losses)
    side.basis = basis
    if len(other.penalty):
        norms = np.einsum("uf,fg,ug->u", other.tilde, other.basis.T @ other.basis, other.tilde)
        return float(losses.sum() + other.penalty @ norms)
    return float(losses.sum() + regularization * np.trace(common))


def _whitening(common: Float64s, factors: int, penalty: float) -> tuple[Float64s, Float64s, Float64s]:
    """T with Tᵀ (common + penalty I) T = I, its inverse, and the eigenvalues of `common`, padded to the width."""
    width = len(common)
    eigenvalues, vectors = np.linalg.eigh(common[:factors, :factors])
    # Without a penalty a direction that no row uses would divide by zero; float32 sees nothing below this floor.
    floor = max(float(eigenvalues.max()), 1e-30) * 1e-9
    root = np.sqrt(np.maximum(eigenvalues + penalty, floor))
    basis, inverse = np.zeros((width, width)), np.zeros((width, width))
    basis[:factors, :factors] = vectors / root
    inverse[:factors, :factors] = (vectors * root).T
    spectrum = np.zeros(width)
    spectrum[:factors] = np.maximum(eigenvalues, 0.0)
    return basis, inverse, spectrum


def _true_factors(side: _Side, factors: int) -> Float32s:
    rotate(side.tilde, side.basis.T.astype(np.float32), side.tilde)
    return np.ascontiguousarray(side.tilde[:, :factors])


_TOGETHER = 32
"""Users that share a workspace when they are folded in."""


@jit_parallel
def fold_in(
    indptr: Int64s,
    index: Int32s,
    value: Float32s,
    alpha: float,
    item_factors: Float32s,
    common: Float64s,
) -> Float32s:
    """Factors of users from their histories alone, solved exactly (Cholesky); zero for an empty history.

    indptr, index, value: histories by rows; an empty `value` counts each entry as 1
    common: YᵀY + λI, (d, d) float64
    Returns (n_rows, d) float32.
    """
    n_rows, d = len(indptr) - 1, item_factors.shape[1]
    out = np.zeros((n_rows, d), np.float32)
    rows, columns = -(-d // TALL) * TALL, -(-d // WIDE) * WIDE
    for first in prange(-(-n_rows // _TOGETHER)):
        left, right = np.zeros((AT_ONCE, rows), np.float32), np.zeros((AT_ONCE, columns), np.float32)
        square = np.empty((rows, columns), np.float32)
        a, b = np.empty((d, d)), np.empty(d)
        for u in range(first * _TOGETHER, min(n_rows, (first + 1) * _TOGETHER)):
            if indptr[u] == indptr[u + 1]:
                continue
            a[:], b[:] = common, 0
            for lo in range(indptr[u], indptr[u + 1], SLICE):
                square[:] = 0
                for at in range(lo, min(lo + SLICE, indptr[u + 1]), AT_ONCE):
                    height = min(lo + SLICE, indptr[u + 1], at + AT_ONCE) - at
                    for j in range(height):
                        c = alpha * (value[at + j] if len(value) else 1.0)
                        y, excess = item_factors[index[at + j]], np.float32(c - 1.0)
                        for f in range(d):
                            b[f] += c * y[f]
                            left[j, f] = excess * y[f]
                            right[j, f] = y[f]
                    add_squares(left.ravel(), right.ravel(), height, rows, columns, square.ravel())
                for f in range(d):
                    for g in range(f, d):
                        a[f, g] += square[f, g]
            solve_positive(a, b)
            for f in range(d):
                out[u, f] = b[f]
    return out
