"""What a run is doing and what each part of it cost: seconds, peak memory, progress bars."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from tonearm.signals import interrupts
from tonearm.terminal import console


class Stage(TypedDict):
    """One row of the manifest's stage table; peak_mb is the process's peak resident memory during the stage."""

    name: str
    seconds: float
    peak_mb: float


class Stages:
    """Times stages and shows their progress on standard error.

    rows: the finished stages, in order
    """

    def __init__(self, show: bool) -> None:
        self.rows: list[Stage] = []
        self._bars = Progress(
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=console(error=True),
            disable=not show,
            transient=True,
        )
        self._console = console(error=True, quiet=not show)
        self._task: TaskID | None = None
        self._began = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        _reset_peak()
        began = time.perf_counter()
        self._began = began
        with interrupts(), self._bars:
            self._task = self._bars.add_task(name, total=None, rate="")
            try:
                yield
            finally:
                self._bars.remove_task(self._task)
                self._task = None
        row = Stage(name=name, seconds=round(time.perf_counter() - began, 3), peak_mb=round(_peak_mb(), 1))
        self.rows.append(row)
        self._console.print(Text(f"{name:<34}{row['seconds']:>9.1f} s {row['peak_mb']:>8,.0f} MB", style="dim"))

    def progress(self, what: str, done: int, total: int) -> None:
        """Move the running stage's bar: `done` of `total` units, with their rate and the time left."""
        if self._task is not None:
            rate = done / max(time.perf_counter() - self._began, 1e-9)
            self._bars.update(self._task, completed=done, total=total, description=what, rate=f"{rate:,.1f}/s")


def _reset_peak() -> None:
    """Start a new peak where the system can; elsewhere a stage's peak is that of the run so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak_mb() -> float:
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
