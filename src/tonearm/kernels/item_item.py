"""Kernels of item-item sources: co-occurrence, neighbours, and scores summed over a history."""

import numpy as np

from tonearm.kernels._heap import contains, offer, pack_rows, sort_best_first
from tonearm.kernels._jit import jit, jit_parallel, prange
from tonearm.kernels._simd import take_next
from tonearm.kernels.features import place_of
from tonearm.types import Float32s, Int32s, Int64s

UNTOUCHED = np.float32(-np.inf)
"""The sum of a target that no item of the history speaks for."""


@jit_parallel
def cut_histories(indptr: Int64s, item: Int32s, last: Int32s, longest: int) -> tuple[Int64s, Int32s]:
    """Histories of at most `longest` items: the latest ones, ties by lower item, or evenly spread ones without time.

    indptr, item: the histories, items ascending; last: (n,) int32 seconds of each entry, or empty
    Returns indptr, item.
    """
    n_rows = len(indptr) - 1
    out_indptr = np.zeros(n_rows + 1, np.int64)
    for u in range(n_rows):
        out_indptr[u + 1] = out_indptr[u] + min(longest, indptr[u + 1] - indptr[u])
    out = np.empty(out_indptr[-1], np.int32)
    for u in prange(n_rows):
        lo, n, m = indptr[u], indptr[u + 1] - indptr[u], out_indptr[u + 1] - out_indptr[u]
        to = out_indptr[u]
        if n == m or len(last) == 0:
            for a in range(m):
                out[to + a] = item[lo + a * n // m]
        else:
            kept = np.argsort(-last[lo : lo + n], kind="mergesort")[:m]
            kept.sort()
            for a in range(m):
                out[to + a] = item[lo + kept[a]]
    return out_indptr, out


@jit_parallel
def recency_weights(indptr: Int64s, last: Int32s, recency: float) -> Float32s:
    """1 / (1 + r / recency) for the entry with r later ones in its history, (n,) float32; `last` is its moment."""
    out = np.empty(len(last), np.float32)
    for u in prange(len(indptr) - 1):
        own, weight = last[indptr[u] : indptr[u + 1]], out[indptr[u] : indptr[u + 1]]
        order = np.argsort(-own, kind="mergesort")
        later = 0
        for a in range(len(order)):
            if a > 0 and own[order[a]] != own[order[a - 1]]:
                later = a
            weight[order[a]] = 1 / (1 + later / recency)
    return out


@jit_parallel
def cooccurrence(user_indptr: Int64s, user_item: Int32s, item_indptr: Int64s, item_user: Int32s) -> Float32s:
    """How many users have both of two items, (n, n) float32, of a matrix given by user and by item."""
    n = len(item_indptr) - 1
    out = np.zeros((n, n), np.float32)
    n_blocks = 64
    for block in prange(n_blocks):
        for i in range(block, n, n_blocks):
            row = out[i]
            for a in range(item_indptr[i], item_indptr[i + 1]):
                u = item_user[a]
                for c in range(user_indptr[u], user_indptr[u + 1]):
                    row[user_item[c]] += np.float32(1)
    return out


@jit_parallel
def neighbours(
    threads: int,
    lo: int,
    hi: int,
    user_indptr: Int64s,
    user_item: Int32s,
    user_weight: Float32s,
    item_indptr: Int64s,
    item_user: Int32s,
    row_norm: Float32s,
    column_norm: Float32s,
    shrink: float,
    size: int,
) -> tuple[Int64s, Int32s, Float32s]:
    """The `size` most similar items j of each item i from lo to hi (exclusive).

    sim(i, j) = c_ij / (shrink + row_norm_i · column_norm_j),  c_ij = Σ_u weight_u over the users with both

    user_indptr, user_item: items by user; item_indptr, item_user: the same matrix by item (its users)
    user_weight: (n_users,) float32, positive
    row_norm, column_norm: (n_items,) float32, positive; size: at least 1
    Returns indptr (hi − lo + 1,) int64, neighbour and similarity, best first, ties by ascending item. An item is no
    neighbour of its own.
    """
    n_items = len(item_indptr) - 1
    # never filled with zeros: of the most room that there could be, only what is used takes up memory
    out_item = np.empty((hi - lo, size), np.int32)
    out_value = np.empty((hi - lo, size), np.float32)
    count = np.zeros(hi - lo, np.int64)
    counter = np.full(1, lo, np.int64)
    for _ in prange(threads):
        total = np.zeros(n_items, np.float32)
        touched = np.empty(n_items, np.int32)
        while True:
            i = take_next(counter)
            if i >= hi:
                break
            n_touched = 0
            for a in range(item_indptr[i], item_indptr[i + 1]):
                u = item_user[a]
                w = user_weight[u]
                for c in range(user_indptr[u], user_indptr[u + 1]):
                    j = user_item[c]
                    if total[j] == 0:
                        touched[n_touched] = j
                        n_touched += 1
                    total[j] += w
            best_value, best_item, n = out_value[i - lo], out_item[i - lo], 0
            for t in range(n_touched):
                j = touched[t]
                if j != i:
                    value = np.float32(total[j] / (shrink + row_norm[i] * column_norm[j]))
                    if n < size or value >= best_value[0]:
                        n = offer(float(value), j, best_value, best_item, n)
                total[j] = 0
            sort_best_first(best_value, best_item, n)
            count[i - lo] = n
    return pack_rows(out_value, out_item, count)


@jit
def cost_by_rank(indptr: Int64s, source: Int32s, listeners: Int64s, size: int) -> Int64s:
    """What the r-th entry of every target costs in scoring all histories, (size,) int64: the listeners of its source.

    indptr, source: sources of each target, best first; size: the most that a target has
    """
    out = np.zeros(size, np.int64)
    for i in range(len(indptr) - 1):
        for a in range(indptr[i], indptr[i + 1]):
            out[a - indptr[i]] += listeners[source[a]]
    return out


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
def recommend_sparse(
    indptr: Int64s,
    item: Int32s,
    weight: Float32s,
    model_indptr: Int64s,
    model_place: Int32s,
    model_value: Float32s,
    targets: Int32s,
    seen_indptr: Int64s,
    seen: Int32s,
    k: int,
) -> tuple[Int64s, Int32s, Float32s]:
    """The k best items of each history by score_i = Σ_j weight_j · W_ji, those with a positive score only.

    indptr, item, weight: the histories, (b + 1,) and (n,)
    model_*: W by source item j, CSR; columns are places in `targets`
    targets: (n_targets,) the item of each place; sums are kept by place, so those used most should stand together
    seen_*: what to leave out, ascending in a row; k: at least 1
    Returns indptr (b + 1,) int64, item, score.
    """
    b = len(indptr) - 1
    out_item = np.empty((b, k), np.int32)
    out_score = np.empty((b, k), np.float32)
    count = np.zeros(b, np.int64)
    n_blocks = min(b, 32)
    for block in prange(n_blocks):
        total = np.full(len(targets), UNTOUCHED, np.float32)
        touched = np.empty(len(targets), np.int32)
        for row in range(block, b, n_blocks):
            n_touched = _accumulate(indptr, item, weight, model_indptr, model_place, model_value, row, total, touched)
            best_score, best_item, n = out_score[row], out_item[row], 0
            for t in range(n_touched):
                value = total[touched[t]]
                total[touched[t]] = UNTOUCHED
                if value <= 0 or (n == k and value < best_score[0]):
                    continue
                i = targets[touched[t]]
                if not contains(seen, seen_indptr[row], seen_indptr[row + 1], i):
                    n = offer(value, i, best_score, best_item, n)
            sort_best_first(best_score, best_item, n)
            count[row] = n
    return pack_rows(out_score, out_item, count)


@jit_parallel
def score_sparse(
    indptr: Int64s,
    item: Int32s,
    weight: Float32s,
    model_indptr: Int64s,
    model_place: Int32s,
    model_value: Float32s,
    place: Int32s,
    candidate_indptr: Int64s,
    candidate: Int32s,
) -> Float32s:
    """Σ_j weight_j · W_ji of each candidate i, (n_candidates,) float32; arguments as in `recommend_sparse`.

    place: (n_items,) where each item stands in the targets, −1 where it is none
    """
    b = len(indptr) - 1
    n_targets = place.max() + 1 if len(place) else 0
    out = np.zeros(len(candidate), np.float32)
    n_blocks = min(b, 32)
    for block in prange(n_blocks):
        total = np.full(n_targets, UNTOUCHED, np.float32)
        touched = np.empty(n_targets, np.int32)
        for row in range(block, b, n_blocks):
            n_touched = _accumulate(indptr, item, weight, model_indptr, model_place, model_value, row, total, touched)
            for c in range(candidate_indptr[row], candidate_indptr[row + 1]):
                at = place[candidate[c]]
                if at >= 0 and total[at] != UNTOUCHED:
                    out[c] = total[at]
            for t in range(n_touched):
                total[touched[t]] = UNTOUCHED
    return out


@jit
def weights_to(item: Int32s, model_indptr: Int64s, model_place: Int32s, model_value: Float32s, wanted: int) -> Float32s:
    """W_ji of each item j to the one target i that stands at the place `wanted`, (n,) float32; 0 for a place of −1.

    model_*: as in `recommend_sparse`, places ascending within a row
    """
    out = np.zeros(len(item), np.float32)
    for a in range(len(item)):
        at = place_of(model_place, model_indptr[item[a]], model_indptr[item[a] + 1], wanted)
        if at >= 0:
            out[a] = model_value[at]
    return out


@jit
def _accumulate(
    indptr: Int64s,
    item: Int32s,
    weight: Float32s,
    model_indptr: Int64s,
    model_place: Int32s,
    model_value: Float32s,
    row: int,
    total: Float32s,
    touched: Int32s,
) -> int:
    n_touched = 0
    for a in range(indptr[row], indptr[row + 1]):
        j = item[a]
        w = weight[a]
        for c in range(model_indptr[j], model_indptr[j + 1]):
            at = model_place[c]
            before = total[at]
            if before == UNTOUCHED:
                touched[n_touched] = at
                n_touched += 1
                before = np.float32(0)
            total[at] = before + w * model_value[c]
    return n_touched
