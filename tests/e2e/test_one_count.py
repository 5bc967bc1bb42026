"""Points 8-1 and 7: one log, one count: a run's data rules hold for whatever shows, explains or restores it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.quick import CUT, Log, run_quick

from tonearm.data.times import parse_moment
from tonearm.pipeline import Inputs
from tonearm.runs import directory
from tonearm.runs.read import Run
from tonearm.runs.restore import restore

TIME = pl.col("started_at")
RULES = ('data.on_null="drop"', 'data.on_orphan="drop"')


@pytest.fixture(scope="module")
def dirty(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a log of seconds with repeats, orphans, nulls and plays of tomorrow, all of them left out."""
    events = tiny_log.events.with_columns(
        started_at=TIME.cast(pl.Datetime("us")) + pl.duration(seconds=pl.col("item_id"))
    )
    odd = events[:60]
    later = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=9)
    parts = [
        events,
        odd,
        odd,
        events[:400],
        odd.with_columns(item_id=pl.lit(10**6, pl.Int64).cast(events["item_id"].dtype)),
        odd.with_columns(item_id=pl.lit(None, events["item_id"].dtype)),
        odd.with_columns(started_at=pl.lit(later).cast(pl.Datetime("us"))),
    ]
    folder = tmp_path_factory.mktemp("dirty") / "it"
    return run_quick(folder, pl.concat(parts), tiny_log.items, *RULES)


def test_show_and_explain_count_what_the_run_counted(dirty: Path) -> None:
    opened, restored = Run.open(dirty), restore(dirty)
    found, log = opened.manifest["found"], restored.data.log
    assert found["logs"]["events"]["dropped"].keys() == {"on_null", "on_future", "on_orphan", "on_duplicate"}
    assert log.n_events == found["train"]["events"]
    said = [row["sentence"] for row in opened.metrics["left_out"]]
    repeats = found["logs"]["events"]["dropped"]["on_duplicate"]
    assert any(f"{repeats:,} of" in line and "they repeat another row" in line for line in said), said
    busiest = np.argsort(-(log.stop - log.start), kind="stable")[:5]
    for u in [0, 1, *busiest.tolist()]:
        user = restored.data.users.ids[u]
        train, test = opened.events_of(user)
        assert len(train) == log.stop[u] - log.start[u], user
        assert opened.kept.test is not None
        assert len(test) == opened.kept.test.log.stop[u] - opened.kept.test.log.start[u]
    item = restored.data.catalogue.items.ids[int(restored.data.popularity_order[0])]
    assert len(opened.events_of(item, column="item_id")[0]) == restored.data.plays.max()
    assert [len(rows) for rows in opened.events_of(10**6, "item_id")] == [0, 0]


def test_the_moment_of_the_run_is_written_down(dirty: Path) -> None:
    """A play of the next days is in the future of the run, and no longer in that of a later one."""
    manifest = directory.read_json(dirty / "manifest.json")
    today = parse_moment(manifest["today"])
    assert abs(today - datetime.now(UTC).replace(tzinfo=None)) < timedelta(days=1)
    given = Inputs(**manifest["inputs"], test_from=CUT)
    config = restore(dirty).config
    then = given.load(config, lambda *_: None, today)
    later = given.load(config, lambda *_: None, today + timedelta(days=30))
    assert then.found.as_dict() == manifest["found"] != later.found.as_dict()


def test_a_run_without_repeats_of_days_shows_them_all(tiny_log: Log, tmp_path: Path) -> None:
    events = pl.concat([tiny_log.events, tiny_log.events[:50]]).with_columns(TIME.cast(pl.Date))
    opened = Run.open(run_quick(tmp_path / "days", events, tiny_log.items))
    user = events["user_id"][0]
    mine = events.filter((pl.col("user_id") == user) & (TIME < CUT))
    assert len(opened.events_of(user)[0]) == len(mine) > mine.n_unique()


def test_equal_runs_have_equal_trees(tiny_log: Log, dirty: Path, tmp_path: Path) -> None:
    events = pl.read_parquet(dirty.parent / "events.parquet")
    other = run_quick(tmp_path / "it", events, tiny_log.items, *RULES)
    one, two = ((run / "models" / "cb_model.cbm").read_bytes() for run in (dirty, other))
    assert one == two


def test_users_who_heard_everything_are_counted(tiny_log: Log, tmp_path: Path) -> None:
    """Point 15-1: they have no list, and nobody said so."""
    train = tiny_log.train
    new = int(train["user_id"].to_numpy().max()) + 1000
    everything = train.unique("item_id", maintain_order=True).with_columns(user_id=pl.lit(new, train["user_id"].dtype))
    run = run_quick(tmp_path / "all", pl.concat([tiny_log.events, everything]), tiny_log.items)
    n = train["user_id"].n_unique() + 1
    notes = directory.read_json(run / "metrics.json")["notes"]
    assert any(f"1 of {n:,} users have no list" in note for note in notes), notes
