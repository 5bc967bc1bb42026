"""The one place that prints: no text is read as markup, and no character of it steers the terminal."""

import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, overrides of direction, and halves of characters."""

LONGEST = 3000
"""Letters of a message about what is wrong."""


def visible(text: str) -> str:
    r"""The text with what would steer a terminal written out, as in \u001b, which JSON reads as the same character."""
    return STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shortened(text: str) -> str:
    """The text as `visible`, without its middle where it is longer than any message that is meant to be read."""
    text = visible(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def one_line(text: str) -> str:
    """The text as `visible`, and without line breaks."""
    return visible(text).replace("\n", "\\u000a")


class _Console(Console):
    """Whatever it prints, in tables and bars too, is `visible`."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        return super().render(_visible_text(renderable) if isinstance(renderable, Text) else renderable, options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


def console(*, error: bool = False, quiet: bool = False, **options: Any) -> Console:
    """Where styled text, tables and bars go: standard output, or standard error.

    options: as `rich.console.Console` takes them
    """
    return _Console(stderr=error, quiet=quiet, markup=False, emoji=False, highlight=False, **options)


def say(what: RenderableType, *, error: bool = False) -> None:
    """Print text as it is, however long its lines, or something that rich lays out."""
    if isinstance(what, str):
        print(visible(what), file=sys.stderr if error else sys.stdout, flush=True)
    else:
        console(error=error).print(what)


@contextmanager
def printing() -> Iterator[None]:
    """Inside, warnings are told in one line, and letters that the terminal does not have are written out."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _tell
        yield


def _tell(
    message: Warning | str,
    category: type[Warning],  # noqa: ARG001
    filename: str,  # noqa: ARG001
    lineno: int,  # noqa: ARG001
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    say(f"warning: {message}", error=True)


def _visible_text(text: Text) -> Text:
    """The text with its styles, `visible`."""
    found = [end for match in STEERING.finditer(text.plain) for end in match.span()]
    if not found:
        return text
    pieces = text.divide(found)
    for piece in pieces:
        piece.plain = visible(piece.plain)
    whole = text.blank_copy()
    for piece in pieces:
        whole.append_text(piece)
    return whole
