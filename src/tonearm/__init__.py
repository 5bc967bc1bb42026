"""Ranked recommendations from a listening log and a catalogue."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tonearm.config import Config, load_config
    from tonearm.data.catalogue import Catalogue
    from tonearm.data.dataset import Dataset
    from tonearm.data.lists import Lists
    from tonearm.data.log import Log
    from tonearm.data.vocabulary import Vocabulary
    from tonearm.engine import run
    from tonearm.errors import ConfigError, DataError, MissingExtra, OutputError, TonearmError
    from tonearm.evaluation.summary import evaluate, evaluate_files
    from tonearm.explanation import Explanation, explain
    from tonearm.loading.load import load_all, load_events, load_ready_made
    from tonearm.model import Model, fit, load
    from tonearm.pipeline import Inputs
    from tonearm.ranking.ranker import Ranker
    from tonearm.runs.restore import Restored, restore
    from tonearm.shaping.options import Shape
    from tonearm.sources.again import Again
    from tonearm.sources.als import ALS
    from tonearm.sources.content import Content
    from tonearm.sources.ease import EASE
    from tonearm.sources.item_item import ItemItem
    from tonearm.sources.popularity import Popularity, Recent
    from tonearm.sources.spectral import Spectral
    from tonearm.sources.trend import Trend
    from tonearm.sources.user_knn import UserKNN

_HOME = {
    "ALS": "sources.als",
    "Again": "sources.again",
    "Catalogue": "data.catalogue",
    "Config": "config",
    "ConfigError": "errors",
    "Content": "sources.content",
    "DataError": "errors",
    "Dataset": "data.dataset",
    "EASE": "sources.ease",
    "Explanation": "explanation",
    "Inputs": "pipeline",
    "ItemItem": "sources.item_item",
    "Lists": "data.lists",
    "Log": "data.log",
    "MissingExtra": "errors",
    "Model": "model",
    "OutputError": "errors",
    "Popularity": "sources.popularity",
    "Ranker": "ranking.ranker",
    "Recent": "sources.popularity",
    "Restored": "runs.restore",
    "Shape": "shaping.options",
    "Spectral": "sources.spectral",
    "TonearmError": "errors",
    "Trend": "sources.trend",
    "UserKNN": "sources.user_knn",
    "Vocabulary": "data.vocabulary",
    "evaluate": "evaluation.summary",
    "evaluate_files": "evaluation.summary",
    "explain": "explanation",
    "fit": "model",
    "load": "model",
    "load_all": "loading.load",
    "load_config": "config",
    "load_events": "loading.load",
    "load_ready_made": "loading.load",
    "restore": "runs.restore",
    "run": "engine",
}

__all__ = [
    "ALS",
    "EASE",
    "Again",
    "Catalogue",
    "Config",
    "ConfigError",
    "Content",
    "DataError",
    "Dataset",
    "Explanation",
    "Inputs",
    "ItemItem",
    "Lists",
    "Log",
    "MissingExtra",
    "Model",
    "OutputError",
    "Popularity",
    "Ranker",
    "Recent",
    "Restored",
    "Shape",
    "Spectral",
    "TonearmError",
    "Trend",
    "UserKNN",
    "Vocabulary",
    "evaluate",
    "evaluate_files",
    "explain",
    "fit",
    "load",
    "load_all",
    "load_config",
    "load_events",
    "load_ready_made",
    "restore",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import tonearm` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'tonearm' has no attribute '{name}'")
    return getattr(importlib.import_module(f"tonearm.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
