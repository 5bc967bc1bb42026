"""The same run again gives the same bytes; a run that fails leaves nothing behind."""

import errno
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest
from tests.e2e.same import assert_same, tables
from tests.quick import Log, quick_config, run_inputs, run_quick, stub_report

from tonearm import pipeline
from tonearm.errors import OutputError
from tonearm.pipeline import Inputs

ALL = 'output.features="all"'


@pytest.fixture
def inputs(tiny_log: Log, tmp_path: Path) -> Inputs:
    """The tiny log in a folder of its own, as ready-made sets."""
    folder = tmp_path / "log"
    folder.mkdir()
    tables = {"train": tiny_log.train, "test": tiny_log.test, "items": tiny_log.items}
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    train, test, items = (str(folder / f"{name}.parquet") for name in tables)
    return Inputs(train=train, test=test, items=items)


def test_the_same_seed_gives_the_same_bytes(tiny_log: Log, tiny_run: Path, tmp_path: Path) -> None:
    again = run_quick(tmp_path / "again", tiny_log.events, tiny_log.items, ALL)
    assert_same(tiny_run, again)
    for name in ("metrics.json", "profile.json", "config.toml"):
        assert (tiny_run / name).read_bytes() == (again / name).read_bytes(), name


def test_another_seed_gives_another_run(tiny_log: Log, tiny_run: Path, tmp_path: Path) -> None:
    other = run_quick(tmp_path / "other", tiny_log.events, tiny_log.items, ALL, "seed=1")
    mine, theirs = tables(tiny_run), tables(other)
    changed = {name for name in mine if mine[name] != theirs[name]}
    assert {"personal_als.parquet", "recommendations.parquet", "similar.parquet"} <= changed
    without_chance = {"top_popular", "content_recommendations", "fresh_recommendations", "genres"}
    assert not {f"{name}.parquet" for name in without_chance} & changed


@pytest.mark.parametrize("options", [("block=23", "threads=1"), ("block=7", "threads=2"), ("block=4096", "threads=1")])
def test_the_size_of_blocks_and_the_number_of_threads_change_no_byte(
    options: tuple[str, ...], tiny_log: Log, tiny_run: Path, tmp_path: Path
) -> None:
    other = run_quick(tmp_path / "other", tiny_log.events, tiny_log.items, ALL, *options)
    assert_same(tiny_run, other)
    for name in ("metrics.json", "profile.json"):
        assert (tiny_run / name).read_bytes() == (other / name).read_bytes(), name


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def stopped(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def broken(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize(
    ("fault", "raised", "place"),
    [
        (full, OutputError, "tonearm.runs.directory.TableWriter.append"),
        (stopped, KeyboardInterrupt, "tonearm.runs.directory.TableWriter.append"),
        (broken, ZeroDivisionError, "tonearm.evaluation.measure.summarise"),
        (full, OutputError, "tonearm.runs.vouch.digests"),
    ],
)
def test_a_run_that_fails_leaves_nothing_behind(
    fault: Callable[..., None],
    raised: type[BaseException],
    place: str,
    inputs: Inputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, fault)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(raised) as caught:
        run_inputs(inputs, tmp_path / "new" / "deeper" / "run", "als.iterations=1", "ranker.iterations=2")
    if raised is OutputError:
        assert "No space left on device" in str(caught.value)
        assert "Free some space" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failed_overwrite_leaves_the_old_run(
    tiny_run: Path, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    monkeypatch.setattr("tonearm.evaluation.measure.summarise", stopped)
    with pytest.raises(KeyboardInterrupt), stub_report():
        pipeline.run(inputs, out, quick_config("als.iterations=1", "ranker.iterations=2"), overwrite=True)
    assert_same(tiny_run, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "run"]


def test_the_caller_s_state_is_left_alone(inputs: Inputs, tmp_path: Path) -> None:
    before, threads, state = dict(os.environ), numba.get_num_threads(), random.getstate()
    run_inputs(inputs, tmp_path / "run", "threads=1", "ranker.iterations=2")
    assert numba.get_num_threads() == threads
    assert random.getstate() == state
    assert dict(os.environ) == before
