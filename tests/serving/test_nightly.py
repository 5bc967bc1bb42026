"""One command for cron: a run on the whole log, the gate, and the version it makes."""

from pathlib import Path

import polars as pl
import pytest
from tests.e2e.command import tonearm
from tests.quick import QUICK, Log, stub_report

from tonearm.serving.publish import versions


def test_three_nights(tiny_log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_log.items.write_parquet(tmp_path / "items.parquet")
    quick = [word for setting in QUICK for word in ("--set", setting)]

    def night(events: pl.DataFrame) -> object:
        events.write_parquet(tmp_path / "events.parquet")
        places = ["--events", tmp_path / "events.parquet", "--items", tmp_path / "items.parquet"]
        with stub_report():
            answer = tonearm(
                capsys,
                "nightly",
                *places,
                "--store",
                tmp_path / "store",
                "--runs",
                tmp_path / "runs",
                "--quiet",
                *quick,
            )
        return answer.code, "REFUSED newer" in answer.err

    assert night(tiny_log.train) == (0, False)
    assert night(tiny_log.train) == (2, True), "yesterday's log is refused"
    assert len(versions(tmp_path / "store")) == 1
    assert night(tiny_log.events) == (0, False), "a longer log, whose last window has other users, is published"
    assert len(versions(tmp_path / "store")) == 2
    assert len(list((tmp_path / "runs").iterdir())) == 3
