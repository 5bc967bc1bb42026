"""Kernels of repeats: what a user's own plays of an item say of the next one."""

import numpy as np

from tonearm.kernels.best.keys import ascending
from tonearm.kernels.best.search import place_of
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.types import Float32s, Int32s, Int64s

DAY = 86_400


@jit_parallel
def activation(
    start: Int64s,
    stop: Int64s,
    item: Int32s,
    time: Int32s,
    weight: Float32s,
    indptr: Int64s,
    pair_item: Int32s,
    now: int,
    decay: float,
) -> Float32s:
    """Σ over the plays of each pair of weight · (1 + days since)^−decay, (n_pairs,) float32.

    start, stop, item, time, weight: a log; without time or weights these are empty, which counts each as 0 days or 1
    indptr, pair_item: its pairs, items ascending in a row
    """
    out = np.zeros(len(pair_item), np.float32)
    for row in prange(len(start)):
        total = np.zeros(indptr[row + 1] - indptr[row])
        for e in range(start[row], stop[row]):
            days = (now - time[e]) / DAY if len(time) > 0 else 0.0
            value = weight[e] if len(weight) > 0 else 1.0
            own = place_of(pair_item, indptr[row], indptr[row + 1], item[e])
            total[own - indptr[row]] += value * (1 + days) ** -decay
        for pair in range(len(total)):
            out[indptr[row] + pair] = total[pair]
    return out


@jit_parallel
def rhythm(
    start: Int64s, stop: Int64s, item: Int32s, time: Int32s, indptr: Int64s, pair_item: Int32s
) -> tuple[Float32s, Float32s]:
    """On how many days each pair was played, the number of days with any play of its user, and gaps between them.

    Returns counts (n_pairs, 2) float32: the days of the pair, and of its user; and gaps (n_pairs, 2) float32 in days:
    mean and median of the gaps between the pair's days, NaN where it has only one.
    """
    counts = np.zeros((len(pair_item), 2), np.float32)
    gaps = np.full((len(pair_item), 2), np.nan, np.float32)
    for row in prange(len(start)):
        lo, hi = start[row], stop[row]
        day = np.empty(hi - lo, np.int64)
        user_days = 0
        for e in range(hi - lo):
            day[e] = time[lo + e] // DAY
            if e == 0 or day[e] != day[e - 1]:
                user_days += 1
        order = ascending(item[lo:hi])
        at = 0
        for pair in range(indptr[row], indptr[row + 1]):
            between = np.empty(hi - lo, np.float64)
            n, first, last = 0, np.int64(0), np.int64(0)
            while at < hi - lo and item[lo + order[at]] == pair_item[pair]:
                when = day[order[at]]
                if n == 0:
                    first = when
                elif when != last:
                    between[n - 1] = when - last
                if n == 0 or when != last:
                    n += 1
                last = when
                at += 1
            counts[pair, 0], counts[pair, 1] = n, user_days
            if n > 1:
                gaps[pair, 0] = (last - first) / (n - 1)
                gaps[pair, 1] = np.median(between[: n - 1])
    return counts, gaps


@jit_parallel
def place_in_history(indptr: Int64s, item: Int32s, candidate_indptr: Int64s, candidate: Int32s) -> Int64s:
    """The pair that each candidate is of in its user's history, −1 where the user never played it; (n,) int64."""
    out = np.empty(len(candidate), np.int64)
    for row in prange(len(indptr) - 1):
        for c in range(candidate_indptr[row], candidate_indptr[row + 1]):
            out[c] = place_of(item, indptr[row], indptr[row + 1], candidate[c])
    return out
