"""`--preset notebook` against the notebook's arithmetic, written anew here from its definitions, in NumPy and Polars.

Point 18: the preset was the notebook's ALS alone; its ranker saw 48 features of ten sources.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import catboost
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from starlette.testclient import TestClient
from tests.quick import CUT, Log

from tonearm import explore
from tonearm.config import Config, load_config, stage_rng
from tonearm.data.truth import truth
from tonearm.explanation import explain
from tonearm.explanation.view import render, to_json
from tonearm.pipeline import Inputs, run
from tonearm.runs.restore import restore
from tonearm.sources import fit_sources
from tonearm.sources.als import ALSModel
from tonearm.split import inner_splits
from tonearm.terminal.progress import no_progress

K = 20
FEATURES = ("als_score", "content_score", "user_tracks")
QUICK = (f"candidates={K}", f"output.k={K}", "evaluation.ks=[5, 20]", "evaluation.resamples=20")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def config_of(*more: str) -> Config:
    return load_config(overrides=(*QUICK, *more), preset="notebook")


@dataclass(frozen=True)
class Notebook:
    """What the notebook would make of some events, given the ALS vectors; a row for each user, a column for each item.

    plays: how often each user played each item; als, content: scores
    """

    plays: Floats
    als: Floats
    content: Floats

    @classmethod
    def of(cls, plays: Floats, has_genre: Floats, user_factors: Floats, item_factors: Floats) -> "Notebook":
        size = np.maximum(has_genre.sum(axis=1, keepdims=True), 1)
        profile = np.log1p(plays) @ (has_genre / size)
        profile /= np.maximum(np.linalg.norm(profile, axis=1, keepdims=True), 1e-30)
        return cls(plays, user_factors @ item_factors.T, profile @ (has_genre / np.sqrt(size)).T)

    @property
    def popular(self) -> Ints:
        """Items that were played, most plays first."""
        total = self.plays.sum(axis=0)
        order: Ints = np.argsort(-total, kind="stable").astype(np.int64)
        return order[: int((total > 0).sum())]

    def personal(self) -> list[Ints]:
        """The first K by ALS for each user; ties by item."""
        order = np.sort(self.popular)
        return [order[np.argsort(-row[order], kind="stable")][:K] for row in self.als]

    def check_alike(self, lists: list[Ints]) -> None:
        """Each list is the first K by content, up to the order of scores that are one but for their last bits."""
        for scores, items in zip(self.content, lists, strict=True):
            assert len(np.unique(items)) == K
            assert np.isin(items, self.popular).all()
            np.testing.assert_allclose(scores[items], np.sort(scores[self.popular])[::-1][:K], atol=1e-6)

    def candidates(self, alike: list[Ints]) -> list[Ints]:
        """Both lists of each user in one, no item twice: an outer join where the notebook has an inner one."""
        return [np.union1d(mine, content) for mine, content in zip(self.personal(), alike, strict=True)]

    def features(self, user: int, items: Ints) -> Floats:
        """Three columns; trees look at the order of values alone, so that log(1 + tracks) is as good as tracks."""
        tracks = np.full(len(items), np.log1p((self.plays[user] > 0).sum()))
        return np.stack([self.als[user, items], self.content[user, items], tracks], axis=1)


@dataclass(frozen=True)
class Tables:
    """The log as dense arrays over the ids of its train users and its catalogue, both ascending."""

    log: Log
    users: pl.Series
    items: pl.Series
    has_genre: Floats

    @classmethod
    def of(cls, log: Log) -> "Tables":
        catalogue = log.items.sort("item_id")
        rows = [row or [] for row in catalogue["genres"].to_list()]
        genres = sorted({genre for row in rows for genre in row})
        has_genre = np.array([[genre in row for genre in genres] for row in rows], np.float64)
        return cls(log, log.train["user_id"].unique().sort(), catalogue["item_id"], has_genre)

    def plays(self, events: pl.DataFrame) -> Floats:
        """How often each user played each item; events of other users are left out."""
        counts = np.zeros((len(self.users), len(self.items)))
        known = events.filter(pl.col("user_id").is_in(self.users.implode()))
        user, item = self.users.search_sorted(known["user_id"]), self.items.search_sorted(known["item_id"])
        np.add.at(counts, (user.to_numpy(), item.to_numpy()), 1)
        return counts

    def lists(self, table: pl.DataFrame) -> list[Ints]:
        """The lists of a file, a row for each user, best first."""
        assert table.select("user_id", "item_id").is_duplicated().sum() == 0
        by_user = dict(table.sort("user_id", "rank").group_by("user_id").agg("item_id").iter_rows())
        return [self.items.search_sorted(pl.Series(by_user[user])).to_numpy() for user in self.users]

    def metrics(self, lists: list[Ints]) -> dict[str, float]:
        """At 5: hits over what is recommended, hits over truth, distinct items over the catalogue, share not heard."""
        train, test = self.plays(self.log.train) > 0, self.plays(self.log.test) > 0
        truth = test & train.any(axis=0)
        heads = [items[:5] for items in lists]
        hits = np.array([truth[user, head].sum() for user, head in enumerate(heads)])
        measured = truth.any(axis=1)
        assert 50 < measured.sum() < len(lists)
        unheard = [1 - train[user, head].mean() for user, head in enumerate(heads)]
        return {
            "precision@5": float((hits / [len(head) for head in heads])[measured].mean()),
            "recall@5": float((hits[measured] / truth.sum(axis=1)[measured]).mean()),
            "coverage@5": len(np.unique(np.concatenate(heads))) / len(self.items),
            "novelty@5": float(np.mean(unheard)),
        }


@pytest.fixture(scope="module")
def tables(tiny_log: Log) -> Tables:
    return Tables.of(tiny_log)


@pytest.fixture(scope="module")
def inputs(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("notebook")
    tiny_log.events.write_parquet(folder / "events.parquet")
    tiny_log.items.write_parquet(folder / "items.parquet")
    return Inputs(events=str(folder / "events.parquet"), items=str(folder / "items.parquet"), test_from=CUT)


@pytest.fixture(scope="module")
def finished(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by the preset, its report included."""
    folder = tmp_path_factory.mktemp("notebook") / "run"
    run(inputs, folder, config_of())
    return folder


