"""Tables of figures in README and docs are those of benchmarks/results, and nothing else."""

import json
import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

import figures
from spark_cost import Size, expected
from tonearm.config import load_config

NAMES = sorted(path.stem for path in figures.RESULTS.glob("*.json"))
SHOWN = [found[2] for page in figures.PAGES for found in figures.MARKED.finditer(page.read_text(encoding="utf-8"))]


def test_every_table_shows_what_the_results_hold() -> None:
    assert figures.stale() == [], "run python benchmarks/figures.py"


def test_every_result_is_shown_once() -> None:
    assert sorted(SHOWN) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_result_says_where_it_is_from(name: str) -> None:
    result = figures.load(name)
    assert all(result[key] for key in ("command", "commit", "machine", "columns", "rows"))
    assert all(set(row) <= set(result["columns"]) for row in result["rows"])


def test_a_page_is_stale_once_a_figure_is_changed_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(figures.RESULTS, tmp_path / "results")
    monkeypatch.setattr(figures, "RESULTS", folder)
    assert figures.stale() == []
    result = figures.load("quality")
    result["rows"][0]["users"] += 1
    (folder / "quality.json").write_text(json.dumps(result), encoding="utf-8")
    assert [page.name for page in figures.stale()] == ["quality.md"]


def test_a_hand_made_table_of_figures_is_found() -> None:
    """A page has no table with intervals outside of the marks."""
    for page in figures.PAGES:
        rest = figures.MARKED.sub("", page.read_text(encoding="utf-8"))
        assert re.findall(r"^\|.*\[[+-]?\.\d+, [+-]?\.\d+\].*$", rest, re.MULTILINE) == [], page.name


def test_values_are_shown_as_papers_show_them() -> None:
    assert figures.shown(0.1234, ".4f") == ".1234"
    assert figures.shown(-0.5, "+.2f") == "-.50"
    assert figures.shown(1234567, ",.0f") == "1,234,567"
    assert figures.shown(10.25, ".1f") == "10.2"
    assert figures.shown([0.5, 0.25], ".2f") == ".50 / .25"
    assert figures.shown({"value": 0.01, "low": -0.002, "high": 0.022, "name": "als"}) == "+.0100 [-.0020, +.0220] als"
    assert figures.shown(None) == ""


def test_what_is_saved_is_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    columns = {"set": {"head": "set"}, "ndcg": {"head": "NDCG@20", "as": ".4f"}}
    figures.save("one", columns, [{"set": "a", "ndcg": 0.1234}, {"set": "b"}], "python one.py")
    result = figures.load("one")
    assert result["command"] == "python one.py"
    assert re.fullmatch(r"[0-9a-f]{7,}\+?", result["commit"])
    assert figures.table(result) == "| set | NDCG@20 |\n|---|---|\n| a | .1234 |\n| b |  |\n"


def test_the_cost_model_of_clusters_is_within_30_percent() -> None:
    """As it is now, of what was measured on a log of a million tracks."""
    result = figures.load("spark")
    commands = [shlex.split(command) for command in result["command"].split("; ")]
    assert len(result["rows"]) == len(commands) > 1
    for row, command in zip(result["rows"], commands, strict=True):
        sets = [value for name, value in pairwise(command) if name == "--set"]
        size = Size(row["users"], 1e6, row["items"], row["events"])
        model = expected(size, load_config(overrides=sets), 2, 1.0)
        for name, measured in (
            ("minutes", "minutes"),
            ("shuffle_mb", "shuffle_mb"),
            ("driver_mb", "driver_python_mb"),
            ("worker_mb", "worker_mb"),
        ):
            told = row[f"{name.removesuffix('_mb')}_ratio"]
            assert model[name] / row[measured] == pytest.approx(told, rel=1e-6), "save the table anew"
            assert 0.7 < told < 1.3
