"""What is asked of every hostile sample: one message and exit code 2, within bounds of time and memory."""

import re
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.command import Answer

SECONDS = 120
"""After these a sample counts as hanging; a busy machine takes a few of them."""

ROOM = 8 << 30
"""Bytes of address space that a sample may add."""


@contextmanager
def bounded() -> Iterator[None]:
    """Inside, what takes too long or too much memory fails."""

    def late(*_: Any) -> None:
        raise AssertionError(f"not done after {SECONDS} seconds")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits, before = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, limits[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def assert_refused(answer: Answer, words: str = "") -> None:
    """Exit code 2, and one message that says these words."""
    assert answer.code == 2, answer
    told = answer.err or answer.out
    assert "Traceback" not in told
    assert "ran out of memory" not in told
    assert re.match(r"(\w+(Error|Extra)|Refused): .", answer.err) or not answer.err, answer.err[:300]
    assert told.strip(), "nothing is said"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", told), repr(told[:300])
    assert len(told) < 20_000, f"{len(told):,} letters"
    assert words in told, told[:300]


def assert_answered(answer: Answer) -> None:
    """Exit code 0: odd, but nothing is wrong with it."""
    assert answer.code == 0, answer
