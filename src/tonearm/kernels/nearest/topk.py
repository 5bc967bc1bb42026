"""Exact top-k lists: the k best items of each query vector, and of each row of scores.

The score of a query u and an item v is the float32 number that `score_pairs` computes: s = 0, then
s = u_f · v_f + s for f = 0, 1, …, d − 1, each step rounded once (fused). Every path below computes exactly that, so
ids, order and scores are those of scoring every item and sorting by descending score, then ascending item index.

Items are visited by descending norm. By Cauchy and Schwarz |u·v| ≤ |u||v|, and the computed score is off by at most
γ |u||v| with γ = d ε / (1 − d ε), ε = 2⁻²⁴ (Higham 2002, eq. 3.5), so once (1 + γ) |u||v| is below a user's k-th best
score, no later item can enter that user's list.

Vectors must be finite.
"""

from dataclasses import dataclass

import numba
import numpy as np

from tonearm.kernels.best.heap import pack_rows
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.simd import fma1, prefetch
from tonearm.kernels.nearest.scan import PANEL, pack_items, scan
from tonearm.types import Bools, Float32s, Float64s, Int32s, Int64s

AHEAD = 8
"""Items of a list whose vectors are asked for before their turn; they lie far apart in memory."""

Rows = tuple[Int64s, Int32s, Float32s]
"""Lists as arrays: indptr (n + 1,) int64, item int32, score float32; each row best first."""


@dataclass(frozen=True)
class ItemIndex:
    """Item vectors made ready for `top_k`: by descending norm, in panels of sixteen.

    panels: flat float32; feature f of item 16 p + j (in this order) is at (p · d + f) · 16 + j
    item: (n_panels · 16,) int32 item indices in this order, −1 for padding
    bound: (n_panels,) float32, no norm from this panel on is above it
    d: features of a vector
    """

    panels: Float32s
    item: Int32s
    bound: Float32s
    d: int


def index_items(item_vectors: Float32s, allowed: Bools | None = None) -> ItemIndex:
    """Make item vectors (n, d) float32 ready; with `allowed` (n,) bool, the others are never recommended."""
    norms = np.sqrt(np.einsum("if,if->i", item_vectors, item_vectors, dtype=np.float64))
    order = np.argsort(-norms, kind="stable").astype(np.int32)
    if allowed is not None:
        order = order[allowed[order]]
    return index_in_order(item_vectors, order, norms[order])


def index_in_order(item_vectors: Float32s, order: Int32s, norms: Float64s) -> ItemIndex:
    """Items of one's own order, `norms` being theirs in that order."""
    panels = pack_items(np.ascontiguousarray(item_vectors), order)
    padded = np.full(-(-len(order) // PANEL) * PANEL, -1, np.int32)
    padded[: len(order)] = order
    # float32 may round a norm down, the next number up is safe
    bound = np.nextafter(norms[::PANEL].astype(np.float32), np.float32(np.inf))
    return ItemIndex(panels, padded, bound, item_vectors.shape[1])


def top_k(
    user_vectors: Float32s, index: ItemIndex, k: int, seen_indptr: Int64s | None = None, seen: Int32s | None = None
) -> Rows:
    """The k best items of each user, exactly; fewer where fewer are left.

    user_vectors: (b, d) float32
    seen_indptr, seen: items to leave out of each user's list, ascending in each row; None leaves none out
    """
    n = len(user_vectors)
    if seen_indptr is None or seen is None:
        seen_indptr, seen = np.zeros(n + 1, np.int64), np.empty(0, np.int32)
    k = max(0, min(k, len(index.item)))
    scores, items = np.empty((n, k), np.float32), np.empty((n, k), np.int32)
    size = np.zeros(n, np.int64)
    if k > 0 and n > 0:
        scan(
            numba.get_num_threads(),
            np.ascontiguousarray(user_vectors),
            index.panels,
            index.item,
            index.bound,
            seen_indptr,
            seen,
            scores,
            items,
            size,
        )
    return pack_rows(scores, items, size)


def unit_vectors(vectors: Float32s) -> Float32s:
    """Each row divided by its norm, (n, d) float32; a zero row stays zero."""
    norms = np.sqrt(np.einsum("if,if->i", vectors, vectors, dtype=np.float64))
    return (vectors / np.where(norms > 0, norms, 1.0)[:, None]).astype(np.float32)


def similar_top_k(unit: Float32s, k: int, rows: Int32s | None = None, index: ItemIndex | None = None) -> Rows:
    """The k items of highest cosine for some items (all when None), exactly, an item never being its own neighbour.

    unit: (n, d) float32 as `unit_vectors` makes them; the cosine is their score, so a zero vector has 0 with all
    index: the items that may be neighbours, from `index_items(unit, allowed)`; None takes all
    """
    wanted = np.arange(len(unit), dtype=np.int32) if rows is None else rows
    return top_k(unit[wanted], index or index_items(unit), k, np.arange(len(wanted) + 1), wanted)


@jit_parallel
def score_pairs(user_vectors: Float32s, item_vectors: Float32s, indptr: Int64s, item: Int32s) -> Float32s:
    """The score of each listed item for the user of its row, (n_entries,) float32, as defined above.

    user_vectors: (b, d), item_vectors: (n, d), both C-contiguous float32; indptr: (b + 1,)
    """
    d = user_vectors.shape[1]
    flat = item_vectors.ravel()
    out = np.empty(len(item), np.float32)
    for u in prange(len(indptr) - 1):
        for e in range(indptr[u], indptr[u + 1], 4):
            last = indptr[u + 1] - 1
            for ahead in range(e + AHEAD, min(e + AHEAD + 4, last + 1)):
                for f in range(0, d, 16):
                    prefetch(flat, np.int64(item[ahead]) * d + f)
            i0, i1 = item[e], item[min(e + 1, last)]
            i2, i3 = item[min(e + 2, last)], item[min(e + 3, last)]
            s0 = s1 = s2 = s3 = np.float32(0)
            for f in range(d):  # four at once, since each sum waits for its last step
                x = user_vectors[u, f]
                s0 = fma1(x, item_vectors[i0, f], s0)
                s1 = fma1(x, item_vectors[i1, f], s1)
                s2 = fma1(x, item_vectors[i2, f], s2)
                s3 = fma1(x, item_vectors[i3, f], s3)
            out[min(e + 3, last)] = s3
            out[min(e + 2, last)] = s2
            out[min(e + 1, last)] = s1
            out[e] = s0
    return out
