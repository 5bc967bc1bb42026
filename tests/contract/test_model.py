"""The library's face: what it takes, what it gives back, and that its lists are those of a run, to the last bit."""

import mmap
import threading
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from tests.quick import CUT, Log, quick_config, run_inputs

import tonearm
from tonearm.errors import ConfigError, DataError
from tonearm.loading.tables import as_source
from tonearm.model import Model
from tonearm.runs.read import Run
from tonearm.sources import RECIPES

SOURCES = ("ALS", "Popularity", "Content", "ItemItem", "EASE", "Spectral", "UserKNN", "Recent", "Trend", "Again")


@dataclass(frozen=True)
class Made:
    """A model of the tiny log before `CUT`, the lists of all its listeners, and where it is saved."""

    model: Model
    lists: pl.DataFrame
    folder: Path

    def of(self, user: int) -> list[int]:
        return self.lists.filter(pl.col("user_id") == user)["item_id"].to_list()


@pytest.fixture(scope="module")
def made(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Made:
    model = tonearm.fit(tiny_log.events, tiny_log.items, quick_config(), before=CUT)
    folder = tmp_path_factory.mktemp("model") / "saved"
    model.save(folder)
    return Made(model, model.recommend(), folder)


def test_its_lists_are_those_of_a_run_and_a_run_can_be_loaded(made: Made, tiny_run: Path) -> None:
    said = pl.read_parquet(tiny_run / "recommendations.parquet").select(made.lists.columns)
    assert made.lists.equals(said)
    assert tonearm.load(tiny_run).recommend().equals(said)


def test_a_notebook_shows_it_in_a_line(made: Made) -> None:
    """The table of a dataclass would print every array."""
    said = repr(made.model)
    assert said.startswith(f"<tonearm.Model of {made.model.data.n_users:,} listeners, ")
    assert " plays until 2022-12-16 00:00: popular, als, content" in said
    assert len(said) < 200


def test_a_saved_model_needs_nothing_else(made: Made, tmp_path: Path) -> None:
    moved = made.folder.rename(tmp_path / "elsewhere")
    loaded = tonearm.load(moved)
    assert loaded.recommend().equals(made.lists)
    base: Any = loaded.data.log.item
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)
    loaded.save(made.folder)
    assert {path.name for path in made.folder.rglob("*")} == {path.name for path in moved.rglob("*")}
    for path in made.folder.rglob("*.npz"):
        np.load(path, allow_pickle=False).close()
    with pytest.raises(tonearm.OutputError, match="exists already"):
        made.model.save(made.folder)


def test_tables_of_any_library_are_the_same_log(tiny_log: Log, tmp_path: Path) -> None:
    events = tiny_log.events
    half = len(events) // 2
    for name, part in (("a", events[:half]), ("b", events[half:])):
        part.write_parquet(tmp_path / f"{name}.parquet")
    events.write_parquet(tmp_path / "all.parquet")
    given: list[Any] = [events, events.lazy(), events.to_pandas(), events.to_arrow(), tmp_path / "all.parquet"]
    given += [str(tmp_path / "all.parquet"), [tmp_path / "a.parquet", str(tmp_path / "b.parquet")]]
    if find_spec("duckdb") is not None:
        given.append(import_module("duckdb").sql(f"from '{tmp_path}/all.parquet'"))
    logs = [tonearm.load_all(as_source(one, "events"), None).train for one in given]
    for log in logs[1:]:
        assert log.users.ids.to_list() == logs[0].users.ids.to_list()
        assert np.array_equal(log.log.item, logs[0].log.item)
        assert log.log.time is not None
        assert logs[0].log.time is not None
        assert np.array_equal(log.log.time, logs[0].log.time)
    wrong: Any = 5
    with pytest.raises(ConfigError, match=r"^events is of type int\. Pass a table of pandas, Polars, Arrow or DuckDB"):
        tonearm.fit(wrong)
    with pytest.raises(DataError, match=r"events: no column item_id"):
        tonearm.fit(pa.table({"user_id": [1, 2]}))


def test_a_history_of_a_listener_never_seen_gives_nearly_the_list_of_its_twin(made: Made, tiny_log: Log) -> None:
    """Every source takes part from the history alone; ALS solves it exactly, where the fit took a few steps."""
    model, users = made.model, made.lists["user_id"].unique().sort()[::20]
    twins = tiny_log.train.filter(pl.col("user_id").is_in(users.implode())).with_columns(pl.col("user_id") + 1_000_000)
    lists = model.recommend(history=twins)
    assert lists["user_id"].unique().sort().to_list() == (users + 1_000_000).to_list()
    shares = []
    for user in users:
        mine = lists.filter(pl.col("user_id") == user + 1_000_000)
        assert mine["rank"].to_list() == list(range(1, len(mine) + 1))
        shares.append(len({*mine["item_id"]} & {*made.of(user)}) / len(mine))
    assert np.mean(shares) > 0.9
    one = model.recommend([int(users[2]) + 1_000_000], history=twins, k=5)
    assert one.equals(lists.filter(pl.col("user_id") == users[2] + 1_000_000).head(5))


