"""Files of deploy/: their commands are ones that the command line takes, and what can be run here is run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.quick import QUICK, Log

from tonearm.cli import app

DEPLOY = Path(__file__).parents[2] / "deploy"
IN_PYTHON = re.compile(r"""tonearm(?: |\(f?")((?:check|run|publish) [^"\n]+)\"""")
IN_SHELL = re.compile(r"^(?:RUN )?tonearm ((?:nightly|check|run|publish|warmup)\b.*)$", re.MULTILINE)


def commands(path: Path) -> list[str]:
    """What a file gives to `tonearm`, with something in place of its variables."""
    found = (IN_PYTHON if path.suffix == ".py" else IN_SHELL).findall(path.read_text(encoding="utf-8"))
    return [re.sub(r"\{.*?\}+|\$\w+", "x", line) for line in found]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("nightly.sh", 1), ("airflow_dag.py", 3), ("prefect_flow.py", 3), ("Containerfile", 1)],
)
def test_commands_are_taken_by_the_command_line(name: str, wanted: int) -> None:
    found = commands(DEPLOY / name)
    assert len(found) == wanted, found
    for command in found:
        _, bound, _ = app.parse_args(shlex.split(command), exit_on_error=False, print_error=False)
        assert bound is not None


def test_a_night_makes_a_run_and_publishes_it_and_the_next_keeps_seven(tiny_log: Log, tmp_path: Path) -> None:
    tiny_log.events.write_parquet(tmp_path / "plays.parquet")
    tiny_log.items.write_parquet(tmp_path / "tracks.parquet")
    runs = tmp_path / "runs"
    for day in range(1, 9):
        (runs / f"2020-01-0{day}").mkdir(parents=True)
    home = tmp_path / "bin"
    home.mkdir()
    sets = " ".join(f"--set={shlex.quote(option)}" for option in QUICK)
    (home / "tonearm").write_text(  # quick options, where a night has its own
        f'#!/bin/sh\n[ "$1" = nightly ] && set -- "$@" {sets}\nexec {sys.executable} -m tonearm "$@"\n'
    )
    (home / "tonearm").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{home}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    given = [DEPLOY / "nightly.sh", tmp_path / "plays.parquet", tmp_path / "tracks.parquet", runs, tmp_path / "store"]
    night = subprocess.run([str(part) for part in given], env=environment, capture_output=True, text=True, check=False)
    assert night.returncode == 0, night.stdout + night.stderr
    left = sorted(path.name for path in runs.iterdir())
    assert len(left) == 7
    assert left[0] == "2020-01-03"
    assert (runs / left[-1] / "recommendations.parquet").exists()
    assert (tmp_path / "store" / "current").exists()


def test_units_are_valid() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here: units are not verified")
    for unit in ("tonearm-nightly.service", "tonearm-nightly.timer"):
        found = subprocess.run(
            ["systemd-analyze", "verify", DEPLOY / unit], capture_output=True, text=True, check=False
        )
        wrong = [line for line in found.stderr.splitlines() if unit in line and "not executable" not in line]
        assert wrong == []


def test_the_image_is_built_and_answers(tmp_path: Path) -> None:
    engine = next((name for name in ("docker", "podman") if shutil.which(name)), None)
    if engine is None or subprocess.run([engine, "info"], capture_output=True, check=False).returncode:
        pytest.skip("no container engine answers: the image is not built")
    build = [engine, "build", "-q", "-f", str(DEPLOY / "Containerfile"), str(DEPLOY.parent)]
    image = subprocess.run(build, capture_output=True, text=True, check=True).stdout.strip()
    mounted = ["run", "--rm", "-v", f"{tmp_path}:/data", "--user", str(os.getuid()), image]
    subprocess.run([engine, *mounted, "synth", "--preset", "tiny", "--out", "/data/log"], check=True)
    assert (tmp_path / "log" / "events.parquet").exists()
