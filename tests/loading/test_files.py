"""A table of several files: which files count, how they go together, and addresses that lead to none."""

import os
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tonearm.errors import DataError
from tonearm.loading.count import DataOptions
from tonearm.loading.events import open_events
from tonearm.loading.inputs import open_input
from tonearm.loading.load import Loaded, load_all, load_events
from tonearm.pipeline import Inputs

Save = Callable[..., str]
CUT = datetime(2021, 1, 10)
TODAY = datetime(2021, 2, 1)


def load(address: str | Path, items: str | None = None, **options: Any) -> Loaded:
    return load_events(str(address), items, CUT, DataOptions(**options), TODAY)


class TestColumnsOfSomeFiles:
    """Point 8-2: a column that only some of the files have is neither ignored nor refused without the file's name."""

    @pytest.mark.parametrize("weighted", ["a", "b"])
    def test_weights_of_one_file_only(
        self, save: Save, tmp_path: Path, small_events: pl.DataFrame, weighted: str
    ) -> None:
        for name, rows in (("a", small_events[:5]), ("b", small_events[5:])):
            save(rows.with_columns(weight=pl.lit(2.5)) if name == weighted else rows, f"log/{name}.parquet")
        bare = "b" if weighted == "a" else "a"
        n = 7 if bare == "b" else 5
        with pytest.raises(DataError, match=rf"log: {n} of 12 rows have no weight \(first: row 1 of {bare}\.parquet\)"):
            load(tmp_path / "log")
        options = DataOptions(on_null="drop")
        kept = load_all(f"{tmp_path}/log", None, options, TODAY).found.logs["events"]
        assert (kept.rows, kept.dropped["on_null"]) == (12, n)

    @pytest.mark.parametrize("first", [0, 1])
    def test_genres_of_one_file_only(
        self, save: Save, tmp_path: Path, small_events: pl.DataFrame, small_items: pl.DataFrame, first: int
    ) -> None:
        parts = [small_items[:2].drop("genres"), small_items[2:]]
        save(parts[first], "items/a.parquet")
        save(parts[1 - first], "items/b.parquet")
        genres = load(save(small_events), str(tmp_path / "items")).train.catalogue.genres
        assert genres is not None
        assert [genres.of(i) for i in range(4)] == [[], ["pop", "rap"], [], ["jazz"]]

    def test_numbers_of_several_widths(self, save: Save, tmp_path: Path, small_events: pl.DataFrame) -> None:
        whole = load(save(small_events.with_columns(weight=pl.lit(0.5))))
        small = small_events.with_columns(pl.col("user_id", "item_id").cast(pl.Int16), weight=pl.lit(0.5, pl.Float32))
        save(small[:5], "log/a.parquet")
        save(small_events.with_columns(weight=pl.lit(0.5))[5:], "log/b.parquet")
        loaded = load(tmp_path / "log")
        assert loaded.train.users.ids.dtype == pl.Int64
        assert loaded.train.log.item.tolist() == whole.train.log.item.tolist()

    def test_types_that_do_not_fit(self, save: Save, tmp_path: Path, small_events: pl.DataFrame) -> None:
        save(small_events[:5], "log/a.parquet")
        save(small_events[5:].with_columns(pl.col("item_id").cast(pl.String)), "log/b.parquet")
        with pytest.raises(
            DataError, match=r"log: item_id is of type Int64 in a\.parquet and String in b\.parquet\. Write"
        ):
            load(tmp_path / "log")

    def test_a_clash_in_a_column_that_nobody_reads(
        self, save: Save, tmp_path: Path, small_events: pl.DataFrame
    ) -> None:
        save(small_events[:5].with_columns(note=pl.lit("x")), "log/a.parquet")
        save(small_events[5:].with_columns(note=pl.lit(1)), "log/b.parquet")
        assert load(tmp_path / "log").found.logs["events"].rows == 12

    def test_genres_of_types_that_do_not_fit(
        self, save: Save, tmp_path: Path, small_events: pl.DataFrame, small_items: pl.DataFrame
    ) -> None:
        save(small_items[:2], "items/a.parquet")
        save(small_items[2:].with_columns(genres=pl.lit("pop")), "items/b.parquet")
        with pytest.raises(DataError, match=r"genres is of type List\(String\) in a\.parquet and String in b\.parquet"):
            load(save(small_events), str(tmp_path / "items"))


class TestKeys:
    """Point 8-2: columns that stand in the names of folders are read."""

    @pytest.mark.parametrize("pattern", ["", "/**/*.parquet", "/date=*/*.parquet"])
    def test_the_day_of_a_folder(self, save: Save, tmp_path: Path, small_events: pl.DataFrame, pattern: str) -> None:
        days = small_events.with_columns(pl.col("started_at").cast(pl.Date))
        for (day,), rows in days.group_by("started_at"):
            save(rows.drop("started_at"), f"env=test/log/date={day}/part-0.parquet")
        loaded = load(f"{tmp_path}/env=test/log{pattern}")
        assert loaded.found.logs["events"].columns["started_at"] == "date"
        whole = load(save(days)).train
        assert loaded.train.log.item.tolist() == whole.log.item.tolist()
        assert loaded.train.log.time is not None
        assert whole.log.time is not None
        assert loaded.train.log.time.tolist() == whole.log.time.tolist()

    def test_a_key_under_the_name_itself(self, save: Save, tmp_path: Path, small_events: pl.DataFrame) -> None:
        for (user,), rows in small_events.group_by("user_id"):
            save(rows.drop("user_id"), f"log/user_id={user}/part-0.parquet")
        assert load(tmp_path / "log").train.users.ids.to_list() == [10, 20, 30]

    def test_the_file_of_the_first_bad_row_is_named_with_its_folder(
        self, save: Save, tmp_path: Path, small_events: pl.DataFrame
    ) -> None:
        bare = small_events.drop("started_at")
        save(bare, "log/date=2021-01-01/part-0.parquet")
        save(bare.with_columns(item_id=pl.lit(None, pl.Int64)), "log/date=2021-01-11/part-0.parquet")
        with pytest.raises(DataError, match=r"first: row 1 of date=2021-01-11/part-0\.parquet"):
            load(tmp_path / "log")


