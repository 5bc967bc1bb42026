"""Trend: another source's scores, raised for items that are being played more now than over their lifetime."""

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tonearm.data.dataset import Dataset
from tonearm.errors import ConfigError
from tonearm.options import options
from tonearm.sources.base import Given, Lack, Recipe
from tonearm.sources.item_item import ItemItemModel
from tonearm.sources.popularity import decayed_plays, needs_time
from tonearm.sources.ranges import Range, Space
from tonearm.types import Float32s


@options
class Trend(Recipe["ItemItemModel"]):
    """score_trend(u, i) = score(u, i) · (recent_i + prior · share) / (plays_i + prior)

    recent_i sums 2^(−age / half_life) over the plays of i; share is Σ recent / Σ plays.

    of: the item-item source whose scores are taken
    half_life: days after which a play counts half
    prior: plays that every item is taken to have had at the average trend
    """

    name, title = "trend", "Trend"
    ranges: ClassVar[Space] = {"half_life": Range(1.0, 90.0, log=True), "prior": Range(0.5, 50.0, log=True)}

    of: Literal["ease", "item_item"] = "ease"
    half_life: Annotated[float, Field(gt=0)] = 7.0
    prior: Annotated[float, Field(gt=0)] = 5.0

    @property
    def bases(self) -> dict[str, str]:
        """The other source."""
        return {"of": self.of}

    def needs(self, data: Dataset) -> Lack | None:
        """Time."""
        return needs_time(data)

    def learn(self, given: Given) -> "ItemItemModel":
        """The other source's model with its sums scaled by the trend of their target.

        Raises:
            ConfigError: `of` names no fitted item-item source.
        """
        base = given.base(self.of, ItemItemModel)
        if base is None:
            raise ConfigError(f"trend.of = '{self.of}' names no item-item source. Use 'ease' or 'item_item'.")
        ratio = trend_ratio(given.data, self.half_life, self.prior)
        return replace(base, name="trend", scale=base.scale * ratio[base.targets], left_out=())


def trend_ratio(data: Dataset, half_life: float, prior: float) -> Float32s:
    """Recent plays over all plays of each item, shrunken to the average, (n_items,) float32."""
    recent = decayed_plays(data, half_life)
    plays = data.plays.astype(np.float64)
    ratio: Float32s = ((recent + prior * recent.sum() / plays.sum()) / (plays + prior)).astype(np.float32)
    return ratio
