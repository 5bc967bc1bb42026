"""A run that is loaded again makes the lists that it made, and says so where it cannot."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.quick import CUT, Log, copied, run_inputs, run_quick, vouched_for

from tonearm.config import load_config
from tonearm.errors import DataError
from tonearm.explanation import explain
from tonearm.explanation.show import show_user
from tonearm.explore.neighbours import Models
from tonearm.explore.tracks import Tracks
from tonearm.pipeline import Inputs
from tonearm.ranking.features import Features
from tonearm.runs import directory
from tonearm.runs.read import Run
from tonearm.runs.restore import Restored, restore
from tonearm.sources.item_item import ItemItemModel
from tonearm.terminal.progress import no_progress


def check_same_lists(restored: Restored) -> None:
    """Every user ranked anew gets the entries and the scores of recommendations.parquet, to the last bit."""
    assert restored.folder is not None
    said = pl.read_parquet(restored.folder / "recommendations.parquet")
    data = restored.data
    # another block size than the run's
    for lo in range(0, data.n_users, 50):
        block = data.block(lo, min(lo + 50, data.n_users), restored.config.filter_seen)
        ranked = restored.lists(block).lists
        found = pl.DataFrame(
            {
                "user_id": data.users.decode(block.users[ranked.row]),
                "item_id": data.catalogue.items.decode(ranked.item),
                "score": pl.Series(ranked.score, nan_to_null=True),
                "rank": pl.Series(ranked.rank),
            }
        )
        wanted = said.filter(pl.col("user_id").is_in(found["user_id"].unique().implode())).select(found.columns)
        assert found.equals(wanted)
        assert len(found) > 0


def test_a_restored_run_makes_the_lists_of_the_run(tiny_run: Path) -> None:
    restored = restore(tiny_run)
    assert [source.name for source in restored.sources] == list(restored.manifest["sources"])
    assert len(restored.sources) == 9
    check_same_lists(restored)


def test_point_7_a_shaped_run_gives_its_shaped_lists_again(tiny_log: Log, tmp_path: Path) -> None:
    """Rules and all, though the file of blocked ids is gone; and why not is told by the rule that keeps a track out."""
    blocked = tmp_path / "blocked.txt"
    some = tiny_log.train["item_id"].value_counts(sort=True)["item_id"].head(30)
    blocked.write_text("\n".join(map(str, some)), encoding="utf-8")
    rules = (f'shape.block_file="{blocked}"', 'shape.only="music"', "shape.per_artist=1", "shape.diversity=0.3")
    run = run_quick(tmp_path / "shaped", tiny_log.events, tiny_log.items, *rules)
    blocked.unlink()
    restored = restore(run)
    check_same_lists(restored)
    block = restored.data.block(3, 8, restored.config.filter_seen)
    made, said = restored.lists(block), pl.read_parquet(run / "personal_als.parquet")
    als = made.ranked.own[1].head(restored.config.output.k)
    mine = said.filter(pl.col("user_id").is_in(restored.data.users.decode(block.users).implode()))
    assert restored.data.catalogue.items.decode(als.item).to_list() == mine["item_id"].to_list()
    why = explain(restored.data.users.ids[3], some[0], restored)
    assert why.rank is None
    assert why.why_not == "The rules of shaping let no list hold it (blocked)."
    assert {part.rank for part in why.sources} == {None}


def test_point_17_arrays_that_two_models_share_are_stored_once(tiny_run: Path) -> None:
    """The file of trend held all weights of ease a second time."""
    run = Run.open(tiny_run)
    own = directory.load_arrays(tiny_run / "models" / "trend_model.npz")
    assert own.keys() == {"name", "scale", "recency", "base"}
    assert str(own["base"]) == "ease"
    restored = restore(tiny_run)
    trend, ease = (next(s for s in restored.sources if s.name == name) for name in ("trend", "ease"))
    assert isinstance(trend, ItemItemModel)
    assert isinstance(ease, ItemItemModel)
    assert trend.weight is ease.weight, "their sums over a history are not taken once for both"
    assert (trend.scale != ease.scale).any()
    near = Models(run, Tracks.open(run)).neighbours(int(np.argmax(restored.data.plays)), 5)
    assert [len(near[name].items) for name in ("trend", "ease")] == [5, 5]


def test_point_17_other_models_share_nothing_and_files_of_whole_models_are_read(tiny_run: Path, tmp_path: Path) -> None:
    for path in (tiny_run / "models").glob("*.npz"):
        assert (directory.BASE in directory.load_arrays(path)) == (path.name == "trend_model.npz")
    run = copied(tiny_run, tmp_path)
    path, base = run / "models" / "trend_model.npz", run / "models" / "ease_model.npz"
    whole = directory.load_arrays(base) | directory.load_arrays(path)
    del whole[directory.BASE]
    directory.save_arrays(path, whole)
    vouched_for(run)
    check_same_lists(restore(run))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_whatever_the_share_of_the_trees(tiny_run: Path, tmp_path: Path, share: float) -> None:
    restored = restore(copied(tiny_run, tmp_path, {"mix": share}))
    assert restored.ranker.mix == share
    block = restored.data.block(0, 9, True)
    ranked = restored.recommender.ranked(block, 20)
    lists, features = ranked.lists, ranked.features[ranked.place]
    again = restored.ranker.score(lists.indptr, features) if share in (0.0, 1.0) else lists.score
    assert again.tobytes() == lists.score.tobytes()


def test_a_ready_made_split_without_time_or_catalogue(tiny_log: Log, tmp_path: Path) -> None:
    train, test = str(tmp_path / "train.parquet"), str(tmp_path / "test.parquet")
    tiny_log.train.drop("started_at").write_parquet(train)
    tiny_log.test.drop("started_at").write_parquet(test)
    run_inputs(Inputs(train=train, test=test), tmp_path / "run", "filter_seen=false")
    Path(train).unlink()
    check_same_lists(restore(tmp_path / "run"))


def test_options_of_the_sources_are_kept(tiny_log: Log, tmp_path: Path) -> None:
    more = ("item_item.recency=5.0", 'als.confidence="plays"', "als.recency=5.0", "spectral.recency=3.0")
    check_same_lists(restore(run_quick(tmp_path / "other", tiny_log.events, tiny_log.items, *more)))


@pytest.mark.parametrize("name", ["als_model.npz", "ease_model.npz", "cb_model.cbm", "ranker.json"])
def test_a_model_that_is_missing_or_another(tiny_run: Path, tmp_path: Path, name: str) -> None:
    run = copied(tiny_run, tmp_path)
    path = run / "models" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{name}: is not the file that the run wrote"):
        restore(run)
    path.unlink()
    with pytest.raises(DataError, match=f"{name}: is missing"):
        restore(run)


def test_a_model_of_another_version(tiny_run: Path, tmp_path: Path) -> None:
    run = copied(tiny_run, tmp_path)
    path = run / "models" / "item_item_model.npz"
    arrays = directory.load_arrays(path)
    del arrays["recency"]
    directory.save_arrays(path, arrays)
    vouched_for(run)
    with pytest.raises(DataError, match=r"written by another version of Tonearm \(KeyError: 'recency'\)"):
        restore(run)


def test_a_run_is_enough_when_log_and_catalogue_are_gone(tiny_log: Log, tmp_path: Path) -> None:
    """Lists, histories, test, names and reasons are the same as with them, from strings and weights too."""
    ids = [pl.format("u{}é", "user_id").alias("user_id"), pl.format("t-{}", "item_id").alias("item_id")]
    weighted = tiny_log.events.with_columns(*ids, weight=pl.lit(0.5) + pl.col("item_id") % 3)
    new = weighted.filter(pl.col("started_at") >= CUT)[:2].with_columns(item_id=pl.lit("nobody's"))
    named = tiny_log.items.with_columns(ids[1], pl.when(pl.col("item_id") % 9 > 0).then("name"))
    run = run_quick(tmp_path / "whole", pl.concat([weighted, new]), named)
    config, inputs = load_config(run / "config.toml"), Inputs(**Run.open(run).manifest["inputs"], test_from=CUT)
    loaded = inputs.load(config, no_progress)
    for address in inputs.addresses().values():
        Path(address).unlink()
    check_same_lists(restore(run))
    kept = Run.open(run).kept
    assert kept.test is not None
    assert loaded.test is not None
    for mine, then in (
        (kept.train.log, loaded.train.log),
        (kept.test.log, loaded.test.log),
        (kept.test.cold, loaded.test.cold),
    ):
        for name in ("item", "time", "weight"):
            assert np.array_equal(getattr(mine, name), getattr(then, name)), name
        assert (mine.stop - mine.start).tolist() == (then.stop - then.start).tolist()
    every = np.arange(loaded.train.n_items, dtype=np.int32)
    assert kept.train.catalogue.describe(every).equals(loaded.train.catalogue.describe(every))
    assert 0 < kept.train.catalogue.describe(every)["name"].null_count() < len(every)
    assert (kept.train.now, kept.train.users.ids.to_list()) == (loaded.train.now, loaded.train.users.ids.to_list())
    for name in ("plays", "events", "listeners", "plays_now"):
        assert np.array_equal(getattr(kept.train, name), getattr(loaded.train, name)), name
    assert np.array_equal(kept.item_features, Features.fit(loaded.train, [], True).item, equal_nan=True)
    user, item = new.row(0)[:2]
    assert item in Run.open(run).events_of(user)[1]["item_id"].to_list()
    assert Run.open(run).events_of(item, "item_id")[1]["user_id"].to_list().count(user) >= 1
    assert "nobody's" in explain(user, item, run).names


def test_a_run_without_histories_is_told_of(tiny_run: Path, tmp_path: Path) -> None:
    run = copied(tiny_run, tmp_path)
    shutil.rmtree(run / "data")
    with pytest.raises(DataError, match="is missing"):
        restore(run)
    vouched_for(run)
    for look in (restore, lambda run: show_user(run, "1")):
        with pytest.raises(DataError, match=r"holds no histories of its own, as runs of earlier versions\. Make"):
            look(run)


def test_the_manifest_says_how_large_a_run_is(tiny_run: Path) -> None:
    files = [path.stat().st_size for path in tiny_run.rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert Run.open(tiny_run).manifest["bytes"] == sum(files)
