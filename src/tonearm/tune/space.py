"""What `tonearm tune` may change: for each stage its options, and the values that are tried."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tonearm.config import Config
from tonearm.sources.ranges import Choice, Range, Space, Value
from tonearm.sources.registry import RECIPES, SECTIONS

Params = dict[str, Value]

RANKER = "ranker"
"""The last stage: settings of candidates and ranker, with all sources in place."""

TIMED = ("recency",)
"""Options of sources that mean nothing without time."""


def spaces(config: Config, sources: Sequence[str], timed: bool) -> dict[str, Space]:
    """The options of every stage that a run has, each widened to hold the value it starts from.

    sources: those that the data can carry, in the order of the run
    """
    k = config.output.k
    of_ranker: Space = {
        "candidates": Choice((k, 3 * k // 2, 2 * k)),
        "depth": Range(3, 8),
        "learning_rate": Range(0.05, 0.4, log=True),
        "l2": Range(1.0, 50.0, log=True),
        "negatives": Choice((50, 100, 200)),
        "loss": Choice(("logloss", "querysoftmax")),
    }
    stages = {name: RECIPES[name].ranges for name in sources if RECIPES[name].ranges} | {RANKER: of_ranker}
    found: dict[str, Space] = {}
    for stage, space in stages.items():
        start = values_of(config, stage, space)
        usable = {name: space[name].with_default(start[name]) for name in space if timed or name not in TIMED}
        found[stage] = {name: options for name, options in usable.items() if options is not None}
    return found


def values_of(config: Config, stage: str, names: Mapping[str, object]) -> Params:
    """What a configuration says of a stage's options."""
    return {
        name: getattr(config if name == "candidates" else getattr(config, SECTIONS.get(stage, stage)), name)
        for name in names
    }


def with_values(config: Config, stage: str, params: Params) -> Config:
    """The configuration with a stage's options set."""
    own = {name: value for name, value in params.items() if name != "candidates"}
    section = SECTIONS.get(stage, stage)
    changed: dict[str, Any] = {section: replace(getattr(config, section), **own)}
    return replace(config, **changed | {name: value for name, value in params.items() if name == "candidates"})
