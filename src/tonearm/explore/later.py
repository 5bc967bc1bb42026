"""What takes long to make is made once, in the background, while pages say how far it is."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from typing import Generic, TypeVar

from tonearm.kernels.machine.threads import KERNELS
from tonearm.terminal.progress import Progress

T = TypeVar("T")


class Later(Generic[T]):
    """A value that a thread of its own begins to make when it is first asked for, and anew where that went wrong."""

    def __init__(self, make: Callable[[Progress], T]) -> None:
        self._make = make
        self._future: Future[T] | None = None
        self._lock = threading.Lock()
        self.progress = "starting"

    def get(self, seconds: float) -> T | None:
        """The value, or None where it is not there after some seconds; raises what went wrong in making it."""
        with self._lock:
            if self._future is None:
                self._future = Future()
                threading.Thread(target=self._run, args=(self._future,), daemon=True).start()
            future = self._future
        try:
            return future.result(seconds)
        except TimeoutError:
            return None
        except BaseException:
            with self._lock:
                if self._future is future:
                    self._future = None
            raise

    def _run(self, future: "Future[T]") -> None:
        try:
            with KERNELS:
                value = self._make(self._told)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    def _told(self, what: str, done: int, total: int) -> None:
        self.progress = f"{what}: {done:,} of {total:,}"
