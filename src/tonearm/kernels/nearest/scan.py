"""The product behind `top_k`: a tile of queries times sixteen items, compared with the k-th best so far."""

import numpy as np

from tonearm.kernels.best.keys import Keys, cut_back, key_of, write_best
from tonearm.kernels.best.search import place_of
from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.simd import lowest_bit, take_next
from tonearm.kernels.machine.tile import TALL, WIDE, add_outer, any_reaches, no_sums, store_tile, which_reach
from tonearm.types import Float32s, Int32s, Int64s

PANEL = WIDE
"""Items in a panel."""

GROUP = TALL
"""Queries multiplied at once."""

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

    Entries that reach a query's limit, which k of those it had reach, are noted, and cut back to about the best k when
    there are a third more: far cheaper than keeping them in order.
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
        keys = np.empty((_BLOCK, room_for(k)), np.uint64)
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
                size[first + q] = write_best(keys[q], count[q], scores[first + q], items[first + q], bits)


@jit
def room_for(k: int) -> int:
    """Entries that a query's keys hold; one panel can bring sixteen at once."""
    return k + max(k // 3, 8) + PANEL


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
    bits = lanes.view(np.int32)
    for lo in range(0, n_panels, _CHUNK):
        kept = 0
        for a in range(n_active):
            q = active[a]
            if limit[q] == -np.inf and count[q] >= k:
                count[q], limit[q] = cut_back(keys[q], count[q], k, bits)
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
def pack_group(queries: Float32s, group: Int64s, packed: Float32s) -> None:
    """A group of queries feature by feature, zeros for missing ones."""
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
    """Multiply a group of queries with panels lo to hi and note what reaches a query's limit."""
    full = keys.shape[1] - PANEL
    bits = lanes.view(np.int32)
    limits = d * GROUP
    for p in range(lo, hi):
        sums = no_sums()
        for f in range(d):
            sums = add_outer(sums, packed, f * GROUP, 1, panels, (p * d + f) * PANEL)
        if not any_reaches(sums, packed, limits):
            continue
        store_tile(lanes, 0, PANEL, sums)
        for j in range(len(group)):
            q = group[j]
            reached = which_reach(lanes, j * PANEL, packed[limits + j])
            while reached != 0:
                lane = lowest_bit(reached)
                reached &= reached - 1
                i = item[p * PANEL + lane]
                if i < 0 or place_of(seen, seen_indptr[q], seen_indptr[q + 1], i) >= 0:
                    continue
                keys[q, count[q]] = key_of(bits[j * PANEL + lane], i)
                count[q] += 1
            if count[q] > full:
                count[q], limit[q] = cut_back(keys[q], count[q], k, bits)
                packed[limits + j] = limit[q]
