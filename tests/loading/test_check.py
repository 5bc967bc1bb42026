"""Every kind of bad input: one clear message that says what, where, how many and what to do; and what `check` shows."""

import json
from collections.abc import Callable
from datetime import date, datetime
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from tonearm.config import Config
from tonearm.errors import DataError
from tonearm.loading.check import Checked, check, render
from tonearm.loading.count import DataOptions
from tonearm.loading.load import load_events, load_ready_made

Save = Callable[..., str]
CUT = datetime(2021, 1, 10)
TODAY = datetime(2021, 2, 1)
TIME = pl.col("started_at")

BAD_EVENTS: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "no user column": (
        lambda t: t.rename({"user_id": "user"}),
        r"no column user_id\. It has user, item_id, started_at\. Rename",
    ),
    "no item column": (lambda t: t.drop("item_id"), r"no column item_id \(or track_id\)\."),
    "no time column": (lambda t: t.drop("started_at"), r"no column started_at \(or timestamp or datetime\)\."),
    "two time columns": (
        lambda t: t.select("user_id", "item_id", timestamp=TIME, datetime=TIME),
        r"timestamp and datetime could both be started_at\. Rename",
    ),
    "user of floats": (
        lambda t: t.with_columns(pl.col("user_id").cast(pl.Float64)),
        r"user_id is of type Float64, and user_id must be an integer",
    ),
    "no time as text": (
        lambda t: t.with_columns(TIME.dt.strftime("%d.%m.%Y")),
        r"12 of 12 rows have a started_at that is not a date such as 2022-12-16 \(first: row 1, '03\.01\.2021'\)",
    ),
    "time as truth": (
        lambda t: t.with_columns(started_at=pl.lit(True)),
        r"started_at is of type Boolean, and started_at must be a date, a datetime, or a number since 1970\. Cast",
    ),
    "no weight as text": (
        lambda t: t.with_columns(weight=pl.lit("much")),
        r"12 of 12 rows have a weight that is not a number \(first: row 1, 'much'\)",
    ),
    "null user": (
        lambda t: t.with_columns(user_id=pl.when(pl.int_range(12).is_in([4, 7])).then(None).otherwise("user_id")),
        r'2 of 12 rows have no user_id \(first: row 5\)\. Drop them, or set data\.on_null = "drop"',
    ),
    "null time under an alias": (
        lambda t: t.with_columns(started_at=pl.when(pl.int_range(12) == 11).then(None).otherwise(TIME)).rename(
            {"started_at": "timestamp"}
        ),
        r"1 of 12 rows have no timestamp \(first: row 12\)",
    ),
    "no rows": (lambda t: t.clear(), r"the table has no rows"),
    "all after the cut": (
        lambda t: t.filter(TIME >= CUT),
        r"all 5 events are at or after 2021-01-10; they span 2021-01-10 to 2021-01-13\. Choose",
    ),
    "all before the cut": (
        lambda t: t.filter(TIME < CUT),
        r"all 7 events are before 2021-01-10; they span 2021-01-01 to 2021-01-06\. Choose",
    ),
    "one user": (
        lambda t: t.with_columns(user_id=pl.lit(10)),
        r"train holds one user only \(10, 7 events\).*several users, or choose a later test_from",
    ),
    "one item": (lambda t: t.with_columns(item_id=pl.lit(5)), r"train holds one item only \(5, 7 events\)"),
    "no user in both": (
        lambda t: t.filter((TIME < CUT) | (pl.col("user_id") == 40)),
        r"none of the 1 users of test is in train",
    ),
    "no item in both": (
        lambda t: t.with_columns(item_id=pl.when(TIME >= CUT).then(77).otherwise("item_id")),
        r"none of the 1 items of test is in train",
    ),
    "before 1932": (
        lambda t: t.with_columns(started_at=pl.when(pl.int_range(12) < 3).then(datetime(1900, 1, 1)).otherwise(TIME)),
        r"3 of 12 rows have a started_at outside of 1932 to 2068 \(first: row 1\)",
    ),
    "weight NaN and negative": (
        lambda t: t.with_columns(weight=pl.Series([1.0] * 8 + [float("nan"), -1.0, 0.0, float("inf")])),
        r"4 of 12 rows have a weight that is not a finite number above 0 and at most 1e12 \(first: row 9\)",
    ),
    "unsigned ids beyond int64": (
        lambda t: t.with_columns(user_id=pl.col("user_id").cast(pl.UInt64) + 2**63),
        r"user_id goes up to 9223372036854775848, above 2\^63 - 1",
    ),
}

