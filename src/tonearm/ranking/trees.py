"""The ranker's trees: the one file that knows the library which grows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import catboost
import numpy as np
from pydantic import Field

from tonearm.options import options
from tonearm.ranking.training import TrainingTable
from tonearm.types import Bools, Float32s, Float64s

LIBRARY = "catboost"

LEAST = 100
"""Candidates that a tree is grown on at least, as far as there are as many; CatBoost refuses a draw of one."""

NOTHING_TELLS = "nothing tells the played candidates of the label window from the others"

LOSSES = {"logloss": "Logloss", "yetirank": "YetiRank", "querysoftmax": "QuerySoftMax", "pairlogit": "PairLogit"}


@options
class TreeOptions:
    """How trees are grown.

    loss: what CatBoost minimises
    iterations, depth, learning_rate, l2: trees at most, their depth, shrinkage, and the penalty on leaf values
    subsample: share of the candidates that each tree is grown on, drawn at random; more where it would be few
    patience: trees without a better held-out score before training stops
    """

    loss: Literal["logloss", "yetirank", "querysoftmax", "pairlogit"] = "logloss"
    iterations: Annotated[int, Field(ge=1)] = 1_000
    depth: Annotated[int, Field(ge=1, le=12)] = 6
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.2
    l2: Annotated[float, Field(ge=0)] = 10.0
    subsample: Annotated[float, Field(gt=0, le=1)] = 0.3
    patience: Annotated[int, Field(ge=1)] = 25

    def grow(self, table: TrainingTable, fit: Bools, held: Bools, seed: int, threads: int) -> "Trees | str":
        """Trees grown on the rows `fit` until the rows `held` gain no more; where none can be, why in words.

        fit, held: (n,) bool; threads: 0 takes all there are
        """
        model = catboost.CatBoost(
            {
                "loss_function": LOSSES[self.loss],
                "iterations": self.iterations,
                "depth": self.depth,
                "learning_rate": self.learning_rate,
                "l2_leaf_reg": self.l2,
                "bootstrap_type": "Bernoulli",
                "subsample": min(1.0, max(self.subsample, LEAST / int(fit.sum()))),
                "sampling_frequency": "PerTree",
                "leaf_estimation_iterations": 1,
                "random_strength": 0,
                "random_seed": seed,
                "thread_count": threads or -1,
                "eval_metric": "NDCG:top=20;type=Base" if self.loss != "logloss" else "Logloss",
                "od_type": "Iter",
                "od_wait": self.patience,
                "allow_writing_files": False,
                "verbose": False,
            }
        )
        try:
            model.fit(pool(table, fit), eval_set=pool(table, held), use_best_model=True)
        except catboost.CatBoostError as error:
            return _why_refused(table.features[fit], table.label[fit], str(error))
        if any(model.get_feature_importance(type="PredictionValuesChange")):
            return Trees(table.names, model)
        return NOTHING_TELLS


@dataclass(frozen=True)
class Trees:
    """Trees that were grown, or the mean of some.

    names: the features, in order
    content: the file that they were read from, which CatBoost would write in another order
    """

    names: tuple[str, ...]
    model: Any
    content: bytes | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.model.tree_count_)

    def mean_with(self, others: Sequence["Trees"]) -> "Trees":
        """Trees that say the mean of what these and others say."""
        models = [self.model, *(one.model for one in others)]
        return Trees(self.names, catboost.sum_models(models, weights=[1 / len(models)] * len(models)))

    def predict(self, features: Float32s, threads: int = 0) -> Float64s:
        """What they say of each candidate, (n,) float64; threads: 0 takes all there are."""
        return np.asarray(self.model.predict(features, thread_count=threads or -1), np.float64)

    def contributions(self, features: Float32s) -> Float64s:
        """SHAP values of each feature, and last their expected value, (n, n_features + 1) float64.

        A row sums to its prediction.

        Source: Lundberg, Erion, Lee 2018
        """
        pool = catboost.Pool(features, feature_names=list(self.names))
        return np.asarray(self.model.get_feature_importance(pool, type="ShapValues"), np.float64)

    def importances(self) -> dict[str, float]:
        """The share of each feature in the predictions, in per cent, most important first."""
        values = self.model.get_feature_importance(type="PredictionValuesChange")
        pairs = zip(self.names, (float(v) for v in values), strict=True)
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def save(self, path: Path) -> None:
        """Write them in CatBoost's own format, without what tells equal models apart."""
        path.parent.mkdir(exist_ok=True)
        if self.content is not None:
            path.write_bytes(self.content)
            return
        about = self.model.get_metadata()
        for name in list(about.keys()):
            if name.endswith(("model_guid", "train_finish_time")):
                about[name] = ""
        path.write_bytes(self.model._serialize_model())  # the bytes of save_model, whose errors hide what was wrong

    @classmethod
    def load(cls, names: tuple[str, ...], content: bytes) -> "Trees":
        """The trees of a file that `save` wrote."""
        model = catboost.CatBoost().load_model(blob=content)
        if len(model.feature_names_) != len(names):
            raise ValueError(f"trees of {len(model.feature_names_)} features, not {len(names)}")
        return cls(names, model, content)


def pool(table: TrainingTable, rows: Bools) -> Any:
    """Some rows as CatBoost takes them, grouped."""
    group = table.of_rows(np.arange(len(table.user)))[rows]
    return catboost.Pool(table.features[rows], label=table.label[rows], group_id=group, feature_names=list(table.names))


def _why_refused(features: Float32s, label: Float32s, error: str) -> str:
    if label.min() == label.max():
        return "every candidate of the label window was played"
    if all(len(np.unique(column)) < 2 for column in features.T):
        return NOTHING_TELLS
    return f"CatBoost cannot grow trees on it ({error.strip()})"
