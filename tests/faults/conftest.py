"""Faults, and what became of each try: `tried` counts them, and the table is printed at the end."""

import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.quick import Log, run_quick, tiny_log, tiny_run

__all__ = ["tiny_log", "tiny_run"]

FULL = os.environ.get("TONEARM_FAULTS") == "full"
"""Whether every try is made, as `make faults` has it; else a few of each."""

OUT = "TONEARM_FAULTS_OUT"
"""The variable that names a file to write the table to, as JSON."""

Tried = Callable[[str, str], None]

_tries: dict[str, dict[str, int]] = {}


@pytest.fixture
def tried() -> Tried:
    """tried("kill -9 of run", "nothing"): one more try of a fault, and what was there afterwards."""

    def count(fault: str, outcome: str) -> None:
        outcomes = _tries.setdefault(fault, {})
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    return count


@pytest.fixture(scope="session")
def other_run(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another run on the same log."""
    folder = tmp_path_factory.mktemp("other") / "run"
    more = ('output.features="all"', "seed=3", "als.factors=6", "shape.per_artist=5", "candidates=22")
    return run_quick(folder, tiny_log.events, tiny_log.items, *more, report=True)


@pytest.fixture(autouse=True)
def _few_open_files() -> Iterator[None]:
    """Maps of a test's many runs hold a file open each until they are collected."""
    yield
    gc.collect()


def linked(folder: Path, copy: Path) -> Path:
    """A copy of a folder whose files are links."""
    shutil.copytree(folder, copy, copy_function=os.link)
    return copy


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of faults."""
    if not _tries:
        return
    terminalreporter.section("faults")
    for fault, outcomes in _tries.items():
        said = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(outcomes.items()))
        terminalreporter.line(f"{fault:<44}{sum(outcomes.values()):>7,}  {said}")
    if OUT in os.environ:
        Path(os.environ[OUT]).write_text(json.dumps(_tries, indent=1), encoding="utf-8")
