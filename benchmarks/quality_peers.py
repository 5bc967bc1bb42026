"""Peers on the same split, tuned on the inner window of train and measured by the same code as our lists."""

import itertools
import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.linalg
import scipy.sparse
from threadpoolctl import threadpool_limits

from quality_sets import (
    K,
    Row,
    Window,
    difference,
    figures,
    measure,
    ndcg_of,
    padded,
    read_lists,
    rows_of,
    windows,
)
from tonearm import Config, Inputs
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.times import EPOCH
from tonearm.evaluation.meters import AccuracyMeter
from tonearm.runs.restore import restore
from tonearm.sources.history import of_items
from tonearm.types import Float32s, Int32s

Params = dict[str, Any]
ListsOf = Callable[[Int32s], Lists]

EASE_ITEMS = 10_000
"""Most-heard items that EASE is about where both users and items are more than that."""

RECTOOLS = Path(__file__).with_name("rectools_lists.py")


@dataclass(frozen=True)
class Matrix:
    """Who heard what, without repeats, over the items that anybody heard.

    x: (n_users, n_heard) float32 of ones; items: (n_heard,) the item of each column
    """

    x: scipy.sparse.csr_matrix
    items: Int32s

    @classmethod
    def of(cls, train: Dataset, most: int | None = None) -> "Matrix":
        """The matrix of a data set, or of its most-heard items."""
        order = np.argsort(-train.listeners, kind="stable")[: int((train.listeners > 0).sum())]
        items = np.sort(order[:most]).astype(np.int32)
        pairs = of_items(train.pairs, items)
        values = np.ones(len(pairs.item), np.float32)
        return cls(scipy.sparse.csr_matrix((values, pairs.item, pairs.indptr), (train.n_users, len(items))), items)


def implicit_als(train: Dataset, params: Params) -> ListsOf:
    """AlternatingLeastSquares of the package implicit."""
    from implicit.cpu.als import AlternatingLeastSquares

    matrix = Matrix.of(train)
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(**params, iterations=15, random_state=0)
        model.fit(matrix.x, show_progress=False)
    return recommended(model, matrix)


def implicit_knn(train: Dataset, params: Params) -> ListsOf:
    """Item neighbours by cosine, TF-IDF or BM25 of the package implicit."""
    from implicit import nearest_neighbours

    matrix = Matrix.of(train)
    model = getattr(nearest_neighbours, f"{params['weights']}Recommender")(K=params["neighbours"])
    model.fit(matrix.x, show_progress=False)
    return recommended(model, matrix)


def recommended(model: Any, matrix: Matrix) -> ListsOf:
    """The lists of a fitted model of the package implicit, without what a user has heard."""

    def lists_of(users: Int32s) -> Lists:
        ids, scores = model.recommend(users, matrix.x[users], N=K)
        return padded(ids, scores, matrix.items)

    return lists_of


def ease(train: Dataset, params: Params) -> ListsOf:
    """Steck 2019, in closed form: scores X·B, B = I − P / diag P, P = (XᵀX + λI)⁻¹.

    Where users are fewer than items, by XP = (XXᵀ + λI)⁻¹X.
    """
    few = train.n_users <= EASE_ITEMS
    matrix = Matrix.of(train, None if few else EASE_ITEMS)
    scores_of = ease_scores(matrix.x, float(params["regularization"]))

    def lists_of(users: Int32s) -> Lists:
        return best(scores_of(users), matrix.x[users], matrix.items)

    return lists_of


def ease_scores(x: scipy.sparse.csr_matrix, regularization: float) -> Callable[[Int32s], Float32s]:
    """X·B of some users, (n, n_items) float32."""
    n_users, n_items = x.shape
    small = min(n_users, n_items)
    gram = (x @ x.T if n_users < n_items else x.T @ x).toarray().astype(np.float32)
    gram[np.diag_indices(small)] += regularization
    if n_users < n_items:
        dense = x.toarray()
        xp = scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram, lower=True), dense)
        diagonal = (1 - np.einsum("ui,ui->i", dense, xp)) / regularization
        return lambda users: np.asarray(dense[users] - xp[users] / diagonal, np.float32)
    factor, _ = scipy.linalg.lapack.spotrf(gram, lower=True, overwrite_a=True)
    p, _ = scipy.linalg.lapack.spotri(factor, lower=True, overwrite_c=True)
    p = np.tril(p) + np.tril(p, -1).T
    weights = -p / np.diag(p)
    weights[np.diag_indices(n_items)] = 0
    return lambda users: np.asarray(x[users] @ weights, np.float32)


