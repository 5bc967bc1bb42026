"""`tonearm tune` on a tiny log: what it writes, what it refuses, and that test events mean nothing to it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.e2e.command import tonearm
from tests.e2e.test_leaks import fewer, invented
from tests.quick import CUT, QUICK, Log, quick_config

from tonearm import pipeline
from tonearm.config import Config, load_config
from tonearm.data.truth import Truth
from tonearm.errors import ConfigError, DataError, MissingExtra, OutputError
from tonearm.pipeline import Inputs
from tonearm.tune import tune
from tonearm.tune.measure import label_windows, of_source
from tonearm.tune.study import Verdict

FEW = ('sources=["recent"]', "split.windows=2")


def inputs_of(folder: Path, log: Log, events: pl.DataFrame | None = None) -> Inputs:
    folder.mkdir(exist_ok=True)
    (log.events if events is None else events).write_parquet(folder / "events.parquet")
    log.items.write_parquet(folder / "items.parquet")
    return Inputs(str(folder / "events.parquet"), str(folder / "items.parquet"), CUT)


def tuned(folder: Path, inputs: Inputs, *overrides: str, trials: int = 2) -> list[Verdict]:
    return tune(inputs, folder / "best.toml", quick_config(*FEW, *overrides), trials=trials)


def said(folder: Path) -> list[str]:
    """The file without its first line, which names the inputs."""
    return (folder / "best.toml").read_text().splitlines()[1:]


@pytest.fixture(scope="module")
def whole(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log and three trials of each stage, with a recency that leaves much to gain."""
    folder = tmp_path_factory.mktemp("tune")
    tuned(folder, inputs_of(folder, tiny_log), trials=3)
    return folder


def test_it_writes_settings_that_a_run_takes(whole: Path) -> None:
    text = (whole / "best.toml").read_text()
    config = load_config(whole / "best.toml")
    for stage in ("als", "recent", "ranker"):
        assert f"# {stage}: 3 trials" in text
    assert "no test event was used" in text
    assert "# Rule: " in text
    start = quick_config(*FEW)
    for stage in ("als", "recent", "ranker"):
        line = next(line for line in text.splitlines() if line.startswith(f"# {stage}: "))
        same = getattr(config, stage) == getattr(start, stage) and config.candidates == start.candidates
        assert same == line.endswith("kept.")
        assert "ndcg@20 ." in line.replace("0.", ".")
    assert config.evaluation == start.evaluation
    assert config.output == start.output
    assert sorted(path.name for path in whole.iterdir() if "best" in path.name) == ["best.study.db", "best.toml"]


