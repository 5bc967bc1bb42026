"""Kernels on events: look ids up, order, cut and sum the log."""

import numpy as np

from tonearm.kernels.best.search import first_from, place_of
from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.types import AnyArray, Float32s, Float64s, Int32s, Int64s


@jit_parallel
def look_up(values: AnyArray, table: Int32s, least: int) -> Int32s:
    """table[value − least] for each value, −1 outside the table; (n,) int32."""
    out = np.empty(len(values), np.int32)
    for i in prange(len(values)):
        place = np.int64(values[i]) - least
        out[i] = table[place] if 0 <= place < len(table) else -1
    return out


@jit_parallel
def search(values: AnyArray, ids: Int64s) -> Int32s:
    """The place of each value in ascending ids, −1 where it is missing; (n,) int32."""
    out = np.empty(len(values), np.int32)
    for i in prange(len(values)):
        out[i] = place_of(ids, 0, len(ids), np.int64(values[i]))
    return out


@jit
def tally(values: Int64s, time: Int32s, cut: int, least: int, counts: Int32s) -> int:
    """Add each value to counts[value − least, 0], or [.., 1] where its time is at or after the cut.

    values: (n,); time: (n,) or empty, then all count as before the cut
    counts: (m, 2) int32, added to; returns how many values have no place in it.
    """
    timed = len(time) > 0
    misplaced = 0
    for i in range(len(values)):
        place = values[i] - least
        if place < 0 or place >= len(counts):
            misplaced += 1
        else:
            counts[place, 1 if timed and time[i] >= cut else 0] += 1
    return misplaced


@jit
def scatter(
    user: Int32s,
    item: Int32s,
    time: Int32s,
    cursor: Int64s,
    stop: Int64s,
    key: Int64s,
    weight: Float32s,
    out: Float32s,
) -> int:
    """Put each event into its user's next free place of `key`; returns how many found no place left.

    user, item, time: (n,) int32; an event with a negative user or item is skipped. Where time is empty it counts as 0.
    cursor: (n_users,) int64, next free place, moved on
    stop: (n_users,) int64, the end of each user's places
    key: (n_events,) int64, time in the high half and item in the low one
    weight: (n,) float32 or empty; goes to `out` at the same places
    """
    timed, weighted = len(time) > 0, len(weight) > 0
    overflow = 0
    for i in range(len(user)):
        u = user[i]
        if u < 0 or item[i] < 0:
            continue
        place = cursor[u]
        if place == stop[u]:
            overflow += 1
            continue
        cursor[u] = place + 1
        moment = np.int64(time[i]) if timed else np.int64(0)
        key[place] = (moment << 32) | np.int64(item[i])
        if weighted:
            out[place] = weight[i]
    return overflow


def order(start: Int64s, stop: Int64s, key: Int64s, weight: Float32s) -> None:
    """Sort each user's events by time, then item, then weight, in place; `weight` may be empty."""
    if len(weight) > 0:
        _order_weighted(start, stop, key, weight)
    else:
        _order(start, stop, key)


@jit_parallel
def _order(start: Int64s, stop: Int64s, key: Int64s) -> None:
    for u in prange(len(start)):
        key[start[u] : stop[u]].sort()


@jit_parallel
def _order_weighted(start: Int64s, stop: Int64s, key: Int64s, weight: Float32s) -> None:
    for u in prange(len(start)):
        lo, hi = start[u], stop[u]
        by_weight = np.argsort(weight[lo:hi], kind="mergesort")
        keys, weights = key[lo:hi][by_weight], weight[lo:hi][by_weight]
        by_key = np.argsort(keys, kind="mergesort")
        key[lo:hi] = keys[by_key]
        weight[lo:hi] = weights[by_key]


@jit
def _repeats_last(key: Int64s, weight: Float32s, place: int, lo: int) -> bool:
    """Whether the event at a place equals the one before it in its user's ordered events, which begin at lo."""
    if place == lo or key[place] != key[place - 1]:
        return False
    return len(weight) == 0 or weight[place] == weight[place - 1]


@jit_parallel
def count_distinct(start: Int64s, stop: Int64s, key: Int64s, weight: Float32s) -> Int64s:
    """Distinct events (time, item and weight, which may be empty) of each user in ordered keys; (n_users,) int64."""
    distinct = np.zeros(len(start), np.int64)
    for u in prange(len(start)):
        n = 0
        for place in range(start[u], stop[u]):
            if not _repeats_last(key, weight, place, start[u]):
                n += 1
        distinct[u] = n
    return distinct


