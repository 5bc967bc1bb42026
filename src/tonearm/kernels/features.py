"""Kernels of the features: per-user scaling of scores, and what a user's history says of a candidate."""

import numpy as np

from tonearm.kernels._jit import jit, jit_parallel, prange
from tonearm.types import Float32s, Int32s, Int64s


@jit_parallel
def standardize(indptr: Int64s, scores: Float32s) -> Float32s:
    """(score − mean) / standard deviation within each row, by column; (n, n_columns) float32.

    NaN scores take the row's least score; a constant column becomes 0.
    """
    out = np.zeros(scores.shape, np.float32)
    for row in prange(len(indptr) - 1):
        lo, hi = indptr[row], indptr[row + 1]
        for column in range(scores.shape[1]):
            least, known = np.inf, 0
            for c in range(lo, hi):
                if not np.isnan(scores[c, column]):
                    known += 1
                    least = min(least, scores[c, column])
            if known == 0:
                continue
            total, squares = 0.0, 0.0
            for c in range(lo, hi):
                value = np.float64(scores[c, column])
                if np.isnan(value):
                    value = least
                total += value
                squares += value * value
            mean = total / (hi - lo)
            spread = squares / (hi - lo) - mean * mean
            if spread <= 1e-12 * (squares / (hi - lo)) or spread <= 0:
                continue
            scale = 1 / np.sqrt(spread)
            for c in range(lo, hi):
                value = np.float64(scores[c, column])
                if np.isnan(value):
                    value = least
                out[c, column] = (value - mean) * scale
    return out


@jit_parallel
def tag_affinity(
    indptr: Int64s,
    item: Int32s,
    plays: Float32s,
    last: Int32s,
    now: int,
    tag_indptr: Int64s,
    tag: Int32s,
    n_tags: int,
    candidate_indptr: Int64s,
    candidate: Int32s,
) -> Float32s:
    """What the history says of each candidate's tags; (n_candidates, 3) float32.

    Columns, each the greatest over the candidate's tags: plays of items with the tag; distinct items with it; and
    −days since the latest such play (NaN where there is none, or `last` is empty). The candidate itself, where it
    stands in the history, is left out of its own counts.
    """
    timed = len(last) > 0
    out = np.empty((len(candidate), 3), np.float32)
    n_blocks = min(len(indptr) - 1, 16)
    for block in prange(n_blocks):
        played = np.zeros(n_tags, np.float32)
        items = np.zeros(n_tags, np.float32)
        latest = np.full(n_tags, np.iinfo(np.int32).min, np.int32)
        for row in range(block, len(indptr) - 1, n_blocks):
            for a in range(indptr[row], indptr[row + 1]):
                for t in range(tag_indptr[item[a]], tag_indptr[item[a] + 1]):
                    played[tag[t]] += plays[a]
                    items[tag[t]] += 1
                    if timed:
                        latest[tag[t]] = max(latest[tag[t]], last[a])
            for c in range(candidate_indptr[row], candidate_indptr[row + 1]):
                own = _plays_of(item, plays, indptr[row], indptr[row + 1], candidate[c])
                most, distinct, when = np.float32(0), np.float32(0), np.iinfo(np.int32).min
                for t in range(tag_indptr[candidate[c]], tag_indptr[candidate[c] + 1]):
                    most = max(most, played[tag[t]] - own)
                    distinct = max(distinct, items[tag[t]] - (1 if own > 0 else 0))
                    when = max(when, latest[tag[t]])
                out[c, 0], out[c, 1] = most, distinct
                out[c, 2] = (when - now) / 86400 if when > np.iinfo(np.int32).min else np.nan
            for a in range(indptr[row], indptr[row + 1]):
                for t in range(tag_indptr[item[a]], tag_indptr[item[a] + 1]):
                    played[tag[t]] = 0
                    items[tag[t]] = 0
                    latest[tag[t]] = np.iinfo(np.int32).min
    return out


@jit
def _plays_of(item: Int32s, plays: Float32s, lo: int, hi: int, wanted: int) -> np.float32:
    end = hi
    while lo < hi:
        middle = (lo + hi) >> 1
        if item[middle] < wanted:
            lo = middle + 1
        else:
            hi = middle
    return plays[lo] if lo < end and item[lo] == wanted else np.float32(0)


@jit_parallel
def own_history(
    indptr: Int64s,
    item: Int32s,
    plays: Float32s,
    last: Int32s,
    now: int,
    candidate_indptr: Int64s,
    candidate: Int32s,
) -> Float32s:
    """The user's own plays of each candidate and −days since the last of them; (n_candidates, 2) float32.

    Never played: 0 and NaN. `last` may be empty.
    """
    timed = len(last) > 0
    out = np.empty((len(candidate), 2), np.float32)
    for row in prange(len(indptr) - 1):
        for c in range(candidate_indptr[row], candidate_indptr[row + 1]):
            lo, hi = indptr[row], indptr[row + 1]
            while lo < hi:
                middle = (lo + hi) >> 1
                if item[middle] < candidate[c]:
                    lo = middle + 1
                else:
                    hi = middle
            known = lo < indptr[row + 1] and item[lo] == candidate[c]
            out[c, 0] = plays[lo] if known else 0
            out[c, 1] = (last[lo] - now) / 86400 if known and timed else np.nan
    return out


@jit
def item_times(start: Int64s, stop: Int64s, item: Int32s, time: Int32s, n_items: int) -> tuple[Int32s, Int32s]:
    """First and last time of each item, (n_items,) int32; 0 and 0 for an item without events."""
    first = np.zeros(n_items, np.int32)
    last = np.zeros(n_items, np.int32)
    known = np.zeros(n_items, np.bool_)
    for u in range(len(start)):
        for place in range(start[u], stop[u]):
            i = item[place]
            if not known[i]:
                known[i] = True
                first[i] = last[i] = time[place]
            else:
                first[i] = min(first[i], time[place])
                last[i] = max(last[i], time[place])
    return first, last
