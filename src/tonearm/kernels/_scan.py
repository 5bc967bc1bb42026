"""The product behind `top_k`: six queries times sixteen items in registers, compared with the k-th best so far."""

import numpy as np

from tonearm.kernels._heap import contains
from tonearm.kernels._jit import jit, jit_parallel, prange
from tonearm.kernels._keys import Keys, keep_best, key_of, write_best
from tonearm.kernels._simd import any_at_least, fill, fma, load, lowest_bit, spread, store, take_next
from tonearm.types import Float32s, Int32s, Int64s

PANEL = 16
"""Items in a panel: two vectors of eight."""

GROUP = 6
"""Queries multiplied at once: 6 × 2 sums fit the sixteen vector registers of a common processor."""

_BLOCK = 96
"""Queries that share a pass over the items."""

_CHUNK = 16
"""Panels between two looks at which queries are done; they stay in the cache while the block's queries pass over."""


@jit_parallel
def pack_items(vectors: Float32s, order: Int32s) -> Float32s:
    """Panels of sixteen vectors, feature by feature; (n_panels · d · 16,) float32, zeros as padding and for a −1."""
    d = vectors.shape[1]
    n_panels = (len(order) + PANEL - 1) // PANEL
    panels = np.zeros(n_panels * d * PANEL, np.float32)
    for p in prange(n_panels):
        for j in range(min(PANEL, len(order) - p * PANEL)):
            row = order[p * PANEL + j]
            if row >= 0:
                for f in range(d):
                    panels[(p * d + f) * PANEL + j] = vectors[row, f]
    return panels


