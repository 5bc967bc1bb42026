"""Again: what a user has played before, most often and most lately first."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.kernels import own as kernels
from tonearm.kernels.best.lists import best_of_rows
from tonearm.options import options
from tonearm.sources.base import ArrayModel, Given, Recipe
from tonearm.sources.ranges import Range, Space
from tonearm.types import Bools, Float32s, Float64s


@options
class Again(Recipe["AgainModel"]):
    """score(u, i) = Σ over u's plays of i of weight · (1 + days since)^−decay; 0 for what u never played.

    Frequency and recency in one sum: the base-level activation of memory. Without time every play counts alike.
    Source: Anderson and Schooler 1991, "Reflections of the environment in memory"

    decay: how fast a play fades; 0 counts plays
    """

    name, title, repeats = "again", "Again", True
    ranges: ClassVar[Space] = {"decay": Range(0.0, 1.5)}

    decay: Annotated[float, Field(ge=0, le=5)] = 0.3

    def learn(self, given: Given) -> "AgainModel":
        """Note which items were played at all; everything else is in the user's history."""
        return AgainModel(given.data.plays > 0, self.decay)


@dataclass(frozen=True)
class AgainModel(ArrayModel):
    """Scores a history by itself; it has lists only where heard items may come back.

    played: (n_items,) bool, those with an event in the fitted data
    """

    played: Bools
    decay: float
    name: str = "again"

    def recommend(self, block: Block, k: int) -> Lists:
        """The k items of highest score of each user's own; empty rows where `block.filter_seen`."""
        pairs = block.pairs
        keep = self.played[pairs.item] & (not block.filter_seen)
        if self.allowed is not None:
            keep &= self.allowed[pairs.item]
        row = np.repeat(np.arange(len(block)), np.diff(pairs.indptr))
        seen_indptr, seen = block.seen
        if len(seen) and not block.filter_seen:  # what they do not want to see again
            n, seen_row = np.int64(block.n_items), np.repeat(np.arange(len(block)), np.diff(seen_indptr))
            keep &= ~np.isin(row * n + pairs.item, seen_row * n + seen)
        row = row[keep]
        indptr = np.searchsorted(row, np.arange(len(block) + 1)).astype(np.int64)
        return Lists(*best_of_rows(indptr, pairs.item[keep], self._activation(block)[keep], k)[:3])

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """The score of each candidate, 0 where its user never played it."""
        pairs = block.pairs
        own = kernels.place_in_history(pairs.indptr, pairs.item, candidates.indptr, candidates.item)
        known = (own >= 0) & self.played[candidates.item]
        scores = np.zeros(len(own), np.float32)
        scores[known] = self._activation(block)[own[known]]
        return scores

    def contributions(self, block: Block, item: int) -> Float64s | None:
        """The whole score at the item's own entry, 0 at every other one."""
        pairs = block.pairs
        return np.where((pairs.item == item) & self.played[item], self._activation(block), 0).astype(np.float64)

    def _activation(self, block: Block) -> Float32s:
        log, pairs = block.log, block.pairs
        return kernels.activation(
            log.start,
            log.stop,
            log.item,
            log.time if log.time is not None else np.empty(0, np.int32),
            log.weights,
            pairs.indptr,
            pairs.item,
            block.now,
            self.decay,
        )
