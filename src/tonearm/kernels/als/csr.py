"""Sparse matrices by rows: the history of every user, the listeners of every item."""

from dataclasses import dataclass

import numba
import numpy as np

from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.simd import fma1, take_next
from tonearm.kernels.machine.tile import LONGEST, WIDE, add_scaled, no_strip, prefetch_strip, store_tile
from tonearm.types import Float32s, Int32s, Int64s


@dataclass(frozen=True)
class Csr:
    """A sparse matrix by rows.

    indptr: (n_rows + 1,) int64
    index: (n_entries,) int32, the columns of each row
    value: (n_entries,) float32, or None where every entry is 1
    n_columns: how many columns there are
    """

    indptr: Int64s
    index: Int32s
    value: Float32s | None
    n_columns: int

    @property
    def n_rows(self) -> int:
        return len(self.indptr) - 1


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


def multiply(matrix: Csr, held: Float32s, out: Float32s) -> None:
    """out = matrix @ held, but for the rows of `out` without an entry, which stay as they are.

    held: (n_columns, w), out: (n_rows, w) float32, both C-contiguous; fastest where w is a multiple of sixteen
    """
    value = matrix.value if matrix.value is not None else np.empty(0, np.float32)
    _sum_rows(numba.get_num_threads(), *plan(matrix.indptr), matrix.indptr, matrix.index, value, held, out)


@jit_parallel
def _sum_rows(
    threads: int,
    order: Int32s,
    bounds: Int64s,
    indptr: Int64s,
    index: Int32s,
    value: Float32s,
    held: Float32s,
    out: Float32s,
) -> None:
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
                _sum_row(source, index, value, indptr[row], indptr[row + 1], width, target, row * width)


@jit
def _sum_row(
    source: Float32s, index: Int32s, value: Float32s, lo: int, hi: int, width: int, target: Float32s, at: int
) -> None:
    """The sum of some rows, as many features at a time as registers hold."""
    f = 0
    while f + LONGEST <= width:
        _sum_strip(no_strip(LONGEST), source, index, value, lo, hi, width, f, target, at)
        f += LONGEST
    if f + 128 <= width:
        _sum_strip(no_strip(128), source, index, value, lo, hi, width, f, target, at)
        f += 128
    if f + 96 <= width:
        _sum_strip(no_strip(96), source, index, value, lo, hi, width, f, target, at)
        f += 96
    if f + 64 <= width:
        _sum_strip(no_strip(64), source, index, value, lo, hi, width, f, target, at)
        f += 64
    if f + 32 <= width:
        _sum_strip(no_strip(32), source, index, value, lo, hi, width, f, target, at)
        f += 32
    if f + 16 <= width:
        _sum_strip(no_strip(16), source, index, value, lo, hi, width, f, target, at)
        f += 16
    for g in range(f, width):
        total = np.float32(0)
        for e in range(lo, hi):
            total = fma1(source[np.int64(index[e]) * width + g], value[e] if len(value) else np.float32(1), total)
        target[at + g] = total


@jit
def _sum_strip(
    sums: object,
    source: Float32s,
    index: Int32s,
    value: Float32s,
    lo: int,
    hi: int,
    width: int,
    f: int,
    target: Float32s,
    at: int,
) -> None:
    """Some features from f on, as many as `sums` holds."""
    for e in range(lo, hi):
        soon = np.int64(index[min(e + 8, hi - 1)]) * width + f
        prefetch_strip(sums, source, soon)
        v = value[e] if len(value) else np.float32(1)
        sums = add_scaled(sums, source, np.int64(index[e]) * width + f, v)
    store_tile(target, at + f, WIDE, sums)


def transpose_csr(matrix: Csr) -> Csr:
    """The same matrix by columns; rows ascend within each column."""
    value = matrix.value if matrix.value is not None else np.empty(0, np.float32)
    indptr, index, moved = _transpose(matrix.indptr, matrix.index, value, matrix.n_columns)
    return Csr(indptr, index, moved if matrix.value is not None else None, matrix.n_rows)


@jit
def count_after(index: Int32s, n: int) -> Int64s:
    """How many entries have each index, one place later; (n + 1,) int64."""
    counts = np.zeros(n + 1, np.int64)
    for e in range(len(index)):
        counts[index[e] + 1] += 1
    return counts


@jit_parallel
def _transpose(indptr: Int64s, index: Int32s, value: Float32s, n_columns: int) -> tuple[Int64s, Int32s, Float32s]:
    """Counting sort; each part of the columns is written by one thread, which reads all rows."""
    starts = np.cumsum(count_after(index, n_columns))
    place = starts.copy()
    rows = np.empty(len(index), np.int32)
    moved = np.empty(len(value), np.float32)
    parts = 8
    for part in prange(parts):
        # Cut where the entries, not the columns, divide evenly: popular items sit together in many catalogues.
        lo = np.searchsorted(starts, len(index) * part // parts)
        hi = np.searchsorted(starts, len(index) * (part + 1) // parts) if part < parts - 1 else n_columns
        for r in range(len(indptr) - 1):
            for e in range(indptr[r], indptr[r + 1]):
                c = index[e]
                if lo <= c < hi:
                    rows[place[c]] = r
                    if len(value):
                        moved[place[c]] = value[e]
                    place[c] += 1
    return starts, rows, moved
