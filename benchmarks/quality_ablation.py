"""What each source, each feature group and each ranking loss is worth, on inner windows of train alone.

Sources are fitted and candidates gathered once; a ranker is trained anew for each variant, as a run would train it.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from pydantic.dataclasses import dataclass as options_class

from quality_sets import K, Row, difference, ndcg_of, shown
from tonearm import Config, Inputs
from tonearm.config import stage_rng
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.truth import Truth, truth
from tonearm.evaluation.meters import AccuracyMeter
from tonearm.ranking.candidates import Candidates, of_users
from tonearm.ranking.features import Features
from tonearm.ranking.ranker import Ranker, RankerModel
from tonearm.ranking.recommender import Recommender
from tonearm.ranking.training import WHOLE, TrainingTable, join_tables, label_blocks
from tonearm.ranking.trees import Trees
from tonearm.sources import fit_sources, left_out
from tonearm.split import inner_split, inner_splits
from tonearm.terminal.progress import no_progress
from tonearm.types import Bools, Float32s, Float64s, Int32s

USERS = 20_000
"""Users of a window that variants are measured on, drawn at random where there are more."""

FEW, WINDOWS = 1_000, 5
"""Below so many users the window before the last is measured on as well, and so on, up to so many windows."""

LOSSES: tuple[Literal["logloss", "yetirank", "querysoftmax", "pairlogit"], ...] = (
    "logloss",
    "yetirank",
    "querysoftmax",
    "pairlogit",
)

GROUPS: dict[str, Callable[[str], bool]] = {
    "features: scores": lambda name: name.endswith("_score"),
    "features: item plays by window": lambda name: name.startswith(("item_plays_", "item_trend_")) and name[-1] == "d",
    "features: item age and recency": lambda name: name in ("item_age", "item_recency"),
    "features: user": lambda name: name.startswith("user_"),
    "features: artist": lambda name: name.startswith("artist_"),
    "features: album": lambda name: name.startswith("album_"),
}
"""Feature groups by name. The standardised scores are not among them: the blend is made of them."""


@dataclass(frozen=True)
class Gathered:
    """Candidates of some users before a window, and what they went on to play in it.

    answers: of the users of all blocks, in order
    """

    history: Dataset
    names: tuple[str, ...]
    answers: Truth
    blocks: tuple[tuple[Block, Candidates], ...]


@dataclass(frozen=True)
class Variant:
    """A ranker's input less a source (its place), or less a feature group, and the ranker's settings."""

    ranker: Ranker
    source: int | None = None
    group: Callable[[str], bool] | None = None

    def of(self, every: Candidates) -> Candidates:
        """The candidates that it has of those of all sources."""
        return every if self.source is None else without_source(every, self.source)


@options_class(frozen=True)
class LightGBM(Ranker):
    """The same ranker with LightGBM's lambdarank in place of CatBoost's trees, at the same settings."""

    def grow(self, table: TrainingTable, fit: Bools, held: Bools, seed: int, threads: int) -> Trees:
        """By the loss of its own; there is nothing that it refuses."""
        import lightgbm

        def pool(rows: Bools, reference: Any = None) -> Any:
            group = np.repeat(np.arange(len(table.indptr) - 1), np.diff(table.indptr))[rows]
            sizes = np.unique(group, return_counts=True)[1]
            return lightgbm.Dataset(table.features[rows], table.label[rows], group=sizes, reference=reference)

        train = pool(fit)
        params = {
            "objective": "lambdarank",
            "metric": "ndcg",
            "eval_at": [K],
            "learning_rate": self.learning_rate,
            "num_leaves": 2**self.depth,
            "lambda_l2": self.l2,
            "seed": seed,
            "num_threads": threads,
            "deterministic": True,
            "verbosity": -1,
        }
        stop = lightgbm.early_stopping(self.patience, verbose=False)
        booster = lightgbm.train(params, train, self.iterations, valid_sets=[pool(held, train)], callbacks=[stop])
        return Boosters(table.names, (booster,))


class Boosters(Trees):
    """The mean of some LightGBM models, which are a tuple here."""

    @property
    def count(self) -> int:
        """Trees in all of them."""
        return sum(int(booster.best_iteration) for booster in self.model)

    def mean_with(self, others: Sequence[Trees]) -> Trees:
        """All of them, whose mean is taken when they are asked."""
        return Boosters(self.names, (*self.model, *(booster for one in others for booster in one.model)))

    def predict(self, features: Float32s, threads: int = 0) -> Float64s:
        """The mean prediction, (n,) float64."""
        total = sum(booster.predict(features, num_threads=threads) for booster in self.model)
        return np.asarray(total / len(self.model), np.float64)


def without_source(candidates: Candidates, place: int) -> Candidates:
    """The candidates that the other sources retrieve, scored by those."""
    ranks, scores = np.delete(candidates.ranks, place, axis=1), np.delete(candidates.scores, place, axis=1)
    kept = (ranks > 0).any(axis=1)
    indptr = np.concatenate(([0], np.cumsum(kept)))[candidates.lists.indptr].astype(np.int64)
    lists = Lists(indptr, candidates.lists.item[kept], candidates.lists.score[kept])
    return Candidates(lists, np.ascontiguousarray(ranks[kept]), np.ascontiguousarray(scores[kept]))


def gathered(history: Dataset, answers: Truth, most: int, config: Config, recipes: dict[str, Any]) -> Gathered:
    """Fit the sources on a history and gather candidates of at most some users."""
    sources = fit_sources(history, recipes, config.seed)
    rows = np.arange(len(answers))
    if len(rows) > most:
        rows = np.sort(stage_rng(config.seed, "training table").choice(rows, most, replace=False))
    some = answers.of_rows(rows)
    blocks = tuple(of_users(history, some.users, sources, config.search))
    return Gathered(history, tuple(source.name for source in sources), some, blocks)


@dataclass(frozen=True)
class Round:
    """An inner window of a set, which variants are measured on, and the label windows before it to learn from."""

    target: Gathered
    learnt: tuple[Gathered, ...]


class Bench:
    """Inner windows of a set with all that a ranker before each learns from."""

    def __init__(self, given: Inputs, config: Config) -> None:
        self.config = config
        history = given.load(config, no_progress).train
        recipes: dict[str, Any] = config.recipes()
        for name in left_out(history, recipes):
            del recipes[name]
        self.rounds: list[Round] = []
        while self.users < FEW and len(self.rounds) < (1 if history.log.time is None else WINDOWS):
            split = inner_split(history, config.split, stage_rng(config.seed, "split"))
            history = split.history
            target = gathered(history, truth(history.log, split.labels), USERS, config, recipes)
            learnt: list[Gathered] = []
            for earlier in inner_splits(history, config.split, stage_rng(config.seed, "split again")):
                answers = truth(earlier.history.log, earlier.labels)
                learnt.append(gathered(earlier.history, answers, config.ranker.users, config, recipes))
                if sum(len(part.answers) for part in learnt) >= config.ranker.many:
                    break
            self.rounds.append(Round(target, tuple(learnt)))

    @property
    def users(self) -> int:
        """Users of all windows."""
        return len(np.unique(self._user)) if self.rounds else 0

    @property
    def _user(self) -> Int32s:
        """The user of each row of each window's answers, one after the other."""
        return np.concatenate([one.target.answers.users for one in self.rounds])

    def fit(self, variant: Variant, seeds: range) -> tuple[list[RankerModel], Float32s]:
        """A variant's ranker of each window by the last seed, and ndcg@K of each user, the mean over seeds."""
        tables = [join_tables([self._table(part, variant) for part in one.learnt]) for one in self.rounds]
        values = []
        for seed in seeds:
            models = [variant.ranker.fit(table, stage_rng(seed, "ranker")) for table in tables]
            values.append(self.measure(models, variant))
        return models, np.mean(values, axis=0, dtype=np.float32)

    def measure(self, models: list[RankerModel], variant: Variant) -> Float32s:
        """ndcg@K of the lists of each window's ranker for each user, (n,) float32, ascending users."""
        pairs = zip(self.rounds, models, strict=True)
        return self._of_users([self._measure(one.target, model, variant) for one, model in pairs])

    def measure_source(self, place: int) -> Float32s:
        """The same of the list that a source would give alone."""
        return self._of_users(
            [_ndcg(one.target, lambda _, candidates: own_list(candidates, place)) for one in self.rounds]
        )

    def _of_users(self, values: list[Float32s]) -> Float32s:
        """The mean of each user over the windows that it plays in, so that users are independent."""
        _, row, windows = np.unique(self._user, return_inverse=True, return_counts=True)
        return (np.bincount(row, np.concatenate(values)) / windows).astype(np.float32)

    def _measure(self, target: Gathered, model: RankerModel, variant: Variant) -> Float32s:
        """ndcg@K of each user of a window by a ranker; the sources have made their candidates already."""
        recommender = Recommender((), self._features(target, variant), model, None, self.config.search, K)
        return _ndcg(target, lambda block, every: recommender.rank(block, variant.of(every), k=K).lists)

    def _features(self, part: Gathered, variant: Variant) -> Features:
        """How the features that the variant keeps are made."""
        sources = [name for place, name in enumerate(part.names) if place != variant.source]
        filter_seen, group = self.config.filter_seen, variant.group
        every = Features.fit(part.history, sources, filter_seen)
        if group is None:
            return every
        return Features.fit(part.history, sources, filter_seen, [name for name in every.names if not group(name)])

    def _table(self, part: Gathered, variant: Variant) -> TrainingTable:
        """As `Ranker.training_table` makes it."""
        rng = stage_rng(self.config.seed, "training table")
        whole = np.zeros(len(part.answers), np.bool_)
        whole[rng.choice(len(whole), min(WHOLE, len(whole)), replace=False)] = True
        found = ((block, variant.of(every)) for block, every in part.blocks)
        return label_blocks(self._features(part, variant), found, part.answers, whole, variant.ranker.negatives, rng)


