"""README's session with the service works as it stands, line by line."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.quick import run_inputs
from tests.serving.test_server import serving, up

from tonearm.pipeline import Inputs
from tonearm.serving.publish import publish
from tonearm.synth import generate

ROOT = Path(__file__).resolve().parents[2]


def test_the_session_of_the_readme(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    block = re.search(
        r"^```sh\n(tonearm publish demo/run.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert block is not None
    asked = [line for line in block[1].splitlines() if line.startswith("curl ")]
    assert len(asked) == 6
    generate("tiny", tmp_path / "log")
    log = Inputs(str(tmp_path / "log/events.parquet"), str(tmp_path / "log/items.parquet"), "2022-12-16")
    run_inputs(log, tmp_path / "run")
    publish(tmp_path / "run", tmp_path / "store")
    answers: list[Any] = []
    with serving(tmp_path / "store", "--quiet") as (_, address):
        up(address)
        for line in asked:
            command = line.replace("localhost:8000", address).replace("curl ", "curl -sSf ")
            answers.append(json.loads(subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout))
    popular, before, taken, after, similar, why = answers
    assert [len(one["items"]) for one in (popular, before, after, similar)] == [3, 3, 3, 3]
    assert taken["new"] == 1
    assert (before["source"], after["source"]) == ("offline", "blended")
    assert before["items"] != after["items"]
    assert 405 not in [entry["item_id"] for entry in after["items"]]
    assert why["because"] == "Just played, so it leaves the list."


def test_demo_ends_with_the_two_commands() -> None:
    demo = (ROOT / "Makefile").read_text().partition("\ndemo:")[2].partition("\n\n")[0]
    last = demo.strip().splitlines()[-2:]
    assert "tonearm publish demo/run --store demo/store" in last[0]
    assert "tonearm serve --store demo/store" in last[1]