class TestWhichFiles:
    """Point 16: no part of a path may begin with _ or a dot, unless the caller names it."""

    def test_what_jobs_leave_behind_is_no_data(self, save: Save, tmp_path: Path, small_events: pl.DataFrame) -> None:
        save(small_events, "log/a.parquet")
        for name in ("_temporary/0/part-0.parquet", ".staging/b.parquet", "deep/_old.parquet", "_delta/x/c.parquet"):
            save(small_events, f"log/{name}")
        (tmp_path / "log" / "_SUCCESS").touch()
        (tmp_path / "log" / "._SUCCESS.crc").write_bytes(b"crc")
        for pattern in ("", "/**/*.parquet", "/*"):
            assert load(f"{tmp_path}/log{pattern}").found.logs["events"].rows == 12, pattern
        assert load(f"{tmp_path}/log/_temporary/**/*.parquet").found.logs["events"].rows == 12
        assert load(f"{tmp_path}/log/_temporary").found.logs["events"].rows == 12

    def test_a_folder_above_may_have_any_name(self, save: Save, tmp_path: Path, small_events: pl.DataFrame) -> None:
        save(small_events, "_mine/.hidden/log/a.parquet")
        assert load(tmp_path / "_mine" / ".hidden" / "log").found.logs["events"].rows == 12
        assert load(f"{tmp_path}/_mine/.hidden/*/a.parquet").found.logs["events"].rows == 12


class TestAddresses:
    """Points 15-1 and 16: addresses that ended in a traceback, hung, or were stored wrongly."""

    def test_a_pipe_is_refused_and_never_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "plays.parquet")
        with pytest.raises(DataError, match=r"plays\.parquet: is a pipe or a device.*Write it to a file"):
            open_input(str(tmp_path / "plays.parquet"))
        with pytest.raises(DataError, match=r"holds no \.parquet, "):
            open_input(str(tmp_path))

    def test_a_name_that_is_not_utf8(self, save: Save, tmp_path: Path, small_events: pl.DataFrame) -> None:
        name = os.fsdecode(b"pl\xffys.parquet")
        save(small_events, "log/a.parquet")
        (tmp_path / "log" / "a.parquet").rename(tmp_path / "log" / name)
        for address in (tmp_path / "log" / name, tmp_path / "log", tmp_path / "log" / "*.parquet"):
            with pytest.raises(
                DataError, match=r"pl\\udcffys\.parquet: the name of the file is not UTF-8\. Rename"
            ) as e:
                open_input(str(address))
            str(e.value).encode()

    def test_no_home_to_go_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def homeless(_: Path) -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "expanduser", homeless)
        with pytest.raises(DataError, match=r"~/plays\.parquet: this user has no home folder.*Write the path in full"):
            open_input("~/plays.parquet")

    def test_home_is_stored_as_the_path_it_stands_for(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir("/")
        inputs = Inputs(events="~/x.parquet", items="tracks.parquet", train="s3://b/~/x.parquet")
        assert inputs.addresses() == {
            "events": f"{tmp_path}/x.parquet",
            "items": "/tracks.parquet",
            "train": "s3://b/~/x.parquet",
        }


@pytest.mark.parametrize("zone", ["+05:30", "-03:00", "Mars/Base"])
def test_times_of_a_zone_that_polars_does_not_know(
    save: Save, small_events: pl.DataFrame, tmp_path: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Point 15-1: a fixed offset or an unknown zone made Polars panic; parquet stores UTC, which is all that counts."""
    monkeypatch.delenv("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", raising=False)
    table = small_events.to_arrow()
    times = pa.array(small_events["started_at"].to_list(), pa.timestamp("us", zone))
    pq.write_table(table.set_column(2, "started_at", times), tmp_path / "zoned.parquet")
    loaded, plain = load(tmp_path / "zoned.parquet").train.log, load(save(small_events)).train.log
    assert loaded.time is not None
    assert plain.time is not None
    assert loaded.time.tolist() == plain.time.tolist()


def test_a_panic_of_the_reader_is_an_error_of_the_file(save: Save, small_events: pl.DataFrame) -> None:
    """Point 15-1: what Polars panics about is told as any other error of reading."""
    events = open_events(save(small_events))

    def panic(_: pl.Series) -> pl.Series:
        raise pl.exceptions.PanicException("no such thing")

    from tonearm.loading.inputs import reading

    with pytest.raises(DataError, match=r"cannot be read \(no such thing\)"), reading(events.input.address):
        panic(small_events["user_id"])


def test_dates_of_all_files_make_one_log(save: Save, tmp_path: Path) -> None:
    """The keys of folders are no reason to lose rows: every file's day is its own."""
    for day in (date(2021, 1, 3), date(2021, 1, 4)):
        save(pl.DataFrame({"user_id": [1, 2], "item_id": [1, day.day]}), f"log/date={day}/p.parquet")
    log = load_all(f"{tmp_path}/log", None, today=TODAY).train.log
    assert log.n_events == 4
