"""Similar items for a million items in minutes: only items in nearby clusters are compared, and the recall is measured.

Spherical k-means on a sample, then each item looks into the clusters whose centres are nearest to it (the inverted file
of Sivic and Zisserman 2003; Jégou, Douze and Schmid 2011). Items of one cluster look into much the same clusters, so
the products are done for many of them at once.
"""

from collections.abc import Callable

import numba
import numpy as np

from tonearm.kernels.best.heap import pack_rows
from tonearm.kernels.best.keys import write_best
from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.simd import take_next
from tonearm.kernels.nearest.clusters import centres_of, homes
from tonearm.kernels.nearest.scan import GROUP, PANEL, pack_group, pack_items, room_for, scan_group
from tonearm.kernels.nearest.topk import Rows, index_items, similar_top_k
from tonearm.types import Bools, Float32s, Int32s, Int64s


def similar_approximate(
    unit: Float32s,
    k: int,
    allowed: Bools,
    rng: np.random.Generator,
    probes: int = 24,
    sample: int = 1000,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Rows, float]:
    """The k items of highest cosine for every allowed item, approximately, and the share of the exact lists found.

    unit: (n, d) float32 as `unit_vectors` makes them; allowed: (n,) bool
    probes: clusters that each item looks into, of about √n in all
    sample: items whose exact lists are made to measure the recall
    progress: called as progress(clusters done, clusters in all)
    Returns rows for all n items (empty where not allowed) and the recall, 1.0 when there is nothing to find.
    """
    rows = np.flatnonzero(allowed).astype(np.int32)
    centres = centres_of(unit, rows, max(1, int(np.sqrt(len(rows)))), rng)
    near = homes(unit, rows, centres, probes)
    home = near[:, 0] if len(rows) else np.empty(0, np.int32)
    by_home = np.argsort(home, kind="stable")
    bounds = np.searchsorted(home[by_home], np.arange(len(centres) + 1)).astype(np.int64)
    panel_bounds = np.concatenate(([0], np.cumsum(-(-np.diff(bounds) // PANEL)))).astype(np.int64)
    item = np.full(panel_bounds[-1] * PANEL, -1, np.int32)
    sorted_home = home[by_home]
    places = panel_bounds[sorted_home] * PANEL + np.arange(len(rows)) - bounds[sorted_home]
    item[places] = rows[by_home]
    k = max(0, min(k, len(rows) - 1))
    scores, items = np.empty((len(unit), k), np.float32), np.empty((len(unit), k), np.int32)
    size = np.zeros(len(unit), np.int64)
    vectors, step = np.ascontiguousarray(unit), max(64, len(centres) // 32)
    panels, members, near = pack_items(vectors, item), rows[by_home], near[by_home]
    for lo in range(0, len(centres) if k > 0 else 0, step):
        if progress is not None:
            progress(lo, len(centres))
        _scan_clusters(
            numba.get_num_threads(), lo, min(lo + step, len(centres)), vectors, members, bounds, near, panels, item,
            panel_bounds, scores, items, size,
        )  # fmt: skip
    found = pack_rows(scores, items, size)
    return found, _recall(found, unit, k, rows, allowed, rng, sample)


def _recall(
    found: Rows, unit: Float32s, k: int, rows: Int32s, allowed: Bools, rng: np.random.Generator, sample: int
) -> float:
    chosen = np.sort(rng.permutation(rows)[:sample])
    indptr, exact, _ = similar_top_k(unit, k, chosen, index_items(unit, allowed))
    hits = 0
    for r, row in enumerate(chosen):
        hits += len(np.intersect1d(exact[indptr[r] : indptr[r + 1]], found[1][found[0][row] : found[0][row + 1]]))
    return hits / len(exact) if len(exact) else 1.0


@jit_parallel
def _scan_clusters(
    threads: int,
    first: int,
    end: int,
    unit: Float32s,
    members: Int32s,
    bounds: Int64s,
    near: Int32s,
    panels: Float32s,
    item: Int32s,
    panel_bounds: Int64s,
    scores: Float32s,
    items: Int32s,
    size: Int64s,
) -> None:
    """The members of the clusters from first to end (exclusive) look into the clusters near them.

    members: items by cluster, cluster c's at bounds[c] to bounds[c + 1]; near: (n_members, probes) their clusters
    panels, item: as in `ItemIndex`, cluster c's panels at panel_bounds[c] to panel_bounds[c + 1]
    scores, items: (n, k) and size (n,), by item
    """
    counter = np.full(1, first, np.int64)
    for _ in prange(min(threads, end - first)):
        while True:
            cluster = take_next(counter)
            if cluster >= end:
                break
            lo, hi = bounds[cluster], bounds[cluster + 1]
            if lo < hi:
                _scan_one(
                    unit, members[lo:hi], near[lo:hi], panels, item, panel_bounds, scores, items, size
                )  # fmt: skip


@jit
def _scan_one(
    unit: Float32s,
    members: Int32s,
    near: Int32s,
    panels: Float32s,
    item: Int32s,
    panel_bounds: Int64s,
    scores: Float32s,
    items: Int32s,
    size: Int64s,
) -> None:
    n, d, k = len(members), unit.shape[1], scores.shape[1]
    queries = np.empty((n, d), np.float32)
    for q in range(n):
        for f in range(d):
            queries[q, f] = unit[members[q], f]
    keys = np.empty((n, room_for(k)), np.uint64)
    count = np.zeros(n, np.int64)
    limit = np.full(n, -np.inf, np.float32)
    own = np.arange(n + 1)
    packed, lanes = np.empty((d + 1) * GROUP, np.float32), np.empty(PANEL * GROUP, np.float32)
    starts, visitors = _visitors(near, len(panel_bounds) - 1)
    for c in range(len(panel_bounds) - 1):
        for a in range(starts[c], starts[c + 1], GROUP):
            group = visitors[a : min(a + GROUP, starts[c + 1])]
            pack_group(queries, group, packed)
            for j in range(GROUP):
                packed[d * GROUP + j] = limit[group[j]] if j < len(group) else np.inf
            scan_group(
                panels, item, own, members, k, panel_bounds[c], panel_bounds[c + 1], d, limit, group, keys, count,
                packed, lanes,
            )  # fmt: skip
    bits = np.empty(1, np.int32)
    for q in range(n):
        size[members[q]] = write_best(keys[q], count[q], scores[members[q]], items[members[q]], bits)


@jit
def _visitors(near: Int32s, n_clusters: int) -> tuple[Int64s, Int64s]:
    """Who looks into each cluster: cluster c's visitors at starts[c] to starts[c + 1]."""
    starts = np.zeros(n_clusters + 1, np.int64)
    for q in range(len(near)):
        for c in near[q]:
            starts[c + 1] += 1
    for c in range(n_clusters):
        starts[c + 1] += starts[c]
    place, visitors = starts.copy(), np.empty(near.size, np.int64)
    for q in range(len(near)):
        for c in near[q]:
            visitors[place[c]] = q
            place[c] += 1
    return starts, visitors