def test_plays_since_the_fit_are_added_to_those_of_a_listener_it_knows(made: Made, tiny_log: Log) -> None:
    model, user = made.model, int(tiny_log.train["user_id"][0])
    assert model.recommend([user], history=tiny_log.train).equals(made.lists.filter(pl.col("user_id") == user))
    best = made.of(user)[:3]
    since = pl.DataFrame({"user_id": user, "item_id": best, "started_at": CUT}).cast(tiny_log.events.schema)
    after = model.recommend(history=since)
    assert after["user_id"].unique().to_list() == [user]
    heard = tiny_log.train.filter(pl.col("user_id") == user)["item_id"].to_list()
    assert not {*after["item_id"]} & {*heard, *best}
    undated = model.recommend(history=since.drop("started_at"))
    assert not {*undated["item_id"]} & {*heard, *best}
    without = since.drop("started_at").with_columns(user_id=pl.lit(4_000_000), weight=pl.lit(2.0))
    odd = pl.concat([without, without[:1].with_columns(item_id=pl.lit(10**6, pl.Int32))])
    left_out = "history: 1 of 4 plays are left out, as the model does not know their items"
    with pytest.warns(UserWarning, match=left_out), pytest.warns(UserWarning, match="history: weights are left out"):
        new = model.recommend(history=odd)
    assert len(new) == 20
    with pytest.raises(DataError, match=r"history: user_id is of type String \(first: 'ann'\), the model's of Int32"):
        model.recommend(history=pl.DataFrame({"user_id": ["ann"], "item_id": [best[0]]}))


def test_who_has_played_nothing_gets_the_popular_list(made: Made) -> None:
    user = int(made.lists["user_id"][0])
    with pytest.warns(UserWarning, match=r"users: 1 of 2 are unknown \(first: 5000000\) and get the popular list"):
        lists = made.model.recommend([5_000_000, user, user], k=4)
    assert lists["user_id"].to_list() == [5_000_000] * 4 + [user] * 4
    order = made.model.data.popularity_order[:4]
    assert lists["item_id"].to_list()[:4] == made.model.data.catalogue.items.decode(order).to_list()
    assert lists["score"].to_list()[:4] == made.model.data.plays[order].tolist()
    assert lists["item_id"].to_list()[4:] == made.of(user)[:4]


def test_what_may_be_shown_can_be_said_at_every_call(made: Made) -> None:
    model, user = made.model, int(made.lists["user_id"][0])
    every = made.model.data.catalogue.items.ids.to_list()
    some, best = every[::3], made.of(user)
    assert {*model.recommend([user], items=some, k=10)["item_id"]} < {*some}
    assert not {*model.recommend([user], exclude=best[:5])["item_id"]} & {*best[:5]}
    few = model.recommend([user], shape=tonearm.Shape(per_artist=1), k=8)
    artists = [model.data.catalogue.artists.of(every.index(i)) for i in few["item_id"]]  # type: ignore[union-attr]
    assert len({name for names in artists for name in names}) >= 8
    longer = model.recommend([user], k=40)
    assert longer["rank"].to_list() == list(range(1, 41))
    with pytest.raises(DataError, match="items: the model knows none of the 2 ids"):
        model.recommend([user], items=[10**6, 10**7])
    with pytest.raises(ConfigError, match=r"k is 0; it must be a whole number from 1 up"):
        model.recommend([user], k=0)
    wrong: Any = "ann"
    with pytest.raises(ConfigError, match=r"users: pass a list or a column of ids"):
        model.recommend(wrong)


def test_every_entry_can_be_explained(made: Made) -> None:
    model, user = made.model, int(made.lists["user_id"][0])
    told = model.recommend([user], k=2, explain=True)
    assert told["because"].to_list() == [model.explain(user, item).because for item in told["item_id"]]


def test_similar_items_and_listeners(made: Made, tiny_run: Path) -> None:
    said = pl.read_parquet(tiny_run / "similar.parquet")
    items = said["item_id_1"].unique().sort()[5:8]
    found = made.model.similar(items, k=4)
    wanted = said.filter(pl.col("item_id_1").is_in(items.implode()) & (pl.col("rank") <= 4))
    assert found.drop("score").equals(wanted.drop("score"))
    user = int(made.lists["user_id"][0])
    alike = made.model.similar_users([user], k=3)
    assert alike.columns == ["user_id_1", "user_id_2", "score", "rank"]
    assert user not in alike["user_id_2"]
    assert alike["score"].is_sorted(descending=True)
    with pytest.raises(DataError, match=r"items: 1 of 2 are unknown \(first: 99999\)"):
        made.model.similar([int(items[0]), 99_999])


