"""From users to lists: candidates, features, ranking and shaping of a block, in one place for all who make lists."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.kernels.best.lists import best_of_rows
from tonearm.ranking.candidates import Candidates, Search, gather
from tonearm.ranking.features import Features, Scratch
from tonearm.ranking.ranker import RankerModel
from tonearm.shaping.shaper import Shaper
from tonearm.sources import Source, among
from tonearm.types import Bools, Float32s, Int64s

Found = tuple[Candidates, Sequence[Lists]]


@dataclass(frozen=True)
class Ranked:
    """The candidates of a block in the order of the ranker, before any rule.

    candidates: what any source found among the items that may be shown; own: each source's own lists
    features: (n_candidates, n_features) float32
    lists: the candidates of each user, best first
    place: (n_entries,) int64, the row of each of their entries among the candidates
    """

    candidates: Candidates
    own: Sequence[Lists]
    features: Float32s
    lists: Lists
    place: Int64s


@dataclass(frozen=True)
class Made:
    """The lists of a block, and what they were made of.

    ranked: where no rule follows only so many of each user as the final list holds
    lists: the final lists; an entry that was no candidate has score NaN
    place: (n_entries,) int64, the row of each of their entries among the candidates; −1 for one that was none
    relaxed: (b,) int64 entries of each list, the last ones, that stand above a limit
    """

    ranked: Ranked
    lists: Lists
    place: Int64s
    relaxed: Int64s


@dataclass(frozen=True)
class Recommender:
    """All that final lists are made of.

    fitted: sources as they were fitted, in the order of their columns
    shaper: the rules; None where there are none
    k: items in a list
    threads: for the ranker; 0 takes all there are
    """

    fitted: Sequence[Source]
    features: Features
    ranker: RankerModel
    shaper: Shaper | None
    search: Search
    k: int
    threads: int = 0

    @classmethod
    def of(
        cls,
        data: Dataset,
        fitted: Sequence[Source],
        ranker: RankerModel,
        shaper: Shaper | None,
        search: Search,
        k: int,
        threads: int = 0,
        item: Float32s | None = None,
    ) -> "Recommender":
        """A recommender for what was learnt from some data.

        item: features of the items where they were counted before
        """
        features = Features.fit(data, [source.name for source in fitted], search.filter_seen, ranker.names, item)
        return cls(fitted, features, ranker, None if shaper is None else shaper.knowing(fitted), search, k, threads)

    def under(self, shaper: Shaper | None) -> "Recommender":
        """The same under other rules."""
        return replace(self, shaper=shaper)

    @property
    def allowed(self) -> Bools | None:
        """(n_items,) bool, the items that the hard rules let pass; None where there is no such rule."""
        return None if self.shaper is None else self.shaper.allowed

    @cached_property
    def sources(self) -> list[Source]:
        """The sources, searching among the items that the hard rules let pass."""
        return among(self.fitted, self.allowed)

    def lists(self, block: Block, scratch: Scratch | None = None, found: Found | None = None) -> Made:
        """Every list of a block of users; a row depends on its own user alone.

        scratch: where features are written to, until its next use; found: what `find` told of the block
        """
        k = self.k if self.shaper is None else None
        ranked = self.rank(block, *(found or self.find(block)), k, scratch)
        place = ranked.place
        if self.shaper is None:
            return Made(ranked, ranked.lists, place, np.zeros(len(block), np.int64))
        shaped = self.shaper.shape(block, ranked.lists, self.k)
        place = np.where(shaped.place < 0, -1, place[shaped.place]) if len(place) else shaped.place
        return Made(ranked, shaped.lists, place, shaped.relaxed)

    def ranked(self, block: Block, k: int | None = None, scratch: Scratch | None = None) -> Ranked:
        """The k best candidates of each user by the ranker, before any rule; None: all of them."""
        return self.rank(block, *self.find(block), k, scratch)

    def find(self, block: Block) -> Found:
        """The candidates of a block of users, and each source's own lists."""
        return gather(block, self.sources, self.search.depth, self.search.proposers)

    def rank(
        self,
        block: Block,
        candidates: Candidates,
        own: Sequence[Lists] = (),
        k: int | None = None,
        scratch: Scratch | None = None,
    ) -> Ranked:
        """As `ranked`, for candidates that are there already."""
        features = self.features.compute(block, candidates, scratch)
        score = self.ranker.score(candidates.lists.indptr, features, self.threads)
        found = best_of_rows(candidates.lists.indptr, candidates.lists.item, score, k or len(score))
        return Ranked(candidates, own, features, Lists(*found[:3]), found[3])