@jit_parallel
def scan(
    threads: int,
    queries: Float32s,
    panels: Float32s,
    item: Int32s,
    bound: Float32s,
    seen_indptr: Int64s,
    seen: Int32s,
    scores: Float32s,
    items: Int32s,
    size: Int64s,
) -> None:
    """Fill scores, items (n, k) and size (n,) with each query's best items, best first.

    Entries that reach a query's limit, its k-th best score when last looked at, are noted, and cut back to the best k
    when there are half as many again: far cheaper than keeping them in order.
    """
    n, d = queries.shape
    k = scores.shape[1]
    n_blocks = (n + _BLOCK - 1) // _BLOCK
    counter = np.zeros(1, np.int64)
    for _ in prange(min(threads, n_blocks)):
        reach = np.empty(_BLOCK, np.float32)
        limit = np.empty(_BLOCK, np.float32)
        active = np.empty(_BLOCK, np.int64)
        count = np.empty(_BLOCK, np.int64)
        # one panel can bring sixteen entries at once
        keys = np.empty((_BLOCK, k + max(k // 2, 16) + PANEL), np.uint64)
        packed = np.empty((_BLOCK // GROUP, (d + 1) * GROUP), np.float32)
        lanes = np.empty(PANEL * GROUP, np.float32)
        bits = np.empty(1, np.int32)
        while True:
            block = take_next(counter)
            if block >= n_blocks:
                break
            first = block * _BLOCK
            height = min(n - first, _BLOCK)
            for q in range(height):
                reach[q], limit[q], active[q], count[q] = _reach(queries, first + q), -np.inf, q, 0
            seen_rows = seen_indptr[first : first + height + 1]
            _scan_block(
                queries[first : first + height], panels, item, bound, seen_rows, seen, k, reach, limit, active,
                keys, count, packed, lanes,
            )  # fmt: skip
            for q in range(height):
                keep_best(keys[q], count[q], k)
                size[first + q] = min(k, count[q])
                write_best(keys[q], size[first + q], scores[first + q], items[first + q], bits)


@jit
def _reach(queries: Float32s, q: int) -> float:
    """(1 + γ)|u| rounded up: times an item's norm, no computed score is above it."""
    d = queries.shape[1]
    square = 0.0
    for f in range(d):
        square += np.float64(queries[q, f]) ** 2
    epsilon = 2.0**-24
    # 4 ε more for the rounding of this number, of the product with the norm, and of the norm itself
    return float(np.sqrt(square) * (1.0 + d * epsilon / (1.0 - d * epsilon) + 4 * epsilon))


@jit
def _scan_block(
    queries: Float32s,
    panels: Float32s,
    item: Int32s,
    bound: Float32s,
    seen_indptr: Int64s,
    seen: Int32s,
    k: int,
    reach: Float32s,
    limit: Float32s,
    active: Int64s,
    keys: Keys,
    count: Int64s,
    packed: Float32s,
    lanes: Float32s,
) -> None:
    """Pass over the items until every query of the block is done."""
    n_panels, n_active, n_packed = len(bound), len(queries), 0
    for lo in range(0, n_panels, _CHUNK):
        kept = 0
        for a in range(n_active):
            q = active[a]
            if limit[q] == -np.inf and count[q] >= k:
                limit[q] = _cut_back(keys[q], count, q, k)
            # the constant covers scores so small that float32 rounds them to a fixed grid
            if reach[q] * bound[lo] + np.float32(1e-37) >= limit[q]:
                active[kept] = q
                kept += 1
        n_active = kept
        hi = min(n_panels, lo + _CHUNK)
        for a in range(0, n_active, GROUP):
            group = active[a : min(a + GROUP, n_active)]
            own = packed[a // GROUP]
            if n_active != n_packed:
                pack_group(queries, group, own)
            for j in range(GROUP):
                own[queries.shape[1] * GROUP + j] = limit[group[j]] if j < len(group) else np.inf
            scan_group(
                panels, item, seen_indptr, seen, k, lo, hi, queries.shape[1], limit, group, keys, count, own, lanes
            )  # fmt: skip
        n_packed = n_active
        if n_active == 0:
            break


@jit
def _cut_back(keys: Keys, count: Int64s, q: int, k: int) -> float:
    """Keep a query's best k entries; returns the score of the last of them."""
    keep_best(keys, count[q], k)
    count[q] = k
    score, item, bits = np.empty(1, np.float32), np.empty(1, np.int32), np.empty(1, np.int32)
    write_best(keys[k - 1 :], 1, score, item, bits)
    return float(score[0])


@jit
def pack_group(queries: Float32s, group: Int64s, packed: Float32s) -> None:
    """Six queries feature by feature, zeros for missing ones."""
    for j in range(GROUP):
        for f in range(queries.shape[1]):
            packed[f * GROUP + j] = queries[group[j], f] if j < len(group) else 0


@jit
def scan_group(
    panels: Float32s,
    item: Int32s,
    seen_indptr: Int64s,
    seen: Int32s,
    k: int,
    lo: int,
    hi: int,
    d: int,
    limit: Float32s,
    group: Int64s,
    keys: Keys,
    count: Int64s,
    packed: Float32s,
    lanes: Float32s,
) -> None:
    """Multiply six queries with panels lo to hi and note what reaches a query's limit."""
    full = keys.shape[1] - PANEL
    bits = lanes.view(np.int32)
    limits = d * GROUP
    zero = fill(np.float32(0))
    for p in range(lo, hi):
        a0 = a1 = a2 = a3 = a4 = a5 = b0 = b1 = b2 = b3 = b4 = b5 = zero
        at = p * d * PANEL
        for f in range(d):
            left, right = load(panels, at + f * PANEL), load(panels, at + f * PANEL + 8)
            u = spread(packed, f * GROUP)
            a0, b0 = fma(u, left, a0), fma(u, right, b0)
            u = spread(packed, f * GROUP + 1)
            a1, b1 = fma(u, left, a1), fma(u, right, b1)
            u = spread(packed, f * GROUP + 2)
            a2, b2 = fma(u, left, a2), fma(u, right, b2)
            u = spread(packed, f * GROUP + 3)
            a3, b3 = fma(u, left, a3), fma(u, right, b3)
            u = spread(packed, f * GROUP + 4)
            a4, b4 = fma(u, left, a4), fma(u, right, b4)
            u = spread(packed, f * GROUP + 5)
            a5, b5 = fma(u, left, a5), fma(u, right, b5)
        t0, t1, t2 = spread(packed, limits), spread(packed, limits + 1), spread(packed, limits + 2)
        t3, t4, t5 = spread(packed, limits + 3), spread(packed, limits + 4), spread(packed, limits + 5)
        m0, m1 = any_at_least(a0, t0) | any_at_least(b0, t0) << 8, any_at_least(a1, t1) | any_at_least(b1, t1) << 8
        m2, m3 = any_at_least(a2, t2) | any_at_least(b2, t2) << 8, any_at_least(a3, t3) | any_at_least(b3, t3) << 8
        m4, m5 = any_at_least(a4, t4) | any_at_least(b4, t4) << 8, any_at_least(a5, t5) | any_at_least(b5, t5) << 8
        if m0 | m1 | m2 | m3 | m4 | m5 == 0:
            continue
        store(lanes, 0, a0)
        store(lanes, 8, b0)
        store(lanes, 16, a1)
        store(lanes, 24, b1)
        store(lanes, 32, a2)
        store(lanes, 40, b2)
        store(lanes, 48, a3)
        store(lanes, 56, b3)
        store(lanes, 64, a4)
        store(lanes, 72, b4)
        store(lanes, 80, a5)
        store(lanes, 88, b5)
        hits = (m0, m1, m2, m3, m4, m5)
        for j in range(len(group)):
            q, reached = group[j], hits[j]
            while reached != 0:
                lane = lowest_bit(reached)
                reached &= reached - 1
                i = item[p * PANEL + lane]
                if i < 0 or contains(seen, seen_indptr[q], seen_indptr[q + 1], i):
                    continue
                keys[q, count[q]] = key_of(bits[j * PANEL + lane], i)
                count[q] += 1
            if count[q] > full:
                packed[limits + j] = limit[q] = _cut_back(keys[q], count, q, k)
