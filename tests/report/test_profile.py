"""What the profile says of a log, against figures worked out by hand."""

import json
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tonearm.data.times import to_moment, to_seconds
from tonearm.data.truth import truth
from tonearm.kernels.profile import count_by_time
from tonearm.loading.load import load_events, load_ready_made
from tonearm.report import charts
from tonearm.report.profile import histogram, popularity_profile, profile, time_edges, time_profile

CUT = datetime(2022, 9, 1)


@pytest.fixture
def files(tmp_path: Path, small_log: pl.DataFrame, small_catalogue: pl.DataFrame) -> tuple[str, str]:
    small_log.write_parquet(tmp_path / "events.parquet")
    small_catalogue.write_parquet(tmp_path / "items.parquet")
    return str(tmp_path / "events.parquet"), str(tmp_path / "items.parquet")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 99), max_size=6), min_size=1, max_size=70))
def test_events_and_users_by_time_agree_with_a_plain_count(times: list[list[int]]) -> None:
    edges = [0, 7, 8, 50, 100]
    stop = np.cumsum([len(row) for row in times])
    flat = np.array([t for row in times for t in sorted(row)], np.int32)
    events, users = count_by_time(stop - [len(row) for row in times], stop, flat, np.array(edges))
    spans = list(pairwise(edges))
    assert events.tolist() == [sum(lo <= t < hi for row in times for t in row) for lo, hi in spans]
    assert users.tolist() == [sum(any(lo <= t < hi for t in row) for row in times) for lo, hi in spans]


def test_point_6_users_of_ready_made_sets_are_counted_once(tmp_path: Path) -> None:
    """Point 6: train and test may share every month where the split was ready-made."""
    rng = np.random.default_rng(4)
    sides = []
    for name, n in (("train", 300), ("test", 120)):
        rows = {
            "user_id": rng.integers(0, 25 if name == "train" else 40, n),
            "item_id": rng.integers(0, 9, n),
            "started_at": [datetime(2022, 1 + int(m), 3) for m in rng.integers(0, 8, n)],
        }
        sides.append(pl.DataFrame(rows))
        sides[-1].write_parquet(tmp_path / f"{name}.parquet")
    loaded = load_ready_made(str(tmp_path / "train.parquet"), str(tmp_path / "test.parquet"), None)
    assert loaded.test is not None
    found = time_profile(loaded.train.log, loaded.test.log, loaded.test.cold)
    assert found is not None
    months = [side.with_columns(month=pl.col("started_at").dt.truncate("1mo")) for side in sides]
    assert len(found["rows"]) == 8
    for row in found["rows"]:
        own = [set(side.filter(pl.col("month") == datetime.fromisoformat(row["start"]))["user_id"]) for side in months]
        assert row["both_users"] == len(own[0] & own[1]) > 0
        assert row["train_users"] + row["test_users"] - row["both_users"] == len(own[0] | own[1])


def test_histogram_bins_go_one_two_five() -> None:
    bins = histogram(np.array([1, 1, 3, 4, 9, 10, 31]), "users")
    assert bins == [
        {"from": 1, "to": 1, "users": 2},
        {"from": 2, "to": 4, "users": 2},
        {"from": 5, "to": 9, "users": 1},
        {"from": 10, "to": 19, "users": 1},
        {"from": 20, "to": 31, "users": 1},
    ]
    assert histogram(np.array([0, 0]), "users") == [{"from": 0, "to": 0, "users": 2}]
    assert histogram(np.array([], np.int64), "users") == []


def test_popularity_counts_only_played_items() -> None:
    plays = np.array([0, 5, 90, 5] + [0] * 6 + [1] * 7)
    found = popularity_profile(plays)
    assert (found["items"], found["plays"]) == (10, 107)
    assert [point["plays"] for point in found["curve"]] == [90, 5, 5, 1, 1, 1, 1, 1, 1, 1]
    assert found["top"][0] == {"share_of_items": 0.1, "items": 1, "share_of_plays": 90 / 107}
    assert popularity_profile(np.zeros(3, np.int64))["curve"] == []


@pytest.mark.parametrize(
    ("first", "last", "unit", "edges"),
    [
        ((2022, 3, 30), (2022, 4, 2), "day", ["2022-03-30", "2022-03-31", "2022-04-01", "2022-04-02", "2022-04-03"]),
        (
            (2022, 2, 24),
            (2022, 3, 21),
            "week",
            ["2022-02-21", "2022-02-28", "2022-03-07", "2022-03-14", "2022-03-21", "2022-03-28"],
        ),
        (
            (2021, 11, 30),
            (2022, 4, 1),
            "month",
            ["2021-11-01", "2021-12-01", "2022-01-01", "2022-02-01", "2022-03-01", "2022-04-01", "2022-05-01"],
        ),
    ],
)
def test_the_unit_of_time_suits_the_span(
    first: tuple[int, int, int], last: tuple[int, int, int], unit: str, edges: list[str]
) -> None:
    found, bounds = time_edges(to_seconds(datetime(*first, 5)), to_seconds(datetime(*last)))
    assert found == unit
    assert [to_moment(edge).date().isoformat() for edge in bounds.tolist()] == edges