def _ndcg(target: Gathered, lists_of: Callable[[Block, Candidates], Lists]) -> Float32s:
    """ndcg@K of each user of some lists."""
    meter = AccuracyMeter(target.answers, (K,))
    for block, candidates in target.blocks:
        meter.count(block.users, lists_of(block, candidates))
    return ndcg_of(meter)


def own_list(candidates: Candidates, place: int) -> Lists:
    """The K best candidates of a source, by its ranks."""
    rank = candidates.ranks[:, place]
    kept = np.flatnonzero((rank > 0) & (rank <= K))
    lists = candidates.lists
    row = np.repeat(np.arange(len(lists.indptr) - 1), np.diff(lists.indptr))[kept]
    order = kept[np.lexsort((rank[kept], row))]
    indptr = np.searchsorted(row, np.arange(len(lists.indptr))).astype(np.int64)
    return Lists(indptr, lists.item[order], candidates.scores[order, place])


def ablation(given: Inputs, seeds: int) -> Row:
    """Each source and feature group removed once, on inner windows, all but the best source, and side information.

    seeds: rankers of each variant, whose figures are averaged for each user; the row "nothing, other seeds" holds as
        many rankers of the whole against as many more, and so tells what is luck of training
    """
    config = Config()
    bench = Bench(given, config)
    target = bench.rounds[0].target
    _, whole = bench.fit(Variant(config.ranker), range(seeds))
    rows: list[Row] = [{"label": "all", "ndcg": float(whole.mean())}]
    alone = {name: bench.measure_source(place) for place, name in enumerate(target.names)}
    best = max(alone, key=lambda name: float(alone[name].mean()))
    rows.append({"label": "best source alone", "name": best, "ndcg": float(alone[best].mean())})
    rows[-1] |= difference(whole, alone[best])
    names = Features.fit(target.history, target.names, config.filter_seen).names
    variants = {f"source: {name}": Variant(config.ranker, place) for place, name in enumerate(target.names)}
    groups = {label: group for label, group in GROUPS.items() if any(group(name) for name in names)}
    variants |= {label: Variant(config.ranker, group=group) for label, group in groups.items()}
    for label, variant in ({"nothing, other seeds": Variant(config.ranker)} | variants).items():
        _, values = bench.fit(variant, range(seeds) if label in variants else range(seeds, 2 * seeds))
        rows.append({"label": label, "ndcg": float(values.mean())} | difference(whole, values))
        print(label, shown(rows[-1]), file=sys.stderr, flush=True)
    catalogue = target.history.catalogue
    if any(tags is not None for tags in (catalogue.genres, catalogue.artists, catalogue.albums)):
        _, values = Bench(given, log_alone(config)).fit(Variant(config.ranker), range(seeds))
        rows.append({"label": "side information", "ndcg": float(values.mean())} | difference(whole, values))
        print(shown(rows[-1]), file=sys.stderr, flush=True)
    return {"users": len(whole), "seeds": seeds, "rows": rows}