BAD_ITEMS: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "no item column": (lambda t: t.rename({"item_id": "id"}), r"no column item_id \(or track_id\)\. It has id, name"),
    "repeated id": (
        lambda t: t.with_columns(item_id=pl.Series([9, 5, 9, 9])),
        r"2 of 4 rows repeat an item_id \(first: row 3\)\. Keep one row",
    ),
    "null id": (
        lambda t: t.with_columns(item_id=pl.Series([9, None, 5, None])),
        r'2 of 4 rows have no item_id \(first: row 2\)\. Drop them, or set data\.on_null = "drop"',
    ),
    "ids of text": (
        lambda t: t.with_columns(pl.col("item_id").cast(pl.String)),
        r"item_id is of type String, but Int64 in the log",
    ),
    "genres as a number": (
        lambda t: t.with_columns(genres=pl.lit(3)),
        r"genres is of type Int32, and must be a list of strings, or a string of several",
    ),
    "name of numbers": (lambda t: t.with_columns(name=pl.lit(3)), r"name is of type Int32, and must be a string"),
}


@pytest.mark.parametrize("kind", BAD_EVENTS)
def test_bad_events(save: Save, small_events: pl.DataFrame, kind: str) -> None:
    change, message = BAD_EVENTS[kind]
    path = save(change(small_events), "plays.parquet")
    with pytest.raises(DataError, match=message) as caught:
        load_events(path, None, CUT, today=TODAY)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", BAD_ITEMS)
def test_bad_items(save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame, kind: str) -> None:
    change, message = BAD_ITEMS[kind]
    path = save(change(small_items), "tracks.parquet")
    with pytest.raises(DataError, match=message) as caught:
        load_events(save(small_events), path, CUT, today=TODAY)
    assert str(caught.value).startswith(f"{path}: ")


