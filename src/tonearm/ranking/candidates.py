"""Candidates: the union of what the sources find for a block of users, scored by every source."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.kernels.best import lists as kernels
from tonearm.sources.base import Joint, Source
from tonearm.terminal.progress import Progress, no_progress
from tonearm.types import AnyArray, Bools, Float32s, Int32s


class Search(NamedTuple):
    """How candidates are found.

    depth: items taken from each source for each user
    proposers: names of the sources that propose them; none named means all
    filter_seen: leave out what a user has heard
    block: users handled at a time
    """

    depth: int
    proposers: tuple[str, ...]
    filter_seen: bool
    block: int


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
    # Those that search together do so last, when all else that they have to score is known: one pass serves for both.
    together = [source for source in sources if isinstance(source, Joint) and not proposers]
    together = [source for source in together if type(source) is type(together[0])]
    own = {source.name: source.recommend(block, k) for source in sources if source not in together}
    scores: dict[str, Float32s] = {}
    if together:
        wanted, _ = _unite(list(own.values()), len(block))
        lists, columns = together[0].search_with(together[1:], block, k, wanted)
        own |= {source.name: found for source, found in zip(together, lists, strict=True)}
        scores |= {source.name: column for source, column in zip(together, columns.T, strict=True)}
    united, ranks = _unite([own[name] for name in proposing([s.name for s in sources], proposers)], len(block))
    every = [scores[s.name] if s.name in scores else s.score(block, united) for s in sources]
    return Candidates(united, ranks, np.stack(every, axis=1)), [own[source.name] for source in sources]


def of_users(
    data: Dataset, users: Int32s, sources: Sequence[Source], search: Search, progress: Progress = no_progress
) -> Iterator[tuple[Block, Candidates]]:
    """The candidates of some users, block by block."""
    for lo in range(0, len(users), search.block):
        progress("candidates", lo, len(users))
        block = data.block_of(users[lo : lo + search.block], search.filter_seen)
        yield block, gather(block, sources, search.depth, search.proposers)[0]


def proposing(sources: Iterable[str], proposers: Sequence[str]) -> list[str]:
    """The sources that propose candidates."""
    return [name for name in sources if not proposers or name in proposers]


class Standing(NamedTuple):
    """What a source makes of an item for a user.

    found: whether it is among the items that are taken from the source
    rank: its place in the source's list were it endless; None where it is in no list (heard, or without a score)
    score: None where the source has none
    """

    found: bool
    rank: int | None
    score: float | None


def standing(source: Source, block: Block, own: Lists, item: int, listable: Bools) -> Standing:
    """What a source makes of an item for the one user of a block.

    own: the source's list for the user; listable: (n_items,) bool, what that may hold at all
    """
    rank = place_in(own, item)
    if rank is not None:
        return Standing(True, rank, float(own.score[rank - 1]))
    items = np.flatnonzero(listable).astype(np.int32) if listable[item] else np.array([item], np.int32)
    scores = source.score(block, Lists(np.array([0, len(items)], np.int64), items, np.zeros(len(items), np.float32)))
    score = float(scores[np.searchsorted(items, item)])
    if np.isnan(score):
        return Standing(False, None, None)
    if not listable[item]:
        return Standing(False, None, score)
    above, equal = int((scores > score).sum()), int((scores == score).sum())
    if score > 0 and equal == 1:
        return Standing(False, above + 1, score)
    # Scores do not tell whether a list holds an item of no more than 0, nor the order of equals: the list itself does.
    return Standing(False, place_in(source.recommend(block, above + equal), item), score)


def place_in(lists: Lists, item: int) -> int | None:
    """The place of an item in a single list, from 1; None where it is not there."""
    places = np.flatnonzero(lists.item == item)
    return int(places[0]) + 1 if len(places) else None


def _unite(lists: Sequence[Lists], n_rows: int) -> tuple[Lists, AnyArray]:
    """The distinct items of each row, ascending and scored 0, and the rank that each list gave them."""
    if not lists:
        return Lists.empty(n_rows), np.empty((0, 0), np.int16)
    offsets = np.concatenate(([0], np.cumsum([len(one.item) for one in lists])[:-1])).astype(np.int64)
    indptrs = np.stack([one.indptr for one in lists])
    indptr, item, ranks = kernels.union(indptrs, offsets, np.concatenate([one.item for one in lists]))
    return Lists(indptr, item, np.zeros(len(item), np.float32)), ranks
