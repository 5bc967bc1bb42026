"""What runs the service elsewhere: files that fit its flags and its figures."""

import json
import re
import shlex
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from tonearm.cli import app
from tonearm.serving import app as http
from tonearm.serving import guard

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def flags(command: str) -> set[str]:
    words = shlex.split(command)
    assert words[0] == "serve"
    return {word for word in words if word.startswith("--")}


@pytest.mark.parametrize(
    ("file", "pattern"),
    [("tonearm-serve.service", r"bin/tonearm (serve .*)"), ("compose.yaml", r"command: >-\n\s+(serve .*\n.*)")],
)
def test_every_flag_is_one_of_the_commands(file: str, pattern: str) -> None:
    found = re.search(pattern, (DEPLOY / file).read_text())
    assert found is not None
    known = {name for option in app["serve"].assemble_argument_collection() for name in option.names}
    assert flags(found[1]) <= known


def test_the_board_shows_figures_that_there_are() -> None:
    assert http.EVENTS._name == "tonearm_events"
    assert guard.REQUESTS._name == "tonearm_requests"
    board = json.loads((DEPLOY / "grafana.json").read_text())
    known = {sample.name for metric in REGISTRY.collect() for sample in metric.samples} | {
        f"tonearm_{name}" for name in ("requests_total", "request_seconds_bucket", "events_total", "versions_total")
    }
    named = set(re.findall(r"tonearm_\w+", json.dumps([panel["targets"] for panel in board["panels"]])))
    assert named <= known
    assert len(named) >= 4
