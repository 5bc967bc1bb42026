"""What a run is doing and what each part of it cost: seconds, peak memory, progress bars."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from numba.core import event
from numba.core.dispatcher import Dispatcher
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from tonearm.kernels import warm
from tonearm.terminal.printing import console
from tonearm.terminal.signals import interrupts


class Stage(TypedDict):
    """One row of the manifest's stage table; peak_mb is the process's peak resident memory during the stage."""

    name: str
    seconds: float
    peak_mb: float


KERNELS = "tonearm.kernels"


class Compiling(event.Listener):
    """Hears of every kernel that is compiled, which happens once a machine; found in the cache, it is not."""

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell = tell
        self._done = 0

    def on_start(self, event: event.Event) -> None:
        """Count a kernel, and tell how many there may be: not every run needs all."""
        if event.data["dispatcher"].py_func.__module__.startswith(KERNELS):
            self._done += 1
            self._tell(self._done, max(self._done, kernels_loaded()))

    def on_end(self, event: event.Event) -> None:
        """Nothing: the next one tells."""


def kernels_loaded() -> int:
    """Kernels of all modules that are imported."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(KERNELS)]
    every = {id(value) for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)}
    return len(every)


class Stages:
    """Times stages and shows their progress on standard error.

    rows: the finished stages, in order
    """

    def __init__(self, show: bool) -> None:
        self.rows: list[Stage] = []
        self._console = console(error=True, quiet=not show)
        self._bars = Progress(
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (show and self._console.is_terminal),
            transient=True,
        )
        self._task: TaskID | None = None
        self._began = 0.0
        self._compiling = Compiling(self._compiled)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        _reset_peak()
        began = time.perf_counter()
        self._began = began
        with interrupts(), self._bars, event.install_listener("numba:compile", self._compiling):
            self._task = self._bars.add_task(name, total=None, rate="")
            try:
                yield
            finally:
                self._bars.remove_task(self._task)
                self._task = None
        row = Stage(name=name, seconds=round(time.perf_counter() - began, 3), peak_mb=round(_peak_mb(), 1))
        self.rows.append(row)
        self._console.print(Text(f"{name:<34}{row['seconds']:>9.1f} s {row['peak_mb']:>8,.0f} MB", style="dim"))

    def compile_kernels(self) -> int:
        """Compile what a run needs, where it is not on disk yet; returns how many kernels that were."""
        lines = warm.missing()
        if lines:
            with self.stage("compile kernels, once"):
                self.say("Compiling kernels, once after installing.")
                warm.compile_all(lines, lambda done, total: self.progress("compiling kernels", done, total))
        return len(lines)

    def _compiled(self, n: int, of: int) -> None:
        if n == 1:
            self.say("Compiling more kernels, once; later runs find them compiled.")
        if self._task is not None:
            self._bars.update(self._task, description=f"compiling kernels, once, {n} of up to {of}")

    def say(self, words: str) -> None:
        """A line that stays."""
        self._console.print(Text(words), soft_wrap=True)

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
