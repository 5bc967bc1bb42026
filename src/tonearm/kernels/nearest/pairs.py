"""Every vector against every other, each pair multiplied once and offered to both."""

import numpy as np

from tonearm.kernels.best.heap import offer, sort_best_first
from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.simd import take_next
from tonearm.kernels.machine.tile import add_outer, any_reaches, any_reaches_across, no_sums, store_tile
from tonearm.kernels.nearest.scan import GROUP, PANEL
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

    panels, item: as in `ItemIndex`; d: features
    limit: (n_panels · 16,) the k-th best score so far of each place, infinite for padding
    scores, items (n_places, k) and size (n_places,): a heap for each place
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
    """A group of places from q on with panels lo to hi; offers go to the group, and to the panels where `both`."""
    for j in range(GROUP):
        own[j] = limit[q + j] if j < height else np.inf
    _pack(panels, d, q, height, packed)
    for p in range(lo, hi):
        sums = no_sums()
        for f in range(d):
            sums = add_outer(sums, packed, f * GROUP, 1, panels, (p * d + f) * PANEL)
        if not (any_reaches(sums, own, 0) or (both and any_reaches_across(sums, limit, p * PANEL))):
            continue
        store_tile(lanes, 0, PANEL, sums)
        for j in range(height):
            for lane in range(PANEL):
                score, place = lanes[j * PANEL + lane], p * PANEL + lane
                if score >= own[j] and item[place] >= 0 and place != q + j:
                    own[j] = _take(q + j, score, item[place], limit, scores, items, size)
                if both and score >= limit[place] and item[q + j] >= 0:
                    _take(place, score, item[q + j], limit, scores, items, size)


@jit
def _take(
    place: int,
    score: float,
    item: int,
    limit: Float32s,
    scores: Float32s,
    items: Int32s,
    size: Int64s,
) -> float:
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