def test_item_ids_too_wide_for_the_log(save: Save, small_events: pl.DataFrame) -> None:
    narrow = small_events.with_columns(pl.col("item_id").cast(pl.Int8))
    with pytest.raises(DataError, match=r"1 of 2 item_id do not fit into Int8, their type in the log \(first: 300\)"):
        load_events(save(narrow), save(pl.DataFrame({"item_id": [5, 300]}), "items.parquet"), CUT, today=TODAY)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"user_id,item_id\n1,2\n3,4\n", "not a parquet file"),
        (b"PAR1 and then nothing that ends well", "cut off before its end"),
        (b"PAR1 rubbish between two marks of parquet PAR1", "cannot be read"),
    ],
)
def test_files_that_are_no_parquet(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "plays.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_events(str(path), None, CUT, today=TODAY)


def test_places_with_nothing_in_them(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for address, message in (
        (f"{tmp_path}/nowhere.parquet", "no such file or folder"),
        (f"{tmp_path}/empty", r"the folder holds no \.parquet, \.csv, .*\.ipc file"),
        (f"{tmp_path}/*.parquet", "no file matches"),
        ("ftp://bucket/plays.parquet", "only local paths and s3://, gs://, az://, https:// addresses"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            load_events(address, None, CUT, today=TODAY)
        assert str(caught.value).startswith(f"{address}: ")


def test_no_permission(save: Save, small_events: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(small_events)

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    # The mode of a file does not stop root, whom tests may run as.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="no permission to read it"):
        load_events(path, None, CUT, today=TODAY)


def test_files_of_a_folder_that_do_not_fit(save: Save, tmp_path: Path, small_events: pl.DataFrame) -> None:
    save(small_events, "log/a.parquet")
    save(small_events.drop("item_id"), "log/b.parquet")
    with pytest.raises(DataError, match=r"log: 12 of 24 rows have no item_id \(first: row 1 of b\.parquet\)"):
        load_events(f"{tmp_path}/log", None, CUT, today=TODAY)


def test_the_first_bad_row_of_a_folder(save: Save, tmp_path: Path, small_events: pl.DataFrame) -> None:
    save(small_events, "log/a.parquet")
    save(small_events.with_columns(item_id=pl.when(pl.int_range(12) > 8).then("item_id")), "log/b.parquet")
    with pytest.raises(DataError, match=r"9 of 24 rows have no item_id \(first: row 1 of b.parquet\)"):
        load_events(f"{tmp_path}/log", None, CUT, today=TODAY)


def test_ready_made_sets_of_different_ids(save: Save) -> None:
    train = save(pl.DataFrame({"user_id": [1, 2], "item_id": [3, 4]}), "train.parquet")
    test = save(pl.DataFrame({"user_id": ["1", "2"], "item_id": [3, 4]}), "test.parquet")
    with pytest.raises(DataError, match=r"user_id is Int64 in train and String in test.*Cast one"):
        load_ready_made(train, test, None)


class TestCheck:
    def test_all_errors_at_once(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        events = small_events.with_columns(
            user_id=pl.when(pl.int_range(12) == 0).then(None).otherwise("user_id"),
            started_at=pl.when(pl.int_range(12) == 1).then(date(1900, 1, 1)).otherwise(TIME),
            weight=pl.Series([0.0] + [1.0] * 11),
        )
        items = pl.concat([small_items, small_items])
        checked = check({"events": save(events)}, save(items, "items.parquet"), CUT, today=TODAY)
        assert [error.split(": ", 1)[1][:30] for error in checked.errors] == [
            "4 of 8 rows repeat an item_id ",
            "1 of 12 rows have no user_id (",
            "1 of 12 rows have a started_at",
            "1 of 12 rows have a weight tha",
        ]
        assert checked.found.logs["events"].rows == 12
        assert checked.found.train is None
        assert checked.found.logs["events"].duplicates is None

    def test_columns_and_files_at_once(self, save: Save) -> None:
        path = save(pl.DataFrame({"user_id": [1.5], "plays": [3]}))
        checked = check({"events": path}, "nowhere.parquet")
        assert len(checked.errors) == 3
        assert checked.found.logs == {}

    def test_warnings_are_no_errors(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        checked = check({"events": save(small_events)}, save(small_items, "items.parquet"), CUT, today=TODAY)
        assert checked.errors == []
        assert [w.split(": ", 1)[-1] for w in checked.warnings] == [
            "3 of 12 rows are of items that the catalogue lacks; they are kept (data.on_orphan).",
            "1 of 12 rows repeats another row's user, item, time and weight; it is left out (data.on_duplicate).",
            "has no albums; what needs them is switched off.",
            "2 test events are of 1 item that neither train nor the catalogue knows; nothing can recommend it.",
        ]

    def test_duplicates_as_errors(self, save: Save, small_events: pl.DataFrame) -> None:
        options = DataOptions(on_duplicate="error")
        checked = check({"events": save(small_events)}, None, CUT, Config(data=options), TODAY)
        assert len(checked.errors) == 1
        assert "1 row repeats another one's user, item" in checked.errors[0]

    def test_without_a_cut(self, save: Save, small_events: pl.DataFrame) -> None:
        checked = check({"events": save(small_events)}, None, today=TODAY)
        assert checked.errors == []
        assert checked.found.test is None
        assert checked.found.train is not None
        assert checked.found.train.events == 11

    def test_is_json(self, save: Save, small_events: pl.DataFrame) -> None:
        checked = check({"events": save(small_events)}, None, CUT, today=TODAY)
        assert json.loads(json.dumps(checked.as_dict()))["found"]["train"]["users"] == 3


def shown(checked: Checked) -> list[str]:
    out = StringIO()
    Console(width=200, file=out).print(render(checked))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_what_is_shown(save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
    events = save(small_events.rename({"item_id": "track_id"}))
    lines = shown(check({"events": events}, save(small_items, "items.parquet"), CUT, today=TODAY))
    for line in (
        "rows 12",
        "rows without track_id 0",
        "exact duplicates 1",
        "left out by data.on_duplicate 1",
        "columns read track_id as item_id",
        "items without name 1",
        "items without genres 1",
        "items without albums no such column",
        "train items that it lacks 1",
        "users with one event 1",
        "items with one event 2",
        "events a user, median 2.0",
        "warm users (in train) 2",
        "cold users 1",
        "0 errors, 4 warnings: the input can be used.",
    ):
        assert line in lines
    assert shown(check({"events": "nowhere.parquet"}, None)) == [
        "error nowhere.parquet: no such file or folder. Check the path.",
        "1 error, 0 warnings: the input cannot be used as it is.",
    ]