@jit_parallel
def unpack(
    start: Int64s, stop: Int64s, key: Int64s, weight: Float32s, indptr: Int64s, drop_repeats: bool, timed: bool
) -> tuple[Int32s, Int32s, Float32s]:
    """Split ordered keys into items and times, leaving exact repeats out if asked.

    indptr: (n_users + 1,) int64, where each user's kept events go
    Returns item, time (empty unless timed), weight (empty if it was), each (indptr[-1],).
    """
    weighted = len(weight) > 0
    item = np.empty(indptr[-1], np.int32)
    time = np.empty(indptr[-1] if timed else 0, np.int32)
    out_weight = np.empty(indptr[-1] if weighted else 0, np.float32)
    for u in prange(len(start)):
        n = indptr[u]
        for place in range(start[u], stop[u]):
            if drop_repeats and _repeats_last(key, weight, place, start[u]):
                continue
            item[n] = np.int32(key[place] & 0x7FFFFFFF)
            if timed:
                time[n] = np.int32(key[place] >> 32)
            if weighted:
                out_weight[n] = weight[place]
            n += 1
    return item, time, out_weight


@jit_parallel
def cut(start: Int64s, stop: Int64s, time: Int32s, cutoff: int) -> Int64s:
    """For each user the first position whose time is at or after the cutoff; (n_users,) int64."""
    out = np.empty(len(start), np.int64)
    for u in prange(len(start)):
        out[u] = first_from(time, start[u], stop[u], cutoff)
    return out


@jit
def item_counts(start: Int64s, stop: Int64s, item: Int32s, n_items: int) -> tuple[Int64s, Int64s]:
    """Events and distinct users of each item, each (n_items,) int64."""
    plays, users = np.zeros(n_items, np.int64), np.zeros(n_items, np.int64)
    latest = np.full(n_items, -1, np.int32)
    for u in range(len(start)):
        for place in range(start[u], stop[u]):
            i = item[place]
            plays[i] += 1
            if latest[i] != u:
                latest[i] = u
                users[i] += 1
    return plays, users


@jit
def item_weights(start: Int64s, stop: Int64s, item: Int32s, weight: Float32s, n_items: int) -> tuple[Float64s, bool]:
    """Summed weight of each item's events, (n_items,) float64, and whether every one of them is a whole number."""
    total, whole = np.zeros(n_items, np.float64), True
    for u in range(len(start)):
        for place in range(start[u], stop[u]):
            total[item[place]] += weight[place]
            whole &= weight[place] == np.floor(weight[place])
    return total, whole


@jit_parallel
def count_pairs(start: Int64s, stop: Int64s, item: Int32s) -> Int64s:
    """Row pointers of the summed log: distinct items of each user, accumulated; (n_users + 1,) int64."""
    distinct = np.zeros(len(start) + 1, np.int64)
    for u in prange(len(start)):
        ordered = np.sort(item[start[u] : stop[u]])
        n = 0
        for j in range(len(ordered)):
            if j == 0 or ordered[j] != ordered[j - 1]:
                n += 1
        distinct[u + 1] = n
    return np.cumsum(distinct)


@jit_parallel
def sum_pairs(
    start: Int64s, stop: Int64s, item: Int32s, time: Int32s, weight: Float32s, indptr: Int64s
) -> tuple[Int32s, Float32s, Int32s]:
    """Item, summed weight (or count) and last time of each (user, item).

    `time` and `weight` may be empty; then the last times come back empty and each event counts 1.
    """
    timed, weighted = len(time) > 0, len(weight) > 0
    n_pairs = indptr[-1]
    out_item = np.empty(n_pairs, np.int32)
    plays = np.empty(n_pairs, np.float32)
    last = np.empty(n_pairs if timed else 0, np.int32)
    for u in prange(len(start)):
        lo, hi = start[u], stop[u]
        key = np.empty(hi - lo, np.int64)
        for j in range(hi - lo):
            key[j] = (np.int64(item[lo + j]) << 32) | j
        key.sort()
        n = indptr[u] - 1
        total = 0.0
        for j in range(hi - lo):
            i = np.int32(key[j] >> 32)
            place = lo + (key[j] & 0x7FFFFFFF)
            amount = np.float64(weight[place]) if weighted else 1.0
            if j == 0 or i != np.int32(key[j - 1] >> 32):
                n += 1
                out_item[n] = i
                total = 0.0
            total += amount
            plays[n] = total
            if timed:
                last[n] = time[place]
    return out_item, plays, last
