"""The inner loops of ALS: every row of one side solved against the held factors of the other."""

import numpy as np

from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.simd import fill, fma, load, prefetch, spread, store, sums, take_next, total
from tonearm.types import Float32s, Float64s, Int32s, Int64s

_PIECE = 32_768
"""Rows longer than this are gathered anew for each pass, so that the workspace stays small."""


@jit_parallel
def solve_rows(
    threads: int,
    order: Int32s,
    bounds: Int64s,
    indptr: Int64s,
    index: Int32s,
    value: Float32s,
    alpha: float,
    held: Float32s,
    penalty: Float64s,
    common_penalty: float,
    spectrum: Float64s,
    cg_steps: int,
    out: Float32s,
    losses: Float64s,
) -> None:
    """A few steps of conjugate gradients for each row, in the basis where the common matrix is the identity.

    held: (n_columns, w) the other side's factors in that basis
    penalty: (n_rows,) a row's own λ, or empty where all rows have `common_penalty`
    spectrum: (w,) eigenvalues of the other side's Gram matrix
    out: (n_rows, w) in that basis: where to start, overwritten by the solution
    losses: (n_rows,) receives each row's part of the objective after the steps
    """
    width = held.shape[1]
    source, target = held.ravel(), out.ravel()
    longest = max(8, int(np.diff(indptr).max(initial=0)))
    capacity = (min(longest, _PIECE) + 7) // 8 * 8
    counter = np.zeros(1, np.int64)
    for _ in prange(threads):
        rows = np.zeros(capacity * width, np.float32)
        excess = np.zeros(capacity, np.float32)
        confidence = np.zeros(capacity, np.float32)
        state = np.ones((6, width), np.float32)
        while True:
            task = take_next(counter)
            if task >= len(bounds) - 1:
                break
            for place in range(bounds[task], bounds[task + 1]):
                row = order[place]
                if len(penalty):
                    for f in range(width):
                        own = np.float32((spectrum[f] + penalty[row]) / (spectrum[f] + common_penalty))
                        state[4, f], state[5, f] = own, np.float32(1) / own
                losses[row] = _solve_row(
                    source,
                    index[indptr[row] : indptr[row + 1]],
                    value[indptr[row] : indptr[row + 1]],
                    alpha,
                    rows,
                    excess,
                    confidence,
                    state,
                    cg_steps,
                    width,
                    target,
                    row * width,
                )


@jit
def _solve_row(
    source: Float32s,
    index: Int32s,
    value: Float32s,
    alpha: float,
    rows: Float32s,
    excess: Float32s,
    confidence: Float32s,
    state: Float32s,
    cg_steps: int,
    width: int,
    target: Float32s,
    at: int,
) -> float:
    """Conjugate gradients preconditioned by the diagonal; returns the row's part of the objective."""
    n = len(index)
    # where the start leaves the row: residual and objective, the held rows copied side by side on the way
    x, r, p, q, diagonal, inverse = state[0], state[1], state[2], state[3], state[4], state[5]
    loss = _start(target, at, width, diagonal, x, r)
    gathered = 0
    for lo in range(0, n, _PIECE):
        gathered = _weigh(value, alpha, lo, min(n, lo + _PIECE), excess, confidence)
        loss += _first_pass(source, index[lo : lo + _PIECE], rows, gathered, width, x, excess, confidence, r)
    # the steps
    squared = _direct(r, inverse, 0.0, width, p)
    for _ in range(cg_steps):
        if squared < 1e-20:
            break
        _scale(diagonal, p, width, q)
        for lo in range(0, n, _PIECE):
            if n > _PIECE:
                gathered = _weigh(value, alpha, lo, min(n, lo + _PIECE), excess, confidence)
                for j in range(0, gathered, 8):
                    _copy_eight(source, index[lo : lo + _PIECE], j, width, rows)
            _next_pass(rows, gathered, width, p, excess, q)
        step = squared / _dot(p, q, width)
        loss -= step * squared
        _move(step, p, q, width, x, r)
        before = squared
        squared = _weighted_square(r, inverse, width)
        _direct(r, inverse, squared / before, width, p)
    for f in range(0, width, 8):
        store(target, at + f, load(x, f))
    return loss


@jit
def _start(target: Float32s, at: int, width: int, diagonal: Float32s, x: Float32s, r: Float32s) -> float:
    """x from the target row, r = −D x; returns x·D x."""
    square = zero = fill(np.float32(0))
    minus = fill(np.float32(-1))
    for f in range(0, width, 8):
        own = load(target, at + f)
        scaled = fma(load(diagonal, f), own, zero)
        store(x, f, own)
        store(r, f, fma(scaled, minus, zero))
        square = fma(scaled, own, square)
    return float(total(square))


@jit
def _direct(r: Float32s, inverse: Float32s, ratio: float, width: int, p: Float32s) -> float:
    """p = D⁻¹ r + ratio · p, or without p where the ratio is 0; returns r·D⁻¹ r."""
    square = zero = fill(np.float32(0))
    share = fill(np.float32(ratio))
    for f in range(0, width, 8):
        residual = load(r, f)
        steep = fma(residual, load(inverse, f), zero)
        square = fma(steep, residual, square)
        store(p, f, fma(share, load(p, f), steep) if ratio != 0 else steep)
    return float(total(square))


@jit
def _weighted_square(r: Float32s, inverse: Float32s, width: int) -> float:
    square = zero = fill(np.float32(0))
    for f in range(0, width, 8):
        residual = load(r, f)
        square = fma(fma(residual, load(inverse, f), zero), residual, square)
    return float(total(square))


