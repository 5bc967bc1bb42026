"""A run that was killed goes on from what it had finished, and ends in the same bytes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.same import assert_same
from tests.quick import CUT, Log, quick_config, stub_report, tiny_log

from tonearm import pipeline
from tonearm.errors import ConfigError, OutputError
from tonearm.pipeline import Inputs
from tonearm.ranking.ranker import Ranker
from tonearm.runs import resume
from tonearm.runs.resume import Unfinished

__all__ = ["tiny_log"]


class Killed(BaseException):
    """As if by kill -9: nothing is told."""


@pytest.fixture
def inputs(tiny_log: Log, tmp_path: Path) -> Inputs:
    folder = tmp_path / "log"
    folder.mkdir()
    tiny_log.events.write_parquet(folder / "events.parquet")
    tiny_log.items.write_parquet(folder / "items.parquet")
    return Inputs(events=str(folder / "events.parquet"), items=str(folder / "items.parquet"), test_from=CUT)


def made(inputs: Inputs, out: Path, *options: str, **given: Any) -> Path:
    with stub_report():
        pipeline.run(inputs, out, quick_config(*options), **given)
    return out


def never(*_: object, **__: object) -> None:
    raise AssertionError("this was done by an earlier call")


def same(run: Path, again: Path) -> None:
    assert_same(run, again)
    for name in ("metrics.json", "profile.json", "config.toml"):
        assert (run / name).read_bytes() == (again / name).read_bytes(), name


def killed_after(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The next run ends as soon as something of that name is kept."""
    keep = Unfinished.keep

    def once(self: Unfinished, kept: str, write: Callable[[Path], dict[str, Any] | None]) -> None:
        keep(self, kept, write)
        if self.part + kept == name:
            monkeypatch.setattr(Unfinished, "keep", keep)
            raise Killed

    monkeypatch.setattr(Unfinished, "keep", once)


STAGES = ["history 1", "table 1", "ranker", "sources", "similar", "lists 0", "lists"]


@pytest.mark.parametrize("options", [(), ("shape.per_artist=2", "filter_seen=false")])
def test_it_goes_on_after_any_stage_and_ends_in_the_same_bytes(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setattr(resume, "EVERY", 0.0)
    monkeypatch.setattr(resume, "SHARE", 0)
    whole = made(inputs, tmp_path / "whole", *options)
    out = tmp_path / "run"
    for name in STAGES:
        killed_after(monkeypatch, name)
        with pytest.raises(Killed):
            made(inputs, out, *options, resume=True)
        assert not out.exists()
        assert [path.name for path in tmp_path.glob(".*")] == [f".run{resume.SUFFIX}"]
    monkeypatch.setattr(pipeline, "fit_sources", never)
    monkeypatch.setattr(Ranker, "fit", never)
    made(inputs, out, *options, resume=True)
    same(whole, out)
    assert not list(tmp_path.glob(".*"))


def test_a_refit_and_folds_go_on_too(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "EVERY", 0.0)
    whole = made(inputs, tmp_path / "whole", refit=True, folds=2)
    for name in ("lists", "all, ranker", "all, lists", "fold 2, sources"):
        killed_after(monkeypatch, name)
        with pytest.raises(Killed):
            made(inputs, tmp_path / "run", refit=True, folds=2, resume=True)
    made(inputs, tmp_path / "run", refit=True, folds=2, resume=True)
    same(whole, tmp_path / "run")


def test_other_settings_or_inputs_are_refused(
    inputs: Inputs, tiny_log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(monkeypatch, "history 1")
    with pytest.raises(Killed):
        made(inputs, tmp_path / "run", resume=True)
    with pytest.raises(
        ConfigError, match=r"options\.als\.factors was 8 and is 9\. Call with those, or remove .*unfinished"
    ):
        made(inputs, tmp_path / "run", "als.factors=9", resume=True)
    with pytest.raises(ConfigError, match="refit was False and is True"):
        made(inputs, tmp_path / "run", refit=True, resume=True)
    tiny_log.events[:-1].write_parquet(str(inputs.events))
    with pytest.raises(ConfigError, match=r"inputs\..*events\.parquet was \["):
        made(inputs, tmp_path / "run", resume=True)
    shutil.rmtree(tmp_path / f".run{resume.SUFFIX}")
    made(inputs, tmp_path / "run", resume=True)


def test_what_is_kept_damaged_is_made_anew(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "EVERY", 0.0)
    whole = made(inputs, tmp_path / "whole")
    killed_after(monkeypatch, "lists")
    with pytest.raises(Killed):
        made(inputs, tmp_path / "run", resume=True)
    kept = tmp_path / f".run{resume.SUFFIX}"
    for path in (kept / "table 1" / "table.npz", kept / "lists 0" / "manifest.json", kept / "ranker" / "ranker.json"):
        path.write_bytes(path.read_bytes()[:-9])
    made(inputs, tmp_path / "run", resume=True)
    same(whole, tmp_path / "run")


def test_two_runs_do_not_work_on_one_place(inputs: Inputs, tmp_path: Path) -> None:
    with (
        resume.unfinished(tmp_path / "run", True, print),
        pytest.raises(OutputError, match="another run is at work on it"),
    ):
        made(inputs, tmp_path / "run", resume=True)
