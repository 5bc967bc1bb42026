"""Two runs side by side: what differs, by how much, and how sure one can be."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from tests.quick import vouched_for

from tonearm.compare import compare, differences, metric_rows, overlap
from tonearm.errors import DataError
from tonearm.runs.read import Run


@pytest.fixture
def pair(make_run: Callable[..., Path]) -> tuple[Run, Run]:
    """The same data; B lists the popular items and has a setting and a stage of its own."""
    a, b = make_run("a"), make_run("b", final="popular")
    config = (b / "config.toml").read_text(encoding="utf-8")
    (b / "config.toml").write_text(config.replace("candidates = 100", "candidates = 70"), encoding="utf-8")
    vouched_for(
        b, stages=[{"name": "load", "seconds": 4.0, "peak_mb": 1.0}, {"name": "extra", "seconds": 1.0, "peak_mb": 1}]
    )
    return Run.open(a), Run.open(b)


def test_settings_metrics_and_stages_stand_side_by_side(pair: tuple[Run, Run]) -> None:
    found = differences(*pair)
    assert found["settings"] == {"candidates": [100, 70]}
    assert found["data"] == "Data: the same files and the same cut."
    for name in ("recommendations", "personal_als"):
        both = [run.metrics["lists"][name]["ndcg@4"] for run in pair]
        assert found["metrics"][name]["ndcg@4"] == both
    assert found["stages"] == {"load": [1.5, 4.0], "lists": [2.0, None], "extra": [None, 1.0]}


def test_paired_intervals_hold_the_difference_of_the_metrics(pair: tuple[Run, Run]) -> None:
    found = differences(*pair)
    assert found["paired_note"] is None
    for metric in ("ndcg@2", "ndcg@4", "recall@4", "hit_rate@2"):
        a, b = found["metrics"]["recommendations"][metric]
        difference, low, high = found["paired"][metric]
        assert difference == pytest.approx(b - a, abs=1e-6)
        assert low <= difference <= high
    assert found["paired"]["recall@4"][1] < found["paired"]["recall@4"][2]


def test_overlap_is_the_mean_jaccard_of_the_heads(pair: tuple[Run, Run]) -> None:
    heads = []
    for run in pair:
        rows = pl.read_parquet(run.folder / "recommendations.parquet").filter(pl.col("rank") <= 4)
        heads.append({user: set(part["item_id"]) for (user,), part in rows.group_by("user_id")})
    shares = [len(heads[0][u] & heads[1][u]) / len(heads[0][u] | heads[1][u]) for u in heads[0]]
    found = overlap(*pair, 4)
    assert found["users"] == 8
    assert found["jaccard"] == pytest.approx(sum(shares) / 8)
    assert overlap(pair[0], pair[0], 4)["jaccard"] == 1


def test_other_data_or_another_cut_is_said_and_not_paired(pair: tuple[Run, Run]) -> None:
    a, b = pair
    prints = [dict(f) for f in b.manifest["fingerprints"]]
    prints[0]["sha256"] = "0" * 64
    vouched_for(b.folder, fingerprints=prints, test_from="2022-10-01T00:00:00")
    found = differences(a, Run.open(b.folder))
    assert "A is cut at 2022-09-01T00:00:00, B at 2022-10-01T00:00:00." in found["data"]
    assert "their contents differ" in found["data"]
    assert found["paired"] == {}
    assert found["paired_note"] == "No paired intervals, as the runs are of different data."


def test_runs_are_paired_without_their_log(pair: tuple[Run, Run]) -> None:
    for path in pair[0].manifest["inputs"].values():
        Path(path).unlink()
    found = differences(*pair)
    assert found["paired_note"] is None
    assert found["paired"]


def test_ready_made_sets_are_paired_too(make_run: Callable[..., Path]) -> None:
    a = Run.open(make_run("a", timed=False))
    b = Run.open(make_run("b", timed=False, final="popular"))
    found = differences(a, b)
    assert found["paired_note"] is None
    mine, theirs = found["metrics"]["recommendations"]["map@4"]
    assert found["paired"]["map@4"][0] == pytest.approx(theirs - mine, abs=1e-6)


def test_the_terminal_shows_all_of_it(pair: tuple[Run, Run]) -> None:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(compare(pair[0].folder, pair[1].folder))
    shown = capture.get()
    for words in ("candidates", "the same cut", "paired interval", "share", "extra", "recommendations"):
        assert words in shown
    with console.capture() as capture:
        console.print(compare(pair[0].folder, pair[0].folder))
    assert "Settings: the same." in capture.get()


def test_only_finished_runs_are_compared(tmp_path: Path, make_run: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="is not a finished run"):
        compare(make_run(), tmp_path)


def test_point_20_what_differs_comes_first(pair: tuple[Run, Run]) -> None:
    """Point 20: metrics that are the same stood among those that differ."""
    a, b = pair
    found = differences(a, b)
    rows = metric_rows(found)
    assert [row.sure for row in rows] == sorted((row.sure for row in rows), reverse=True)
    rest = [row.a == row.b for row in rows if not row.sure]
    assert rest == sorted(rest)
    equal = sum(row.a == row.b for row in rows)
    assert 0 < equal < len(rows), "the popular list of both runs is the same"
    console = Console(width=160)
    with console.capture() as capture:
        console.print(compare(a.folder, b.folder))
    shown = capture.get()
    assert f"{equal} metrics are the same in both" in shown
    assert "top_popular" not in shown
    with console.capture() as capture:
        console.print(compare(a.folder, a.folder))
    assert f"{len(rows)} metrics are the same in both" in capture.get()
