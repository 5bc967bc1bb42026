"""Kernels of item-item sources: co-occurrence, neighbours, and scores summed over a history."""

import numpy as np

from tonearm.kernels._jit import jit, jit_parallel, prange
from tonearm.kernels.lists import contains
from tonearm.types import Float32s, Int32s, Int64s


@jit
def smallest_kept(value: Float32s, item: Int32s, n: int, v: float, i: int, size: int) -> int:
    """Offer (v, i) to a heap that keeps the `size` best by value, then ascending item; returns its new length.

    The heap's root is the worst kept: least value, then greatest item.
    """
    if n == size:
        if v < value[0] or (v == value[0] and i > item[0]):
            return n
        place = 0
        while True:
            child = 2 * place + 1
            if child >= n:
                break
            right = child + 1
            if right < n and (
                value[right] < value[child] or (value[right] == value[child] and item[right] > item[child])
            ):
                child = right
            if value[child] < v or (value[child] == v and item[child] > i):
                value[place], item[place] = value[child], item[child]
                place = child
            else:
                break
        value[place], item[place] = v, i
        return n
    place = n
    while place > 0:
        parent = (place - 1) >> 1
        if v < value[parent] or (v == value[parent] and i > item[parent]):
            value[place], item[place] = value[parent], item[parent]
            place = parent
        else:
            break
    value[place], item[place] = v, i
    return n + 1


@jit
def best_first(value: Float32s, item: Int32s, n: int) -> Int64s:
    """The order of the first n entries: descending value, then ascending item."""
    by_item = np.argsort(item[:n], kind="mergesort")
    by_value = np.argsort(-value[:n][by_item], kind="mergesort")
    return by_item[by_value]


@jit_parallel
def neighbours(
    user_indptr: Int64s,
    user_item: Int32s,
    user_value: Float32s,
    item_indptr: Int64s,
    item_user: Int32s,
    item_value: Float32s,
    row_norm: Float32s,
    column_norm: Float32s,
    shrink: float,
    size: int,
) -> tuple[Int32s, Float32s, Int32s]:
    """The `size` most similar items j of every item i.

    sim(i, j) = c_ij / (shrink + row_norm_i · column_norm_j),  c_ij = Σ_u item_value_iu · user_value_uj

    user_*: the user × item matrix by user; item_*: the same matrix by item (its users), with values of its own
    row_norm, column_norm: (n_items,) float32, positive
    Returns neighbour (n_items, size) int32, similarity (n_items, size) float32 (best first, ties by ascending
    item), and how many there are (n_items,) int32. An item is no neighbour of its own.
    """
    n_items = len(item_indptr) - 1
    out_item = np.zeros((n_items, size), np.int32)
    out_value = np.zeros((n_items, size), np.float32)
    count = np.zeros(n_items, np.int32)
    n_blocks = 64
    for block in prange(n_blocks):
        total = np.zeros(n_items, np.float32)
        touched = np.empty(n_items, np.int32)
        heap_value = np.empty(size, np.float32)
        heap_item = np.empty(size, np.int32)
        for i in range(block, n_items, n_blocks):
            n_touched = 0
            for a in range(item_indptr[i], item_indptr[i + 1]):
                u = item_user[a]
                w = item_value[a]
                for c in range(user_indptr[u], user_indptr[u + 1]):
                    j = user_item[c]
                    if total[j] == 0:
                        touched[n_touched] = j
                        n_touched += 1
                    total[j] += w * user_value[c]
            n = 0
            for t in range(n_touched):
                j = touched[t]
                if j != i and total[j] > 0:
                    value = total[j] / (shrink + row_norm[i] * column_norm[j])
                    n = smallest_kept(heap_value, heap_item, n, np.float32(value), j, size)
                total[j] = 0
            best = best_first(heap_value, heap_item, n)
            for r in range(n):
                out_item[i, r] = heap_item[best[r]]
                out_value[i, r] = heap_value[best[r]]
            count[i] = n
    return out_item, out_value, count


