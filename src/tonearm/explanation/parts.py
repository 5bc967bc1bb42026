"""What the models make of a listener and a track: each source's share of it, and the ranker's."""

from dataclasses import dataclass

import numpy as np

from tonearm.candidates import Candidates
from tonearm.data import Block, Lists
from tonearm.kernels.features import standardize
from tonearm.ranker import RankerModel, blended
from tonearm.restored import Restored
from tonearm.runs import Id
from tonearm.sources.base import Source
from tonearm.types import Float32s


@dataclass(frozen=True)
class Entry:
    """What one track of the history adds to a source's score."""

    item: Id
    value: float


@dataclass(frozen=True)
class SourcePart:
    """One source's view.

    found: whether it is among the source's first `candidates` for this listener
    rank: its place in the source's list were it endless; None where it is in no list (heard, or without a score)
    score: None where the source has none
    history: what every track of the history adds to the score, largest first; empty where history plays no part
    rest: score − Σ history: next to nothing but for ALS, where the listener's vector was last solved against the
        track vectors of one iteration before; None without history or score
    """

    name: str
    found: bool
    rank: int | None
    score: float | None
    history: tuple[Entry, ...]
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


def source_parts(restored: Restored, block: Block, own: list[Lists], item: int) -> tuple[SourcePart, ...]:
    """What every source makes of an item for the one user of a block; `own`: the sources' lists for the user."""
    return tuple(_source_part(restored, block, *pair, item) for pair in zip(restored.sources, own, strict=True))


def _source_part(restored: Restored, block: Block, source: Source, own: Lists, item: int) -> SourcePart:
    one = Lists(np.array([0, 1], np.int64), np.array([item], np.int32), np.zeros(1, np.float32))
    score = float(source.score(block, one)[0])
    found = item in own.item
    hidden = not found and bool(np.isin(item, block.seen[1]))
    rank = None if hidden else _rank(own if found else source.recommend(block, restored.data.n_items), item)
    values = source.contributions(block, item)
    if values is None or np.isnan(score):
        return SourcePart(source.name, found, rank, None if np.isnan(score) else score, (), None)
    ids = restored.data.catalogue.items.decode(block.pairs.item).to_list()
    order = np.lexsort((block.pairs.item, -values))
    history = tuple(Entry(ids[place], float(values[place])) for place in order)
    return SourcePart(source.name, found, rank, score, history, score - float(values.sum()))


def _rank(lists: Lists, item: int) -> int | None:
    places = np.flatnonzero(lists.item == item)
    return int(places[0]) + 1 if len(places) else None


def near(parts: tuple[SourcePart, ...]) -> list[Id]:
    """Tracks of the history that speak for the item, strongest first: by their mean share in the sources that found it.

    Content is left out, as what shares a genre need not be heard by the same people.
    """
    shares: dict[Id, float] = {}
    for part in parts:
        total = sum(entry.value for entry in part.history if entry.value > 0)
        if part.found and part.name != "content" and total > 0:
            for entry in part.history:
                shares[entry.item] = shares.get(entry.item, 0.0) + entry.value / total
    return [item for item, share in sorted(shares.items(), key=lambda pair: -pair[1]) if share > 0]


def ranking(restored: Restored, block: Block, candidates: Candidates, item: int) -> Ranking | None:
    """How the ranker placed an item among the candidates of the one user of a block; None where it is none of them."""
    every, features = restored.rank(block, candidates, len(candidates))
    place = _rank(every, item)
    if place is None:
        return None
    return explain_row(restored.ranker, features, every.score, place - 1)


def explain_row(ranker: RankerModel, features: Float32s, score: Float32s, row: int) -> Ranking:
    """What made the score of one candidate.

    features: (n, n_features), score: (n,), those of all candidates of its user
    """
    shap = ranker.contributions(features[row : row + 1])[0]
    trees = np.asarray(ranker.trees.predict(features, thread_count=1), np.float64)
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
