"""Kernels that fit item-item sources: co-occurrence, and the nearest of every item."""

import numpy as np

from tonearm.kernels.best.heap import pack_rows
from tonearm.kernels.best.keys import Keys, ascending, key_of, score_bits, sort_keys, write
from tonearm.kernels.machine.dense import solve_positive
from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.simd import LANES, LEAST, SCAN, any_at_least, fill, fma, load, lowest_bit, store, take_next
from tonearm.types import Float32s, Float64s, Int32s, Int64s

SIDE = 64
"""Rows and columns of a square matrix that are mirrored at a time."""


@jit_parallel
def cut_histories(indptr: Int64s, item: Int32s, last: Int32s, longest: int) -> tuple[Int64s, Int32s]:
    """Histories of at most `longest` items: the latest ones, ties by lower item, or evenly spread ones without time.

    indptr, item: the histories, items ascending; last: (n,) int32 seconds of each entry, or empty
    Returns indptr, item.
    """
    n_rows = len(indptr) - 1
    out_indptr = np.zeros(n_rows + 1, np.int64)
    out_indptr[1:] = np.cumsum(np.minimum(longest, np.diff(indptr)))
    out = np.empty(out_indptr[-1], np.int32)
    for u in prange(n_rows):
        lo, n, m = indptr[u], indptr[u + 1] - indptr[u], out_indptr[u + 1] - out_indptr[u]
        to = out_indptr[u]
        if n == m or len(last) == 0:
            for a in range(m):
                out[to + a] = item[lo + a * n // m]
        else:
            kept = ascending(~last[lo : lo + n])[:m]
            kept.sort()
            for a in range(m):
                out[to + a] = item[lo + kept[a]]
    return out_indptr, out


@jit_parallel
def cooccurrence(user_indptr: Int64s, user_item: Int32s, item_indptr: Int64s, item_user: Int32s) -> Float32s:
    """How many users have both of two items, (n, n) float32, of a matrix given by user and by item, rows ascending."""
    n = len(item_indptr) - 1
    out = np.empty((n, n), np.float32)
    n_blocks = 64
    for block in prange(n_blocks):
        row = np.empty(n, np.int32)  # float32 would stop at 2^24
        for i in range(block, n, n_blocks):
            row[i:] = 0
            for a in range(item_indptr[i], item_indptr[i + 1]):
                u = item_user[a]
                c = user_indptr[u + 1] - 1
                while c >= user_indptr[u] and user_item[c] >= i:
                    row[user_item[c]] += 1
                    c -= 1
            for j in range(i, n):
                out[i, j] = row[j]
    for block in prange((n + SIDE - 1) // SIDE):
        for column in range(0, (block + 1) * SIDE, SIDE):
            for i in range(block * SIDE, min(n, (block + 1) * SIDE)):
                for j in range(column, min(i, column + SIDE)):
                    out[i, j] = out[j, i]
    return out


@jit_parallel
def keep_items(
    indptr: Int64s, item: Int32s, plays: Float32s, last: Int32s, place: Int32s
) -> tuple[Int64s, Int32s, Float32s, Int32s]:
    """The entries of histories whose items have a place, the places being ascending as items are.

    last: (n,), or empty; place: (n_items,) the items' new numbers, −1 for one that is left out
    Returns indptr, item, plays, last.
    """
    n_rows = len(indptr) - 1
    out_indptr = np.zeros(n_rows + 1, np.int64)
    for u in prange(n_rows):
        for e in range(indptr[u], indptr[u + 1]):
            out_indptr[u + 1] += place[item[e]] >= 0
    out_indptr = np.cumsum(out_indptr)
    n = out_indptr[-1]
    out_item, out_plays, out_last = (
        np.empty(n, np.int32),
        np.empty(n, np.float32),
        np.empty(n * (len(last) > 0), np.int32),
    )
    for u in prange(n_rows):
        to = out_indptr[u]
        for e in range(indptr[u], indptr[u + 1]):
            if place[item[e]] >= 0:
                out_item[to], out_plays[to] = place[item[e]], plays[e]
                if len(last):
                    out_last[to] = last[e]
                to += 1
    return out_indptr, out_item, out_plays, out_last


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
    # a little too large, so that no rounding keeps from a closer look what belongs in a list
    inverse = np.zeros((n_items + LANES - 1) // LANES * LANES, np.float32)
    inverse[:n_items] = np.float32(1 + 1e-6) / column_norm
    counter = np.full(1, lo, np.int64)
    for _ in prange(threads):
        total = np.zeros(len(inverse), np.float32)
        touched = np.empty(n_items, np.int32)
        keys = np.empty(size + max(size // 2, 16) + LANES, np.uint64)
        scratch, digits, bits = np.empty(len(keys), np.uint64), np.empty(2048, np.int64), np.empty(1, np.int32)
        while True:
            i = take_next(counter)
            if i >= hi:
                break
            # sums over the item's users, and of them the best, all items looked at or only those that are added to
            users = item_user[item_indptr[i] : item_indptr[i + 1]]
            additions = 0
            for u in users:
                additions += user_indptr[u + 1] - user_indptr[u]
            norm = row_norm[i]
            if additions * SCAN >= n_items:
                for u in users:
                    w = user_weight[u]
                    for c in range(user_indptr[u], user_indptr[u + 1]):
                        total[user_item[c]] += w
                total[i] = 0
                n = _best_of_all(total, norm, column_norm, inverse, shrink, size, keys, scratch, digits, bits)
            else:
                n_touched = 0
                for u in users:
                    w = user_weight[u]
                    for c in range(user_indptr[u], user_indptr[u + 1]):
                        j = user_item[c]
                        if total[j] == 0:
                            touched[n_touched] = j
                            n_touched += 1
                        total[j] += w
                total[i] = 0
                some = touched[:n_touched]
                n = _best_of_some(total, some, norm, column_norm, shrink, size, keys, scratch, digits, bits)
            write(keys, n, out_value[i - lo], out_item[i - lo], bits)
            count[i - lo] = n
    return pack_rows(out_value, out_item, count)


@jit
def _best_of_all(
    total: Float32s,
    norm: float,
    column_norm: Float32s,
    inverse: Float32s,
    shrink: float,
    size: int,
    keys: Keys,
    scratch: Keys,
    digits: Int64s,
    bits: Int32s,
) -> int:
    """Bring the keys of the best sums, normalised, to the front; returns how many. Sums are left at 0."""
    value = bits.view(np.float32)
    full, n = len(keys) - LANES, 0
    limit = LEAST
    zero, wanted = fill(np.float32(0)), fill(limit)
    for at in range(0, len(total), LANES):
        reached = any_at_least(fma(load(total, at), load(inverse, at), zero), wanted)
        while reached != 0:
            j = at + lowest_bit(reached)
            reached &= reached - 1
            value[0] = np.float32(total[j] / (shrink + norm * column_norm[j]))
            if value[0] >= limit:
                keys[n] = key_of(bits[0], j)
                n += 1
        if n > full:
            sort_keys(keys, n, True, scratch, digits)
            n = size
            bits[0] = score_bits(keys[n - 1])
            limit = value[0]
            wanted = fill(np.float32(limit * norm))
        store(total, at, zero)
    sort_keys(keys, n, True, scratch, digits)
    return min(n, size)


@jit
def _best_of_some(
    total: Float32s,
    some: Int32s,
    norm: float,
    column_norm: Float32s,
    shrink: float,
    size: int,
    keys: Keys,
    scratch: Keys,
    digits: Int64s,
    bits: Int32s,
) -> int:
    """The same, of sums that are known to be the only ones."""
    value = bits.view(np.float32)
    limit, n = np.float32(0), 0
    for j in some:
        value[0] = np.float32(total[j] / (shrink + norm * column_norm[j]))
        if total[j] > 0 and value[0] >= limit:
            keys[n] = key_of(bits[0], j)
            n += 1
        total[j] = 0
        if n == len(keys):
            sort_keys(keys, n, False, scratch, digits)
            n = size
            bits[0] = score_bits(keys[n - 1])
            limit = value[0]
    sort_keys(keys, n, False, scratch, digits)
    return min(n, size)


@jit_parallel
def regress_on_neighbours(
    threads: int,
    indptr: Int64s,
    neighbour: Int32s,
    target: Int32s,
    item_indptr: Int64s,
    item_user: Int32s,
    n_users: int,
    regularization: float,
) -> Float32s:
    """The ridge regression of each target's column of a 0/1 matrix on the columns of its neighbours, (n,) float32.

    w = (X_Nᵀ X_N + λI)⁻¹ X_Nᵀ x_i

    indptr, neighbour: at most 63 items for each target, the target itself not among them
    target: (n_targets,); item_indptr, item_user: the matrix by item
    """
    out = np.zeros(len(neighbour), np.float32)
    counter = np.zeros(1, np.int64)
    for _ in prange(threads):
        heard = np.zeros(n_users, np.uint64)  # which of the neighbours each user has
        while True:
            t = take_next(counter)
            if t >= len(target):
                break
            lo, n = indptr[t], indptr[t + 1] - indptr[t]
            gram, right = np.zeros((n, n)), np.zeros(n)
            for a in range(n):
                j = neighbour[lo + a]
                bit = np.uint64(1) << np.uint64(a)
                below = gram[a]
                below[a] = item_indptr[j + 1] - item_indptr[j] + regularization
                for e in range(item_indptr[j], item_indptr[j + 1]):
                    u = item_user[e]
                    _count(heard[u], below)
                    heard[u] |= bit
            i = target[t]
            for e in range(item_indptr[i], item_indptr[i + 1]):
                _count(heard[item_user[e]], right)
            for a in range(n):
                j = neighbour[lo + a]
                for e in range(item_indptr[j], item_indptr[j + 1]):
                    heard[item_user[e]] = 0
                for b in range(a):
                    gram[b, a] = gram[a, b]
            solve_positive(gram, right)
            for a in range(n):
                out[lo + a] = right[a]
    return out


@jit
def _count(bits: np.uint64, counts: Float64s) -> None:
    """Add 1 at the place of each bit that is set."""
    left = np.int64(bits)
    while left != 0:
        counts[lowest_bit(left)] += 1
        left &= left - 1


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
