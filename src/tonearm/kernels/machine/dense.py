"""Dense products of tall matrices with small ones, and a small linear system.

Unlike a BLAS, these give the same bytes on any number of threads. Rows are padded to a multiple of eight columns.
"""

import numpy as np

from tonearm.kernels.machine.jit import jit, jit_fast
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.simd import LANES, load, store
from tonearm.kernels.machine.tile import TALL, WIDE, add_outer, load_tile, no_sums, store_tile
from tonearm.types import Float32s, Float64s

SLICE = 1024

AT_ONCE = 64
"""Rows whose outer products are added to a tile while it is in registers."""


def rotate(a: Float32s, m: Float32s, out: Float32s) -> None:
    """out = a @ m for a (n, w) and m (w, w), float32, w a multiple of eight; `out` may be `a` itself."""
    _rotate(a, _padded(m), out, 0.0, np.empty((0, 0), np.float32))


def take_away(out: Float32s, much: float, block: Float32s, a: Float32s, m: Float32s) -> None:
    """out −= much · block + a @ m, all but m (w, w) being (n, w), float32, w a multiple of eight."""
    _rotate(a, _padded(m), out, much, block)


def _padded(m: Float32s) -> Float32s:
    padded = np.zeros((len(m), -(-len(m) // WIDE) * WIDE), np.float32)
    padded[:, : len(m)] = m
    return padded


@jit_parallel
def _rotate(a: Float32s, m: Float32s, out: Float32s, much: float, block: Float32s) -> None:
    """Both of the above, the second where there is a block."""
    n, width = a.shape
    padded = m.shape[1]
    source, matrix, target, other = a.ravel(), m.ravel(), out.ravel(), block.ravel()
    n_slices = (n + SLICE - 1) // SLICE
    for s in prange(n_slices):
        rows, product = np.zeros(TALL * width, np.float32), np.empty(TALL * padded, np.float32)
        for r in range(s * SLICE, min(n, (s + 1) * SLICE), TALL):
            height = min(TALL, n - r, (s + 1) * SLICE - r)
            for e in range(0, height * width, LANES):
                store(rows, e, load(source, r * width + e))
            for g in range(0, padded, WIDE):
                sums = no_sums()
                for f in range(width):
                    sums = add_outer(sums, rows, f, width, matrix, f * padded + g)
                store_tile(product, g, padded, sums)
            for j in range(height):
                at = (r + j) * width
                if len(other):
                    for f in range(width):
                        target[at + f] -= np.float32(much) * other[at + f] + product[j * padded + f]
                else:
                    for f in range(0, width, LANES):
                        store(target, at + f, load(product, j * padded + f))


def gram(a: Float32s) -> Float64s:
    """aᵀ a of (n, w) float32, as (w, w) float64; sums of 1,024 rows in float32, those in float64, in a fixed order."""
    return np.asarray(_gram(a).sum(axis=0))


@jit_parallel
def _gram(a: Float32s) -> Float64s:
    n, width = a.shape
    rows, columns = -(-width // TALL) * TALL, -(-width // WIDE) * WIDE
    n_slices = (n + SLICE - 1) // SLICE
    parts = min(64, n_slices)
    total = np.zeros((parts, width, width))
    for part in prange(parts):
        square = np.zeros((rows, columns), np.float32)
        left, right = np.zeros((AT_ONCE, rows), np.float32), np.zeros((AT_ONCE, columns), np.float32)
        for s in range(n_slices * part // parts, n_slices * (part + 1) // parts):
            square[:] = 0
            for r in range(s * SLICE, min(n, (s + 1) * SLICE), AT_ONCE):
                height = min(n - r, AT_ONCE)
                for j in range(height):
                    for f in range(width):
                        left[j, f] = right[j, f] = a[r + j, f]
                add_squares(left.ravel(), right.ravel(), height, rows, columns, square.ravel())
            for f in range(width):
                for g in range(f, width):
                    total[part, f, g] += square[f, g]
        for f in range(width):
            for g in range(f):
                total[part, f, g] = total[part, g, f]
    return total


@jit_parallel
def _column_squares(a: Float32s) -> Float64s:
    n, width = a.shape
    parts = min(64, max(n, 1))
    total = np.zeros((parts, width))
    for part in prange(parts):
        for r in range(n * part // parts, n * (part + 1) // parts):
            for f in range(width):
                total[part, f] += np.float64(a[r, f]) ** 2
    return total


def column_squares(a: Float32s) -> Float64s:
    """The diagonal of `gram`, (w,) float64, in much less time."""
    return np.asarray(_column_squares(a).sum(axis=0))


@jit
def add_squares(left: Float32s, right: Float32s, height: int, rows: int, columns: int, square: Float32s) -> None:
    """Add the outer products of some rows, given twice, to the tiles of `square` on and above the diagonal."""
    for f in range(0, rows, TALL):
        for g in range(f // WIDE * WIDE, columns, WIDE):
            sums = load_tile(square, f * columns + g, columns)
            for r in range(height):
                sums = add_outer(sums, left, r * rows + f, 1, right, r * columns + g)
            store_tile(square, f * columns + g, columns, sums)


@jit_fast
def solve_positive(a: Float64s, b: Float64s) -> None:
    """b becomes the solution x of a x = b for a symmetric positive definite a (d, d), by Cholesky; a is overwritten.

    Only the upper triangle of a is read. The rows before are taken from each row, four at a time, so that no sum is
    folded over lanes.
    """
    d = len(b)
    for g in range(d):
        own = a[g, g:]
        for h in range(0, g // 4 * 4, 4):
            r0, r1, r2, r3 = a[h, g:], a[h + 1, g:], a[h + 2, g:], a[h + 3, g:]
            s0, s1, s2, s3 = r0[0], r1[0], r2[0], r3[0]
            for f in range(len(own)):
                own[f] -= s0 * r0[f] + s1 * r1[f] + s2 * r2[f] + s3 * r3[f]
        for h in range(g // 4 * 4, g):
            r0 = a[h, g:]
            s0 = r0[0]
            for f in range(len(own)):
                own[f] -= s0 * r0[f]
        root = np.sqrt(max(own[0], 1e-30))
        for f in range(len(own)):
            own[f] /= root
    for g in range(d):
        own, left = a[g, g:], b[g:]
        x = left[0] / own[0]
        for f in range(len(own)):
            left[f] -= own[f] * x
        b[g] = x
    for g in range(d - 1, -1, -1):
        own, done = a[g, g:], b[g:]
        rest = 0.0
        for f in range(1, len(own)):
            rest += own[f] * done[f]
        b[g] = (b[g] - rest) / own[0]
