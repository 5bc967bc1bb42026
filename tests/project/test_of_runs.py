"""Tables of finished runs are their manifests' and metrics' figures, and every benchmark keeps its own."""

import json
import re
from pathlib import Path

import pytest

import figures
import of_runs

EFFECT = {"difference": 0.01, "low": -0.002, "high": 0.02, "metric": "recall@10"}
MORE = "+.0100 [-.0020, +.0200]"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    values = {"recommendations": 0.3, "als": 0.1, "ease": 0.2}
    lists = {name: {"recall@10": value, "ndcg@20": value / 2} for name, value in values.items()}
    half = {name: {"recall@10": one["recall@10"] / 2} for name, one in lists.items()}
    metrics = {
        "final": "recommendations",
        "lists": lists,
        "comparisons": [EFFECT | {"against": "als"}, EFFECT | {"against": "ease", "metric": "ndcg@20"}],
        "parts": {"repeat": {"lists": lists}, "discovery": {"lists": half}},
    }
    stages = [("load", 0.25, 300), ("fit sources on history 1", 2, 900), ("lists", 1, 700)]
    manifest = {
        "stages": [{"name": name, "seconds": s, "peak_mb": mb} for name, s, mb in stages],
        "found": {"train": {"users": 1200, "events": 34_000}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    monkeypatch.setattr("sys.argv", ["of_runs.py", *words])
    of_runs.main()
    head, _, *rows = capsys.readouterr().out.splitlines()
    return [head, *rows]


def test_stages(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(monkeypatch, capsys, "stages", str(run)) == [
        "| stage | s | peak MB |",
        "| load | .2 | 300 |",
        "| fit sources on history 1 | 2.0 | 900 |",
        "| lists | 1.0 | 700 |",
        "| all | 3.2 | 900 |",
    ]


def test_lists_and_parts(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(monkeypatch, capsys, "lists", str(run), "--metrics", "recall@10", "ndcg@20") == [
        "| list | recall@10 | ndcg@20 | final − it, recall@10 |",
        "| recommendations | .3000 | .1500 |  |",
        "| ease | .2000 | .1000 |  |",
        f"| als | .1000 | .0500 | {MORE} |",
    ]
    assert printed(monkeypatch, capsys, "parts", str(run)) == [
        "| list | recall@10 | of repeats | of discoveries | final − it, recall@10 |",
        "| recommendations | .3000 | .3000 | .1500 |  |",
        "| ease | .2000 | .2000 | .1000 |  |",
        f"| als | .1000 | .1000 | .0500 | {MORE} |",
    ]


def test_several_runs(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    row = "| 1,200 | 34,000 | 900 | 700 | 900 |"
    assert printed(monkeypatch, capsys, "users", str(run), str(run))[1:] == [row, row]


def test_a_table_is_kept_with_its_command(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path / "results")
    head, *rows = printed(monkeypatch, capsys, "stages", str(run), "--save", "some-stages")
    kept = figures.load("some-stages")
    assert figures.table(kept).splitlines() == [head, "|---|---|---|", *rows]
    assert kept["command"] == f"python of_runs.py stages {run} --save some-stages"
    assert kept["columns"]["peak_mb"] == {"head": "peak MB", "as": ",.0f"}
    assert kept["rows"][0] == {"stage": "load", "s": 0.25, "peak_mb": 300}


def test_a_column_of_the_same_head_has_a_key_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    figures.tell([("", ""), ("MB", ",.0f"), ("MB", ".1f")], [["a", 1234, 1234], ["b", None, 2]])
    assert capsys.readouterr().out == "|  | MB | MB |\n|---|---|---|\n| a | 1,234 | 1234.0 |\n| b |  | 2.0 |\n"


def test_no_benchmark_prints_a_table_in_another_way() -> None:
    folder = figures.ROOT / "benchmarks"
    hand_made = [path.name for path in folder.glob("*.py") if "|---|" in path.read_text(encoding="utf-8")]
    assert hand_made == []


@pytest.mark.parametrize("path", sorted(figures.RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_names_a_command_that_there_is(path: Path) -> None:
    command = figures.load(path.stem)["command"]
    scripts = re.findall(r"python (benchmarks/\w+\.py)", command)
    assert scripts or "tonearm " in command
    assert [script for script in scripts if not (figures.ROOT / script).is_file()] == []
