"""Ctrl-C, a request to end and a terminal that closes stop work in the same way: as an exception that cleans up."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PATIENCE = 20.0
"""Seconds after a signal until it is sent once more, as a thread that waits for a lock that it broke never ends."""


class Stopped(KeyboardInterrupt):
    """One of `SIGNALS` came.

    signum: which; again: it is not the first one, and threads may be left that never end
    """

    def __init__(self, signum: int, again: bool = False) -> None:
        super().__init__(signum)
        self.signum, self.again = signum, again


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 and the signal's number, as shells say it."""
    return 128 + (stop.signum if isinstance(stop, Stopped) else signal.SIGINT)


@contextmanager
def stopping() -> Iterator[None]:
    """Raise `Stopped` inside when a signal comes, whatever error that turns into on its way out.

    A signal that is ignored, as `nohup` has it, stays so.
    """
    received: list[int] = []
    timers: list[threading.Timer] = []

    def stop(signum: int, _frame: FrameType | None) -> None:
        received.append(signum)
        if not timers:
            timers.append(threading.Timer(PATIENCE, os.kill, (os.getpid(), signum)))
            timers[0].daemon = True
            timers[0].start()
        raise Stopped(signum, again=len(received) > 1)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for signum in SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                before[signum] = signal.signal(signum, stop)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if received:
            raise Stopped(received[0], again=len(received) > 1) from error
        raise
    finally:
        for timer in timers:
            timer.cancel()
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def interrupts() -> Iterator[None]:
    """Inside, an interrupt that came while a kernel returned, and is a SystemError by that, is an interrupt again."""
    try:
        yield
    except SystemError as error:
        seen: BaseException | None = error
        while seen is not None and not isinstance(seen, KeyboardInterrupt):
            seen = seen.__cause__ or seen.__context__
        if seen is None:
            raise
        raise seen from None
