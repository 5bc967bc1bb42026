"""Kernels of the content source: genre profiles against distinct genre sets, each set scored once."""

import numpy as np

from tonearm.kernels.best.heap import pack_rows
from tonearm.kernels.best.keys import descending
from tonearm.kernels.best.search import place_of
from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.tile import WIDE, add_scaled, no_strip, store_tile
from tonearm.types import Float32s, Int32s, Int64s, UInt8s


@jit_parallel
def profiles(indptr: Int64s, item: Int32s, weight: Float32s, tag_indptr: Int64s, tag: Int32s, n_tags: int) -> Float32s:
    """Each history's weights summed by tag and scaled to length one, (b, n_tags) float32; zero without tags.

    An item's weight is shared equally among its tags.
    """
    b = len(indptr) - 1
    out = np.zeros((b, n_tags), np.float32)
    for row in prange(b):
        for a in range(indptr[row], indptr[row + 1]):
            lo, hi = tag_indptr[item[a]], tag_indptr[item[a] + 1]
            share = weight[a] / max(hi - lo, 1)
            for t in range(lo, hi):
                out[row, tag[t]] += share
        square = np.float32(0)
        for t in range(n_tags):
            square += out[row, t] ** 2
        if square > 0:
            length = np.sqrt(square)
            for t in range(n_tags):
                out[row, t] /= length
    return out


@jit
def _set_score(profile: Float32s, set_indptr: Int64s, set_tag: Int32s, set_norm: Float32s, s: int) -> np.float32:
    total = np.float32(0)
    for t in range(set_indptr[s], set_indptr[s + 1]):
        total += profile[set_tag[t]]
    return np.float32(total / set_norm[s])


@jit
def _score_sets_of_some(
    profile: Float32s,
    set_indptr: Int64s,
    set_tag: Int32s,
    set_norm: Float32s,
    transposed: Float32s,
    scores: Float32s,
    best: Float32s,
) -> None:
    """What `_set_score` says of up to sixteen profiles and each set, (16, n_sets), and each profile's best of these."""
    for j in range(len(profile)):
        for t in range(profile.shape[1]):
            transposed[t * WIDE + j] = profile[j, t]
    one, lanes = np.float32(1), np.empty(WIDE, np.float32)
    best[:] = 0
    for s in range(len(set_norm)):
        sums = no_strip(WIDE)
        for t in range(set_indptr[s], set_indptr[s + 1]):
            sums = add_scaled(sums, transposed, np.int64(set_tag[t]) * WIDE, one)
        store_tile(lanes, 0, WIDE, sums)
        for j in range(WIDE):  # apart from the next loop, so that it takes one instruction
            lanes[j] /= set_norm[s]
            best[j] = max(best[j], lanes[j])
        for j in range(WIDE):
            scores[j, s] = lanes[j]