@jit
def _scale(diagonal: Float32s, p: Float32s, width: int, q: Float32s) -> None:
    zero = fill(np.float32(0))
    for f in range(0, width, 8):
        store(q, f, fma(load(diagonal, f), load(p, f), zero))


@jit
def _dot(p: Float32s, q: Float32s, width: int) -> float:
    product = fill(np.float32(0))
    for f in range(0, width, 8):
        product = fma(load(p, f), load(q, f), product)
    return float(total(product))


@jit
def _move(step: float, p: Float32s, q: Float32s, width: int, x: Float32s, r: Float32s) -> None:
    forth, back = fill(np.float32(step)), fill(np.float32(-step))
    for f in range(0, width, 8):
        store(x, f, fma(forth, load(p, f), load(x, f)))
        store(r, f, fma(back, load(q, f), load(r, f)))


@jit
def _weigh(value: Float32s, alpha: float, lo: int, hi: int, excess: Float32s, confidence: Float32s) -> int:
    """c and c − 1 of entries lo to hi, with zeros up to a multiple of eight entries; returns that multiple."""
    n = hi - lo
    for j in range(n):
        c = np.float32(alpha * (value[lo + j] if len(value) else 1.0))
        confidence[j] = c
        excess[j] = c - np.float32(1)
    padded = (n + 7) // 8 * 8
    for j in range(n, padded):
        confidence[j] = 0
        excess[j] = 0
    return padded


@jit
def _copy_eight(source: Float32s, index: Int32s, j: int, width: int, rows: Float32s) -> None:
    """Copy the factors of entries j to j + 8 side by side, zeros past the last; ask for the eight after them."""
    n = len(index)
    for i in range(j, min(n, j + 8)):
        if i + 8 < n:
            ahead = np.int64(index[i + 8]) * width
            for f in range(0, width, 16):
                prefetch(source, ahead + f)
        base = np.int64(index[i]) * width
        for f in range(0, width, 8):
            store(rows, i * width + f, load(source, base + f))
    zero = fill(np.float32(0))
    for f in range(max(j, n) * width, (j + 8) * width, 8):
        store(rows, f, zero)


@jit
def _dots(rows: Float32s, j: int, width: int, v: Float32s) -> object:
    """Lane i is row j + i times v."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = fill(np.float32(0))
    at = j * width
    for f in range(0, width, 8):
        part = load(v, f)
        a0 = fma(load(rows, at + f), part, a0)
        a1 = fma(load(rows, at + width + f), part, a1)
        a2 = fma(load(rows, at + 2 * width + f), part, a2)
        a3 = fma(load(rows, at + 3 * width + f), part, a3)
        a4 = fma(load(rows, at + 4 * width + f), part, a4)
        a5 = fma(load(rows, at + 5 * width + f), part, a5)
        a6 = fma(load(rows, at + 6 * width + f), part, a6)
        a7 = fma(load(rows, at + 7 * width + f), part, a7)
    return sums(a0, a1, a2, a3, a4, a5, a6, a7)


@jit
def _add_rows(rows: Float32s, j: int, width: int, amounts: Float32s, out: Float32s) -> None:
    """out += Σ_i amounts[i] · row j + i, for eight rows."""
    c0, c1, c2, c3 = spread(amounts, 0), spread(amounts, 1), spread(amounts, 2), spread(amounts, 3)
    c4, c5, c6, c7 = spread(amounts, 4), spread(amounts, 5), spread(amounts, 6), spread(amounts, 7)
    at = j * width
    for f in range(0, width, 8):
        even = fma(c0, load(rows, at + f), load(out, f))
        even = fma(c2, load(rows, at + 2 * width + f), even)
        even = fma(c4, load(rows, at + 4 * width + f), even)
        even = fma(c6, load(rows, at + 6 * width + f), even)
        even = fma(c1, load(rows, at + width + f), even)
        even = fma(c3, load(rows, at + 3 * width + f), even)
        even = fma(c5, load(rows, at + 5 * width + f), even)
        even = fma(c7, load(rows, at + 7 * width + f), even)
        store(out, f, even)


@jit
def _first_pass(
    source: Float32s,
    index: Int32s,
    rows: Float32s,
    n: int,
    width: int,
    x: Float32s,
    excess: Float32s,
    confidence: Float32s,
    r: Float32s,
) -> float:
    """Copy the rows y_j, and r += Σ_j (c_j − (c_j − 1) t_j) y_j with t_j = y_j·x.

    Returns Σ_j (c_j − 1) t_j² − 2 c_j t_j + c_j.
    """
    amounts = np.empty(8, np.float32)
    loss = zero = fill(np.float32(0))
    minus_two, minus_one = fill(np.float32(-2)), fill(np.float32(-1))
    for j in range(0, n, 8):
        _copy_eight(source, index, j, width, rows)
        t = _dots(rows, j, width, x)
        w, c = load(excess, j), load(confidence, j)
        weighed = fma(w, t, zero)
        store(amounts, 0, fma(weighed, minus_one, c))
        _add_rows(rows, j, width, amounts, r)
        loss = fma(loss, fill(np.float32(1)), fma(fma(c, minus_two, weighed), t, c))
    return float(total(loss))


@jit
def _next_pass(rows: Float32s, n: int, width: int, p: Float32s, excess: Float32s, q: Float32s) -> None:
    """q += Σ_j (c_j − 1) (y_j·p) y_j."""
    amounts = np.empty(8, np.float32)
    zero = fill(np.float32(0))
    for j in range(0, n, 8):
        store(amounts, 0, fma(load(excess, j), _dots(rows, j, width, p), zero))
        _add_rows(rows, j, width, amounts, q)
