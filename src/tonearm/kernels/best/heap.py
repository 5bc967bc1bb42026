"""The k best of what comes by, one row of two arrays per query; ties go to the lower item index."""

import numpy as np

from tonearm.kernels.machine.jit import jit
from tonearm.types import Float32s, Int32s, Int64s


@jit
def offer(score: float, item: int, scores: Float32s, items: Int32s, size: int) -> int:
    """Take an entry in if it is among the best len(scores); returns the new number of entries.

    A heap with the worst entry first. While it is not full, entries are sifted up.
    """
    k = len(scores)
    if size == k:
        if not _worse(scores[0], items[0], score, item):
            return size
        _sift_down(score, item, scores, items, k)
        return size
    at = size
    while at > 0:
        parent = (at - 1) >> 1
        if not _worse(score, item, scores[parent], items[parent]):
            break
        scores[at], items[at] = scores[parent], items[parent]
        at = parent
    scores[at], items[at] = score, item
    return size + 1


@jit
def sort_best_first(scores: Float32s, items: Int32s, size: int) -> None:
    """Turn a heap of `size` entries into a list, best first."""
    for last in range(size - 1, 0, -1):
        score, item = scores[last], items[last]
        scores[last], items[last] = scores[0], items[0]
        _sift_down(score, item, scores, items, last)


@jit
def _worse(score: float, item: int, other_score: float, other_item: int) -> bool:
    return score < other_score or (score == other_score and item > other_item)


@jit
def _sift_down(score: float, item: int, scores: Float32s, items: Int32s, size: int) -> None:
    """Put an entry in the place of the first of `size` entries."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and _worse(scores[right], items[right], scores[child], items[child]):
            child = right
        if not _worse(scores[child], items[child], score, item):
            break
        scores[at], items[at] = scores[child], items[child]
        at = child
    scores[at], items[at] = score, item


@jit
def pack_rows(scores: Float32s, items: Int32s, size: Int64s) -> tuple[Int64s, Int32s, Float32s]:
    """The first size[r] entries of each row of (n, k) arrays, end to end."""
    indptr = np.zeros(len(size) + 1, np.int64)
    for r in range(len(size)):
        indptr[r + 1] = indptr[r] + size[r]
    item = np.empty(indptr[-1], np.int32)
    score = np.empty(indptr[-1], np.float32)
    for r in range(len(size)):
        for j in range(size[r]):
            item[indptr[r] + j], score[indptr[r] + j] = items[r, j], scores[r, j]
    return indptr, item, score
