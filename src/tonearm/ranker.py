"""The ranker: gradient-boosted trees over the candidates, blended with the sources' own scores as far as that helps.

Users of the label window are split into folds. Each fold is scored by trees that never saw it; on those scores the
share of the trees in the final score is chosen. Little data therefore ends near a plain blend of the sources.
"""

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import catboost
import numpy as np
from pydantic import Field
from scipy.optimize import minimize

from tonearm.errors import DataError
from tonearm.kernels.features import standardize
from tonearm.kernels.lists import best_of_rows
from tonearm.options import options
from tonearm.progress import Progress, no_progress
from tonearm.types import Bools, Float32s, Float64s, Int32s, Int64s

MIXES = (0.0, 0.25, 0.5, 0.75)
"""Shares of the trees that are compared on held-out users; few of them, or of the same draw, would overrate all."""

USUAL = MIXES[-1]
"""The share that is taken where they cannot tell."""

K = 20
"""The shares are compared by ndcg at this cut-off."""

DEPTH = 50
"""The blend's weights are compared by ndcg at this one: the training table holds few candidates of each user."""

LEAST = 100
"""Candidates that a tree is grown on at least, as far as there are as many; CatBoost refuses a draw of one."""

LOSSES = {"logloss": "Logloss", "yetirank": "YetiRank", "querysoftmax": "QuerySoftMax", "pairlogit": "PairLogit"}


@options
class Ranker:
    """Gradient boosting over candidates, grouped by user.

    loss: what CatBoost minimises
    iterations, depth, learning_rate, l2: trees at most, their depth, shrinkage, and the penalty on leaf values
    subsample: share of the candidates that each tree is grown on, drawn at random; more where it would be few
    patience: trees without a better held-out score before training stops
    users: users of the label window to train on, drawn at random where there are more
    negatives: candidates without a play kept for each user in training, drawn at random where there are more
    folds: parts of the users, each held out once, where there are fewer than `many` users; else one part is held out
    repeats: times that parts and negatives are drawn anew at most, so that less of the list is luck; fewer where that
        would be more work than `many` users are
    many: users from which on one held-out part is enough
    features: names of the features to learn from, as far as the data have them; none named means all. Trees are blended
        with the standardised scores among them, and stand alone where those are none
    """

    loss: Literal["logloss", "yetirank", "querysoftmax", "pairlogit"] = "logloss"
    iterations: Annotated[int, Field(ge=1)] = 300
    depth: Annotated[int, Field(ge=1, le=12)] = 6
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.2
    l2: Annotated[float, Field(ge=0)] = 10.0
    subsample: Annotated[float, Field(gt=0, le=1)] = 0.3
    patience: Annotated[int, Field(ge=1)] = 25
    users: Annotated[int, Field(ge=2)] = 20_000
    negatives: Annotated[int, Field(ge=1)] = 30
    folds: Annotated[int, Field(ge=2)] = 5
    repeats: Annotated[int, Field(ge=1)] = 4
    many: Annotated[int, Field(ge=0)] = 5_000
    features: tuple[str, ...] = ()

    def fit(
        self,
        table: "TrainingTable",
        rng: np.random.Generator,
        threads: int = -1,
        progress: Progress = no_progress,
        later: bool = False,
    ) -> "RankerModel":
        """Train trees and blend, and choose their shares on users that the trees have not seen.

        later: labels are of a time after the candidates' history, so that users held out see what changes; where they
            are many too, trees may have the whole score

        Raises:
            DataError: fewer than two users have a candidate that they played in the label window, or nothing sets
                the played apart.
        """
        n_users = len(table.indptr) - 1
        if n_users < 2:
            raise DataError(
                f"the ranker needs two users or more with a candidate that they played in the label window, but there "
                f"are {n_users}. Lengthen the window by split.label_days, or take more candidates."
            )
        folds = min(self.folds, n_users)
        many = n_users >= self.many
        rounds = 1 if many else folds
        repeats = self._repeats(n_users)
        total, times = np.zeros(len(table.label), np.float32), np.zeros(len(table.label), np.int64)
        models: list[Any] = []
        for _ in range(repeats):
            fold = rng.permutation(np.arange(n_users) % folds)
            seeds = rng.integers(2**31 - 1, size=rounds)
            drawn = table.drawn(self.negatives, rng)
            row_fold, drawn_fold = table.of_rows(fold), drawn.of_rows(fold)
            for part, seed in enumerate(seeds):
                progress("trees", len(models), repeats * rounds)
                model = self._train(drawn, drawn_fold != part, drawn_fold == part, int(seed), threads)
                held = row_fold == part
                total[held] += model.predict(table.features[held], thread_count=threads)
                times[held] += 1
                models.append(model)
        progress("trees", repeats * rounds, repeats * rounds)
        trees = models[0] if len(models) == 1 else self._mean(models)
        unseen = np.where(times > 0, total / np.maximum(times, 1), np.nan).astype(np.float32)
        # A part held out for good is kept from the blend too; where every part takes its turn, the blend's few weights
        # gain nothing by having seen it.
        blend = fit_blend(table, times == 0 if many else times > 0, many)
        model = RankerModel(table.names, table.z, trees, blend, 1.0, {})
        shares = (1.0,) if len(table.z) == 0 else (*MIXES, 1.0) if many and later else MIXES
        return model.with_best_mix(table, unseen, self, [m.tree_count_ for m in models], shares)

    def negatives_of(self, n_users: int) -> int:
        """Candidates without a play that a table of so many users should hold for each, for `fit` to draw from."""
        return self.negatives * self._repeats(n_users)

    def _repeats(self, n_users: int) -> int:
        return 1 if n_users >= self.many else min(self.repeats, max(1, self.many // max(1, n_users)))

    def _mean(self, models: Sequence[Any]) -> Any:
        return catboost.sum_models(models, weights=[1 / len(models)] * len(models))

    def _train(self, table: "TrainingTable", fit: Bools, held: Bools, seed: int, threads: int) -> Any:
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
                "thread_count": threads,
                "eval_metric": "NDCG:top=20;type=Base" if self.loss != "logloss" else "Logloss",
                "od_type": "Iter",
                "od_wait": self.patience,
                "allow_writing_files": False,
                "verbose": False,
            }
        )
        try:
            model.fit(table.pool(fit), eval_set=table.pool(held), use_best_model=True)
        except catboost.CatBoostError as error:
            raise DataError(
                f"the ranker cannot learn from {int(fit.sum()):,} candidates, {int(table.label[fit].sum()):,} of which "
                f"were played in the label window ({error}). Lengthen it by split.label_days, or take more candidates."
            ) from error
        return model


