"""Dense products of tall matrices with small ones, and a small eigenproblem.

Unlike a BLAS, these give the same bytes on any number of threads. Rows are padded to a multiple of eight columns.
"""

import numpy as np

from tonearm.kernels._jit import jit, jit_fast, jit_parallel, prange
from tonearm.kernels._simd import fill, fma, load, spread, store
from tonearm.types import Float32s, Float64s

_SLICE = 1024


@jit_parallel
def rotate(a: Float32s, m: Float32s, out: Float32s) -> None:
    """out = a @ m for a (n, w) and m (w, w), float32, w a multiple of eight; `out` may be `a` itself."""
    n, width = a.shape
    source, matrix, target = a.ravel(), m.ravel(), out.ravel()
    n_slices = (n + _SLICE - 1) // _SLICE
    for s in prange(n_slices):
        packed = np.zeros(width * 8, np.float32)
        for r in range(s * _SLICE, min(n, (s + 1) * _SLICE), 8):
            _rotate_eight(source, r, min(8, n - r), width, packed, matrix, target)


@jit
def _rotate_eight(
    source: Float32s, r: int, height: int, width: int, packed: Float32s, matrix: Float32s, target: Float32s
) -> None:
    """Rows r to r + height; they are copied first, one row per lane, so that they may be overwritten."""
    zero = fill(np.float32(0))
    for j in range(height):
        for f in range(width):
            packed[f * 8 + j] = source[(r + j) * width + f]
    for g in range(0, width, 8):
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero
        for f in range(width):
            column = load(matrix, f * width + g)
            a0 = fma(spread(packed, f * 8), column, a0)
            a1 = fma(spread(packed, f * 8 + 1), column, a1)
            a2 = fma(spread(packed, f * 8 + 2), column, a2)
            a3 = fma(spread(packed, f * 8 + 3), column, a3)
            a4 = fma(spread(packed, f * 8 + 4), column, a4)
            a5 = fma(spread(packed, f * 8 + 5), column, a5)
            a6 = fma(spread(packed, f * 8 + 6), column, a6)
            a7 = fma(spread(packed, f * 8 + 7), column, a7)
        rows = (a0, a1, a2, a3, a4, a5, a6, a7)
        for j in range(height):
            store(target, (r + j) * width + g, rows[j])


def gram(a: Float32s) -> Float64s:
    """aᵀ a of (n, w) float32, as (w, w) float64; sums of 1,024 rows in float32, those in float64, in a fixed order."""
    return np.asarray(_gram(a).sum(axis=0))


@jit_parallel
def _gram(a: Float32s) -> Float64s:
    n, width = a.shape
    source = a.ravel()
    n_slices = (n + _SLICE - 1) // _SLICE
    parts = min(64, n_slices)
    total = np.zeros((parts, width, width))
    for part in prange(parts):
        square = np.zeros(width * width, np.float32)
        for s in range(n_slices * part // parts, n_slices * (part + 1) // parts):
            square[:] = 0
            for r in range(s * _SLICE, min(n, (s + 1) * _SLICE), 64):
                _add_squares(source, r, min(n, r + 64, (s + 1) * _SLICE), width, square)
            for f in range(width):
                for g in range(f // 8 * 8, width):
                    total[part, f, g] += square[f * width + g]
        for f in range(width):
            for g in range(f):
                total[part, f, g] = total[part, g, f]
    return total


@jit
def _add_squares(source: Float32s, lo: int, hi: int, width: int, square: Float32s) -> None:
    """Add the outer products of rows lo to hi to the blocks on and above the diagonal of `square`."""
    for f in range(0, width, 8):
        for g in range(f, width, 8):
            at = f * width + g
            a0, a1 = load(square, at), load(square, at + width)
            a2, a3 = load(square, at + 2 * width), load(square, at + 3 * width)
            a4, a5 = load(square, at + 4 * width), load(square, at + 5 * width)
            a6, a7 = load(square, at + 6 * width), load(square, at + 7 * width)
            for r in range(lo, hi):
                left = r * width + f
                right = load(source, r * width + g)
                a0 = fma(spread(source, left), right, a0)
                a1 = fma(spread(source, left + 1), right, a1)
                a2 = fma(spread(source, left + 2), right, a2)
                a3 = fma(spread(source, left + 3), right, a3)
                a4 = fma(spread(source, left + 4), right, a4)
                a5 = fma(spread(source, left + 5), right, a5)
                a6 = fma(spread(source, left + 6), right, a6)
                a7 = fma(spread(source, left + 7), right, a7)
            store(square, at, a0)
            store(square, at + width, a1)
            store(square, at + 2 * width, a2)
            store(square, at + 3 * width, a3)
            store(square, at + 4 * width, a4)
            store(square, at + 5 * width, a5)
            store(square, at + 6 * width, a6)
            store(square, at + 7 * width, a7)


@jit
def jacobi(symmetric: Float64s) -> tuple[Float64s, Float64s]:
    """Eigenvalues (d,) and eigenvectors (d, d), one per column, of a symmetric matrix.

    Cyclic Jacobi rotations (Golub and Van Loan, Matrix Computations, 8.5): sweeps until nothing off the diagonal
    is above rounding. In no particular order.
    """
    d = len(symmetric)
    a = symmetric.copy()
    v = np.eye(d)  # eigenvectors as rows while at work
    for _ in range(30):
        rotated = False
        for p in range(d - 1):
            for q in range(p + 1, d):
                if abs(a[p, q]) <= 1e-13 * np.sqrt(abs(a[p, p] * a[q, q])) or a[p, q] == 0.0:
                    continue
                rotated = True
                theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
                t = 1.0 / (abs(theta) + np.sqrt(theta * theta + 1.0))
                if theta < 0:
                    t = -t
                c = 1.0 / np.sqrt(t * t + 1.0)
                s = t * c
                for k in range(d):
                    low, high = a[p, k], a[q, k]
                    a[p, k], a[q, k] = c * low - s * high, s * low + c * high
                    low, high = v[p, k], v[q, k]
                    v[p, k], v[q, k] = c * low - s * high, s * low + c * high
                for k in range(d):
                    low, high = a[k, p], a[k, q]
                    a[k, p], a[k, q] = c * low - s * high, s * low + c * high
        if not rotated:
            break
    return np.diag(a).copy(), v.T.copy()


@jit_fast
def solve_positive(a: Float64s, b: Float64s) -> None:
    """b becomes the solution x of a x = b for a symmetric positive definite a (d, d), by Cholesky; a is overwritten.

    Only the lower triangle of a is read.
    """
    d = len(b)
    for f in range(d):
        for g in range(f + 1):
            s = a[f, g]
            for h in range(g):
                s -= a[f, h] * a[g, h]
            a[f, g] = np.sqrt(max(s, 1e-30)) if f == g else s / a[g, g]
    for f in range(d):
        for h in range(f):
            b[f] -= a[f, h] * b[h]
        b[f] /= a[f, f]
    for f in range(d - 1, -1, -1):
        for h in range(f + 1, d):
            b[f] -= a[h, f] * b[h]
        b[f] /= a[f, f]
