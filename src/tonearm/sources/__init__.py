"""Candidate sources: each a frozen recipe whose `fit` returns a frozen model, all behind one protocol."""

import zlib
from collections.abc import Mapping

import numpy as np

from tonearm.data import Dataset
from tonearm.progress import Progress, no_progress
from tonearm.sources.base import Recipe, Source

__all__ = ["Recipe", "Source", "fit_sources"]


def fit_sources(
    data: Dataset, recipes: Mapping[str, Recipe], seed: int, progress: Progress = no_progress
) -> list[Source]:
    """Fit every recipe that the data can carry, each with a generator of its own; those that need genres need some."""
    return [
        recipe.fit(data, np.random.default_rng([seed, zlib.crc32(name.encode())]), progress)
        for name, recipe in recipes.items()
        if name != "content" or data.catalogue.genres is not None
    ]
