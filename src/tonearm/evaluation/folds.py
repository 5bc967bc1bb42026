"""The same measurement at several cuts: each list's figures, their mean and their spread."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tonearm.evaluation.words import best_source

Metrics = dict[str, Any]


def over_folds(measured: Sequence[tuple[str, Mapping[str, Any]]]) -> Metrics:
    """What several cuts say, the latest first.

    measured: the moment of each cut, and what `summarise` gave for it
    """
    (_, latest), *_ = measured
    names = dict.fromkeys(name for _, metrics in measured for name in metrics["lists"])
    keys = [key for key, value in next(iter(latest["lists"].values())).items() if not isinstance(value, dict)]
    return {
        "cuts": [_cut(cut, metrics) for cut, metrics in measured],
        "lists": {
            name: {key: _spread([metrics["lists"].get(name, {}).get(key) for _, metrics in measured]) for key in keys}
            for name in names
        },
    }


def _cut(cut: str, metrics: Mapping[str, Any]) -> Metrics:
    """When, of how many users, and whether the final list is above the best other one there."""
    best, metric = best_source(metrics), f"ndcg@{metrics['focus']}"
    found = [c for c in metrics["comparisons"] if c["against"] == best and c["metric"] == metric]
    users = metrics["population"]["evaluated_users"]
    return {"cut": cut, "evaluated_users": users, "against_best_source": found[0] if found else None}


def _spread(values: Sequence[float | None]) -> Metrics:
    """Figures by fold, null where a list is not there; their mean and standard deviation."""
    known = [value for value in values if value is not None]
    mean = float(np.mean(known)) if known else None
    return {"by_fold": list(values), "mean": mean, "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None}