def test_a_long_span_goes_by_year() -> None:
    unit, bounds = time_edges(to_seconds(datetime(1970, 1, 1)), to_seconds(datetime(2022, 12, 31)))
    assert (unit, len(bounds)) == ("year", 54)


def test_months_add_up_to_the_log(files: tuple[str, str], small_log: pl.DataFrame) -> None:
    loaded = load_events(*files, CUT)
    assert loaded.test is not None
    found = time_profile(loaded.train.log, loaded.test.log, loaded.test.cold)
    assert found is not None
    months = small_log.with_columns(month=pl.col("started_at").dt.truncate("1mo"), test=pl.col("started_at") >= CUT)
    for row in found["rows"]:
        for side in (False, True):
            part = months.filter((pl.col("month") == datetime.fromisoformat(row["start"])) & (pl.col("test") == side))
            name = "test" if side else "train"
            assert row[f"{name}_users"] == part["user_id"].n_unique(), row
            assert row[f"{name}_events"] == len(part), row
        everybody = months.filter(pl.col("month") == datetime.fromisoformat(row["start"]))["user_id"].n_unique()
        assert row["train_users"] + row["test_users"] - row["both_users"] == everybody, "each user once"
    assert sum(row["test_users"] for row in found["rows"]) > 9, "cold users count too"


def test_point_6_users_of_a_month_are_counted_once(small_log: pl.DataFrame, tmp_path: Path) -> None:
    """Point 6: users in train and in test of one month stood twice in its bar."""
    small_log.write_parquet(tmp_path / "events.parquet")
    cut = datetime(2022, 8, 22)
    loaded = load_events(str(tmp_path / "events.parquet"), None, cut)
    assert loaded.test is not None
    found = time_profile(loaded.train.log, loaded.test.log, loaded.test.cold)
    assert found is not None
    row = next(row for row in found["rows"] if row["start"] == "2022-08-01")
    month = small_log.filter(pl.col("started_at").dt.truncate("1mo") == datetime(2022, 8, 1))
    assert row["both_users"] > 0
    spec = charts.volume([row], "users", "month")
    drawn = next(iter(spec["datasets"].values()))
    assert max(bar["high"] for bar in drawn) == month["user_id"].n_unique()
    assert {bar["part"]: bar["high"] - bar["low"] for bar in drawn}["train and test"] == row["both_users"]


def test_examples_are_evaluated_users_of_each_level_and_deterministic(files: tuple[str, str]) -> None:
    loaded = load_events(*files, CUT)
    assert loaded.test is not None
    answers = truth(loaded.train.log, loaded.test.log)
    found = profile(loaded.train, loaded.test, answers, 3)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert profile(loaded.train, loaded.test, answers, 3) == found
    users = found["examples"]["users"]
    assert {user["level"] for user in users} <= {"light", "medium", "heavy"}
    evaluated = loaded.train.users.decode(answers.users).to_list()
    for user in users:
        assert user["user_id"] in evaluated
        row = evaluated.index(user["user_id"])
        wanted = answers.item[answers.indptr[row] : answers.indptr[row + 1]]
        counted = [entry["item_id"] for entry in user["test"] if entry["in_truth"]]
        assert sorted(counted) == loaded.train.catalogue.items.decode(wanted).to_list()
        assert user["truth_items"] == len(counted) <= user["test_items"] == len(user["test"])
        assert all((entry["reason"] == "counts") == entry["in_truth"] for entry in user["test"])
        when = [entry["last"] for entry in user["history"]]
        assert when == sorted(when, reverse=True)
        assert not {entry["item_id"] for entry in user["history"]} & {entry["item_id"] for entry in user["popular"]}


def test_items_stand_for_their_bands_with_names_and_places(files: tuple[str, str], small_log: pl.DataFrame) -> None:
    loaded = load_events(*files, CUT)
    assert loaded.test is not None
    found = profile(loaded.train, loaded.test, truth(loaded.train.log, loaded.test.log), 3)
    items = found["examples"]["items"]
    assert [item["band"] for item in items] == ["head", "torso", "tail"]
    counts = dict(small_log.filter(pl.col("started_at") < CUT)["item_id"].value_counts().iter_rows())
    for item in items:
        assert item["plays"] == counts[item["item_id"]]
        assert item["artists"] == [f"Band {(item['item_id'] - 500) // 3}"]
    assert items[0]["popularity_rank"] < items[1]["popularity_rank"] < items[2]["popularity_rank"]
    assert found["genres"]["rows"][0]["genre"] == "pop"
    assert found["genres"]["items_with_genre"] == 9


def test_what_is_missing_is_null(tmp_path: Path, small_log: pl.DataFrame) -> None:
    before = pl.col("started_at") < CUT
    for name, part in (("train", before), ("test", ~before)):
        small_log.filter(part).drop("started_at").write_parquet(tmp_path / f"{name}.parquet")
    loaded = load_ready_made(str(tmp_path / "train.parquet"), str(tmp_path / "test.parquet"), None)
    assert loaded.test is not None
    found = profile(loaded.train, loaded.test, truth(loaded.train.log, loaded.test.log), 0)
    assert found["time"] is None
    assert found["genres"] is None
    user = found["examples"]["users"][0]
    assert user["history"][0]["last"] is None
    assert user["history"][0]["name"] is None
    plays = [entry["plays"] for entry in user["history"]]
    assert plays == sorted(plays, reverse=True)
