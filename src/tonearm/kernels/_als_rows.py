"""The inner loops of ALS: every row of one side solved against the held factors of the other."""

import numpy as np

from tonearm.kernels._jit import jit, jit_parallel, prange
from tonearm.kernels._simd import fill, fma, load, spread, store, sums, take_next, total
from tonearm.types import Float32s, Float64s, Int32s, Int64s

_PIECE = 32_768
"""Rows longer than this are gathered anew for each pass, so that the workspace stays small."""


def plan(indptr: Int64s) -> tuple[Int32s, Int64s]:
    """Share out the rows: long ones first, longest first and each a task; the rest in order, many to a task.

    Rows without events are left out. Returns the rows (n,) int32 and where each task begins (n_tasks + 1,) int64.
    """
    lengths = np.diff(indptr)
    long = np.flatnonzero(lengths > 2048)
    long = long[np.argsort(-lengths[long], kind="stable")]
    short = np.flatnonzero((lengths > 0) & (lengths <= 2048))
    cost = np.concatenate(([0], np.cumsum(lengths[short] + 8)))
    cuts = np.searchsorted(cost, np.arange(0, cost[-1], 8192))
    bounds = np.concatenate((np.arange(len(long)), len(long) + np.unique(np.append(cuts, len(short)))))
    return np.concatenate((long, short)).astype(np.int32), bounds.astype(np.int64)


@jit_parallel
def sum_rows(
    threads: int,
    order: Int32s,
    bounds: Int64s,
    indptr: Int64s,
    index: Int32s,
    held: Float32s,
    out: Float32s,
    losses: Float64s,
) -> None:
    """The exact solution when all confidences are 1, in the basis where the common matrix is the identity: Σ_i y_i.

    Writes `out` (n_rows, w) and each row's part of the objective, n − |x|².
    """
    width = held.shape[1]
    source, target = held.ravel(), out.ravel()
    counter = np.zeros(1, np.int64)
    for _ in prange(threads):
        while True:
            task = take_next(counter)
            if task >= len(bounds) - 1:
                break
            for place in range(bounds[task], bounds[task + 1]):
                row = order[place]
                _sum_row(source, index, indptr[row], indptr[row + 1], width, target, row * width)
                square = 0.0
                for f in range(row * width, row * width + width):
                    square += np.float64(target[f]) * np.float64(target[f])
                losses[row] = indptr[row + 1] - indptr[row] - square


