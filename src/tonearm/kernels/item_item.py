"""Kernels of item-item sources: co-occurrence, neighbours, and scores summed over a history."""

import numpy as np

from tonearm.kernels._heap import contains, offer, pack_rows, sort_best_first
from tonearm.kernels._jit import jit, jit_parallel, prange
from tonearm.types import Float32s, Int32s, Int64s


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
) -> tuple[Int64s, Int32s, Float32s]:
    """The `size` most similar items j of every item i.

    sim(i, j) = c_ij / (shrink + row_norm_i · column_norm_j),  c_ij = Σ_u item_value_iu · user_value_uj

    user_*: the user × item matrix by user; item_*: the same matrix by item (its users), with values of its own
    row_norm, column_norm: (n_items,) float32, positive; size: at least 1
    Returns indptr (n_items + 1,) int64, neighbour and similarity, best first, ties by ascending item. An item is no
    neighbour of its own.
    """
    n_items = len(item_indptr) - 1
    # never filled with zeros: of the most room that there could be, only what is used takes up memory
    out_item = np.empty((n_items, size), np.int32)
    out_value = np.empty((n_items, size), np.float32)
    count = np.zeros(n_items, np.int64)
    n_blocks = 64
    for block in prange(n_blocks):
        total = np.zeros(n_items, np.float32)
        mark = np.full(n_items, -1, np.int32)
        touched = np.empty(n_items, np.int32)
        for i in range(block, n_items, n_blocks):
            n_touched = 0
            for a in range(item_indptr[i], item_indptr[i + 1]):
                u = item_user[a]
                for c in range(user_indptr[u], user_indptr[u + 1]):
                    j = user_item[c]
                    if mark[j] != i:
                        mark[j] = i
                        touched[n_touched] = j
                        n_touched += 1
                    total[j] += item_value[a] * user_value[c]
            best_value, best_item, n = out_value[i], out_item[i], 0
            for t in range(n_touched):
                j = touched[t]
                if j != i and total[j] > 0:
                    total[j] /= shrink + row_norm[i] * column_norm[j]
                    n = offer(total[j], j, best_value, best_item, n)
                total[j] = 0
            sort_best_first(best_value, best_item, n)
            count[i] = n
    return pack_rows(out_value, out_item, count)


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
    seen_*: what to leave out, ascending in a row; k: at least 1
    Returns indptr (b + 1,) int64, item, score.
    """
    b, n_items = len(indptr) - 1, len(model_indptr) - 1
    out_item = np.empty((b, k), np.int32)
    out_score = np.empty((b, k), np.float32)
    count = np.zeros(b, np.int64)
    n_blocks = min(b, 32)
    for block in prange(n_blocks):
        total = np.zeros(n_items, np.float32)
        mark = np.full(n_items, -1, np.int32)
        touched = np.empty(n_items, np.int32)
        for row in range(block, b, n_blocks):
            n_touched = _accumulate(
                indptr, item, weight, model_indptr, model_item, model_value, row, total, mark, touched
            )
            best_score, best_item, n = out_score[row], out_item[row], 0
            for t in range(n_touched):
                i = touched[t]
                value = total[i]
                total[i] = 0
                if value <= 0 or (n == k and value < best_score[0]):
                    continue
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
