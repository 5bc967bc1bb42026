"""Write docs/use/configuration.md from the classes of options: their docstrings, types, ranges and defaults."""

import dataclasses
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tonearm.config import PRESETS, Config
from tonearm.ranking.features import feature_names
from tonearm.sources import RECIPES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "use" / "configuration.md"
HEAD = """# The configuration

For whoever sets options: every one with its type, range, default and meaning.

`python tools/config_docs.py` makes this page from the classes of options.

An option is set in a TOML file for `--config`, or by `--set section.option=value`, which wins over the file; both win
over `--preset`. A run's own `config.toml` is the file that they come to. From Python every section is a class, such as
`ALS(factors=64)`, and all of them are fields of `Config`. A name that is not here, a value out of its range and options
that do not go together are refused before anything is read, with what to do.

```toml
seed = 7

[als]
factors = 64
```
"""
TABLE = "| option | type and range | default | meaning |\n|---|---|---|---|"
OPTION = re.compile(r"(\w+(?:, \w+)*): (.*)")
BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
TYPES = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}


def told(kind: Any) -> tuple[str, dict[str, str]]:
    """What the docstring of a class says before its options, and of each option, with those of what it extends."""
    known = {field.name for field in dataclasses.fields(kind)}
    prose: list[str] = []
    meanings: dict[str, str] = {}
    for base in kind.__bases__:
        if dataclasses.is_dataclass(base):
            meanings |= told(base)[1]
    names: list[str] = []
    for line in TypeAdapter(kind).json_schema()["description"].splitlines():
        found = OPTION.fullmatch(line)
        if found and {*found[1].split(", ")} <= known:
            names = found[1].split(", ")
            together = "" if len(names) == 1 else words(names) + ": "
            meanings |= dict.fromkeys(names, together + found[2])
        elif names and line.startswith(" "):
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
        else:
            prose.append(line)
            names = []
    return "\n".join(prose).strip(), meanings


def kind_of(schema: Mapping[str, Any]) -> str:
    """The type of an option and its range, in words."""
    if "anyOf" in schema:
        return " or ".join(kind_of(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema["type"] == "array":
        least = f"; at least {schema['minItems']} of them" if "minItems" in schema else ""
        return f"list of: {kind_of(schema['items'])}{least}"
    if schema["type"] == "object":
        return f"table of: {kind_of(schema['additionalProperties'])}"
    bounds = [words.format(f"{schema[bound]:,}") for bound, words in BOUNDS.items() if bound in schema]
    return ", ".join([TYPES[schema["type"]], *bounds])


def value_of(default: Any) -> str:
    """A default as it would stand in a file."""
    if isinstance(default, float):
        return f"`{default:g}`"
    return "unset" if default is None else f"`{json.dumps(default, ensure_ascii=False)}`"


def rows(kind: Any) -> Iterator[str]:
    """The table of a class, without sections in it."""
    meanings, schema = told(kind)[1], TypeAdapter(kind).json_schema()["properties"]
    yield TABLE
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.type):
            continue
        default = schema[field.name].get("default", {})
        cells = [
            f"`{field.name}`",
            kind_of(schema[field.name]),
            value_of(default),
            meanings[field.name],
        ]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def presets() -> Iterator[str]:
    """What each named preset sets."""
    for name, tree in PRESETS.items():
        if tree:
            flat = [(key, value) for key, value in tree.items() if not isinstance(value, dict)]
            flat += [(f"{s}.{key}", value) for s, o in tree.items() if isinstance(o, dict) for key, value in o.items()]
            settings = "\n".join(f"{key} = {json.dumps(value)}" for key, value in flat)
            yield f"\n## `--preset {name}`\n\n```toml\n{settings}\n```"


def render() -> str:
    """The whole page."""
    parts = [HEAD, *rows(Config)]
    for field in dataclasses.fields(Config):
        if dataclasses.is_dataclass(field.type):
            prose = told(field.type)[0]
            parts.append(f"\n## [{field.name}]\n\n```text\n{prose}\n```\n")
            parts += rows(field.type) if dataclasses.fields(field.type) else ["It has no options."]
    repeats, discoveries = (feature_names([*RECIPES], filter_seen) for filter_seen in (False, True))
    own = words([name for name in repeats if name not in discoveries])
    parts.append("\n## Names for ranker.features\n")
    parts.append(textwrap.fill(f"{words(discoveries)}; and with `filter_seen = false` {own}.", 120))
    return "\n".join([*parts, *presets()]) + "\n"


def words(names: Sequence[str]) -> str:
    """Names after one another."""
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