def log_alone(config: Config) -> Config:
    """The same with sources that learn from the log alone."""
    als, item_item, ease, spectral = config.als, config.item_item, config.ease, config.spectral
    return replace(
        config,
        als=replace(als, side_information=False),
        item_item=replace(item_item, side_information=False),
        ease=replace(ease, side_information=False),
        spectral=replace(spectral, side_information=False),
    )


def losses(given: Inputs, seeds: int) -> Row:
    """Ranking losses at otherwise default settings, on inner windows; trees in the chosen share, and alone."""
    config = Config()
    bench = Bench(given, config)
    rankers: dict[str, Ranker] = {loss: replace(config.ranker, loss=loss) for loss in LOSSES}
    if find_spec("lightgbm") is None:
        print("lambdarank is left out: there is no LightGBM; pip install '.[bench]' has it", file=sys.stderr)
    else:
        rankers["lambdarank (LightGBM)"] = LightGBM()
    rows: list[Row] = []
    default: Float32s | None = None
    for name, ranker in rankers.items():
        start = time.perf_counter()
        models, values = bench.fit(Variant(ranker), range(seeds))
        mix = float(np.mean([model.mix for model in models]))
        row = {"label": name, "ndcg": float(values.mean()), "seconds": time.perf_counter() - start, "mix": mix}
        default = values if default is None else default
        rows.append(row | (difference(default, values) if values is not default else {}))
        if mix < 1:
            alone = bench.measure([replace(model, mix=1.0) for model in models], Variant(ranker))
            rows.append({"label": f"{name}, trees alone", "ndcg": float(alone.mean())} | difference(default, alone))
        print(name, row["ndcg"], row["mix"], f"{row['seconds']:.0f} s", file=sys.stderr, flush=True)
    return {"users": bench.users, "seeds": seeds, "rows": rows}
