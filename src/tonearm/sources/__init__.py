"""Candidate sources: each a frozen recipe whose `fit` returns a frozen model, all behind one protocol."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tonearm.data.dataset import Dataset
from tonearm.progress import Progress, no_progress
from tonearm.sources.again import AgainModel
from tonearm.sources.als import ALS, ALSModel
from tonearm.sources.base import Recipe, Source
from tonearm.sources.content import ContentModel
from tonearm.sources.ease import EASE
from tonearm.sources.item_item import ItemItemModel
from tonearm.sources.left_out import LeftOut
from tonearm.sources.popularity import PopularityModel
from tonearm.sources.spectral import Spectral, SpectralModel
from tonearm.sources.trend import Trend
from tonearm.sources.user_knn import UserKNN, UserKNNModel
from tonearm.types import Bools, Float16s

__all__ = ["MODELS", "Recipe", "Source", "Trend", "among", "fit_sources", "left_out"]

MODELS: dict[str, type[Source]] = {
    "popular": PopularityModel,
    "als": ALSModel,
    "content": ContentModel,
    "item_item": ItemItemModel,
    "ease": ItemItemModel,
    "spectral": SpectralModel,
    "user_knn": UserKNNModel,
    "recent": PopularityModel,
    "trend": ItemItemModel,
    "again": AgainModel,
}
"""What each source's recipe makes, to be loaded again by its `load`."""


def fit_sources(
    data: Dataset,
    recipes: Mapping[str, Recipe | Trend],
    seed: int,
    progress: Progress = no_progress,
    als_start: Float16s | None = None,
) -> list[Source]:
    """Fit every recipe that the data can carry, each with a generator of its own; `left_out` says which cannot be.

    als_start: item vectors of an earlier ALS model, to go on from
    """
    data = replace(data)  # a copy without what was counted on it: the pairs, made on it below, go when this is done
    fitted: dict[str, Source] = {}
    for name, recipe in recipes.items():
        if name in left_out(data, recipes):
            continue
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        if isinstance(recipe, Trend):
            fitted[name] = recipe.derive(data, fitted)
        elif isinstance(recipe, EASE):
            near = fitted.get("item_item")
            fitted[name] = recipe.fit(data, rng, progress, near if isinstance(near, ItemItemModel) else None)
        elif isinstance(recipe, ALS):
            fitted[name] = recipe.fit(data, rng, progress, als_start)
        else:
            fitted[name] = recipe.fit(data, rng, progress)
    return list(fitted.values())


def among(sources: Sequence[Source], allowed: Bools | None) -> list[Source]:
    """The sources with lists of some items alone; all as they are where `allowed` is None."""
    return list(sources) if allowed is None else [source.among(allowed) for source in sources]


def left_out(data: Dataset, recipes: Mapping[str, Recipe | Trend]) -> dict[str, LeftOut]:
    """Sources that the data cannot carry, with the reason."""
    reasons: dict[str, tuple[str, str]] = {}
    if data.catalogue.genres is None:
        reasons["content"] = "the catalogue has no genres", "a catalogue with genres"
    for name in ("recent", "trend"):
        if data.log.time is None:
            reasons[name] = "the log has no started_at", "a log with started_at"
    spectral, pairs = recipes.get("spectral"), int(data.listeners.sum())
    if isinstance(spectral, Spectral) and pairs > spectral.max_pairs:
        why = f"the log has {pairs:,} pairs of user and item, more than spectral.max_pairs = {spectral.max_pairs:,}"
        reasons["spectral"] = why, f"spectral.max_pairs={pairs} (time and memory grow with it)"
    nearest = recipes.get("user_knn")
    if isinstance(nearest, UserKNN) and not nearest.affords(data):
        why = (
            f"comparing all users takes {nearest.cost(data):.3g} additions, more than user_knn.work = {nearest.work:g}"
        )
        reasons["user_knn"] = why, f"user_knn.work={nearest.cost(data):.3g} (time grows with it)"
    return {
        name: LeftOut(f"source {name} is off", None, why, "the final list lacks its candidates and its score", option)
        for name, (why, option) in reasons.items()
        if name in recipes
    }
