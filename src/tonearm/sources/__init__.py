"""Candidate sources: each a frozen recipe whose `fit` returns a frozen model, all behind one protocol."""

from tonearm.sources.base import Recipe, Source
from tonearm.sources.registry import MODELS, RECIPES, SourceOptions, among, fit_sources, left_out

__all__ = ["MODELS", "RECIPES", "Recipe", "Source", "SourceOptions", "among", "fit_sources", "left_out"]
