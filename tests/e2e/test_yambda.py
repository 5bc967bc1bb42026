"""Yambda's format through `prepare`, `run --preset yambda` and `evaluate --rules yambda`, against the definitions."""

import json
from collections import Counter
from math import log2
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.e2e.command import tonearm
from tests.quick import QUICK

TRAIN_END, TEST_START, END = 25_911_800, 25_913_600, 26_000_000
USERS, ITEMS, KS = 45, 70, (10, 20)
KINDS = {"uid": pl.UInt32, "timestamp": pl.UInt32, "item_id": pl.UInt32, "is_organic": pl.UInt8}
Listen = tuple[int, int, int]


@pytest.fixture
def listens(tmp_path: Path) -> pl.DataFrame:
    """A file of the flat format: repeats in one second, plays in the gap and on its edges, ratios about the rule.

    Listener 44 and track 69 come on the last day; listener 43 has heard nothing to the half before it.
    """
    rng = np.random.default_rng(7)
    n = 4_000
    user = rng.integers(0, USERS - 1, n)
    item = ((rng.beta(1, 3, n) * (ITEMS - 1)).astype(int) + user // 9) % (ITEMS - 1)
    time = rng.integers(0, END, n)
    time[:900] = rng.integers(TRAIN_END - 5_000, END, 900)
    time[:40] = np.repeat([TRAIN_END - 1, TRAIN_END, TEST_START - 1, TEST_START], 10)
    ratio = rng.choice([0, 30, 49, 50, 51, 100, 180], n)
    ratio[(user == 43) & (time < TRAIN_END)] = 49
    user[900:930], time[900:930] = 44, rng.integers(TEST_START, END, 30)
    item[930:960], time[930:960] = 69, rng.integers(TEST_START, END, 30)
    table = pl.DataFrame(
        {
            "uid": user,
            "timestamp": time,
            "item_id": item,
            "is_organic": rng.integers(0, 2, n),
            "played_ratio_pct": ratio,
            "track_length_seconds": rng.integers(60, 400, n),
        },
        schema_overrides=KINDS | {"played_ratio_pct": pl.UInt16, "track_length_seconds": pl.UInt32},
    )
    table = pl.concat([table, table.sample(200, seed=1)]).sort("uid", "timestamp")
    (tmp_path / "flat").mkdir()
    table.write_parquet(tmp_path / "flat" / "listens.parquet")
    for label, per in (("artist", 3), ("album", 2)):
        mapping = pl.DataFrame({f"{label}_id": np.arange(ITEMS) // per, "item_id": np.arange(ITEMS)})
        mapping.write_parquet(tmp_path / "flat" / f"{label}_item_mapping.parquet")
    return table


def listened(table: pl.DataFrame) -> tuple[list[Listen], list[Listen]]:
    """Train and test by the published rule: half of the track or more, and half an hour between the two."""
    rows = [row[:3] for row in table.select("uid", "item_id", "timestamp", "played_ratio_pct").rows() if row[3] >= 50]
    return [row for row in rows if row[2] < TRAIN_END], [row for row in rows if row[2] >= TEST_START]


def by_definition(lists: dict[int, list[int]], train: list[Listen], test: list[Listen], k: int) -> dict[str, float]:
    """Every metric as the paper has it: NDCG is the mean gain by the mean of the best gain; targets are all events."""
    known = {user for user, _, _ in train}
    targets: dict[int, list[int]] = {}
    for user, item, _ in test:
        if user in known:
            targets.setdefault(user, []).append(item)
    gains, best, recall, precision = [], [], [], []
    for user, wanted in targets.items():
        hit = [item in wanted for item in lists[user][:k]]
        gains.append(sum(1 / log2(r + 2) for r, one in enumerate(hit) if one))
        best.append(sum(1 / log2(r + 2) for r in range(min(k, len(wanted)))))
        recall.append(sum(hit) / len(wanted))
        precision.append(sum(hit) / k)
    shown = {item for items in lists.values() for item in items[:k]}
    return {
        f"ndcg@{k}": float(np.mean(gains) / np.mean(best)),
        f"recall@{k}": float(np.mean(recall)),
        f"precision@{k}": float(np.mean(precision)),
        f"coverage@{k}": len(shown) / len({item for _, item, _ in train}),
    }


def test_split_rule_and_metrics_are_those_of_the_paper(
    listens: pl.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, run = tmp_path / "log", tmp_path / "run"
    assert tonearm(capsys, "prepare", "yambda", tmp_path / "flat", "--out", log).code == 0
    train, test = listened(listens)
    seconds = pl.col("started_at").dt.epoch("s")
    for name, rows in (("train", train), ("test", test)):
        written = pl.read_parquet(log / f"{name}.parquet").select("user_id", "item_id", seconds).rows()
        assert Counter(written) == Counter(rows)
    assert max(Counter(train).values()) > 1  # the same track twice in one second counts twice
    given = ("--train", log / "train.parquet", "--test", log / "test.parquet", "--items", log / "items.parquet")
    quick = [part for one in QUICK if "ks=" not in one for part in ("--set", one)]
    done = tonearm(capsys, "run", *given, "--preset", "yambda", *quick, "--set", "evaluation.ks=[10, 20]", "--out", run)
    assert done.code == 0, done.err
    found = json.loads((run / "manifest.json").read_text())["found"]
    assert found["train"]["events"] == len(train)
    lists: dict[int, list[int]] = {}
    for user, item in pl.read_parquet(run / "recommendations.parquet").sort("rank")["user_id", "item_id"].rows():
        lists.setdefault(user, []).append(item)
    heard = {(user, item) for user, item, _ in train}
    assert any((user, item) in heard for user, items in lists.items() for item in items)  # heard tracks may be listed
    expected: dict[str, float] = {}
    for k in KS:
        expected |= by_definition(lists, train, test, k)
    words = ("evaluate", "--lists", run / "recommendations.parquet", "--truth", log / "test.parquet")
    more = (
        "--train",
        log / "train.parquet",
        "--rules",
        "yambda",
        "--k",
        "10",
        "--k",
        "20",
        "--out",
        tmp_path / "m.json",
    )
    assert tonearm(capsys, *words, *more).code == 0
    said = json.loads((tmp_path / "m.json").read_text())
    assert said["metrics"].keys() == expected.keys()
    for name, value in expected.items():
        assert abs(said["metrics"][name] - value) < 1e-9, name
    published = json.loads((run / "metrics.json").read_text())["published"]
    assert published == said
    warm = {user for user, _, _ in train}
    assert said["users"] == len({user for user, _, _ in test if user in warm}) < USERS - 1
