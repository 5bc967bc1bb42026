"""How much each entry of a history counts when a source sums over it."""

import numpy as np

from tonearm.data import DAY, Dataset, Pairs
from tonearm.types import Float32s


def recency_weights(pairs: Pairs, recency: float) -> Float32s:
    """1 / (1 + r / recency) for the entry with r entries heard after it, (n_pairs,) float32; all 1 without time.

    Entries of the same moment share the least r; recency 0 makes all weights 1.
    """
    if recency <= 0 or pairs.last is None:
        return np.ones(len(pairs.item), np.float32)
    row = np.repeat(np.arange(pairs.n_users), np.diff(pairs.indptr))
    order = np.lexsort((-pairs.last.astype(np.int64), row))
    last, starts = pairs.last[order], pairs.indptr[:-1][row]
    new = np.ones(len(order), np.bool_)
    new[1:] = (last[1:] != last[:-1]) | (row[1:] != row[:-1])
    later = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0)) - starts
    weights = np.empty(len(order), np.float32)
    weights[order] = 1 / (1 + later / recency)
    return weights


def decayed_pairs(data: Dataset, half_life: float) -> Float32s:
    """2^(−days since the pair's last event / half_life), (n_pairs,) float32; all 1 without time or with 0."""
    pairs = data.pairs
    if half_life <= 0 or pairs.last is None:
        return np.ones(len(pairs.item), np.float32)
    return np.exp2((pairs.last.astype(np.float64) - data.now) / (half_life * DAY)).astype(np.float32)
