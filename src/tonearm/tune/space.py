"""What `tonearm tune` may change: for each stage its options, and the values that are tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tonearm.config import Config

Value = float | int | str
Params = dict[str, Value]

RANKER = "ranker"
"""The last stage: settings of candidates and ranker, with all sources in place."""


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, whole ones where both are; log: drawn evenly on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def with_default(self, value: Any) -> "Range | None":
        """The range widened to hold a value; None where no such range can."""
        if self.log and not value > 0:
            return None
        return replace(self, low=min(self.low, value), high=max(self.high, value))


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    def with_default(self, value: Any) -> "Choice":
        """The choice with one more value, if it is not among them."""
        return self if value in self.values else Choice((*self.values, value))


Space = dict[str, Range | Choice]

RECENCY = Choice((0.0, 5.0, 20.0, 80.0))
SOURCES: dict[str, Space] = {
    "als": {
        "factors": Range(16, 256, log=True),
        "regularization": Range(0.1, 300.0, log=True),
        "alpha": Range(0.5, 100.0, log=True),
        "iterations": Range(5, 20),
        "frequency_exponent": Range(0.0, 1.0),
        "recency": RECENCY,
    },
    "item_item": {
        "user_power": Range(0.0, 1.5),
        "source_power": Range(0.0, 1.0),
        "target_power": Range(0.0, 1.0),
        "shrink": Range(0.0, 50.0),
        "recency": RECENCY,
    },
    "ease": {
        "regularization": Range(10.0, 5000.0, log=True),
        "coverage": Choice((0.0, 0.75)),
        "recency": RECENCY,
    },
    "spectral": {
        "factors": Range(16, 512, log=True),
        "smoothing": Range(0.0, 4.0),
        "sharpness": Range(0.0, 1.0),
        "recency": RECENCY,
    },
    "user_knn": {
        "neighbours": Range(50, 1000, log=True),
        "item_power": Range(0.0, 1.0),
        "target_power": Range(0.0, 1.0),
        "recency": RECENCY,
    },
    "recent": {"half_life": Range(1.0, 90.0, log=True)},
    "trend": {"half_life": Range(1.0, 90.0, log=True), "prior": Range(0.5, 50.0, log=True)},
    "again": {"decay": Range(0.0, 1.5)},
}
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
    stages = {name: SOURCES[name] for name in sources if name in SOURCES} | {RANKER: of_ranker}
    found: dict[str, Space] = {}
    for stage, space in stages.items():
        start = values_of(config, stage, space)
        usable = {name: space[name].with_default(start[name]) for name in space if timed or name not in TIMED}
        found[stage] = {name: options for name, options in usable.items() if options is not None}
    return found


def values_of(config: Config, stage: str, names: Mapping[str, object]) -> Params:
    """What a configuration says of a stage's options."""
    return {name: getattr(config if name == "candidates" else getattr(config, stage), name) for name in names}


def with_values(config: Config, stage: str, params: Params) -> Config:
    """The configuration with a stage's options set."""
    own = {name: value for name, value in params.items() if name != "candidates"}
    changed: dict[str, Any] = {stage: replace(getattr(config, stage), **own)}
    return replace(config, **changed | {name: value for name, value in params.items() if name == "candidates"})
