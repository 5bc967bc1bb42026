"""Candidates: the union of what the sources find for a block of users, scored by every source."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.kernels.best import lists as kernels
from tonearm.sources import item_item
from tonearm.sources.base import Source
from tonearm.sources.item_item import ItemItemModel
from tonearm.types import AnyArray, Float32s


@dataclass(frozen=True)
class Candidates:
    """What may be recommended to each user of a block.

    lists: items of each row, ascending; their scores are 0
    ranks: (n, n_proposing) int16, 1-based rank by each source that proposes, 0 where it did not retrieve the item
    scores: (n, n_sources) float32, every source's score of every candidate, NaN where it has none
    """

    lists: Lists
    ranks: AnyArray
    scores: Float32s

    def __len__(self) -> int:
        return len(self.lists.item)


def gather(
    block: Block, sources: Sequence[Source], k: int, proposers: Sequence[str] = ()
) -> tuple[Candidates, list[Lists]]:
    """Unite the k best of every source that proposes, have every source score them all; also each source's own lists.

    proposers: names of these sources; none named means all
    """
    # Item-item models search last, when all else that they have to score is known: their sums then serve for both.
    summing = [source for source in sources if isinstance(source, ItemItemModel) and not proposers]
    own = {source.name: source.recommend(block, k) for source in sources if source not in summing}
    scores: dict[str, Float32s] = {}
    if summing:
        wanted, _ = _unite(list(own.values()), len(block))
        lists, sums = item_item.search(summing, block, k, wanted)
        own |= {source.name: found for source, found in zip(summing, lists, strict=True)}
        scores |= {source.name: column for source, column in zip(summing, sums.T, strict=True)}
    united, ranks = _unite([own[name] for name in proposing(own, proposers)], len(block))
    columns = [scores[s.name] if s.name in scores else s.score(block, united) for s in sources]
    return Candidates(united, ranks, np.stack(columns, axis=1)), [own[source.name] for source in sources]


def proposing(sources: Iterable[str], proposers: Sequence[str]) -> list[str]:
    """The sources that propose candidates."""
    return [name for name in sources if not proposers or name in proposers]


def _unite(lists: Sequence[Lists], n_rows: int) -> tuple[Lists, AnyArray]:
    """The distinct items of each row, ascending and scored 0, and the rank that each list gave them."""
    if not lists:
        return Lists.empty(n_rows), np.empty((0, 0), np.int16)
    offsets = np.concatenate(([0], np.cumsum([len(one.item) for one in lists])[:-1])).astype(np.int64)
    indptrs = np.stack([one.indptr for one in lists])
    indptr, item, ranks = kernels.union(indptrs, offsets, np.concatenate([one.item for one in lists]))
    return Lists(indptr, item, np.zeros(len(item), np.float32)), ranks
