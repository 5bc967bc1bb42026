"""From users to lists: candidates, features, ranking and shaping of a block, in one place for all who make lists."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tonearm.config import Config
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.kernels.best.lists import best_of_rows
from tonearm.ranking.candidates import Candidates, gather
from tonearm.ranking.features import Features, Scratch
from tonearm.ranking.ranker import RankerModel
from tonearm.shaping.shaper import Shaper
from tonearm.sources import Source, among
from tonearm.types import Float32s, Int64s


@dataclass(frozen=True)
class Made:
    """The lists of a block, and what they were made of.

    candidates: what any source found among the items that may be shown; own: each source's own lists
    features: (n_candidates, n_features) float32
    ranked: the candidates of each user, best first; where no rule follows only so many as the final list holds
    lists: the final lists; an entry that was no candidate has score NaN
    place: (n_entries,) int64, the row of each of their entries among the candidates; −1 for one that was none
    relaxed: (b,) int64 entries of each list, the last ones, that stand above a limit
    """

    candidates: Candidates
    own: list[Lists]
    features: Float32s
    ranked: Lists
    lists: Lists
    place: Int64s
    relaxed: Int64s


@dataclass(frozen=True)
class Recommender:
    """All that final lists are made of.

    fitted: sources as they were fitted, in the order of their columns
    shaper: the rules; None where there are none
    """

    fitted: Sequence[Source]
    features: Features
    ranker: RankerModel
    shaper: Shaper | None
    config: Config

    @classmethod
    def of(
        cls, data: Dataset, fitted: Sequence[Source], ranker: RankerModel, shaper: Shaper | None, config: Config
    ) -> "Recommender":
        """A recommender for what was learnt from some data."""
        names = [source.name for source in fitted]
        features = Features.fit(data, names, config.filter_seen, config.ranker.features)
        return cls(fitted, features, ranker, None if shaper is None else shaper.knowing(fitted), config)

    def under(self, shaper: Shaper | None) -> "Recommender":
        """The same under other rules."""
        return replace(self, shaper=shaper)

    @cached_property
    def sources(self) -> list[Source]:
        """The sources, searching among the items that the hard rules let pass."""
        return among(self.fitted, None if self.shaper is None else self.shaper.allowed)

    def lists(self, block: Block, scratch: Scratch | None = None) -> Made:
        """Every list of a block of users; a row depends on its own user alone.

        scratch: where features are written to, until its next use
        """
        k = self.config.output.k
        candidates, own = self.gather(block)
        ranked, features, place = self.rank(block, candidates, k if self.shaper is None else None, scratch)
        if self.shaper is None:
            return Made(candidates, own, features, ranked, ranked, place, np.zeros(len(block), np.int64))
        shaped = self.shaper.shape(block, ranked, k)
        place = np.where(shaped.place < 0, -1, place[shaped.place]) if len(place) else shaped.place
        return Made(candidates, own, features, ranked, shaped.lists, place, shaped.relaxed)

    def gather(self, block: Block) -> tuple[Candidates, list[Lists]]:
        """A block's candidates, and each source's own lists."""
        return gather(block, self.sources, depth(self.config), self.config.proposers)

    def rank(
        self, block: Block, candidates: Candidates, k: int | None, scratch: Scratch | None = None
    ) -> tuple[Lists, Float32s, Int64s]:
        """The k best candidates of each user by the ranker (None: all), all features, and each entry's row in these."""
        features = self.features.compute(block, candidates, scratch)
        threads = self.config.threads if self.config.threads > 0 else -1
        score = self.ranker.score(candidates.lists.indptr, features, threads)
        found = best_of_rows(candidates.lists.indptr, candidates.lists.item, score, k or len(score))
        return Lists(*found[:3]), features, found[3]


def depth(config: Config) -> int:
    """How many items are taken from each source for each user; at least as many as a list holds."""
    return max(config.candidates, config.output.k)