def test_two_threads_may_ask_one_model(made: Made) -> None:
    found: list[pl.DataFrame] = []
    threads = [threading.Thread(target=lambda: found.append(made.model.recommend())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [lists.equals(made.lists) for lists in found] == [True] * 3


def test_every_source_alone_makes_lists_by_the_callers_ids(tiny_log: Log) -> None:
    of_vectors = {"vectors", "vectors_last"}  # what these say stands in the catalogue, not in the log
    assert {getattr(tonearm, name).name for name in SOURCES} == {*RECIPES} - of_vectors
    users = tiny_log.train["user_id"].unique().sort()[:3].to_list()
    heard = {(row[0], row[1]) for row in tiny_log.train.select("user_id", "item_id").iter_rows()}
    for name in SOURCES:
        alone = getattr(tonearm, name)().fit(tiny_log.train, items=tiny_log.items)
        lists = alone.recommend(users, k=4)
        assert lists["user_id"].unique(maintain_order=True).to_list() == users, name
        assert lists["rank"].max() == 4, name
        assert any(row in heard for row in lists.select("user_id", "item_id").iter_rows()) == (name == "Again")
        assert len(alone.recommend(history=tiny_log.test, k=2)) > 0, name
    wrong: Any = {"factor": 4}
    with pytest.raises(ConfigError, match=r"ALS: there is no option 'factor'\. Did you mean 'factors'"):
        tonearm.ALS(**wrong)


def test_a_source_takes_a_sparse_matrix() -> None:
    rng = np.random.default_rng(3)
    plays = scipy.sparse.csr_array(np.where(rng.random((30, 12)) < 0.3, rng.integers(1, 4, (30, 12)), 0))
    table = plays.tocoo()
    log = pl.DataFrame({"user_id": table.coords[0], "item_id": table.coords[1], "weight": table.data})
    als = tonearm.ALS(factors=4)
    lists = als.fit(plays).recommend(k=3)
    assert lists.filter(pl.col("user_id").is_in(log["user_id"].implode())).equals(als.fit(log).recommend(k=3))
    assert als.fit(plays).similar([0], k=2)["item_id_1"].to_list() == [0, 0]
    with pytest.raises(DataError, match="entries that are not finite numbers above 0"):
        als.fit(-plays)
    with pytest.raises(ConfigError, match="popular has no vectors of items"):
        tonearm.Popularity().fit(plays).similar([0])


def test_lists_of_any_tool_are_measured_from_tables(made: Made, tiny_log: Log, tmp_path: Path) -> None:
    paths = {"lists": made.lists, "truth": tiny_log.test, "train": tiny_log.train, "items": tiny_log.items}
    for name, table in paths.items():
        table.write_parquet(tmp_path / f"{name}.parquet")
    files = [str(tmp_path / f"{name}.parquet") for name in paths]
    given = (made.lists.to_pandas(), tiny_log.test.lazy(), tiny_log.train.to_arrow(), tiny_log.items)
    frames = tonearm.evaluate(*given, ks=(5, 20), resamples=20)
    assert frames["lists"] == tonearm.evaluate(*files, ks=(5, 20), resamples=20)["lists"]
    assert frames["lists"]["lists"]["ndcg@20"] > 0


def test_a_run_takes_tables_and_one_without_a_test_says_what_it_measures(tiny_log: Log, tmp_path: Path) -> None:
    inputs = tonearm.Inputs(events=tiny_log.train.to_arrow(), items=tiny_log.items.to_pandas())
    metrics = run_inputs(inputs, tmp_path / "run")
    assert "no test: figures are of the last" in metrics["notes"][0]
    assert "made by a model that did not see them" in metrics["notes"][0]
    assert metrics["population"]["evaluated_users"] > 20
    model = tonearm.load(tmp_path / "run")
    assert model.test is None
    assert model.data.log.n_events == len(tiny_log.train)
    assert model.manifest["inputs"]["events"] == "events"
    fitted = tonearm.fit(tiny_log.train, tiny_log.items, quick_config()).recommend()
    assert fitted.equals(pl.read_parquet(tmp_path / "run" / "recommendations.parquet").select(fitted.columns))


def test_a_refit_is_measured_as_ever_and_serves_what_all_of_the_log_says(
    tiny_log: Log, tiny_run: Path, tmp_path: Path
) -> None:
    inputs = tonearm.Inputs(events=tiny_log.events, items=tiny_log.items, test_from=CUT)
    metrics = run_inputs(inputs, tmp_path / "run", refit=True)
    assert metrics["lists"] == Run.open(tiny_run).metrics["lists"]
    assert "figures are of a model of what lies before the test" in metrics["notes"][0]
    model = tonearm.load(tmp_path / "run")
    assert model.data.log.n_events == len(tiny_log.events)
    with pytest.raises(ConfigError, match="a refit is of one log, and train and test are two"):
        run_inputs(tonearm.Inputs(train=tiny_log.train, test=tiny_log.test), tmp_path / "two", refit=True)
