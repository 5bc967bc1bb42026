"""The sources, each entered here and nowhere else: a line makes its section of the configuration and its column."""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Literal, cast, get_type_hints

import numpy as np

from tonearm.data.dataset import Dataset
from tonearm.options import options
from tonearm.sources.again import Again
from tonearm.sources.als import ALS
from tonearm.sources.base import NOTHING, Recipe, Source
from tonearm.sources.content import Content
from tonearm.sources.ease import EASE
from tonearm.sources.item_item import ItemItem
from tonearm.sources.left_out import LeftOut
from tonearm.sources.popularity import Popularity, Recent
from tonearm.sources.spectral import Spectral
from tonearm.sources.trend import Trend
from tonearm.sources.user_knn import UserKNN
from tonearm.sources.vectors import LastVectors, Vectors
from tonearm.terminal.progress import Progress, no_progress
from tonearm.types import Bools


@options
class SourceOptions:
    """A section of the configuration for each source, in the order in which they are fitted and have their columns."""

    popularity: Popularity = field(default_factory=Popularity)
    als: ALS = field(default_factory=ALS)
    content: Content = field(default_factory=Content)
    item_item: ItemItem = field(default_factory=ItemItem)
    ease: EASE = field(default_factory=EASE)
    spectral: Spectral = field(default_factory=Spectral)
    user_knn: UserKNN = field(default_factory=UserKNN)
    recent: Recent = field(default_factory=Recent)
    trend: Trend = field(default_factory=Trend)
    again: Again = field(default_factory=Again)
    vectors: Vectors = field(default_factory=Vectors)
    vectors_last: LastVectors = field(default_factory=LastVectors)

    def every_recipe(self) -> dict[str, Recipe[Source]]:
        """All sources by name."""
        return {name: getattr(self, section) for name, section in SECTIONS.items()}


_SECTION_TYPES = {f.name: cast(type[Recipe[Source]], f.type) for f in dataclasses.fields(SourceOptions)}

RECIPES: dict[str, type[Recipe[Source]]] = {recipe.name: recipe for recipe in _SECTION_TYPES.values()}
"""Each source's recipe by the source's name."""

SECTIONS = {recipe.name: section for section, recipe in _SECTION_TYPES.items()}
"""The section of the configuration with each source's options."""

MODELS: dict[str, type[Source]] = {name: get_type_hints(recipe.learn)["return"] for name, recipe in RECIPES.items()}
"""What each source's `fit` returns, to be loaded again by its `load`."""

if TYPE_CHECKING:
    SourceName = str
else:
    SourceName = Literal[tuple(RECIPES)]


def fit_sources(
    data: Dataset,
    recipes: Mapping[str, Recipe[Source]],
    seed: int,
    progress: Progress = no_progress,
    earlier: Mapping[str, Source] = NOTHING,
) -> list[Source]:
    """Fit every recipe that the data can carry, each with a generator of its own; `left_out` says which cannot be.

    earlier: models to go on from or to build on, by name
    """
    data = dataclasses.replace(
        data
    )  # without what was counted on it: the pairs, made on it below, go when this is done
    fitted: dict[str, Source] = {}
    for name, recipe in recipes.items():
        if recipe.needs(data) is None:
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            fitted[name] = recipe.fit(data, rng, progress, {**earlier, **fitted})
    return list(fitted.values())


def among(sources: Sequence[Source], allowed: Bools | None) -> list[Source]:
    """The sources with lists of some items alone; all as they are where `allowed` is None."""
    return list(sources) if allowed is None else [source.among(allowed) for source in sources]


def left_out(data: Dataset, recipes: Mapping[str, Recipe[Source]]) -> dict[str, LeftOut]:
    """Sources that the data cannot carry, with the reason, but for those that hardly any data can."""
    cost = "the final list lacks its candidates and its score"
    lacks = {name: recipe.needs(data) for name, recipe in recipes.items()}
    return {
        name: LeftOut(f"source {name} is off", None, lack.why, cost, lack.option)
        for name, lack in lacks.items()
        if lack is not None and not recipes[name].optional
    }
