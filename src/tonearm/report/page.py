"""One self-contained HTML page: the template, its style and script, and the charting library inlined."""

import hashlib
import os
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tonearm.errors import OutputError
from tonearm.report.parts import figure, written
from tonearm.runs.directory import write_whole
from tonearm.terminal.words import counted


def render(content: dict[str, Any]) -> str:
    """The page. Everything in `content` is escaped."""
    environment = Environment(
        loader=PackageLoader("tonearm"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"written": written, "figure": figure, "counted": counted}
    return environment.get_template("report.html.j2").render(
        content
        | {
            "style": _asset("base.css") + _asset("report.css"),
            "script": _asset("report.js"),
            "library": Markup(library()),
        }
    )


def _asset(name: str) -> Markup:
    return Markup((files("tonearm") / "templates" / name).read_text(encoding="utf-8"))


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed`.

    Bundling takes some ten seconds, so the result is kept in the user's cache directory where that can be written, with
    its digest, by which a damaged one is told.
    """
    place = cache_directory() / f"vega-{version('vl-convert-python')}.js"
    with suppress(OSError, ValueError):
        script, _, digest = place.read_text(encoding="utf-8").rpartition("\n//")
        if digest == _digest(script):
            return script
    script = _bundle()
    with suppress(OutputError):
        write_whole(place, f"{script}\n//{_digest(script)}")
    return script


def cache_directory() -> Path:
    """Where Tonearm keeps what it can make again."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "tonearm"
    except RuntimeError:  # neither HOME nor an entry among the system's users
        return Path(os.devnull)


def _digest(script: str) -> str:
    return hashlib.sha256(script.encode()).hexdigest()


def _bundle() -> str:
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
