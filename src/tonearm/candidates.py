"""Candidates: the union of what the sources find for a block of users, scored by every source."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tonearm.data import Block, Lists
from tonearm.kernels import lists as kernels
from tonearm.sources.base import Source
from tonearm.types import AnyArray, Float32s


@dataclass(frozen=True)
class Candidates:
    """What may be recommended to each user of a block.

    lists: items of each row, ascending; their scores are 0
    ranks: (n, n_sources) int16, 1-based rank by each source, 0 where it did not retrieve the item
    scores: (n, n_sources) float32, every source's score of every candidate, NaN where it has none
    """

    lists: Lists
    ranks: AnyArray
    scores: Float32s

    def __len__(self) -> int:
        return len(self.lists.item)


def gather(block: Block, sources: Sequence[Source], k: int) -> tuple[Candidates, list[Lists]]:
    """Unite the k best of every source and let every source score them all; also each source's own lists."""
    own = [source.recommend(block, k) for source in sources]
    indptrs = np.stack([lists.indptr for lists in own])
    offsets = np.concatenate(([0], np.cumsum([len(lists.item) for lists in own])[:-1])).astype(np.int64)
    indptr, item, ranks = kernels.union(indptrs, offsets, np.concatenate([lists.item for lists in own]))
    united = Lists(indptr, item, np.zeros(len(item), np.float32))
    scores = np.empty((len(item), len(sources)), np.float32)
    for column, source in enumerate(sources):
        scores[:, column] = source.score(block, united)
    return Candidates(united, ranks, scores), own