@dataclass(frozen=True)
class TrainingTable:
    """Candidates of the label window's users, with what became of each.

    names: the features; z: the columns of the sources' standardised scores
    features: (n, n_features) float32; label: (n,) float32, 1 where the user played the item in the label window
    indptr: (n_users + 1,) int64, each user's rows
    """

    names: tuple[str, ...]
    z: Int64s
    features: Float32s
    label: Float32s
    indptr: Int64s

    def of_rows(self, of_users: Int64s) -> Int64s:
        """For each row what is given for its user."""
        return np.repeat(of_users, np.diff(self.indptr))

    def drawn(self, negatives: int, rng: np.random.Generator) -> "TrainingTable":
        """The same with at most some negatives of each user, drawn at random."""
        indptr, kept = sample_negatives(self.indptr, self.label, negatives, rng)
        if len(kept) == len(self.label):
            return self
        return TrainingTable(self.names, self.z, self.features[kept], self.label[kept], indptr)

    def pool(self, rows: Bools) -> Any:
        """Some rows as CatBoost takes them, grouped by user."""
        group = self.of_rows(np.arange(len(self.indptr) - 1))[rows]
        return catboost.Pool(
            self.features[rows], label=self.label[rows], group_id=group, feature_names=list(self.names)
        )


@dataclass(frozen=True)
class RankerModel:
    """Scores candidates: mix · trees + (1 − mix) · blend, each standardised within a user where both take part.

    names: features, in order; z: columns of the standardised source scores; trees: CatBoost model
    blend: (n_sources,) float32 weights of the standardised source scores
    mix: share of the trees
    validation: what held-out users say of every share and source, and how it was trained
    """

    names: tuple[str, ...]
    z: Int64s
    trees: Any
    blend: Float32s
    mix: float
    validation: dict[str, Any]

    def score(self, indptr: Int64s, features: Float32s, threads: int = -1) -> Float32s:
        """The final score of every candidate, (n,) float32."""
        if len(features) == 0:
            return np.empty(0, np.float32)
        trees = None
        if self.mix > 0:
            trees = self.trees.predict(features, thread_count=threads).astype(np.float32)
        return mixed(indptr, trees, blended(features[:, self.z], self.blend), self.mix)

    def contributions(self, features: Float32s) -> Float64s:
        """SHAP values of each feature in the trees, and last their expected value, (n, n_features + 1) float64.

        A row sums to the trees' value of that row.

        Source: Lundberg, Erion, Lee 2018
        """
        pool = catboost.Pool(features, feature_names=list(self.names))
        return np.asarray(self.trees.get_feature_importance(pool, type="ShapValues"), np.float64)

    def with_best_mix(
        self,
        table: TrainingTable,
        unseen: Float32s,
        options: Ranker,
        tree_counts: list[int],
        shares: Sequence[float] = MIXES,
    ) -> "RankerModel":
        """The same model with the share of the trees that is best on users they have not seen."""
        indptr, rows = _rows_of_known(table.indptr, ~np.isnan(unseen))
        z = table.features[rows][:, self.z]
        blend = blended(z, self.blend)
        label = table.label[rows]
        by_user = {mix: ndcgs(indptr, mixed(indptr, unseen[rows], blend, mix), label) for mix in shares}
        best = best_mix(by_user) if len(shares) > 1 else shares[0]
        alone = {
            self.names[column].removesuffix("_z"): float(ndcgs(indptr, z[:, i], label).mean())
            for i, column in enumerate(self.z)
        }
        validation = {
            "metric": f"ndcg@{K} over retrieved label items",
            "users": len(table.indptr) - 1,
            "held_out_users": len(indptr) - 1,
            "rows": len(table.label),
            "positives": int(table.label.sum()),
            "by_share_of_trees": {str(mix): float(values.mean()) for mix, values in by_user.items()},
            "share_of_trees": best,
            "sources_alone": alone,
            "blend": {self.names[c].removesuffix("_z"): float(w) for c, w in zip(self.z, self.blend, strict=True)},
            "trees": tree_counts,
            "loss": options.loss,
        }
        return RankerModel(self.names, self.z, self.trees, self.blend, best, validation)

    def importances(self) -> dict[str, float]:
        """CatBoost's share of each feature in the trees' predictions, in per cent, most important first."""
        values = self.trees.get_feature_importance(type="PredictionValuesChange")
        pairs = zip(self.names, (float(v) for v in values), strict=True)
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def save_trees(self, path: Path) -> None:
        """Write the trees in CatBoost's own format, without what tells equal models apart."""
        about = self.trees.get_metadata()
        for name in list(about.keys()):
            if name.endswith(("model_guid", "train_finish_time")):
                about[name] = ""
        path.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.trees.save_model(str(Path(folder) / "model.cbm"))
            path.write_bytes((Path(folder) / "model.cbm").read_bytes())

    def save(self) -> dict[str, Any]:
        """All but the trees and the validation, for JSON."""
        return {"names": list(self.names), "z": self.z.tolist(), "blend": self.blend.tolist(), "mix": self.mix}

    @classmethod
    def load(cls, trees: bytes, rest: Mapping[str, Any], validation: Mapping[str, Any]) -> Self:
        """The model that `save_trees` and `save` took apart."""
        names, z, blend = tuple(rest["names"]), np.array(rest["z"], np.int64), np.array(rest["blend"], np.float32)
        return cls(names, z, catboost.CatBoost().load_model(blob=trees), blend, float(rest["mix"]), dict(validation))


