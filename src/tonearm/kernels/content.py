"""Kernels of the content source: genre profiles against distinct genre sets, each set scored once."""

import numpy as np

from tonearm.kernels._heap import contains, offer, pack_rows, sort_best_first
from tonearm.kernels._jit import jit, jit_parallel, prange
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
        length = np.sqrt((out[row] ** 2).sum())
        if length > 0:
            out[row] /= length
    return out


@jit
def _set_score(profile: Float32s, set_indptr: Int64s, set_tag: Int32s, set_norm: Float32s, s: int) -> np.float32:
    total = np.float32(0)
    for t in range(set_indptr[s], set_indptr[s + 1]):
        total += profile[set_tag[t]]
    return np.float32(total / set_norm[s])


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
    b, n_sets = len(profile), len(set_indptr) - 1
    out_item = np.empty((b, k), np.int32)
    out_score = np.zeros((b, k), np.float32)
    count = np.zeros(b, np.int64)
    n_blocks = min(b, 32)
    for block in prange(n_blocks):
        score = np.zeros(n_sets, np.float32)
        bins = np.empty(n_sets, np.uint8)
        for row in range(block, b, n_blocks):
            lo, hi = seen_indptr[row], seen_indptr[row + 1]
            best = np.float32(0)
            for s in range(n_sets):
                score[s] = _set_score(profile[row], set_indptr, set_tag, set_norm, s)
                best = max(best, score[s])
            # kept by their place in the order, so that ties go to the more popular
            best_score, best_place, n = out_score[row], out_item[row], 0
            for s in _descending(score, bins, best, k + hi - lo, member_indptr):
                if n == k and score[s] < best_score[0]:
                    break
                taken = 0
                for m in range(member_indptr[s], member_indptr[s + 1]):
                    if contains(seen, lo, hi, member[m]):
                        continue
                    n = offer(score[s], place[member[m]], best_score, best_place, n)
                    taken += 1
                    if taken == k:
                        break
            sort_best_first(best_score, best_place, n)
            for r in range(n):
                out_item[row, r] = order[best_place[r]]
            count[row] = _fill(out_item[row], out_score[row], n, order, seen, lo, hi)
    return pack_rows(out_score, out_item, count)


@jit
def _descending(score: Float32s, bins: UInt8s, best: np.float32, need: int, member_indptr: Int64s) -> Int32s:
    """Sets of positive score, best first, enough of them to hold `need` items and all that tie with the last.

    bins: (n_sets,) uint8 of any content, written to
    """
    if best <= 0:
        return np.empty(0, np.int32)
    n_bins = 256
    held = np.zeros(n_bins, np.int64)  # the first one is for what scores 0
    scale = np.float32(n_bins - 2) / best
    for s in range(len(score)):
        bins[s] = 1 + np.uint8(score[s] * scale) if score[s] > 0 else 0
        held[bins[s]] += member_indptr[s + 1] - member_indptr[s]
    floor, total = n_bins, 0
    while floor > 1 and total < need:
        floor -= 1
        total += held[floor]
    picked = np.empty(len(score), np.int32)
    n = 0
    for s in range(len(score)):
        if bins[s] >= floor:
            picked[n] = s
            n += 1
    picked = picked[:n]
    return picked[np.argsort(-score[picked], kind="mergesort")]


@jit
def _fill(item: Int32s, score: Float32s, n: int, order: Int32s, seen: Int32s, lo: int, hi: int) -> int:
    """Append items of the order that are neither among the first n nor in seen[lo:hi]; returns the new length."""
    if n == len(item):
        return n
    chosen = np.sort(item[:n])
    for p in range(len(order)):
        i = order[p]
        if contains(chosen, 0, len(chosen), i) or contains(seen, lo, hi, i):
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
