"""Commands where a place that others take for granted is missing or full."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.command import tonearm
from tests.quick import QUICK, Log, stub_report

from tonearm import report
from tonearm.runs.read import Run


@pytest.fixture
def given(tiny_log: Log, tmp_path: Path) -> list[str]:
    """The options that name the tiny log's files."""
    tiny_log.events.write_parquet(tmp_path / "events.parquet")
    tiny_log.items.write_parquet(tmp_path / "items.parquet")
    files = ["--events", str(tmp_path / "events.parquet"), "--items", str(tmp_path / "items.parquet")]
    return [*files, "--test-from", "2022-12-16"]


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder without room for another byte."""
    place = tmp_path / "full"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here: that takes root and mount")
    try:
        (place / "filler").write_bytes(bytes(16_384))
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.filterwarnings("always:The report could not be made")
def test_point_15_a_run_whose_report_fails_is_whole_and_gets_its_report_later(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing report deleted the finished lists."""

    def fail(*_: object) -> None:
        raise RuntimeError("Could not determine home directory.")

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(report, "write", fail)
        ran = tonearm(capsys, "run", *given, "--out", out, "--quiet", *(f"--set={option}" for option in QUICK))
    assert ran.code == 0, ran.err
    assert "The report could not be made (RuntimeError: " in ran.err
    assert not (out / "report.html").exists()
    assert Run.open(out).manifest["report_missing"].endswith(f"`tonearm report {out}` makes it anew.")
    assert (out / "recommendations.parquet").exists()
    with stub_report():
        made = tonearm(capsys, "report", out)
    assert made.code == 0, made.err
    assert (out / "report.html").exists()
    assert Run.open(out).manifest["report_missing"] is None


def test_point_15_a_full_place_for_temporary_files_hinders_nothing(
    given: list[str], full: Path, tmp_path: Path
) -> None:
    """A TMPDIR without room ended in a traceback."""
    environment = os.environ | {
        "TMPDIR": str(full),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    sets = [f"--set={option}" for option in QUICK]
    for command in (["check", *given], ["run", *given, "--out", str(tmp_path / "run"), "--quiet", *sets]):
        found = subprocess.run(
            [sys.executable, "-m", "tonearm", *command], env=environment, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stderr
        assert "Traceback" not in found.stderr
    assert (tmp_path / "run" / "recommendations.parquet").exists()
