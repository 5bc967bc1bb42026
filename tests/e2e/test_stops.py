"""A run that is told to end leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.quick import QUICK, Log

from tonearm.runs.directory import SUFFIX


def test_point_15_a_run_that_is_terminated_leaves_nothing(tiny_log: Log, tmp_path: Path) -> None:
    """SIGTERM left a hidden folder beside the run's place."""
    tiny_log.events.write_parquet(tmp_path / "plays.parquet")
    sets = [f"--set={option}" for option in QUICK]
    given = ["--events", str(tmp_path / "plays.parquet"), "--test-from", "2022-12-16", "--out", str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "tonearm", "run", *given, *sets]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        began = time.monotonic()
        while not list(tmp_path.glob(f"*{SUFFIX}")):
            if process.poll() is not None or time.monotonic() - began > 120:
                process.kill()
                pytest.fail("the run did not begin to write")
            time.sleep(0.01)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
    assert process.returncode == 143, said
    assert "Stopped. Nothing was left behind" in said
    assert [path.name for path in tmp_path.iterdir()] == ["plays.parquet"]