@jit_parallel
def recommend_sets(
    profile: Float32s,
    set_indptr: Int64s,
    set_tag: Int32s,
    set_norm: Float32s,
    member_indptr: Int64s,
    member: Int32s,
    place: Int32s,
    order: Int32s,
    seen_indptr: Int64s,
    seen: Int32s,
    k: int,
) -> tuple[Int64s, Int32s, Float32s]:
    """The k best items of each profile by cosine with the item's tag set, ties by popularity.

    profile: (b, n_tags) float32, rows of length one or zero
    set_*: the tags of each distinct set, CSR, and the square root of their number
    member_*: each set's items, most popular first, CSR
    place: (n_items,) int32, an item's place in `order`; order: items, most popular first
    k: at least 1; a row is filled up with items of cosine zero, most popular first
    Returns indptr (b + 1,) int64, item, score.
    """
    b, n_sets, n_tags = len(profile), len(set_indptr) - 1, profile.shape[1]
    out_item = np.empty((b, k), np.int32)
    out_score = np.zeros((b, k), np.float32)
    count = np.zeros(b, np.int64)
    n_groups = (b + WIDE - 1) // WIDE
    n_blocks = min(n_groups, 32)
    for block in prange(n_blocks):
        transposed = np.zeros(n_tags * WIDE, np.float32)
        scores, best = np.zeros((WIDE, n_sets), np.float32), np.zeros(WIDE, np.float32)
        bins, places = np.empty(n_sets, np.uint8), np.empty(2 * k, np.int32)
        for row in range(n_groups * block // n_blocks * WIDE, min(b, n_groups * (block + 1) // n_blocks * WIDE)):
            if row % WIDE == 0:
                _score_sets_of_some(profile[row : row + WIDE], set_indptr, set_tag, set_norm, transposed, scores, best)
            score = scores[row % WIDE]
            lo, hi = seen_indptr[row], seen_indptr[row + 1]
            sets = _descending(score, bins, best[row % WIDE], k + hi - lo, member_indptr)
            n = _take(sets, score, member_indptr, member, place, seen[lo:hi], k, places, out_score[row])
            for r in range(n):
                out_item[row, r] = order[places[r]]
            count[row] = _fill(out_item[row], out_score[row], n, order, seen, lo, hi)
    return pack_rows(out_score, out_item, count)


@jit
def _descending(score: Float32s, bins: UInt8s, best: np.float32, need: int, member_indptr: Int64s) -> Int32s:
    """Sets of positive score, best first, enough of them to hold `need` items and all that tie with the last.

    bins: (n_sets,) uint8 of any content, written to
    """
    picked = np.empty(len(score), np.int32)
    if best <= 0:
        return picked[:0]
    # sets above a cut
    n_bins, cut, n = 128, best / np.float32(2), 0
    while True:  # bins only for the upper half of the scores, where that is enough
        n, total = 0, 0
        for s in range(len(score)):
            picked[n] = s
            n += score[s] > cut
        for a in range(n):
            total += member_indptr[picked[a] + 1] - member_indptr[picked[a]]
        if total >= need or cut == 0:
            break
        cut = np.float32(0)
    # of these, the bins that hold enough items
    held = np.zeros(n_bins, np.int64)
    scale = np.float32(n_bins - 1) / (best - cut)
    for a in range(n):
        bins[a] = np.uint8((score[picked[a]] - cut) * scale)
        held[bins[a]] += member_indptr[picked[a] + 1] - member_indptr[picked[a]]
    floor, total = n_bins, 0
    while floor > 0 and total < need:
        floor -= 1
        total += held[floor]
    kept = 0
    for a in range(n):
        picked[kept] = picked[a]
        kept += bins[a] >= floor
    picked = picked[:kept]
    return picked[descending(score[picked])]


@jit
def _take(
    sets: Int32s,
    score: Float32s,
    member_indptr: Int64s,
    member: Int32s,
    place: Int32s,
    seen: Int32s,
    k: int,
    places: Int32s,
    scores: Float32s,
) -> int:
    """The k best unseen items of sets that come best first, as places in the order of popularity, and their scores.

    Sets of the same score share their part of the list, where the more popular items come first.
    places: (2 k,) written to; scores: (k,) written to. Returns how many there are.
    """
    n = start = 0
    for a in range(len(sets)):
        s = sets[a]
        n = min(n, k)  # of those that tie the most popular, as they were sorted below
        taken = 0
        for m in range(member_indptr[s], member_indptr[s + 1]):
            if place_of(seen, 0, len(seen), member[m]) >= 0:
                continue
            places[n] = place[member[m]]
            n += 1
            taken += 1
            if taken == k:
                break
        if start < n - taken:
            places[start:n].sort()
        if a + 1 == len(sets) or score[sets[a + 1]] != score[s]:
            n = min(n, k)
            scores[start:n] = score[s]
            start = n
            if n == k:
                break
    return n


@jit
def _fill(item: Int32s, score: Float32s, n: int, order: Int32s, seen: Int32s, lo: int, hi: int) -> int:
    """Append items of the order that are neither among the first n nor in seen[lo:hi]; returns the new length."""
    if n == len(item):
        return n
    chosen = np.sort(item[:n])
    for p in range(len(order)):
        i = order[p]
        if place_of(chosen, 0, len(chosen), i) >= 0 or place_of(seen, lo, hi, i) >= 0:
            continue
        item[n], score[n] = i, 0
        n += 1
        if n == len(item):
            break
    return n


@jit_parallel
def score_sets(
    profile: Float32s,
    set_indptr: Int64s,
    set_tag: Int32s,
    set_norm: Float32s,
    set_of: Int32s,
    candidate_indptr: Int64s,
    candidate: Int32s,
) -> Float32s:
    """Cosine of each candidate's tag set with the row's profile, (n_candidates,) float32; 0 without tags.

    set_of: (n_items,) int32, an item's set, −1 without tags
    """
    out = np.zeros(len(candidate), np.float32)
    for row in prange(len(profile)):
        for c in range(candidate_indptr[row], candidate_indptr[row + 1]):
            s = set_of[candidate[c]]
            if s >= 0:
                out[c] = _set_score(profile[row], set_indptr, set_tag, set_norm, s)
    return out
