"""Columns that are guessed by their names and by what they hold, and the command that `check` prints."""

import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.e2e.command import tonearm

from tonearm.loading.check import check
from tonearm.loading.columns import EVENTS, ITEMS
from tonearm.loading.guess import guess

Save = Callable[..., str]
TIMES = [datetime(2021, 1, 1), datetime(2021, 1, 2), datetime(2021, 1, 3)]
SECONDS = [1_600_000_000, 1_600_000_060, 1_600_000_120]

LOGS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "names of MovieLens": (
        {"userId": [1, 1, 2], "movieId": [5, 6, 5], "rating": [4.0, 3.5, 5.0], "timestamp": SECONDS},
        {"user_id": "userId", "item_id": "movieId"},
    ),
    "names of a shop": (
        {"InvoiceNo": ["a", "b", "c"], "StockCode": ["x", "y", "x"], "Quantity": [6, 1, 2], "InvoiceDate": TIMES}
        | {"Customer ID": [7, 8, 7]},
        {"user_id": "Customer ID", "item_id": "StockCode", "started_at": "InvoiceDate", "weight": "Quantity"},
    ),
    "a name that holds something else": (
        {"uid": [1, 2, 3], "track": [5, 6, 5], "time": ["3:05", "2:10", "4:00"], "ts": ["2021-01-01T10:00:00Z"] * 3},
        {"user_id": "uid", "item_id": "track", "started_at": "ts"},
    ),
    "names that tell nothing": (
        {"a": ["u1", "u2", "u2"], "b": [1, 2, 1], "c": SECONDS},
        {"user_id": "a", "item_id": "b", "started_at": "c"},
    ),
    "nothing to guess": ({"user_id": [1, 2], "item_id": [3, 4], "started_at": TIMES[:2]}, {}),
}


@pytest.mark.parametrize("kind", LOGS)
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_log(save: Save, tmp_path: Path, kind: str, form: str) -> None:
    columns, expected = LOGS[kind]
    table = pl.DataFrame(columns)
    path = save(table) if form == "parquet" else str(tmp_path / "log.csv")
    if form == "csv":
        table.write_csv(path)
    assert guess(path, EVENTS, {}) == expected


def test_a_catalogue(save: Save) -> None:
    table = pl.DataFrame({"movieId": [5, 6], "title": ["Five", "Six"], "genres": ["a|b", "c"], "Author": ["x", "y"]})
    assert guess(save(table), ITEMS, {}) == {"item_id": "movieId", "name": "title", "artists": "Author"}


def test_names_that_the_caller_gave_are_left_alone(save: Save) -> None:
    path = save(pl.DataFrame({"userId": [1, 2], "other": [1, 1], "movieId": [5, 6]}))
    assert guess(path, EVENTS, {"user": "other"}) == {"item_id": "movieId"}


def test_tables_that_need_two_names_for_one_column(save: Save) -> None:
    log = save(pl.DataFrame({"user_id": [1, 2], "song": [5, 6], "started_at": TIMES[:2]}))
    items = save(pl.DataFrame({"sku": [5, 6], "name": ["a", "b"]}), "items.parquet")
    assert check({"events": log}, items).columns is None


def test_the_command_that_is_printed_works(
    save: Save, small_events: pl.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    named = small_events.rename({"user_id": "Customer ID", "item_id": "sku", "started_at": "ts"})
    log = save(named, "my plays.parquet")
    refused = tonearm(capsys, "check", "--events", log, "--test-from", "2021-01-10")
    assert refused.code == 2
    assert "my plays.parquet: no column user_id" in refused.out
    *_, printed = refused.out.split("tonearm run ")
    flags = shlex.split(printed)
    assert flags[-4:] == ["--columns", "user=Customer ID,item=sku,time=ts", "--out", "run"]
    accepted = tonearm(capsys, "check", *flags[:-2])
    assert accepted.code == 0, accepted.out
