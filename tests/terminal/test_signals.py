"""Signals stop work as an exception that cleans up, and are that exception whatever became of it."""

import os
import signal
import subprocess
import sys

import pytest

from tonearm.terminal.signals import SIGNALS, Stopped, exit_code, stopping
from tonearm.terminal.stages import Stages


@pytest.mark.parametrize("signum", SIGNALS)
def test_point_15_every_signal_stops_as_an_exception(signum: signal.Signals) -> None:
    """SIGTERM and SIGHUP ended the process at once, and left what it had begun."""
    cleaned, before = [], signal.getsignal(signum)

    def work() -> None:
        try:
            os.kill(os.getpid(), signum)
            signal.sigtimedwait([], 1)
        finally:
            cleaned.append(True)

    with pytest.raises(Stopped) as stop, stopping():
        work()
    assert exit_code(stop.value) == 128 + signum
    assert cleaned == [True]
    assert signal.getsignal(signum) == before


def test_an_error_that_a_signal_turned_into_is_the_signal() -> None:
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise OSError(5, "the terminal is gone") from None

    with pytest.raises(Stopped) as stop, stopping():
        work()
    assert exit_code(stop.value) == 143


def test_errors_without_a_signal_stay() -> None:
    with pytest.raises(ZeroDivisionError), stopping():
        raise ZeroDivisionError
    with pytest.raises(SystemError, match="alone"), Stages(show=False).stage("kernels"):
        raise SystemError("alone")


def system_error(interrupt: KeyboardInterrupt) -> None:
    try:
        raise interrupt
    except KeyboardInterrupt as error:
        raise SystemError("<built-in CPUDispatcher> returned a result with an exception set") from error


def test_point_15_an_interrupt_within_a_kernel_is_an_interrupt() -> None:
    """Ctrl-C inside a kernel ended in SystemError one try of ten."""
    with pytest.raises(Stopped) as stop, Stages(show=False).stage("kernels"):
        system_error(Stopped(signal.SIGTERM))
    assert exit_code(stop.value) == 143
    with pytest.raises(KeyboardInterrupt) as plain, Stages(show=False).stage("kernels"):
        system_error(KeyboardInterrupt())
    assert exit_code(plain.value) == 130


def test_an_ignored_signal_stays_ignored() -> None:
    """`nohup tonearm run` goes on when its terminal closes."""
    code = (
        "import os, signal\nfrom tonearm.terminal.signals import stopping\n"
        "with stopping():\n    os.kill(os.getpid(), signal.SIGHUP)\nprint('went on')\n"
    )
    command = ["nohup", sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True)
    assert found.stdout == "went on\n"


def test_a_wait_for_what_never_ends_is_broken_off() -> None:
    """A signal left a lock taken, for which another thread, and the main one on its way out, waited for ever."""
    code = (
        "import os, signal, threading\nfrom unittest.mock import patch\nfrom tonearm import cli\n"
        "from tonearm.terminal import signals\nsignals.PATIENCE = 0.3\n"
        "def stuck(*_, **__):\n"
        "    never = threading.Event()\n"
        "    threading.Thread(target=never.wait).start()\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n        never.wait()\n"
        "    finally:\n        never.wait()\n"
        "with patch.object(cli, 'app', stuck):\n    cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 128 + signal.SIGTERM
    assert "Stopped. Nothing was left behind" in done.stderr
