"""What the models make of a listener and a track: each source's share of it, and the ranker's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.kernels.features import standardize
from tonearm.ranking.blend import blended
from tonearm.ranking.candidates import Standing, place_in, standing
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.recommender import Ranked, Recommender
from tonearm.runs.read import Id
from tonearm.sources.base import Source
from tonearm.types import Float32s


@dataclass(frozen=True)
class SourcePart:
    """One source's view.

    found: whether it is among the source's first `candidates` for this listener
    rank: its place in the source's list were it endless; None where it is in no list (heard, or without a score)
    score: None where the source has none
    history: table of item and value, what every track of the history adds to the score, largest first; empty where
        history plays no part
    rest: score − Σ value: next to nothing but for ALS, where the listener's vector was last solved against the
        track vectors of one iteration before; None without history or score
    """

    name: str
    found: bool
    rank: int | None
    score: float | None
    history: pl.DataFrame
    rest: float | None


@dataclass(frozen=True)
class Feature:
    """What one feature adds to the trees' value: its SHAP value. value: None where unknown."""

    name: str
    value: float | None
    shap: float


@dataclass(frozen=True)
class BlendPart:
    """What one source adds to the blend: weight · z, z being its score standardised over the listener's candidates."""

    source: str
    z: float
    weight: float


@dataclass(frozen=True)
class Ranking:
    """How the ranker placed a candidate.

    place, of: 1-based place among the listener's candidates, and how many there are
    score: the final score; share · trees_z + (1 − share) · blend_z, or trees or blend alone where share is 1 or 0
    share: share of the trees
    trees: CatBoost's raw value = expected + Σ shap; trees_z: standardised over the candidates
    features: largest |shap| first
    blend: Σ weight · z of the parts; blend_z: standardised over the candidates
    """

    place: int
    of: int
    score: float
    share: float
    trees: float
    trees_z: float
    expected: float
    features: tuple[Feature, ...]
    blend: float
    blend_z: float
    blend_parts: tuple[BlendPart, ...]


def source_parts(
    data: Dataset, recommender: Recommender, block: Block, own: Sequence[Lists], item: int
) -> tuple[SourcePart, ...]:
    """What every source makes of an item for the one user of a block; `own`: the sources' lists for the user."""
    listable = (data.plays > 0) & (recommender.allowed is None or recommender.allowed)
    listable[block.seen[1]] = False
    ids = data.catalogue.items.decode(block.pairs.item)
    pairs = zip(recommender.sources, own, strict=True)
    return tuple(
        _source_part(source, block, standing(source, block, first, item, listable), item, ids)
        for source, first in pairs
    )


def _source_part(source: Source, block: Block, stands: Standing, item: int, ids: pl.Series) -> SourcePart:
    values = source.contributions(block, item)
    if values is None or stands.score is None:
        none = pl.DataFrame(schema={"item": ids.dtype, "value": pl.Float64})
        return SourcePart(source.name, *stands, none, None)
    order = np.argsort(-values, kind="stable")
    history = pl.DataFrame({"item": ids.gather(order), "value": values[order]})
    return SourcePart(source.name, *stands, history, stands.score - float(values.sum()))


def near(parts: tuple[SourcePart, ...]) -> list[Id]:
    """Tracks of the history that speak for the item, strongest first: by their mean share in the sources that found it.

    Content is left out, as what shares a genre need not be heard by the same people.
    """
    shares = []
    for part in parts:
        total = part.history.filter(pl.col("value") > 0)["value"].sum()
        if part.found and part.name != "content" and total > 0:
            shares.append(part.history.with_columns(pl.col("value") / total))
    if not shares:
        return []
    mean = pl.concat(shares).group_by("item", maintain_order=True).agg(pl.col("value").sum())
    return mean.filter(pl.col("value") > 0).sort("value", descending=True, maintain_order=True)["item"].to_list()


def ranking(ranker: RankerModel, ranked: Ranked, item: int) -> Ranking | None:
    """How the ranker placed an item among the candidates of a single user; None where it is none of them."""
    place = place_in(ranked.lists, item)
    if place is None:
        return None
    return explain_row(ranker, ranked.features[ranked.place], ranked.lists.score, place - 1)


def explain_row(ranker: RankerModel, features: Float32s, score: Float32s, row: int) -> Ranking:
    """What made the score of one candidate.

    features: (n, n_features), score: (n,), those of all candidates of its user
    """
    shap = ranker.contributions(features[row : row + 1])[0]
    trees = np.zeros(len(features)) if ranker.trees is None else ranker.trees.predict(features, threads=1)
    blend = blended(features[:, ranker.z], ranker.blend)
    bounds = np.array([0, len(features)], np.int64)
    z = standardize(bounds, np.stack([trees.astype(np.float32), blend], axis=1))[row]
    order = np.argsort(-np.abs(shap[:-1]), kind="stable")
    values = [None if np.isnan(value) else float(value) for value in features[row]]
    weights = zip(ranker.z, ranker.blend, strict=True)
    return Ranking(
        place=row + 1,
        of=len(features),
        score=float(score[row]),
        share=ranker.mix,
        trees=float(trees[row]),
        trees_z=float(z[0]),
        expected=float(shap[-1]),
        features=tuple(Feature(ranker.names[f], values[f], float(shap[f])) for f in order),
        blend=float(blend[row]),
        blend_z=float(z[1]),
        blend_parts=tuple(
            BlendPart(ranker.names[column].removesuffix("_z"), float(features[row, column]), float(weight))
            for column, weight in weights
        ),
    )