def test_stopped_and_continued_it_gives_the_same(
    whole: Path, tiny_log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = inputs_of(tmp_path, tiny_log)
    with monkeypatch.context() as patch:
        seen = iter(range(100))

        def stopping(*given: object) -> object:
            if next(seen) == 4:  # the second trial of the second stage
                raise KeyboardInterrupt
            return of_source(*given)  # type: ignore[arg-type]

        patch.setattr("tonearm.tune.measure.of_source", stopping)
        with pytest.raises(KeyboardInterrupt):
            tuned(tmp_path, inputs, trials=3)
    assert "as it was, and nothing else was tried; kept." in (tmp_path / "best.toml").read_text()
    load_config(tmp_path / "best.toml")
    tuned(tmp_path, inputs, trials=3)
    assert said(tmp_path) == said(whole)
    before = (tmp_path / "best.toml").read_bytes()
    tuned(tmp_path, inputs, trials=3)  # all is done already
    assert (tmp_path / "best.toml").read_bytes() == before


@pytest.mark.parametrize("change", [fewer, invented])
def test_test_events_change_no_trial(
    change: Callable[[pl.DataFrame], pl.DataFrame], whole: Path, tiny_log: Log, tmp_path: Path
) -> None:
    events = pl.concat([tiny_log.train, change(tiny_log.test)])
    tuned(tmp_path, inputs_of(tmp_path, tiny_log, events), trials=3)
    assert said(tmp_path) == said(whole)
    # the same trials as in the other file: it goes on from there as well
    (tmp_path / "other").mkdir()
    for name in ("best.toml", "best.study.db"):
        (tmp_path / "other" / name).write_bytes((whole / name).read_bytes())
    tuned(tmp_path / "other", inputs_of(tmp_path, tiny_log, events), trials=3)
    assert said(tmp_path / "other") == said(whole)


def test_a_bad_setting_is_left_behind(tiny_log: Log, tmp_path: Path) -> None:
    """With so much regularization that all factors are 0 it can only become better."""
    bad = ("als.factors=1", "als.iterations=1", "als.regularization=3000.0", "split.windows=3")
    verdicts = tuned(tmp_path, inputs_of(tmp_path, tiny_log), *bad, trials=6)
    als = next(verdict for verdict in verdicts if verdict.stage == "als")
    assert als.changed
    assert als.chosen is not None
    assert als.default is not None
    assert als.chosen > als.default
    config = load_config(tmp_path / "best.toml")
    assert config.als.regularization < 3000
    assert "als.regularization" not in (tmp_path / "best.toml").read_text()
    assert re.search(r"changed: .*regularization 3000 -> ", (tmp_path / "best.toml").read_text())


def test_windows_are_those_of_the_run_and_halves_are_of_users(tiny_log: Log, tmp_path: Path) -> None:
    config: Config = quick_config(*FEW)
    train = inputs_of(tmp_path, tiny_log).load(config, lambda *_: None).train
    windows = label_windows(train, config)
    assert len(windows) == 2
    first, second = windows
    np.testing.assert_array_equal(first.search, second.search)
    assert first.split.cutoff is not None
    assert second.split.cutoff is not None
    assert second.split.cutoff < first.split.cutoff < train.now
    truths: list[Truth] = [window.truth for window in windows]
    quarter, one, both = of_source("recent", config, windows, {})
    assert [len(values) for values in (quarter, one, both)] == [sum(map(len, truths))] * 3
    known = [int((~np.isnan(values)).sum()) for values in (quarter, one, both)]
    assert known == [len(truths[0]) // 4, len(truths[0]), len(truths[0]) + len(truths[1])]
    np.testing.assert_array_equal(both[: len(truths[0])], one[: len(truths[0])])


def test_without_time_to_spare_nothing_changes(tiny_log: Log, tmp_path: Path) -> None:
    config = quick_config(*FEW)
    tune(inputs_of(tmp_path, tiny_log), tmp_path / "best.toml", config, minutes=1e-9)
    assert load_config(tmp_path / "best.toml") == config
    assert (tmp_path / "best.toml").read_text().count("not tried") == 3


def test_another_log_or_other_settings_are_refused(whole: Path, tiny_log: Log, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    changed = inputs_of(tmp_path, tiny_log, tiny_log.events.gather_every(2))
    with pytest.raises(ConfigError, match=r"best\.study\.db: .*the log changed since"):
        tuned(whole, changed)
    same = Inputs(str(whole / "events.parquet"), str(whole / "items.parquet"), CUT)
    with pytest.raises(ConfigError, match=r"als\.alpha, seed changed since"):
        tuned(whole, same, "als.alpha=3", "seed=4")
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before


def test_what_will_not_do_leaves_nothing_behind(tiny_log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, config = inputs_of(tmp_path, tiny_log), quick_config(*FEW)
    there = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"ends in \.toml"):
        tune(inputs, tmp_path / "best", config)
    with pytest.raises(ConfigError, match="no time"):
        tune(inputs, tmp_path / "best.toml", config, minutes=0)
    with pytest.raises(ConfigError, match="nothing to try"):
        tune(inputs, tmp_path / "best.toml", config, trials=0)
    with pytest.raises(DataError, match="no such file"):
        tune(Inputs(str(tmp_path / "no.parquet"), None, CUT), tmp_path / "none" / "best.toml", config)
    with monkeypatch.context() as patch:
        patch.setattr("tonearm.tune.study.find_spec", lambda _: None)
        with pytest.raises(MissingExtra, match=r"pip install 'tonearm\[tune\]'"):
            tune(inputs, tmp_path / "best.toml", config)
    assert sorted(tmp_path.iterdir()) == there
    (tmp_path / "best.toml").write_text("seed = 3\n")
    with pytest.raises(OutputError, match="exists already"):
        tune(inputs, tmp_path / "best.toml", config)
    assert (tmp_path / "best.toml").read_text() == "seed = 3\n"


def test_the_command(
    tiny_log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs_of(tmp_path, tiny_log)
    log = ("--events", tmp_path / "events.parquet", "--items", tmp_path / "items.parquet", "--test-from", "2022-12-16")
    options = [word for setting in (*QUICK, *FEW, "filter_seen=false") for word in ("--set", setting)]
    command = ("tune", *log, "--out", tmp_path / "best.toml", "--trials", "2", *options)
    with monkeypatch.context() as patch:

        def stop(*_: object) -> object:
            raise KeyboardInterrupt

        patch.setattr("tonearm.tune.measure.of_ranker", stop)
        answer = tonearm(capsys, *command)
    assert answer.code == 130
    assert "run the same command again to go on" in answer.err
    assert "als        trial   2" in answer.err
    assert load_config(tmp_path / "best.toml").filter_seen is False
    answer = tonearm(capsys, *command)
    assert answer.code == 0
    assert "ranker     trial   2" in answer.err
    assert "als        trial" not in answer.err
    assert "pass it to tonearm run as --config" in answer.out
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "run", lambda *given, **_: pytest.fail(str(given)) if given[2].filter_seen else {})
        patch.setattr("tonearm.evaluation.words.shown", lambda *_: "done")
        patch.setattr("tonearm.explanation.show.next_steps", lambda _: [])
        run = ("run", *log, "--config", tmp_path / "best.toml", "--out", tmp_path / "run")
        assert tonearm(capsys, *run).code == 0


def test_a_stage_leaves_time_to_the_later_ones(tiny_log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonearm.tune.MOST", 2)
    inputs, config = inputs_of(tmp_path, tiny_log), quick_config(*FEW)
    for done in (2, 4):
        verdicts = tune(inputs, tmp_path / "best.toml", config, minutes=60)
        assert [verdict.finished for verdict in verdicts] in ([done] * 3, [done, done, 2])
