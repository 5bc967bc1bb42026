"""The one protocol that every candidate source follows."""

from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.progress import Progress, no_progress
from tonearm.types import AnyArray, Bools, Float32s, Float64s


class Source(Protocol):
    """A fitted source: lists of its own, and a score for any candidate."""

    @property
    def name(self) -> str:
        """The source's name, as in `<name>_score`."""
        ...

    def recommend(self, block: Block, k: int) -> Lists:
        """At most k items for each user of a block, best first, ties by ascending item index.

        Only items with an event in the fitted data; what the user has heard is left out where `block.filter_seen`.
        A user of whom the source knows nothing gets an empty row. Every other such item of positive score has its
        place in an endless list.
        """
        ...

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """The source's score of each candidate, (n_candidates,) float32; NaN where it has none.

        candidates: a row of items for each user of the block; their own scores are ignored. For an item that
        `recommend` returns, the score is the one it returned.
        """
        ...

    def among(self, allowed: Bools) -> Self:
        """The same source whose lists hold these items alone, as far as they go; scores and what is saved are its own.

        allowed: (n_items,) bool
        """
        ...

    def contributions(self, block: Block, item: int) -> Float64s | None:
        """What each entry of the one history in the block adds to its user's score of an item, (n_pairs,) float64.

        They sum to the score, or near it where the source says so; None where history plays no part in the score.
        """
        ...

    def save(self) -> dict[str, AnyArray]:
        """Everything the model is made of, as arrays for an npz file."""
        ...

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The model that `save` took apart."""
        ...


class Recipe(Protocol):
    """A frozen set of options; defaults live here and nowhere else."""

    def fit(self, data: Dataset, rng: np.random.Generator, progress: Progress = no_progress) -> Source:
        """Learn from the events of a data set."""
        ...
