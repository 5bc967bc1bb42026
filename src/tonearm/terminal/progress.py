"""How long work reports that it moves on."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as progress(what, done, total)."""


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Report to nobody."""
