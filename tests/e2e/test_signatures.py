"""The list of kernels that are compiled before a run is that of a run."""

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "signatures.py"


def test_signatures_are_those_of_a_run() -> None:
    found = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-1000:]
