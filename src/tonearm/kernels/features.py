"""Kernels of the features: per-user scaling of scores, and what a user's history says of a candidate."""

import numpy as np

from tonearm.kernels.best.search import place_of
from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.types import Float32s, Int32s, Int64s

NEVER = -(2**31)
"""The time of what did not happen; earlier than any event."""

LATEST, ITEM, SECOND = 0, 1, 2
"""Of a label the time of its latest play, the item of that, and the latest time of a play of another item."""


@jit_parallel
def standardize(indptr: Int64s, scores: Float32s) -> Float32s:
    """(score − mean) / standard deviation within each row, by column; (n, n_columns) float32.

    NaN scores take the row's least score; a constant column becomes 0.
    """
    out = np.zeros(scores.shape, np.float32)
    for row in prange(len(indptr) - 1):
        lo, hi = indptr[row], indptr[row + 1]
        for column in range(scores.shape[1]):
            least, greatest = np.inf, -np.inf
            for c in range(lo, hi):
                if not np.isnan(scores[c, column]):
                    least, greatest = min(least, scores[c, column]), max(greatest, scores[c, column])
            if not least < greatest:
                continue
            total, squares = 0.0, 0.0
            for c in range(lo, hi):
                total += _known(scores[c, column], least)
            mean = total / (hi - lo)
            for c in range(lo, hi):
                squares += (_known(scores[c, column], least) - mean) ** 2
            scale = 1 / np.sqrt(squares / (hi - lo))
            for c in range(lo, hi):
                out[c, column] = (_known(scores[c, column], least) - mean) * scale
    return out


@jit
def _known(score: float, otherwise: float) -> float:
    return otherwise if np.isnan(score) else score


@jit_parallel
def place_known(
    indptr: Int64s,
    item: Int32s,
    scores: Float32s,
    z: Float32s,
    of_item: Float32s,
    of_user: Float32s,
    out: Float32s,
) -> None:
    """Write the first columns of each candidate's row, a row of the block at a time.

    They are, of each source, score and z; what is known of the item; what is known of the user.

    scores, z: (n, n_sources); of_item: (n_items, a); of_user: (b, c); out: (n, ≥ 2 n_sources + a + c), best column by
    column
    """
    n_sources, a, c = scores.shape[1], of_item.shape[1], of_user.shape[1]
    at = 2 * n_sources
    for row in prange(len(indptr) - 1):
        lo, hi = indptr[row], indptr[row + 1]
        for s in range(n_sources):
            for place in range(lo, hi):
                out[place, 2 * s] = scores[place, s]
                out[place, 2 * s + 1] = z[place, s]
        for place in range(lo, hi):
            for f in range(a):
                out[place, at + f] = of_item[item[place], f]
        for f in range(c):
            for place in range(lo, hi):
                out[place, at + a + f] = of_user[row, f]


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
    stands in the history, takes part in none of them.
    """
    timed = len(last) > 0
    out = np.empty((len(candidate), 3), np.float32)
    n_blocks = min(len(indptr) - 1, 16)
    for block in prange(n_blocks):
        # what is known of a tag stands in one place
        sums = np.zeros((n_tags, 2))
        times = np.full((n_tags, 4), NEVER, np.int32)
        times[:, ITEM] = -1
        for row in range(block, len(indptr) - 1, n_blocks):
            for a in range(indptr[row], indptr[row + 1]):
                for t in range(tag_indptr[item[a]], tag_indptr[item[a] + 1]):
                    total, when_of = sums[tag[t]], times[tag[t]]
                    total[0] += plays[a]
                    total[1] += 1
                    if timed and last[a] > when_of[LATEST]:
                        when_of[SECOND] = when_of[LATEST]
                        when_of[LATEST], when_of[ITEM] = last[a], item[a]
                    elif timed:
                        when_of[SECOND] = max(when_of[SECOND], last[a])
            for c in range(candidate_indptr[row], candidate_indptr[row + 1]):
                own = place_of(item, indptr[row], indptr[row + 1], candidate[c])
                own_plays = np.float64(plays[own]) if own >= 0 else 0.0
                most, distinct, when = 0.0, 0.0, NEVER
                for t in range(tag_indptr[candidate[c]], tag_indptr[candidate[c] + 1]):
                    total, when_of = sums[tag[t]], times[tag[t]]
                    most = max(most, total[0] - own_plays)
                    distinct = max(distinct, total[1] - (own >= 0))
                    when = max(when, when_of[SECOND] if when_of[ITEM] == candidate[c] else when_of[LATEST])
                out[c, 0], out[c, 1] = most, distinct
                out[c, 2] = (when - now) / 86400 if when > NEVER else np.nan
            for a in range(indptr[row], indptr[row + 1]):
                for t in range(tag_indptr[item[a]], tag_indptr[item[a] + 1]):
                    sums[tag[t]] = 0
                    times[tag[t], LATEST] = times[tag[t], SECOND] = NEVER
                    times[tag[t], ITEM] = -1
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
