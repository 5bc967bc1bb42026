"""Every vector against every other, each pair multiplied once and offered to both."""

import numpy as np

from tonearm.kernels._heap import offer, sort_best_first
from tonearm.kernels._jit import jit, jit_parallel, prange
from tonearm.kernels._scan import GROUP, PANEL
from tonearm.kernels._simd import any_at_least, fill, fma, load, spread, store, take_next
from tonearm.types import Float32s, Int32s, Int64s

BLOCK = 96
"""Panels in a block: 1,536 vectors."""

_CHUNK = 16


@jit_parallel
def meet(
    threads: int,
    first: Int32s,
    second: Int32s,
    panels: Float32s,
    d: int,
    item: Int32s,
    limit: Float32s,
    scores: Float32s,
    items: Int32s,
    size: Int64s,
) -> None:
    """Offer the vectors of block first[m] and block second[m] to each other, for all m; no block stands in two pairs.

    panels, item: as in `ItemIndex`; d: features; limit: (n_panels · 16,) the k-th best score so far of each place,
    infinite for padding; scores, items (n_places, k) and size (n_places,): a heap for each place
    """
    n_panels = len(item) // PANEL
    counter = np.zeros(1, np.int64)
    for _ in prange(min(threads, len(first))):
        packed = np.empty(d * GROUP, np.float32)
        own = np.empty(GROUP, np.float32)
        lanes = np.empty(PANEL * GROUP, np.float32)
        while True:
            m = take_next(counter)
            if m >= len(first):
                break
            lo, hi = second[m] * BLOCK, min(n_panels, (second[m] + 1) * BLOCK)
            begin, end = first[m] * BLOCK * PANEL, min(n_panels, (first[m] + 1) * BLOCK) * PANEL
            for chunk in range(lo, hi, _CHUNK):
                stop = min(hi, chunk + _CHUNK)
                for q in range(begin, end, GROUP):
                    height = min(GROUP, end - q)
                    _pack(panels, d, q, height, packed)
                    _meet_group(
                        panels, d, item, chunk, stop, q, height, first[m] != second[m], packed, own, limit, lanes,
                        scores, items, size,
                    )  # fmt: skip


@jit
def _pack(panels: Float32s, d: int, q: int, height: int, packed: Float32s) -> None:
    for j in range(GROUP):
        at = (q + j) // PANEL * d * PANEL + (q + j) % PANEL
        for f in range(d):
            packed[f * GROUP + j] = panels[at + f * PANEL] if j < height else 0


@jit
def _meet_group(
    panels: Float32s,
    d: int,
    item: Int32s,
    lo: int,
    hi: int,
    q: int,
    height: int,
    both: bool,
    packed: Float32s,
    own: Float32s,
    limit: Float32s,
    lanes: Float32s,
    scores: Float32s,
    items: Int32s,
    size: Int64s,
) -> None:
    """Six places from q on with panels lo to hi; offers go to the six, and to the panels where `both`."""
    never = fill(np.float32(np.inf))
    for j in range(GROUP):
        own[j] = limit[q + j] if j < height else np.inf
    for p in range(lo, hi):
        a0 = a1 = a2 = a3 = a4 = a5 = b0 = b1 = b2 = b3 = b4 = b5 = fill(np.float32(0))
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
        t, s = load(limit, p * PANEL), load(limit, p * PANEL + 8)
        if not both:
            t = s = never
        t0, t1, t2 = spread(own, 0), spread(own, 1), spread(own, 2)
        t3, t4, t5 = spread(own, 3), spread(own, 4), spread(own, 5)
        hits = any_at_least(a0, t0) | any_at_least(b0, t0) | any_at_least(a0, t) | any_at_least(b0, s)
        hits |= any_at_least(a1, t1) | any_at_least(b1, t1) | any_at_least(a1, t) | any_at_least(b1, s)
        hits |= any_at_least(a2, t2) | any_at_least(b2, t2) | any_at_least(a2, t) | any_at_least(b2, s)
        hits |= any_at_least(a3, t3) | any_at_least(b3, t3) | any_at_least(a3, t) | any_at_least(b3, s)
        hits |= any_at_least(a4, t4) | any_at_least(b4, t4) | any_at_least(a4, t) | any_at_least(b4, s)
        hits |= any_at_least(a5, t5) | any_at_least(b5, t5) | any_at_least(a5, t) | any_at_least(b5, s)
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
        for j in range(height):
            for lane in range(PANEL):
                score, place = lanes[j * PANEL + lane], p * PANEL + lane
                if score >= own[j] and item[place] >= 0 and place != q + j:
                    own[j] = _take(q + j, score, item[place], limit, scores, items, size)
                if both and score >= limit[place] and item[q + j] >= 0:
                    _take(place, score, item[q + j], limit, scores, items, size)


@jit
def _take(place: int, score: float, item: int, limit: Float32s, scores: Float32s, items: Int32s, size: Int64s) -> float:
    """Offer an item to a place; returns the place's limit."""
    size[place] = offer(score, item, scores[place], items[place], size[place])
    if size[place] == scores.shape[1]:
        limit[place] = scores[place, 0]
    return float(limit[place])


@jit_parallel
def sort_all(scores: Float32s, items: Int32s, size: Int64s) -> None:
    """Every heap into a list, best first."""
    for r in prange(len(size)):
        sort_best_first(scores[r], items[r], size[r])
