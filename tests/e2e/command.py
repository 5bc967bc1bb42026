"""The command line, called in this process."""

import sys
from dataclasses import dataclass

import pytest

from tonearm import cli

WIDTH = "200"
"""Columns of the terminal, wide enough that no word is broken."""


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def tonearm(capsys: pytest.CaptureFixture[str], *args: object) -> Answer:
    """Run `tonearm ARGS`; whatever escapes as a traceback fails the test by itself."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tonearm", *map(str, args)])
        patch.setenv("COLUMNS", WIDTH)
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    printed = capsys.readouterr()
    return Answer(code, printed.out, printed.err)
