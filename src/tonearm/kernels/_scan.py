"""The product behind `top_k`: six queries times sixteen items in registers, compared with the k-th best so far."""

import numpy as np

from tonearm.kernels._heap import contains, offer, sort_best_first
from tonearm.kernels._jit import jit, jit_parallel, prange
from tonearm.kernels._simd import any_at_least, fill, fma, load, spread, store, take_next
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
    """Panels of sixteen vectors, feature by feature; (n_panels · d · 16,) float32, zeros as padding."""
    d = vectors.shape[1]
    n_panels = (len(order) + PANEL - 1) // PANEL
    panels = np.zeros(n_panels * d * PANEL, np.float32)
    for p in prange(n_panels):
        for j in range(min(PANEL, len(order) - p * PANEL)):
            for f in range(d):
                panels[(p * d + f) * PANEL + j] = vectors[order[p * PANEL + j], f]
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
    """Fill scores, items (n, k) and size (n,) with each query's best items, best first."""
    n, d = queries.shape
    n_blocks = (n + _BLOCK - 1) // _BLOCK
    counter = np.zeros(1, np.int64)
    for _ in prange(min(threads, n_blocks)):
        reach = np.empty(_BLOCK, np.float32)
        limit = np.empty(_BLOCK, np.float32)
        active = np.empty(_BLOCK, np.int64)
        packed = np.empty((d + 1) * GROUP, np.float32)
        lanes = np.empty(PANEL * GROUP, np.float32)
        while True:
            block = take_next(counter)
            if block >= n_blocks:
                break
            lo, hi = block * _BLOCK, min(n, (block + 1) * _BLOCK)
            for q in range(lo, hi):
                reach[q - lo] = _reach(queries, q)
                limit[q - lo] = -np.inf
                active[q - lo] = q
            _scan_block(
                queries,
                panels,
                item,
                bound,
                seen_indptr,
                seen,
                scores,
                items,
                size,
                lo,
                hi - lo,
                reach,
                limit,
                active,
                packed,
                lanes,
            )
            for q in range(lo, hi):
                sort_best_first(scores[q], items[q], size[q])


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
    scores: Float32s,
    items: Int32s,
    size: Int64s,
    first: int,
    n_active: int,
    reach: Float32s,
    limit: Float32s,
    active: Int64s,
    packed: Float32s,
    lanes: Float32s,
) -> None:
    """Pass over the items until every query of the block is done."""
    n_panels = len(bound)
    for lo in range(0, n_panels, _CHUNK):
        kept = 0
        for a in range(n_active):
            q = active[a]
            # the constant covers scores so small that float32 rounds them to a fixed grid
            if reach[q - first] * bound[lo] + np.float32(1e-37) >= limit[q - first]:
                active[kept] = q
                kept += 1
        n_active = kept
        if n_active == 0:
            break
        hi = min(n_panels, lo + _CHUNK)
        for a in range(0, n_active, GROUP):
            group = active[a : min(a + GROUP, n_active)]
            _pack_group(queries, group, limit, first, packed)
            _scan_group(
                panels,
                item,
                seen_indptr,
                seen,
                scores,
                items,
                size,
                lo,
                hi,
                queries.shape[1],
                first,
                limit,
                group,
                packed,
                lanes,
            )


@jit
def _pack_group(queries: Float32s, group: Int64s, limit: Float32s, first: int, packed: Float32s) -> None:
    """Six queries feature by feature, then their limits; missing ones are zero and let nothing pass."""
    d = queries.shape[1]
    for j in range(GROUP):
        if j < len(group):
            for f in range(d):
                packed[f * GROUP + j] = queries[group[j], f]
            packed[d * GROUP + j] = limit[group[j] - first]
        else:
            for f in range(d):
                packed[f * GROUP + j] = 0
            packed[d * GROUP + j] = np.inf


@jit
def _scan_group(
    panels: Float32s,
    item: Int32s,
    seen_indptr: Int64s,
    seen: Int32s,
    scores: Float32s,
    items: Int32s,
    size: Int64s,
    lo: int,
    hi: int,
    d: int,
    first: int,
    limit: Float32s,
    group: Int64s,
    packed: Float32s,
    lanes: Float32s,
) -> None:
    """Multiply six queries with panels lo to hi and offer what reaches a query's limit."""
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
        hits = (
            any_at_least(a0, t0)
            | any_at_least(b0, t0)
            | any_at_least(a1, t1)
            | any_at_least(b1, t1)
            | any_at_least(a2, t2)
            | any_at_least(b2, t2)
            | any_at_least(a3, t3)
            | any_at_least(b3, t3)
            | any_at_least(a4, t4)
            | any_at_least(b4, t4)
            | any_at_least(a5, t5)
            | any_at_least(b5, t5)
        )
        if hits == 0:
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
        for j in range(len(group)):
            q = group[j]
            for lane in range(PANEL):
                score = lanes[j * PANEL + lane]
                i = item[p * PANEL + lane]
                if score >= packed[limits + j] and i >= 0:
                    if contains(seen, seen_indptr[q], seen_indptr[q + 1], i):
                        continue
                    size[q] = offer(score, i, scores[q], items[q], size[q])
                    if size[q] == scores.shape[1]:
                        packed[limits + j] = limit[q - first] = scores[q, 0]