@jit_parallel
def recommend_sparse(
    indptr: Int64s,
    item: Int32s,
    weight: Float32s,
    model_indptr: Int64s,
    model_item: Int32s,
    model_value: Float32s,
    seen_indptr: Int64s,
    seen: Int32s,
    k: int,
) -> tuple[Int64s, Int32s, Float32s]:
    """The k best items of each history by score_i = Σ_j weight_j · W_ji, those with a positive score only.

    indptr, item, weight: the histories, (b + 1,) and (n,)
    model_*: W by source item j, CSR
    seen_*: what to leave out, ascending in a row
    Returns indptr (b + 1,) int64, item, score.
    """
    b, n_items = len(indptr) - 1, len(model_indptr) - 1
    out_item = np.empty((b, k), np.int32)
    out_score = np.empty((b, k), np.float32)
    counts = np.zeros(b + 1, np.int64)
    n_blocks = min(b, 32)
    for block in prange(n_blocks):
        total = np.zeros(n_items, np.float32)
        mark = np.full(n_items, -1, np.int32)
        touched = np.empty(n_items, np.int32)
        heap_value = np.empty(k, np.float32)
        heap_item = np.empty(k, np.int32)
        for row in range(block, b, n_blocks):
            n_touched = _accumulate(
                indptr, item, weight, model_indptr, model_item, model_value, row, total, mark, touched
            )
            own = seen[seen_indptr[row] : seen_indptr[row + 1]]
            n = 0
            for t in range(n_touched):
                i = touched[t]
                value = total[i]
                total[i] = 0
                if value <= 0 or (n == k and value < heap_value[0]):
                    continue
                if len(own) > 0 and contains(own, i):
                    continue
                n = smallest_kept(heap_value, heap_item, n, value, i, k)
            best = best_first(heap_value, heap_item, n)
            for r in range(n):
                out_item[row, r] = heap_item[best[r]]
                out_score[row, r] = heap_value[best[r]]
            counts[row + 1] = n
    out_indptr = np.cumsum(counts)
    flat_item = np.empty(out_indptr[-1], np.int32)
    flat_score = np.empty(out_indptr[-1], np.float32)
    for row in prange(b):
        n = counts[row + 1]
        flat_item[out_indptr[row] : out_indptr[row + 1]] = out_item[row, :n]
        flat_score[out_indptr[row] : out_indptr[row + 1]] = out_score[row, :n]
    return out_indptr, flat_item, flat_score


@jit_parallel
def score_sparse(
    indptr: Int64s,
    item: Int32s,
    weight: Float32s,
    model_indptr: Int64s,
    model_item: Int32s,
    model_value: Float32s,
    candidate_indptr: Int64s,
    candidate: Int32s,
) -> Float32s:
    """Σ_j weight_j · W_ji of each candidate i, (n_candidates,) float32; arguments as in `recommend_sparse`."""
    b, n_items = len(indptr) - 1, len(model_indptr) - 1
    out = np.zeros(len(candidate), np.float32)
    n_blocks = min(b, 32)
    for block in prange(n_blocks):
        total = np.zeros(n_items, np.float32)
        mark = np.full(n_items, -1, np.int32)
        touched = np.empty(n_items, np.int32)
        for row in range(block, b, n_blocks):
            n_touched = _accumulate(
                indptr, item, weight, model_indptr, model_item, model_value, row, total, mark, touched
            )
            for c in range(candidate_indptr[row], candidate_indptr[row + 1]):
                out[c] = total[candidate[c]]
            for t in range(n_touched):
                total[touched[t]] = 0
    return out


@jit
def _accumulate(
    indptr: Int64s,
    item: Int32s,
    weight: Float32s,
    model_indptr: Int64s,
    model_item: Int32s,
    model_value: Float32s,
    row: int,
    total: Float32s,
    mark: Int32s,
    touched: Int32s,
) -> int:
    n_touched = 0
    for a in range(indptr[row], indptr[row + 1]):
        j = item[a]
        w = weight[a]
        for c in range(model_indptr[j], model_indptr[j + 1]):
            i = model_item[c]
            if mark[i] != row:
                mark[i] = row
                touched[n_touched] = i
                n_touched += 1
            total[i] += w * model_value[c]
    return n_touched
