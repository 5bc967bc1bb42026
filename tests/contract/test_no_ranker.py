"""A log that no ranker can be learnt from still gives every list, and says in each place why there is none."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.contract.test_restored import check_same_lists
from tests.quick import run_inputs

import tonearm
from tonearm.pipeline import Inputs
from tonearm.runs.read import Run
from tonearm.runs.restore import restore

START = datetime(2022, 1, 1)
ALIKE = "lists are in the order of the sources' scores, each counting the same"
NO_WINDOW = "train cannot be cut into a history and a label window"
NOBODY = "no user played a candidate in the label window"

Pairs = list[tuple[int, int]]
ONE_EACH: Pairs = [(user, user % 5) for user in range(30)]
OWN_ITEMS: Pairs = [(user, 10 * user + n) for user in range(6) for n in range(8)]
SOME: Pairs = [(user, (user * user + n) % 9) for user in range(12) for n in range(4)]
LATER: Pairs = [(1, 2), (2, 1)]

CASES: dict[str, tuple[Pairs, str]] = {
    "two users, one event each": ([(1, 1), (2, 2)], NOBODY),
    "users of one item each": (ONE_EACH, NOBODY),
    "items of one user": (OWN_ITEMS, NOBODY),
}


def logged(pairs: Pairs, folder: Path, one_moment: bool) -> Inputs:
    """A log cut by time: an event a day, or all of them at once."""
    days = [0 if one_moment else day for day in range(len(pairs))] + [400] * len(LATER)
    rows = [(user, item, START + timedelta(days=day)) for (user, item), day in zip(pairs + LATER, days, strict=True)]
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "started_at"], orient="row")
    table.write_parquet(folder / "events.parquet")
    return Inputs(events=str(folder / "events.parquet"), test_from="2022-12-16")


def untimed(pairs: Pairs, folder: Path) -> Inputs:
    for name, rows in (("train", pairs), ("test", LATER)):
        pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").write_parquet(folder / f"{name}.parquet")
    return Inputs(train=str(folder / "train.parquet"), test=str(folder / "test.parquet"))


def check_says_why(out: Path, reason: str) -> None:
    """Every user has a list; manifest, notes and report say why it is as it is; the run is restored and explained."""
    said = f"no ranker was learnt, as {reason}: {ALIKE}"
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["ranker"]["fallback"], manifest["ranker"]["importances"]) == (said, {})
    assert said in json.loads((out / "metrics.json").read_text())["notes"]
    page = (out / "report.html").read_text()
    assert f"No ranker was learnt, as {reason}" in page
    assert not (out / "models" / "cb_model.cbm").exists()
    final = pl.read_parquet(out / "recommendations.parquet")
    train = Run.open(out).manifest["users"]
    assert final["user_id"].n_unique() == train
    restored = restore(out)
    check_same_lists(restored)
    first = final.row(0, named=True)
    e = tonearm.explain(first["user_id"], first["item_id"], restored)
    assert e.rank == 1
    assert e.ranking is not None
    assert (e.ranking.share, e.ranking.trees, {feature.shap for feature in e.ranking.features}) == (0, 0, {0})


@pytest.mark.parametrize("name", CASES)
def test_nobody_whose_later_plays_were_candidates(name: str, tmp_path: Path) -> None:
    """Point 12: "the ranker needs two users or more", and options that did not help."""
    pairs, reason = CASES[name]
    run_inputs(logged(pairs, tmp_path, one_moment=False), tmp_path / "run", report=True)
    check_says_why(tmp_path / "run", reason)


@pytest.mark.parametrize("pairs", [[(1, 1), (2, 2)], SOME], ids=["two items", "many"])
def test_all_events_at_one_moment(pairs: Pairs, tmp_path: Path) -> None:
    """Point 12: "the inner split leaves the history empty", and options that did not help."""
    run_inputs(logged(pairs, tmp_path, one_moment=True), tmp_path / "run", report=True)
    check_says_why(tmp_path / "run", NO_WINDOW)


@pytest.mark.parametrize(("pairs", "reason"), [(ONE_EACH, NO_WINDOW), (OWN_ITEMS, NOBODY)], ids=["one each", "own"])
def test_without_time(pairs: Pairs, reason: str, tmp_path: Path) -> None:
    """Point 12: "the inner split leaves the label set empty"."""
    inputs = untimed([*pairs, (1, 1), (2, 2)] if reason == NOBODY else pairs, tmp_path)
    run_inputs(inputs, tmp_path / "run", report=True)
    check_says_why(tmp_path / "run", reason)


def test_a_small_log_without_time_uses_the_folds_that_have_labels(tmp_path: Path) -> None:
    """Point 12: five users of three items cannot fill ten folds, and the run failed for the empty ones."""
    run_inputs(untimed([(user, (user + n) % 7) for user in range(5) for n in range(3)], tmp_path), tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert "fallback" not in manifest["ranker"]
    assert manifest["ranker"]["users"] >= 2
