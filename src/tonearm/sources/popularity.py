"""Popular items: what most listeners play."""

from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as options

from tonearm.data import DAY, Block, Dataset, Lists
from tonearm.kernels import lists as kernels
from tonearm.progress import Progress, no_progress
from tonearm.types import AnyArray, Float32s, Int32s


@options(frozen=True)
class Popularity:
    """Items by plays, or by plays that count half as much for each half-life that they lie back.

    half_life: days after which a play counts half; 0 counts all alike (needs started_at, else all count alike)
    """

    half_life: Annotated[float, Field(ge=0)] = 0.0

    def fit(self, data: Dataset, rng: np.random.Generator, progress: Progress = no_progress) -> "PopularityModel":
        """Count plays; ties by distinct listeners, then by ascending item index."""
        del rng, progress
        score = data.plays.astype(np.float64)
        if self.half_life > 0 and data.log.time is not None:
            score = decayed_plays(data, self.half_life)
        order = np.lexsort((np.arange(data.n_items), -data.listeners, -score))
        played: Int32s = order[data.plays[order] > 0].astype(np.int32)
        name = "popular" if self.half_life == 0 else "recent"
        return PopularityModel(name, played, score.astype(np.float32))


def decayed_plays(data: Dataset, half_life: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Sum over plays of 2^(−age / half_life) for each item, (n_items,) float64; half_life in days."""
    assert data.log.time is not None
    rate = np.log(2) / (half_life * DAY)
    return kernels.decayed_counts(
        data.log.start, data.log.stop, data.log.item, data.log.time, data.now, rate, data.n_items
    )


class PopularityModel:
    """Every user gets the same order, less what they have heard.

    order: (n_played,) int32 items, best first
    value: (n_items,) float32 score of each item
    """

    def __init__(self, name: str, order: Int32s, value: Float32s) -> None:
        self.name = name
        self.order = order
        self.value = value

    def recommend(self, block: Block, k: int) -> Lists:
        """The first k items of the order that each user has not heard."""
        indptr, item = kernels.first_unseen(self.order, k, *block.seen)
        return Lists(indptr, item, self.value[item])

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """The plays of each candidate."""
        del block
        return self.value[candidates.item]

    def save(self) -> dict[str, AnyArray]:
        """The order and the scores."""
        return {"order": self.order, "value": self.value}
