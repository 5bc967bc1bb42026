"""Columns under other names, times and labels as people write them, and ids of any kind."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from tonearm.errors import ConfigError, DataError
from tonearm.loading.columns import parse_columns
from tonearm.loading.count import DataOptions
from tonearm.loading.inputs import Source, Table
from tonearm.loading.load import Loaded, load_events, load_ready_made

Save = Callable[..., str]
CUT = datetime(2021, 1, 10)
TODAY = datetime(2021, 2, 1)
TIME = pl.col("started_at")


def load(events: Source, items: Source | None = None, **options: Any) -> Loaded:
    return load_events(events, items, CUT, DataOptions(**options), TODAY)


def csv(table: pl.DataFrame, path: Path) -> str:
    table.write_csv(path)
    return str(path)


class TestNames:
    COLUMNS: ClassVar = {
        "user": "UserID",
        "item": "sku",
        "time": "ts",
        "weight": "n",
        "genres": "style",
        "name": "title",
    }

    def test_other_names(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        plain = load(save(small_events.with_columns(weight=pl.lit(2.0))), save(small_items, "items.parquet"))
        ours = {"user_id": "UserID", "item_id": "sku", "started_at": "ts", "weight": "n"}
        log = save(small_events.with_columns(weight=pl.lit(2.0)).rename(ours), "named.parquet")
        items = save(small_items.rename({"genres": "style", "name": "title", "item_id": "sku"}), "named-items.parquet")
        named = load(log, items, columns=self.COLUMNS)
        np.testing.assert_array_equal(named.train.log.item, plain.train.log.item)
        np.testing.assert_array_equal(named.train.log.weight, plain.train.log.weight)
        np.testing.assert_array_equal(named.train.log.time, plain.train.log.time)
        assert named.train.catalogue.genres is not None
        assert named.train.catalogue.genres.of(0) == ["rock", "pop"]
        assert named.train.catalogue.name is not None
        assert named.train.catalogue.name[0] == "five"
        assert named.found.logs["events"].columns == ours

    def test_a_table_without_the_name_is_read_by_the_usual_one(
        self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame
    ) -> None:
        log = save(small_events.rename({"item_id": "sku"}))
        loaded = load(log, save(small_items, "items.parquet"), columns={"item": "sku"})
        assert loaded.train.catalogue.items.ids.to_list() == [5, 7, 9, 11, 13]

    def test_the_named_one_wins(self, save: Save, small_events: pl.DataFrame) -> None:
        log = save(small_events.with_columns(sku=pl.col("item_id") + 100))
        assert load(log, columns={"item": "sku"}).train.catalogue.items.ids.to_list() == [105, 107, 109, 113]

    def test_a_name_that_no_table_has(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        with pytest.raises(
            DataError, match=r"columns: no table has 'itemid', which is to be item_id\. Did you mean 'item_id'\?"
        ):
            load(save(small_events), save(small_items, "items.parquet"), columns={"item": "itemid"})

    def test_messages_name_the_caller_s_column(self, save: Save, small_events: pl.DataFrame) -> None:
        log = save(small_events.with_columns(UserID=pl.lit(None, pl.Int64)).drop("user_id"))
        with pytest.raises(DataError, match=r"12 of 12 rows have no UserID \(first: row 1\)"):
            load(log, columns={"user": "UserID"})

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"usr": "x"}, "there is no column 'usr' to name. Did you mean 'user'"),
            ({"user": "x", "user_id": "y"}, "user_id is named twice, as 'x' and as 'y'"),
        ],
    )
    def test_names_that_are_not_ours(self, columns: dict[str, str], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            DataOptions(columns=columns)

    def test_as_a_flag(self) -> None:
        assert parse_columns("user=UserID, item=sku,time=played at") == {
            "user": "UserID",
            "item": "sku",
            "time": "played at",
        }
        for wrong in ("user", "user=", "=x", "user=a,,item=b"):
            with pytest.raises(ConfigError, match="write it as user=UserID,item=sku,time=ts"):
                parse_columns(wrong)


TIMES: dict[str, tuple[pl.Expr, str | None]] = {
    "seconds": (TIME.dt.epoch("s"), "seconds"),
    "milliseconds": (TIME.dt.epoch("ms") + 7, "milliseconds"),
    "microseconds": (TIME.dt.epoch("us") + 7, "microseconds"),
    "nanoseconds": (TIME.dt.epoch("ns") + 7, "nanoseconds"),
    "fractions of seconds": (TIME.dt.epoch("s") + 0.25, "seconds"),
    "ISO": (TIME.dt.strftime("%Y-%m-%dT%H:%M:%S"), None),
    "with a space": (TIME.dt.strftime("%Y-%m-%d %H:%M:%S"), None),
    "with a fraction": (TIME.dt.strftime("%Y-%m-%d %H:%M:%S.250"), None),
    "UTC": (TIME.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), None),
    "UTC in letters": (TIME.dt.strftime("%Y-%m-%d %H:%M:%S UTC"), None),
    "another zone": ((TIME + pl.duration(hours=3)).dt.strftime("%Y-%m-%dT%H:%M:%S.5+03:00"), None),
    "a zone without a colon": ((TIME - pl.duration(hours=5)).dt.strftime("%Y-%m-%d %H:%M:%S-0500"), None),
}


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("form", ["parquet", "csv", "memory"])
def test_times(save: Save, tmp_path: Path, small_events: pl.DataFrame, kind: str, form: str) -> None:
    expression, unit = TIMES[kind]
    table = small_events.with_columns(expression.alias("started_at"))
    source: Source = Table("plays", table.lazy())
    if form != "memory":
        source = save(table, "other.parquet") if form == "parquet" else csv(table, tmp_path / "other.csv")
    loaded, plain = load(source), load(save(small_events))
    np.testing.assert_array_equal(loaded.train.log.time, plain.train.log.time)
    np.testing.assert_array_equal(loaded.train.log.item, plain.train.log.item)
    assert loaded.found.logs["events"].unit == unit
    said = [note.split(": ")[-1] for note in loaded.found.notes if "since 1970" in note]
    assert said == ([f"started_at is read as {unit} since 1970, as its size tells."] if unit else [])


def test_dates_as_text_are_days(tmp_path: Path, small_events: pl.DataFrame) -> None:
    days = load(csv(small_events.with_columns(TIME.dt.date()), tmp_path / "days.csv"))
    assert days.found.logs["events"].days
    assert days.found.logs["events"].duplicates == 1


def test_an_odd_time_among_others(tmp_path: Path, small_events: pl.DataFrame) -> None:
    odd = pl.when(pl.int_range(12).is_in([3, 8])).then(pl.lit("soon")).otherwise(TIME.dt.strftime("%F %T"))
    with pytest.raises(
        DataError,
        match=r"plays\.csv: 2 of 12 rows have a started_at that is not a time such as 2022-12-16 09:30:00 "
        r"\(first: row 4, 'soon'\)\. Correct them, or leave these fields empty",
    ):
        load(csv(small_events.with_columns(odd.alias("started_at")), tmp_path / "plays.csv"))


def test_empty_fields_are_missing_values(tmp_path: Path, small_events: pl.DataFrame) -> None:
    gone = small_events.with_columns(TIME.dt.strftime("%F %T").replace("2021-01-06 00:00:00", None))
    path = csv(gone, tmp_path / "plays.csv")
    assert load(path, on_null="drop").found.logs["events"].nulls == {"started_at": 1}
    with pytest.raises(DataError, match=r"1 of 12 rows have no started_at \(first: row 3\)"):
        load(path)


LABELS: dict[str, tuple[list[str | None], list[list[str]]]] = {
    "bars": (["rock|pop", "jazz|r&b, soul", None], [["rock", "pop"], ["jazz", "r&b, soul"], []]),
    "commas": (["rock, pop", "jazz", ""], [["rock", "pop"], ["jazz"], []]),
    "semicolons": (["rock;pop", "a,b;c", "jazz"], [["rock", "pop"], ["a,b", "c"], ["jazz"]]),
    "colons": (["rock:pop", "jazz", None], [["rock", "pop"], ["jazz"], []]),
    "bars and commas": (["a|b,c", "d", None], [["a", "b,c"], ["d"], []]),
    "one each": (["rock", "jazz", None], [["rock"], ["jazz"], []]),
    "lists as Python prints them": (["['rock', 'pop']", '["jazz"]', "[]"], [["rock", "pop"], ["jazz"], []]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_in_one_string(save: Save, small_events: pl.DataFrame, kind: str) -> None:
    given, expected = LABELS[kind]
    items = save(pl.DataFrame({"item_id": [5, 7, 9], "genres": pl.Series(given, dtype=pl.String)}), "items.parquet")
    genres = load(save(small_events), items).train.catalogue.genres
    assert genres is not None
    assert [genres.of(i) for i in range(3)] == expected


def test_names_of_artists_keep_their_commas(save: Save, small_events: pl.DataFrame) -> None:
    artists = ["Earth, Wind & Fire", "Simon; Garfunkel", "AC/DC"]
    items = save(pl.DataFrame({"item_id": [5, 7, 9], "artists": artists}), "items.parquet")
    found = load(save(small_events), items).train.catalogue.artists
    assert found is not None
    assert [found.of(i) for i in range(3)] == [["Earth, Wind & Fire"], ["Simon", "Garfunkel"], ["AC/DC"]]


class TestIds:
    @pytest.mark.parametrize("odd", ["007", "+7", "x7", "9223372036854775808", "7.0"])
    def test_ids_of_text_come_back_as_they_were_written(
        self, tmp_path: Path, small_events: pl.DataFrame, odd: str
    ) -> None:
        """One id that is no integer, after the sample that is looked at first, makes all of them text."""
        many = pl.concat([small_events] * 900).with_columns(pl.col("user_id", "item_id").cast(pl.String))
        last = pl.DataFrame({"user_id": ["10"], "item_id": [odd], "started_at": [datetime(2021, 1, 3, 4)]})
        loaded = load(csv(pl.concat([many, last], how="vertical_relaxed"), tmp_path / "plays.csv"))
        assert loaded.train.users.ids.to_list() == [10, 20, 30]
        assert loaded.train.catalogue.items.ids.to_list() == sorted(["5", "7", "9", "13", odd])

    def test_a_json_string_stays_a_string(self, tmp_path: Path, small_events: pl.DataFrame) -> None:
        path = tmp_path / "plays.jsonl"
        small_events.with_columns(pl.col("user_id").cast(pl.String)).write_ndjson(path)
        train = load(str(path)).train
        assert train.users.ids.to_list() == ["10", "20", "30"]
        assert train.catalogue.items.ids.to_list() == [5, 7, 9, 13]

    @pytest.mark.parametrize("text", ["log", "items"])
    def test_text_takes_the_type_of_the_other_table(
        self, save: Save, tmp_path: Path, small_events: pl.DataFrame, small_items: pl.DataFrame, text: str
    ) -> None:
        """Ids that look like integers in a CSV are strings where the other table says so."""
        named, strings = pl.col("item_id"), pl.col("item_id").cast(pl.String)
        if text == "log":
            log = csv(small_events.with_columns(named), tmp_path / "log.csv")
            items = save(small_items.with_columns(strings), "items.parquet")
        else:
            log = save(small_events.with_columns(strings))
            items = csv(small_items.select(named, "name"), tmp_path / "items.csv")
        assert load(log, items).train.catalogue.items.ids.to_list() == ["11", "13", "5", "7", "9"]

    def test_train_of_text_and_test_of_strings(self, save: Save, tmp_path: Path, small_events: pl.DataFrame) -> None:
        strings = small_events[5:].with_columns(pl.col("user_id", "item_id").cast(pl.String))
        loaded = load_ready_made(csv(small_events[:7], tmp_path / "a.csv"), save(strings, "b.parquet"), None)
        assert loaded.train.users.ids.to_list() == ["10", "20", "30"]

    def test_uuids_as_bytes(self, save: Save, small_events: pl.DataFrame) -> None:
        ids = {n: uuid.uuid5(uuid.NAMESPACE_URL, str(n)) for n in (5, 7, 9, 13, 15)}
        as_bytes = pl.col("item_id").replace_strict({n: one.bytes for n, one in ids.items()}, return_dtype=pl.Binary)
        train = load(save(small_events.with_columns(as_bytes))).train
        assert train.catalogue.items.ids.to_list() == sorted(str(ids[n]) for n in (5, 7, 9, 13))

    def test_other_bytes(self, save: Save, small_events: pl.DataFrame) -> None:
        def ids(of: dict[int, bytes]) -> list[Any]:
            changed = pl.col("item_id").replace_strict(of, return_dtype=pl.Binary)
            return load(save(small_events.with_columns(changed))).train.catalogue.items.ids.to_list()

        assert ids({n: f"id {n}".encode() for n in (5, 7, 9, 13, 15)}) == ["id 13", "id 5", "id 7", "id 9"]
        assert ids({n: bytes([255, n]) for n in (5, 7, 9, 13, 15)}) == ["ff05", "ff07", "ff09", "ff0d"]


def test_a_cut_in_another_zone(tmp_path: Path, small_events: pl.DataFrame) -> None:
    """Times with an offset are UTC, and so is the cut."""
    moved = (TIME + pl.duration(hours=3)).dt.strftime("%Y-%m-%dT%H:%M:%S+03:00")
    path = csv(small_events.with_columns(moved.alias("started_at")), tmp_path / "plays.csv")
    utc = load_events(path, None, CUT.replace(tzinfo=UTC), today=TODAY)
    assert utc.train.log.n_events == 6
