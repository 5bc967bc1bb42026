"""Candidate sources: each a frozen recipe whose `fit` returns a frozen model, all behind one protocol."""

import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tonearm.data import Dataset
from tonearm.progress import Progress, no_progress
from tonearm.sources.again import AgainModel
from tonearm.sources.als import ALS, ALSModel
from tonearm.sources.base import Recipe, Source
from tonearm.sources.content import ContentModel
from tonearm.sources.ease import EASE
from tonearm.sources.item_item import ItemItemModel
from tonearm.sources.popularity import PopularityModel
from tonearm.sources.spectral import Spectral, SpectralModel
from tonearm.sources.trend import Trend
from tonearm.sources.user_knn import UserKNN, UserKNNModel
from tonearm.types import Float16s

__all__ = ["MODELS", "Recipe", "Source", "Trend", "fit_sources", "left_out"]

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


def left_out(data: Dataset, recipes: Mapping[str, Recipe | Trend]) -> dict[str, str]:
    """Sources that the data cannot carry, with the reason in words."""
    reasons: dict[str, str] = {}
    if data.catalogue.genres is None:
        reasons["content"] = "the catalogue has no genres"
    for name in ("recent", "trend"):
        if data.log.time is None:
            reasons[name] = "the log has no started_at"
    spectral = recipes.get("spectral")
    if isinstance(spectral, Spectral) and int(data.listeners.sum()) > spectral.max_pairs:
        reasons["spectral"] = f"the log has more than spectral.max_pairs = {spectral.max_pairs:,} pairs"
    nearest = recipes.get("user_knn")
    if isinstance(nearest, UserKNN) and not nearest.affords(data):
        reasons["user_knn"] = f"comparing all users takes more than user_knn.work = {nearest.work:g} additions"
    return {name: reason for name, reason in reasons.items() if name in recipes}
