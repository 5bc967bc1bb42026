"""Kernels on ranked lists: the popular list, unions of candidates, selection of the best."""

import numpy as np

from tonearm.kernels.best.keys import descending
from tonearm.kernels.best.search import place_of
from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.types import AnyArray, Float32s, Float64s, Int32s, Int64s


@jit_parallel
def first_unseen(order: Int32s, k: int, seen_indptr: Int64s, seen: Int32s) -> tuple[Int64s, Int32s]:
    """The first k items of one order that each row has not seen.

    order: (n,) int32; seen: ascending in each row.
    Returns indptr (b + 1,) int64 and items.
    """
    b = len(seen_indptr) - 1
    picked = np.empty((b, k), np.int32)
    indptr = np.zeros(b + 1, np.int64)
    for row in prange(b):
        n = 0
        for place in range(len(order)):
            if n == k:
                break
            if place_of(seen, seen_indptr[row], seen_indptr[row + 1], order[place]) < 0:
                picked[row, n] = order[place]
                n += 1
        indptr[row + 1] = n
    indptr = np.cumsum(indptr)
    return indptr, picked[np.arange(k) < np.diff(indptr)[:, None]]


@jit
def decayed_counts(
    start: Int64s, stop: Int64s, item: Int32s, time: Int32s, weight: Float32s, now: int, rate: float, n_items: int
) -> Float64s:
    """Sum of weight × exp(−rate × (now − time)) over the events of each item, (n_items,) float64; rate is per second.

    weight: (n,), or empty, which counts each event once
    """
    weighted = len(weight) > 0
    out = np.zeros(n_items, np.float64)
    for u in range(len(start)):
        for place in range(start[u], stop[u]):
            counted = np.exp(-rate * (now - time[place]))
            out[item[place]] += weight[place] * counted if weighted else counted
    return out


@jit
def window_counts(
    start: Int64s, stop: Int64s, item: Int32s, time: Int32s, weight: Float32s, since: Int64s, n_items: int
) -> Float64s:
    """Summed weight of each item's events at or after each of some moments; (n_windows, n_items) float64.

    weight: (n,), or empty, which counts each event once
    since: descends
    """
    weighted = len(weight) > 0
    out = np.zeros((len(since), n_items), np.float64)
    for u in range(len(start)):
        for place in range(stop[u] - 1, start[u] - 1, -1):
            if time[place] < since[-1]:
                break
            for w in range(len(since)):
                if time[place] >= since[w]:
                    out[w, item[place]] += weight[place] if weighted else 1
    return out


@jit_parallel
def union(indptrs: Int64s, offsets: Int64s, item: Int32s) -> tuple[Int64s, Int32s, AnyArray]:
    """Distinct items of each row over several lists, ascending, and the rank that each list gave them.

    indptrs: (n_lists, b + 1) int64, where each list's rows stand in its own part of `item`
    offsets: (n_lists,) int64, where each list's part begins
    Returns indptr (b + 1,) int64, items ascending in a row, and 1-based ranks (n, n_lists) int16, 0 where absent.
    """
    n_lists, b = indptrs.shape[0], indptrs.shape[1] - 1
    room = np.zeros(b + 1, np.int64)
    for which in range(n_lists):
        room += indptrs[which]
    keys = np.empty(room[-1], np.int64)  # item, then list, then place there: one sort finds all three
    indptr = np.zeros(b + 1, np.int64)
    for row in prange(b):
        own = keys[room[row] : room[row + 1]]
        n = 0
        for which in range(n_lists):
            first = offsets[which] + indptrs[which, row]
            for j in range(indptrs[which, row + 1] - indptrs[which, row]):
                own[n] = (np.int64(item[first + j]) << 32) | (which << 16) | min(j + 1, 32767)
                n += 1
        own.sort()
        for a in range(n):
            indptr[row + 1] += a == 0 or own[a] >> 32 != own[a - 1] >> 32
    indptr = np.cumsum(indptr)
    out = np.empty(indptr[-1], np.int32)
    ranks = np.zeros((indptr[-1], n_lists), np.int16)
    for row in prange(b):
        at = indptr[row] - 1
        for a in range(room[row], room[row + 1]):
            if a == room[row] or keys[a] >> 32 != keys[a - 1] >> 32:
                at += 1
                out[at] = keys[a] >> 32
            ranks[at, (keys[a] >> 16) & 0xFFFF] = keys[a] & 0xFFFF
    return indptr, out, ranks


@jit
def first_of_rows(indptr: Int64s, item: Int32s, value: Float32s, size: int) -> tuple[Int64s, Int32s, Float32s]:
    """The first `size` entries of each row."""
    out_indptr = np.zeros(len(indptr), np.int64)
    for i in range(len(indptr) - 1):
        out_indptr[i + 1] = out_indptr[i] + min(size, indptr[i + 1] - indptr[i])
    out_item, out_value = np.empty(out_indptr[-1], np.int32), np.empty(out_indptr[-1], np.float32)
    for i in range(len(indptr) - 1):
        for a in range(out_indptr[i + 1] - out_indptr[i]):
            out_item[out_indptr[i] + a], out_value[out_indptr[i] + a] = item[indptr[i] + a], value[indptr[i] + a]
    return out_indptr, out_item, out_value


@jit_parallel
def best_of_rows(indptr: Int64s, item: Int32s, score: Float32s, k: int) -> tuple[Int64s, Int32s, Float32s, Int64s]:
    """The k best of each row, by score, then ascending item.

    item: ascending in each row; score: (n,) float32 without NaN.
    Returns indptr (b + 1,) int64, item, score, and the place of each in the input.
    """
    b = len(indptr) - 1
    out_indptr = np.zeros(b + 1, np.int64)
    out_indptr[1:] = np.cumsum(np.minimum(k, np.diff(indptr)))
    out_item = np.empty(out_indptr[-1], np.int32)
    out_score = np.empty(out_indptr[-1], np.float32)
    out_place = np.empty(out_indptr[-1], np.int64)
    for row in prange(b):
        lo = indptr[row]
        order = descending(score[lo : indptr[row + 1]])
        for j in range(out_indptr[row + 1] - out_indptr[row]):
            place = lo + order[j]
            at = out_indptr[row] + j
            out_item[at] = item[place]
            out_score[at] = score[place]
            out_place[at] = place
    return out_indptr, out_item, out_score, out_place