def blended(z: Float32s, weights: Float32s) -> Float32s:
    """Σ_s w_s z_s of every row, (n,) float32.

    Column by column: the last bit of a matrix product depends on how many rows there are, and so on the block.
    """
    total = np.zeros(len(z), np.float32)
    for column, weight in zip(z.T, weights, strict=True):
        total += weight * column
    return total


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


def ndcgs(indptr: Int64s, score: Float32s, label: Float32s, k: int = K) -> Float64s:
    """Binary ndcg@k of each row, all with a positive label, (n_rows,) float64; ties by place."""
    place = np.arange(len(score), dtype=np.int32)
    top, _, _, at = best_of_rows(indptr, place, score.astype(np.float32), k)
    rank = np.arange(len(at)) - np.repeat(top[:-1], np.diff(top))
    gain = label[at] / np.log2(rank + 2)
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(top))
    dcg = np.bincount(row, weights=gain, minlength=len(indptr) - 1)
    positives = np.add.reduceat(label, indptr[:-1]).astype(np.int64)
    ideal = np.concatenate(([0.0], np.cumsum(1 / np.log2(np.arange(k) + 2))))
    return np.asarray(dcg / ideal[np.minimum(positives, k)])


def fit_blend(table: TrainingTable, rows: Bools, by_order: bool) -> Float32s:
    """Weights of the standardised source scores, none negative, that make the played candidates likeliest.

    by_order: go on from there to weights that put the played candidates first, by ndcg, which is what counts but takes
        thousands of users to tell
    """
    if len(table.z) == 0:
        return np.empty(0, np.float32)
    indptr, kept = _rows_of_known(table.indptr, rows)
    z, label = table.features[kept][:, table.z], table.label[kept]
    likeliest = _likeliest(indptr, z.astype(np.float64), label.astype(np.float64))
    return (_best_ordered(indptr, z, label, likeliest) if by_order else likeliest).astype(np.float32)