def best(scores: Float32s, seen: scipy.sparse.csr_matrix, items: Int32s) -> Lists:
    """The K best unseen items of each row; ties by ascending item."""
    scores = scores.copy()
    scores[np.repeat(np.arange(len(scores)), np.diff(seen.indptr)), seen.indices] = -np.inf
    k = min(K, scores.shape[1])
    top = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(scores, top, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return padded(np.take_along_axis(top, order, 1), np.take_along_axis(values, order, 1), items)


@dataclass(frozen=True)
class Peer:
    """A peer and the settings that are tried.

    start: where the search begins
    rounds: in each, all combinations of some options are tried, the others as they were best so far
    """

    fit: Callable[[Dataset, Params], ListsOf]
    start: Params
    rounds: tuple[Mapping[str, Sequence[Any]], ...]


PEERS: dict[str, Peer] = {
    "implicit ALS": Peer(
        implicit_als,
        {"factors": 64, "regularization": 1.0, "alpha": 1.0},
        (
            {"regularization": (1.0, 10.0, 100.0), "alpha": (1.0, 10.0, 40.0)},
            {"factors": (16, 32, 128, 256)},
            {"regularization": (0.1, 3.0, 30.0, 300.0, 1000.0)},
        ),
    ),
    "EASE": Peer(
        ease,
        {"regularization": 500.0},
        ({"regularization": (60.0, 125.0, 250.0, 500.0, 1000.0)},),
    ),
    "item-kNN": Peer(
        implicit_knn,
        {"weights": "Cosine", "neighbours": 100},
        ({"weights": ("Cosine", "TFIDF", "BM25"), "neighbours": (20, 100, 300)},),
    ),
}


def combinations(round_: Mapping[str, Sequence[Any]], params: Params) -> Iterator[Params]:
    """All combinations of the options of a round, the others as given."""
    for values in itertools.product(*round_.values()):
        yield params | dict(zip(round_, values, strict=True))


def search(peer: Peer, score: Callable[[Params], float]) -> tuple[Params, list[Row]]:
    """The settings of the highest score, the first of equals, and all trials."""
    params, trials = peer.start, list[Row]()
    for round_ in peer.rounds:
        for tried in combinations(round_, params):
            if all(trial["params"] != tried for trial in trials):
                trials.append({"params": tried, "ndcg": score(tried)})
        params = max(trials, key=lambda trial: float(trial["ndcg"]))["params"]
    return params, trials


def row_of_peer(name: str, given: Inputs, run_folder: Path) -> Row:
    """Tune a peer on the inner window, fit it on all of train, and hold its lists against our final one."""
    inner, test = windows(given, Config())
    peer = PEERS[name]

    def score(params: Params) -> float:
        return float(ndcg_of(measure(inner.truth, peer.fit(inner.train, params))).mean())

    params, trials = search(peer, score)
    meter = measure(test.truth, peer.fit(test.train, params))
    return against_final(name, params, meter, run_folder, test) | {"trials": trials}


def row_of_blend(given: Inputs, run_folder: Path) -> Row:
    """The run's candidates in the order of its blend of sources, without the trees."""
    _, test = windows(given, Config())
    restored = restore(run_folder)
    blend = replace(restored.recommender.ranker, mix=0.0)
    recommender = replace(restored.recommender, ranker=blend, shaper=None, k=K)

    def lists_of(users: Int32s) -> Lists:
        block = restored.data.block_of(users, restored.config.filter_seen)
        return recommender.lists(block).lists

    return against_final("our blend", {}, measure(test.truth, lists_of), run_folder, test)


def row_of_rectools(given: Inputs, run_folder: Path, python: Path, reranker: str, tuned: Mapping[str, Params]) -> Row:
    """RecTools' two stages over the tuned peers and popular items, in its own environment.

    python: of an environment that tools/peer.sh rectools made; reranker: "classifier" or "ranker"
    tuned: settings of each peer in `PEERS`
    """
    inner, test = windows(given, Config())
    train = test.train
    pairs = first_plays(train)
    since = pl.lit(EPOCH).cast(pl.Datetime("us"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pl.DataFrame(
            {
                "user_id": train.users.decode(pairs["user"].to_numpy()),
                "item_id": train.catalogue.items.decode(pairs["item"].to_numpy()),
                "weight": np.ones(len(pairs), np.float32),
                "seconds": pairs["time"],
            }
        ).with_columns((since + pl.duration(seconds="seconds")).alias("datetime")).drop("seconds").write_parquet(
            folder / "train.parquet"
        )
        pl.DataFrame({"user_id": train.users.decode(test.truth.users)}).write_parquet(folder / "users.parquet")
        few = train.n_users <= EASE_ITEMS or int((train.listeners > 0).sum()) <= EASE_ITEMS
        options: dict[str, Any] = {
            "peers": {peer: params for peer, params in tuned.items() if few or peer != "EASE"},
            "hours": max(1, math.ceil((train.now - inner.train.now) / 3600)) if train.log.time is not None else None,
            "share": Config().split.label_share,
            "reranker": reranker,
            "k": K,
        }
        (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
        subprocess.run([str(python.absolute()), str(RECTOOLS), name], check=True, cwd=name)
        lists = read_lists(folder / "lists.parquet", test)
        meter = measure(test.truth, rows_of(test.truth, lists))
    settings = {"sources": ", ".join(["popular", *options["peers"]])}
    return against_final(f"RecTools, {reranker}", settings, meter, run_folder, test)


def first_plays(train: Dataset) -> pl.DataFrame:
    """user, item and time of the first play of each pair, by index and in seconds; 0 in a log without time."""
    log = train.log
    lengths = log.stop - log.start
    place = np.arange(log.n_events) + np.repeat(log.start - (lengths.cumsum() - lengths), lengths)
    user = np.repeat(np.arange(log.n_users, dtype=np.int32), lengths)
    time = log.time[place] if log.time is not None else np.zeros(len(place), np.int32)
    events = pl.DataFrame({"user": user, "item": log.item[place], "time": time})
    return events.group_by("user", "item").agg(pl.col("time").min()).sort("user", "item")


def against_final(name: str, params: Params, meter: AccuracyMeter, run_folder: Path, test: Window) -> Row:
    """A row: the figures of a list, and the run's final list less it."""
    file = read_lists(run_folder / "recommendations.parquet", test)
    final = ndcg_of(measure(test.truth, rows_of(test.truth, file)))
    return {"name": name, "params": params} | figures(meter) | difference(final, ndcg_of(meter))
