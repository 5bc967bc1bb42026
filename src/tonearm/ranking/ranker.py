"""The ranker: gradient-boosted trees over the candidates, blended with the sources' own scores as far as that helps.

Users of the label window are split into folds. Each fold is scored by trees that never saw it; on those scores the
share of the trees in the final score is chosen. Little data therefore ends near a plain blend of the sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field

from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.truth import Truth
from tonearm.kernels.features import standardize
from tonearm.options import options
from tonearm.ranking.blend import K, alike, blended, fit_blend, ndcgs
from tonearm.ranking.candidates import Search, of_users
from tonearm.ranking.features import Features
from tonearm.ranking.training import WHOLE, TrainingTable, label_blocks
from tonearm.ranking.trees import TreeOptions, Trees
from tonearm.sources.base import Source
from tonearm.terminal.progress import Progress, no_progress
from tonearm.types import Bools, Float32s, Float64s, Int64s

MIXES = (0.0, 0.25, 0.5, 0.75)
"""Shares of the trees that are compared on held-out users; few of them, or of the same draw, would overrate all."""

USUAL = MIXES[-1]
"""The share that is taken where they cannot tell."""


@options
class Ranker(TreeOptions):
    """Gradient boosting over candidates, grouped by user.

    users: users of the label window to train on, drawn at random where there are more
    negatives: candidates without a play kept for each user in training, drawn at random where there are more
    folds: parts of the users, each held out once, and trees are the mean of those of every part; where there are more
        than `single` users one part is held out
    repeats: times that parts and negatives are drawn anew at most, so that less of the list is luck; fewer where that
        would be more work than `many` users are
    many: users from which on the blend goes by ndcg, trees may have the whole score in a log with time, and no earlier
        window is added
    single: users from which on one held-out part is enough; more parts take as many times as long to train and score
    features: names of the features to learn from, as far as the data have them; none named means all. Trees are blended
        with the standardised scores among them, and stand alone where those are none
    """

    users: Annotated[int, Field(ge=2)] = 40_000
    negatives: Annotated[int, Field(ge=1)] = 30
    folds: Annotated[int, Field(ge=2)] = 5
    repeats: Annotated[int, Field(ge=1)] = 4
    many: Annotated[int, Field(ge=0)] = 5_000
    single: Annotated[int, Field(ge=0)] = 20_000
    features: tuple[str, ...] = ()

    def training_table(
        self,
        history: Dataset,
        answers: Truth,
        sources: Sequence[Source],
        search: Search,
        rng: np.random.Generator,
        progress: Progress = no_progress,
        whole: int = WHOLE,
        against: Log | None = None,
    ) -> TrainingTable:
        """Candidates made from a history, labelled by what at most `users` of its users went on to play.

        sources: fitted on the history
        whole: users whose candidates are all kept, drawn at random where there are more
        against: what users skipped or the like in the window, as in `Dataset`
        """
        rows = np.arange(len(answers))
        if len(rows) > self.users:
            rows = np.sort(rng.choice(rows, self.users, replace=False))
        kept = np.zeros(len(rows), np.bool_)
        kept[rng.choice(len(rows), min(whole, len(rows)), replace=False)] = True
        some = answers.of_rows(rows)
        refused = None if against is None else against.users(some.users)
        return self.table_of(history, some, kept, sources, search, rng, progress, refused=refused)

    def table_of(
        self,
        history: Dataset,
        some: Truth,
        kept: Bools,
        sources: Sequence[Source],
        search: Search,
        rng: np.random.Generator,
        progress: Progress = no_progress,
        item: Float32s | None = None,
        refused: Log | None = None,
    ) -> TrainingTable:
        """The candidates of users who were drawn, labelled by what these went on to play.

        kept: (n_users,) bool, whose candidates are all kept; item: features of items, as `Features.fit` takes them
        refused: what each of them skipped or the like in the window, a row for each
        """
        features = Features.fit(history, [source.name for source in sources], search.filter_seen, self.features, item)
        found = of_users(history, some.users, sources, search, progress)
        return label_blocks(features, found, some, kept, self.negatives, rng, refused)

    def fit(
        self,
        table: TrainingTable,
        rng: np.random.Generator,
        threads: int = 0,
        progress: Progress = no_progress,
        later: bool = False,
    ) -> "RankerModel":
        """Train trees and blend, and choose their shares on users that the trees have not seen.

        Where there is too little to learn from, the model is the blend, or the sources counting alike, and says why.

        later: labels are of a time after the candidates' history, so that users held out see what changes; where they
            are many too, trees may have the whole score
        """
        found = table.found
        learners = len(np.unique(table.user[found]))
        if learners < 2:
            who = "only one user" if learners else "no user"
            return RankerModel.of_sources(table.names, f"{who} played a candidate in the label window")
        n_groups, folds = int(found.sum()), min(self.folds, learners)
        many, single = n_groups >= self.many, n_groups >= self.single
        rounds = 1 if single else folds
        repeats = 1 if many else min(self.repeats, max(1, self.many // n_groups))
        total, times = np.zeros(len(table.label), np.float32), np.zeros(len(table.user), np.int64)
        models: list[Trees] = []
        refused = ""
        for repeat in range(repeats):
            part_of = table.parts(folds, rng, one=single)
            seeds = rng.integers(2**31 - 1, size=rounds)
            drawn = table.drawn(self.negatives, rng)
            of_row = drawn.of_rows(part_of)
            for part, seed in enumerate(seeds):
                progress("trees", repeat * rounds + part, repeats * rounds)
                grown = self.grow(drawn, of_row != part, of_row == part, int(seed), threads)
                if isinstance(grown, str):
                    refused = grown
                    continue
                judged = table.whole & (part_of == part)
                rows = table.of_rows(judged)
                total[rows] += grown.predict(table.features[rows], threads)
                times[judged] += 1
                models.append(grown)
        progress("trees", repeats * rounds, repeats * rounds)
        # A part held out for good is kept from the blend too; where every part takes its turn, the blend's few weights
        # gain nothing by having seen it.
        taught = found & (part_of > 0) if single else found
        blend = fit_blend(drawn, taught, True) if many else fit_blend(table, found & table.whole, False)
        if not models and len(table.z) == 0:
            return RankerModel.of_sources(table.names, refused)
        if not models:
            judge = RankerModel(
                table.names, table.z, None, blend, 0.0, _fallback(refused, "weighted by what was played")
            )
            return judge.with_best_mix(table, table.whole, None, (0.0,))
        trees = models[0] if len(models) == 1 else models[0].mean_with(models[1:])
        counts = [model.count for model in models]
        validation = {
            "rows": len(drawn.label),
            "positives": int(table.label.sum()),
            "loss": self.loss,
            "trees": counts,
            "limit": self.iterations,
            "ended_at_limit": sum(count + self.patience > self.iterations for count in counts),
        }
        model = RankerModel(table.names, table.z, trees, blend, 1.0, validation)
        shares = (1.0,) if len(table.z) == 0 else (*MIXES, 1.0) if many and later else MIXES
        return model.with_best_mix(table, times > 0, total / np.maximum(table.of_rows(times), 1), shares)


@dataclass(frozen=True)
class RankerModel:
    """Scores candidates: mix · trees + (1 − mix) · blend, each standardised within a user where both take part.

    names: features, in order; z: columns of the standardised source scores
    trees: None where none could be learnt, and their share is 0
    blend: (n_sources,) float32 weights of the standardised source scores
    mix: share of the trees
    validation: what held-out users say of every share and source, and how it was trained; or why it was not
    """

    names: tuple[str, ...]
    z: Int64s
    trees: Trees | None
    blend: Float32s
    mix: float
    validation: dict[str, Any]

    @classmethod
    def of_sources(cls, names: tuple[str, ...], reason: str) -> Self:
        """A model that learnt nothing: the sources' standardised scores count alike, or their scores without those."""
        scores = np.array([i for i, name in enumerate(names) if name.endswith("_score")], np.int64)
        standardised = TrainingTable.empty(names).z
        z = standardised if len(standardised) else scores
        return cls(names, z, None, alike(len(z)), 0.0, _fallback(reason, "each counting the same"))

    @property
    def notes(self) -> list[str]:
        """What a user should know of how it was trained, a sentence each."""
        said = self.validation
        notes = [said["fallback"]] if "fallback" in said else []
        if self.mix > 0 and said.get("ended_at_limit"):
            notes.append(
                f"{said['ended_at_limit']} of the ranker's {len(said['trees'])} models were still learning when they "
                f"reached ranker.iterations = {said['limit']:,} trees: raise it"
            )
        return notes

    def score(self, indptr: Int64s, features: Float32s, threads: int = 0) -> Float32s:
        """The final score of every candidate, (n,) float32."""
        if len(features) == 0:
            return np.empty(0, np.float32)
        trees = None
        if self.mix > 0 and self.trees is not None:
            trees = self.trees.predict(features, threads).astype(np.float32)
        return mixed(indptr, trees, blended(features[:, self.z], self.blend), self.mix)

    def contributions(self, features: Float32s) -> Float64s:
        """What each feature adds to the trees' value, and last the expected value, (n, n_features + 1) float64.

        As `Trees.contributions`; without trees all is 0.
        """
        return (
            np.zeros((len(features), len(self.names) + 1)) if self.trees is None else self.trees.contributions(features)
        )

    def with_best_mix(
        self, table: TrainingTable, judged: Bools, unseen: Float32s | None, shares: Sequence[float] = MIXES
    ) -> "RankerModel":
        """The same model with the share of the trees that is best on users they have not seen.

        A user's ndcg is the mean over the user's groups; where no played item is a candidate it is 0.

        judged: (n_groups,) bool, those to go by, all of them whole
        unseen: (n,) float32, what trees that have not seen its user say of each candidate; None without trees
        """
        rows = np.flatnonzero(table.of_rows(judged))
        indptr = np.concatenate(([0], np.cumsum(np.diff(table.indptr)[judged]))).astype(np.int64)
        z, label, wanted = table.features[np.ix_(rows, self.z)], table.label[rows], table.wanted[judged]
        users, of_group = np.unique(table.user[judged], return_inverse=True)

        def by_user(score: Float32s) -> Float64s:
            values = np.bincount(of_group, ndcgs(indptr, score, label, wanted), len(users))
            return np.asarray(values / np.bincount(of_group))

        blend = blended(z, self.blend)
        trees = None if unseen is None else unseen[rows].astype(np.float32)
        figures = {mix: by_user(mixed(indptr, trees, blend, mix)) for mix in shares}
        best = best_mix(figures) if len(shares) > 1 else shares[0]
        validation = {
            "metric": f"ndcg@{K} of all candidates against all that a user went on to play",
            "users": len(np.unique(table.user[table.found])),
            "held_out_users": len(users),
            "held_out_users_without_a_found_label": len(users) - len(np.unique(table.user[judged & table.found])),
            "by_share_of_trees": {str(mix): float(values.mean()) for mix, values in figures.items()},
            "share_of_trees": best,
            "sources_alone": {source: float(by_user(z[:, i]).mean()) for i, source in enumerate(self._sources)},
            "blend": dict(zip(self._sources, self.blend.tolist(), strict=True)),
        }
        return RankerModel(self.names, self.z, self.trees, self.blend, best, validation | self.validation)

    @property
    def _sources(self) -> list[str]:
        return [self.names[column].removesuffix("_z") for column in self.z]

    def importances(self) -> dict[str, float]:
        """The share of each feature in the trees' predictions, in per cent, most important first."""
        return {} if self.trees is None else self.trees.importances()

    def save(self) -> dict[str, Any]:
        """All but the trees and the validation, for JSON."""
        trees = self.trees is not None
        blend = self.blend.tolist()
        return {"names": list(self.names), "z": self.z.tolist(), "blend": blend, "mix": self.mix, "trees": trees}

    @classmethod
    def load(cls, trees: bytes | None, rest: Mapping[str, Any], validation: Mapping[str, Any]) -> Self:
        """The model that `save` and `Trees.save` took apart."""
        names, z, blend = tuple(rest["names"]), np.array(rest["z"], np.int64), np.array(rest["blend"], np.float32)
        model = None if trees is None else Trees.load(names, trees)
        if len(z) != len(blend) or not np.isin(z, np.arange(len(names))).all() or not 0 <= float(rest["mix"]) <= 1:
            raise ValueError("weights that are not those of its features")
        return cls(names, z, model, blend, float(rest["mix"]), dict(validation))


def _fallback(reason: str, how: str) -> dict[str, Any]:
    return {"fallback": f"no ranker was learnt, as {reason}: lists are in the order of the sources' scores, {how}"}


def mixed(indptr: Int64s, trees: Float32s | None, blend: Float32s, mix: float) -> Float32s:
    """mix · trees + (1 − mix) · blend; each is standardised within a row first unless it stands alone."""
    if mix <= 0 or trees is None:
        return blend.astype(np.float32)
    if mix >= 1:
        return trees
    both = standardize(indptr, np.stack([trees, blend], axis=1).astype(np.float32))
    return (np.float32(mix) * both[:, 0] + np.float32(1 - mix) * both[:, 1]).astype(np.float32)


def best_mix(by_user: Mapping[float, Float64s]) -> float:
    """The share of the trees to take: `USUAL`, unless users' ndcg is higher at another by more than a standard error.

    by_user: (n_users,) ndcg of each share
    """
    gain = {mix: values - by_user[USUAL] for mix, values in by_user.items()}
    clear = [mix for mix, g in gain.items() if g.mean() > max(1e-6, g.std() / np.sqrt(len(g)))]
    return max(clear, key=lambda mix: (gain[mix].mean(), mix), default=USUAL)