def _likeliest(indptr: Int64s, z: Float64s, label: Float64s) -> Float64s:
    """Minimises −Σ_u mean over u's positives of log softmax(z · w), with a small penalty on the weights."""
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    positives = np.add.reduceat(label, indptr[:-1])
    share = label / positives[row]

    def loss(w: Float64s) -> tuple[float, Float64s]:
        s = z @ w
        peak = np.maximum.reduceat(s, indptr[:-1])
        e = np.exp(s - peak[row])
        total = np.add.reduceat(e, indptr[:-1])
        log_total = np.log(total) + peak
        value = float(log_total.sum() - share @ s) / len(positives) + 1e-3 * float(w @ w)
        gradient = (e / total[row] - share) @ z / len(positives) + 2e-3 * w
        return value, gradient

    n = z.shape[1]
    found = minimize(loss, np.full(n, 0.5), jac=True, method="L-BFGS-B", bounds=[(0, None)] * n)
    return np.asarray(found.x)


def _best_ordered(indptr: Int64s, z: Float32s, label: Float32s, start: Float64s) -> Float64s:
    """Weights that sum to 1, by coordinate ascent on ndcg (Metzler and Croft 2007); here no source alone is better."""

    def worth(w: Float64s) -> float:
        return float(ndcgs(indptr, blended(z, w.astype(np.float32)), label, k=DEPTH).mean())

    starts = [start / start.sum()] if start.any() else []
    best: Float64s = max([*starts, *np.eye(len(start))], key=worth)
    most = worth(best)
    for step in (0.2, 0.1, 0.05):
        better = True
        while better:
            better = False
            for source, change in itertools.product(range(len(best)), (step, -step)):
                w = best.copy()
                w[source] = max(0.0, w[source] + change)
                if w.any() and (found := worth(w / w.sum())) > most + 1e-6:
                    best, most, better = w / w.sum(), found, True
    return best


def _rows_of_known(indptr: Int64s, keep: Bools) -> tuple[Int64s, Int64s]:
    """Row pointers and places of the groups that are kept whole."""
    lengths = np.diff(indptr)
    groups = np.logical_and.reduceat(keep, indptr[:-1])
    kept = np.repeat(groups, lengths)
    return np.concatenate(([0], np.cumsum(lengths[groups]))).astype(np.int64), np.flatnonzero(kept).astype(np.int64)


def label_candidates(indptr: Int64s, item: Int32s, truth_indptr: Int64s, truth: Int32s) -> Float32s:
    """1 for each candidate among its row's truth, else 0; (n,) float32. `truth` ascends within a row."""
    width = np.int64(max(int(item.max(initial=0)), int(truth.max(initial=0))) + 1)
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)) * width + item
    wanted = np.repeat(np.arange(len(truth_indptr) - 1), np.diff(truth_indptr)) * width + truth
    return np.isin(rows, wanted).astype(np.float32)


def sample_negatives(
    indptr: Int64s, label: Float32s, negatives: int, rng: np.random.Generator
) -> tuple[Int64s, Int64s]:
    """Places of all positives and at most some negatives of each row that has a positive, and their row pointers."""
    n_rows = len(indptr) - 1
    row = np.repeat(np.arange(n_rows), np.diff(indptr))
    # One sort by row, positives first: half of a sort by two keys, whose second would be the draw.
    order = np.argsort(row + np.where(label > 0, 0.0, 0.25 + 0.5 * rng.random(len(label))))
    rank = np.arange(len(label)) - np.repeat(indptr[:-1], np.diff(indptr))
    positives = np.bincount(row, weights=label, minlength=n_rows)
    kept = order[(rank < positives[row] + negatives) & (positives[row] > 0)]
    kept.sort()
    lengths = np.bincount(row[kept], minlength=n_rows)
    lengths = lengths[positives > 0]
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64), kept.astype(np.int64)


def join_tables(parts: Sequence[TrainingTable]) -> TrainingTable:
    """Several tables of the same features as one."""
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    return TrainingTable(
        parts[0].names,
        parts[0].z,
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.label for part in parts]),
        np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
    )