@pytest.fixture(scope="module")
def notebook(tables: Tables, finished: Path) -> Notebook:
    """What the notebook makes of all of train, by the run's own ALS vectors."""
    als = np.load(finished / "models" / "als_model.npz")
    factors = (als[name].astype(np.float64) for name in ("user_factors", "item_factors"))
    return Notebook.of(tables.plays(tables.log.train), tables.has_genre, *factors)


def test_candidates_labels_and_features_of_the_training_table_are_the_notebooks(inputs: Inputs, tables: Tables) -> None:
    config = config_of("ranker.negatives=100000")
    train = inputs.load(config, no_progress).train
    (split,) = inner_splits(train, config.split, stage_rng(config.seed, "split"))
    sources = fit_sources(split.history, config.recipes(), config.seed)
    answers = truth(split.history.log, split.labels, config.filter_seen)
    rng = stage_rng(config.seed, "training table")
    table = config.ranker.training_table(split.history, answers, sources, config.search, rng)

    moments = tables.log.train["started_at"].sort()
    cut = moments[round(0.9 * len(moments))]
    before = tables.plays(tables.log.train.filter(pl.col("started_at") < cut))
    after = tables.plays(tables.log.train.filter(pl.col("started_at") >= cut))
    als = next(source for source in sources if isinstance(source, ALSModel))
    book = Notebook.of(before, tables.has_genre, als.user_factors.astype(float), als.item_factors.astype(float))

    content = next(source for source in sources if source.name == "content")
    lists = content.recommend(split.history.block(0, train.n_users, False), K)
    alike = np.split(lists.item.astype(np.int64), lists.indptr[1:-1])
    book.check_alike(alike)
    rows, labels, sizes = [], [], []
    for user, items in enumerate(book.candidates(alike)):
        label = after[user, items] > 0  # of events that ALS and content have not seen
        if before[user].any() and label.any():  # nobody can learn from users without a history
            rows.append(book.features(user, items))
            labels.append(label)
            sizes.append(len(items))
    assert len(sizes) > 20
    assert min(sizes) < max(sizes) > K  # the lists differ: an inner join would keep little of them
    assert table.names == FEATURES
    assert np.diff(table.indptr)[table.found].tolist() == sizes  # others have no rows
    np.testing.assert_array_equal(table.label, np.concatenate(labels))
    np.testing.assert_allclose(table.features, np.concatenate(rows), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(table.features[:, 2], np.concatenate(rows)[:, 2].astype(np.float32))


def test_lists_are_the_notebooks(finished: Path, tables: Tables, notebook: Notebook) -> None:
    found = tables.lists(pl.read_parquet(finished / "personal_als.parquet"))
    np.testing.assert_array_equal(found, notebook.personal())
    notebook.check_alike(tables.lists(pl.read_parquet(finished / "content_recommendations.parquet")))
    top = pl.read_parquet(finished / "top_popular.parquet")
    assert top["item_id"].to_list() == tables.items.gather(notebook.popular[: len(top)]).to_list()
    similar = pl.read_parquet(finished / "similar.parquet").group_by("item_id_1").len()["len"]
    assert similar.unique().to_list() == [10]


@pytest.fixture(scope="module")
def candidates(finished: Path, tables: Tables, notebook: Notebook) -> list[Ints]:
    return notebook.candidates(tables.lists(pl.read_parquet(finished / "content_recommendations.parquet")))


@pytest.fixture(scope="module")
def final(finished: Path, notebook: Notebook, candidates: list[Ints]) -> list[Ints]:
    """The union of both lists in the order of the trees' value; ties by item."""
    trees = catboost.CatBoost().load_model(str(finished / "models" / "cb_model.cbm"))
    assert tuple(trees.feature_names_) == FEATURES
    found = []
    for user, items in enumerate(candidates):
        value = trees.predict(notebook.features(user, items).astype(np.float32)).astype(np.float32)
        found.append(items[np.argsort(-value, kind="stable")][:K])
    return found


def test_the_final_list_is_that_of_three_features(
    finished: Path, tables: Tables, notebook: Notebook, final: list[Ints]
) -> None:
    table = pl.read_parquet(finished / "recommendations.parquet")
    np.testing.assert_array_equal(tables.lists(table), final)
    user, item = (tables.users.search_sorted(table["user_id"]), tables.items.search_sorted(table["item_id"]))
    np.testing.assert_allclose(table["als_score"], notebook.als[user, item], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table["content_score"], notebook.content[user, item], rtol=1e-5, atol=1e-6)
    assert table["tracks_played_by_user"].to_list() == (notebook.plays > 0).sum(axis=1)[user.to_numpy()].tolist()


def test_metrics_of_the_three_lists_are_the_notebooks(
    finished: Path, tables: Tables, notebook: Notebook, final: list[Ints]
) -> None:
    said = json.loads((finished / "metrics.json").read_text())["lists"]
    expected = {
        "top_popular": [notebook.popular[:K]] * len(tables.users),
        "personal_als": notebook.personal(),
        "recommendations": final,
    }
    for name, lists in expected.items():
        for metric, value in tables.metrics(lists).items():
            assert 0 < value < 1, (name, metric)
            assert said[name][metric] == pytest.approx(value, abs=1e-9), (name, metric)


def test_a_ranker_of_three_features_is_explained_and_restored(finished: Path) -> None:
    restored = restore(finished)
    assert restored.features.names == restored.ranker.names == FEATURES
    assert restored.ranker.mix == 1
    row = pl.read_parquet(finished / "recommendations.parquet").row(3, named=True)
    told = explain(row["user_id"], row["item_id"], restored)
    assert told.ranking is not None
    assert (told.rank, told.ranking.place, told.ranking.share) == (row["rank"], row["rank"], 1)
    assert {feature.name for feature in told.ranking.features} == {*FEATURES}
    assert told.ranking.blend_parts == ()
    total = told.ranking.expected + sum(feature.shap for feature in told.ranking.features)
    assert told.ranking.score == pytest.approx(total, abs=1e-5)
    assert [part.name for part in told.sources] == ["popular", "als", "content"]
    assert json.loads(to_json(told))
    assert render(told)
    browser = TestClient(explore.app(finished))
    assert browser.get(f"/listener/{row['user_id']}").status_code == 200


def test_a_popular_track_that_neither_list_proposes_is_no_candidate(
    finished: Path, tables: Tables, notebook: Notebook, candidates: list[Ints]
) -> None:
    best = notebook.popular[0]
    user = next(u for u, items in enumerate(candidates) if best not in items)
    told = explain(tables.users[user], tables.items[int(best)], finished)
    assert told.why_not is not None
    assert "No source proposes it" in told.why_not
    assert "popular" not in told.why_not
    funnel = json.loads((finished / "metrics.json").read_text())["funnel"]
    assert list(funnel["sources"]) == ["als", "content"]
    assert funnel["final"]["hits_no_source_proposed"] == 0
