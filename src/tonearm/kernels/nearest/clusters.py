"""Clusters of directions: spherical k-means on a sample."""

import numpy as np

from tonearm.kernels.nearest.topk import index_items, top_k, unit_vectors
from tonearm.types import Float32s, Int32s


def centres_of(unit: Float32s, rows: Int32s, n: int, rng: np.random.Generator, passes: int = 8) -> Float32s:
    """Directions of n clusters at most, (n, d), from a sample of 64 items for each."""
    sample = unit[np.sort(rng.permutation(rows)[: 64 * n])]
    centres = sample[np.sort(rng.permutation(len(sample))[:n])]
    for _ in range(passes if len(sample) else 0):
        _, home, _ = top_k(sample, index_items(centres), 1)
        order = np.argsort(home, kind="stable")
        used, starts = np.unique(home[order], return_index=True)
        centres[used] = unit_vectors(np.add.reduceat(sample[order], starts, axis=0))
    return np.asarray(centres)


def homes(unit: Float32s, rows: Int32s, centres: Float32s, n: int) -> Int32s:
    """The n nearest centres of some items, nearest first, or all where they are fewer; (n_rows, n) int32."""
    n = min(n, len(centres))
    return top_k(unit[rows], index_items(centres), n)[1].reshape(len(rows), n)
