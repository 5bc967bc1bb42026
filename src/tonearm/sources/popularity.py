"""Popular items: what most listeners play."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.errors import DataError
from tonearm.kernels.best import lists as kernels
from tonearm.options import options
from tonearm.sources.base import ArrayModel, Given, Lack, Recipe
from tonearm.sources.ranges import Range, Space
from tonearm.types import Float32s, Float64s, Int32s


@options
class Popularity(Recipe["PopularityModel"]):
    """Items by plays, which are events or their summed weight; ties by ascending item index."""

    name, title, always = "popular", "Popular", True

    def learn(self, given: Given) -> "PopularityModel":
        """Count plays."""
        return PopularityModel("popular", given.data.popularity_order, given.data.plays.astype(np.float32))


@options
class Recent(Recipe["PopularityModel"]):
    """Items by plays that count half as much for each half-life that they lie back; ties as in `Popularity`.

    half_life: days after which a play counts half
    """

    name, title = "recent", "Recent"
    ranges: ClassVar[Space] = {"half_life": Range(1.0, 90.0, log=True)}

    half_life: Annotated[float, Field(gt=0)] = 7.0

    def needs(self, data: Dataset) -> Lack | None:
        """Time."""
        return needs_time(data)

    def learn(self, given: Given) -> "PopularityModel":
        """Count plays by their age; needs a log with time."""
        data = given.data
        value = decayed_plays(data, self.half_life).astype(np.float32)
        order = np.argsort(-value, kind="stable")
        return PopularityModel("recent", order[data.plays[order] > 0].astype(np.int32), value)


def needs_time(data: Dataset) -> Lack | None:
    """What a log without time lacks."""
    return Lack("the log has no started_at", "a log with started_at") if data.log.time is None else None


def decayed_plays(data: Dataset, half_life: float) -> Float64s:
    """Sum over plays of 2^(−age / half_life) for each item, (n_items,) float64; half_life in days.

    Raises:
        DataError: the log has no time.
    """
    if data.log.time is None:
        raise DataError("the log has no started_at, so plays have no age. Leave recent and trend out of sources.")
    return data.decayed_plays(half_life)


@dataclass(frozen=True)
class PopularityModel(ArrayModel):
    """Every user gets the same order, less what they have heard.

    order: (n_played,) int32 items, best first
    value: (n_items,) float32 score of each item
    """

    name: str
    order: Int32s
    value: Float32s

    @cached_property
    def listed(self) -> Int32s:
        """What lists hold, in this order."""
        return self.order if self.allowed is None else self.order[self.allowed[self.order]]

    def recommend(self, block: Block, k: int) -> Lists:
        """The first k items of the order that each user has not heard."""
        indptr, item = kernels.first_unseen(self.listed, k, *block.seen)
        return Lists(indptr, item, self.value[item])

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """The plays of each candidate."""
        del block
        return self.value[candidates.item]

    def contributions(self, block: Block, item: int) -> Float64s | None:
        """None: the score is the same for everybody."""
        del block, item
        return None