@jit
def _sum_row(source: Float32s, index: Int32s, lo: int, hi: int, width: int, target: Float32s, at: int) -> None:
    zero = fill(np.float32(0))
    one = fill(np.float32(1))
    for f in range(0, width, 32):
        if f + 32 <= width:
            a0 = a1 = a2 = a3 = zero
            for e in range(lo, hi):
                base = np.int64(index[e]) * width + f
                a0 = fma(load(source, base), one, a0)
                a1 = fma(load(source, base + 8), one, a1)
                a2 = fma(load(source, base + 16), one, a2)
                a3 = fma(load(source, base + 24), one, a3)
            store(target, at + f, a0)
            store(target, at + f + 8, a1)
            store(target, at + f + 16, a2)
            store(target, at + f + 24, a3)
        else:
            for g in range(f, width, 8):
                a0 = zero
                for e in range(lo, hi):
                    a0 = fma(load(source, np.int64(index[e]) * width + g), one, a0)
                store(target, at + g, a0)


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
    longest = 8
    for row in range(len(indptr) - 1):
        longest = max(longest, indptr[row + 1] - indptr[row])
    capacity = (min(longest, _PIECE) + 7) // 8 * 8
    counter = np.zeros(1, np.int64)
    for _ in prange(threads):
        rows = np.zeros(capacity * width, np.float32)
        excess = np.zeros(capacity, np.float32)
        confidence = np.zeros(capacity, np.float32)
        state = np.ones((5, width), np.float32)
        while True:
            task = take_next(counter)
            if task >= len(bounds) - 1:
                break
            for place in range(bounds[task], bounds[task + 1]):
                row = order[place]
                if len(penalty):
                    for f in range(width):
                        own = np.float32((spectrum[f] + penalty[row]) / (spectrum[f] + common_penalty))
                        state[4, f] = own
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
    x, r, p, q, diagonal = state[0], state[1], state[2], state[3], state[4]
    loss = 0.0
    for f in range(width):
        x[f] = target[at + f]
        r[f] = -diagonal[f] * x[f]
        loss += np.float64(diagonal[f]) * np.float64(x[f]) * np.float64(x[f])
    gathered = 0
    for lo in range(0, n, _PIECE):
        gathered = _gather(source, index, value, alpha, lo, min(n, lo + _PIECE), width, rows, excess, confidence)
        loss += _first_pass(rows, gathered, width, x, excess, confidence, r)
    squared = 0.0
    for f in range(width):
        p[f] = r[f] / diagonal[f]
        squared += r[f] * p[f]
    for _ in range(cg_steps):
        if squared < 1e-20:
            break
        for f in range(width):
            q[f] = diagonal[f] * p[f]
        for lo in range(0, n, _PIECE):
            if n > _PIECE:
                gathered = _gather(
                    source, index, value, alpha, lo, min(n, lo + _PIECE), width, rows, excess, confidence
                )
            _next_pass(rows, gathered, width, p, excess, q)
        curvature = 0.0
        for f in range(width):
            curvature += p[f] * q[f]
        step = np.float32(squared / curvature)
        loss -= float(step) * squared
        before = squared
        squared = 0.0
        for f in range(width):
            x[f] += step * p[f]
            r[f] -= step * q[f]
            squared += r[f] * r[f] / diagonal[f]
        ratio = np.float32(squared / before)
        for f in range(width):
            p[f] = r[f] / diagonal[f] + ratio * p[f]
    for f in range(width):
        target[at + f] = x[f]
    return loss


@jit
def _gather(
    source: Float32s,
    index: Int32s,
    value: Float32s,
    alpha: float,
    lo: int,
    hi: int,
    width: int,
    rows: Float32s,
    excess: Float32s,
    confidence: Float32s,
) -> int:
    """Copy the factors of entries lo to hi side by side, padded with zeros to a multiple of eight entries."""
    n = hi - lo
    for j in range(n):
        base = np.int64(index[lo + j]) * width
        for f in range(0, width, 8):
            store(rows, j * width + f, load(source, base + f))
        c = np.float32(alpha * (value[lo + j] if len(value) else 1.0))
        confidence[j] = c
        excess[j] = c - np.float32(1)
    padded = (n + 7) // 8 * 8
    for j in range(n, padded):
        for f in range(width):
            rows[j * width + f] = 0
        confidence[j] = 0
        excess[j] = 0
    return padded


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
    rows: Float32s, n: int, width: int, x: Float32s, excess: Float32s, confidence: Float32s, r: Float32s
) -> float:
    """r += Σ_j (c_j − (c_j − 1) t_j) y_j with t_j = y_j·x; returns Σ_j (c_j − 1) t_j² − 2 c_j t_j + c_j."""
    amounts = np.empty(8, np.float32)
    minus_two, minus_one = fill(np.float32(-2)), fill(np.float32(-1))
    loss = 0.0
    for j in range(0, n, 8):
        t = _dots(rows, j, width, x)
        w, c = load(excess, j), load(confidence, j)
        pull = fma(fma(w, t, fill(np.float32(0))), minus_one, c)
        store(amounts, 0, pull)
        _add_rows(rows, j, width, amounts, r)
        loss += np.float64(total(fma(fma(w, t, fma(c, minus_two, fill(np.float32(0)))), t, c)))
    return loss


@jit
def _next_pass(rows: Float32s, n: int, width: int, p: Float32s, excess: Float32s, q: Float32s) -> None:
    """q += Σ_j (c_j − 1) (y_j·p) y_j."""
    amounts = np.empty(8, np.float32)
    for j in range(0, n, 8):
        store(amounts, 0, fma(load(excess, j), _dots(rows, j, width, p), fill(np.float32(0))))
        _add_rows(rows, j, width, amounts, q)
