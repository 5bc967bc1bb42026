"""What Tonearm needs, and what that is licensed under: the page is current, and nothing on it binds its users' code."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from tools import licences

ROOT = Path(__file__).resolve().parents[2]
FREE = re.compile(
    r"MIT(-0|-CMU)?|BSD-[23]-Clause|0BSD|Apache-2\.0( WITH LLVM-exception)?|"
    r"PSF-2\.0|MPL-2\.0|LGPL-3\.0-only|ISC|Zlib|CC0-1\.0"
)


@pytest.fixture
def pinned() -> None:
    """Skip where other versions than the pinned ones are installed, which may tell their licences otherwise."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {licences.plain(name): pin for name, _, pin in (line.partition("==") for line in lines) if pin}
    others = [name for name in licences.needed() if version(name) != pins.get(name)]
    if others:
        pytest.skip(f"other versions than those of constraints.txt are installed: {', '.join(others[:5])}")


@pytest.mark.usefixtures("pinned")
def test_the_page_is_current() -> None:
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page(), "run python tools/licences.py"


@pytest.mark.usefixtures("pinned")
def test_every_licence_is_known_and_free() -> None:
    told = {name: re.split(r" (?:AND|OR) ", said) for name, said, _ in licences.rows()}
    assert len(told) > 40
    assert {name: said for name, said in told.items() if not all(FREE.fullmatch(one) for one in said)} == {}
    lesser = [name for name, said in told.items() if any("GPL" in one for one in said)]
    assert lesser == ["psycopg", "psycopg-binary"], "used as it is, by an extra"


def test_the_list_of_components_is_cyclonedx() -> None:
    made = licences.sbom()
    names = [part["name"] for part in made["components"]]
    assert {"numpy", "numba", "polars", "catboost"} <= set(names)
    assert len(names) == len(set(names)) == len(made["dependencies"][0]["dependsOn"])
    assert all(part["purl"].endswith(part["version"]) for part in made["components"])
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    error = validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(json.dumps(made))
    assert error is None, error
