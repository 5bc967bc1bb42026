"""Similar items for every item, exactly, with half of the work: each pair is multiplied once.

Items stand by cluster, so that most find their neighbours early, and later pairs need not be looked at closely.
"""

from collections.abc import Callable

import numba
import numpy as np

from tonearm.kernels.best.heap import pack_rows
from tonearm.kernels.nearest.clusters import centres_of, homes
from tonearm.kernels.nearest.pairs import BLOCK, meet, sort_all
from tonearm.kernels.nearest.topk import Rows, index_in_order
from tonearm.types import Bools, Float32s, Int32s


def similar_to_all(
    unit: Float32s, k: int, allowed: Bools | None = None, progress: Callable[[int, int], None] | None = None
) -> Rows:
    """`similar_top_k` for every item, with half the work: each pair is multiplied once.

    unit: (n, d) float32 as `unit_vectors` makes them
    allowed: (n,) bool, the items that take part; None takes all

    A row for each of the n items; empty for an item that takes no part. Rounds in which every block of items meets one
    other block are what `progress` hears of, as progress(done, total).
    """
    rows = np.arange(len(unit), dtype=np.int32) if allowed is None else np.flatnonzero(allowed).astype(np.int32)
    centres = centres_of(unit, rows, max(1, int(np.sqrt(len(rows)))), np.random.default_rng(0), passes=3)
    order = rows[np.argsort(homes(unit, rows, centres, 1).ravel(), kind="stable")]
    index = index_in_order(unit, order, np.ones(len(order)))
    taken = index.item >= 0
    n_places, n_blocks = len(index.item), -(-len(index.bound) // BLOCK)
    k = max(0, min(k, len(rows) - 1))
    heaps = (max(n_places, 1), k)
    scores, items, size = np.empty(heaps, np.float32), np.empty(heaps, np.int32), np.zeros(heaps[0], np.int64)
    limit = np.where(taken, np.float32(-np.inf), np.float32(np.inf))
    rounds = _tournament(n_blocks) if k > 0 else []
    for done, (first, second) in enumerate(rounds):
        meet(numba.get_num_threads(), first, second, index.panels, index.d, index.item, limit, scores, items, size)
        if progress is not None:
            progress(done + 1, len(rounds))
    sort_all(scores, items, size)
    place = np.full(len(unit), -1, np.int64)
    real = np.flatnonzero(taken)
    place[index.item[real]] = real
    found = place >= 0
    all_sizes = np.zeros(len(unit), np.int64)
    all_sizes[found] = size[place[found]]
    return pack_rows(scores[place], items[place], all_sizes)


def _tournament(n: int) -> list[tuple[Int32s, Int32s]]:
    """Rounds in which each of n blocks meets itself, then each other block once, no block twice in a round."""
    everyone = np.arange(n, dtype=np.int32)
    rounds = [(everyone, everyone)]
    ring = np.arange(n + n % 2)  # with an odd number, whoever meets number n rests
    for _ in range(len(ring) - 1):
        first, second = ring[: len(ring) // 2], ring[::-1][: len(ring) // 2]
        play = (first < n) & (second < n)
        rounds.append((first[play].astype(np.int32), second[play].astype(np.int32)))
        ring = np.concatenate((ring[:1], ring[-1:], ring[1:-1]))
    return rounds
