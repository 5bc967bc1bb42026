"""Loading: what ends up where, under which rule, and that nothing after the cut reaches train."""

import tempfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_series_equal

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.times import DAY, to_seconds
from tonearm.errors import ConfigError, DataError
from tonearm.loading.count import DataOptions
from tonearm.loading.load import Loaded, load_all, load_events, load_ready_made, survey

Save = Callable[..., str]
CUT = datetime(2021, 1, 10)
TODAY = datetime(2021, 2, 1)


def rows(log: Log) -> list[list[tuple[int, int | None]]]:
    """(item, time) of each user's events."""
    times = log.time
    return [
        [(int(log.item[p]), None if times is None else int(times[p])) for p in range(lo, hi)]
        for lo, hi in zip(log.start, log.stop, strict=True)
    ]


def day(n: int) -> int:
    return to_seconds(datetime(2021, 1, n))


def same_log(one: Log, other: Log) -> None:
    np.testing.assert_array_equal(one.start, other.start)
    np.testing.assert_array_equal(one.stop, other.stop)
    np.testing.assert_array_equal(one.item, other.item)
    assert one.n_items == other.n_items
    for a, b in ((one.time, other.time), (one.weight, other.weight)):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            np.testing.assert_array_equal(a, b)


def same_tags(one: Tags | None, other: Tags | None) -> None:
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        np.testing.assert_array_equal(one.indptr, other.indptr)
        np.testing.assert_array_equal(one.index, other.index)
        assert_series_equal(one.labels.ids, other.labels.ids)


def same_catalogue(one: Catalogue, other: Catalogue, ids: bool = True) -> None:
    if ids:
        assert_series_equal(one.items.ids, other.items.ids)
    assert (one.name is None) == (other.name is None)
    if one.name is not None and other.name is not None:
        assert_series_equal(one.name, other.name)
    for field in ("genres", "artists", "albums"):
        same_tags(getattr(one, field), getattr(other, field))


def same_train(one: Dataset, other: Dataset, ids: bool = True) -> None:
    if ids:
        assert_series_equal(one.users.ids, other.users.ids)
    assert one.now == other.now
    same_log(one.log, other.log)
    same_catalogue(one.catalogue, other.catalogue, ids)


def load(save: Save, events: pl.DataFrame, items: pl.DataFrame | None = None, **options: Any) -> Loaded:
    path = None if items is None else save(items, "items.parquet")
    return load_events(save(events), path, CUT, DataOptions(**options), TODAY)


class TestPlacement:
    def test_train_by_user_then_time(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        train = load(save, small_events, small_items).train
        assert train.users.ids.to_list() == [10, 20, 30]
        assert train.catalogue.items.ids.to_list() == [5, 7, 9, 11, 13]
        assert rows(train.log) == [
            [(0, day(1)), (1, day(2)), (0, day(5))],
            [(1, day(3) + 1)],
            [(2, day(4)), (4, day(6))],
        ]
        assert train.now == day(10)

    def test_test_by_train_user_and_cold_apart(
        self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame
    ) -> None:
        test = load(save, small_events, small_items).test
        assert test is not None
        assert rows(test.log) == [[(2, day(11)), (5, day(12))], [], [(0, day(10))]], "item 15 comes after all of train"
        assert test.cold_users.to_list() == [40]
        assert rows(test.cold) == [[(1, day(10) + DAY // 2), (5, day(13))]]
        assert (test.unknown_items, test.unknown_events) == (1, 2)

    def test_catalogue_by_item_index(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        catalogue = load(save, small_events, small_items).train.catalogue
        assert catalogue.name is not None
        assert catalogue.genres is not None
        assert catalogue.artists is not None
        assert catalogue.name.to_list() == ["five", "seven", "nine", None, None]
        assert [catalogue.genres.of(i) for i in range(5)] == [["rock", "pop"], ["pop", "rap"], [], ["jazz"], []]
        assert [catalogue.artists.of(i) for i in range(5)] == [["B"], ["A", "C"], ["A"], [], []]
        assert catalogue.albums is None

    def test_counts(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        found = load(save, small_events, small_items).found
        log = found.logs["events"]
        assert (log.rows, log.kept, log.duplicates, log.orphans, log.dropped) == (12, 11, 1, 3, {"on_duplicate": 1})
        assert found.catalogue is not None
        assert found.catalogue.filled == {"name": 3, "genres": 3, "artists": 3}
        assert found.catalogue.missing == ["albums"]
        assert found.orphan_items == 1
        assert found.train is not None
        assert (found.train.events, found.train.repeats, found.train.users, found.train.items) == (6, 1, 3, 4)
        assert (found.train.users_with_one, found.train.items_with_one) == (1, 2)
        assert (found.train.median_per_user, found.train.max_per_user) == (2.0, 3)
        assert (found.train.median_per_item, found.train.max_per_item) == (1.5, 2)
        assert found.test is not None
        assert (found.test.events, found.test.users) == (5, 3)
        assert (found.test.warm_users, found.test.cold_users) == (2, 1)
        assert (found.test.first, found.test.last) == ("2021-01-10 00:00:00", "2021-01-13 00:00:00")

    def test_without_a_catalogue(self, save: Save, small_events: pl.DataFrame) -> None:
        loaded = load(save, small_events)
        assert loaded.train.catalogue.items.ids.to_list() == [5, 7, 9, 13]
        assert loaded.train.catalogue.name is None
        assert loaded.found.catalogue is None
        assert loaded.found.logs["events"].orphans == 0

    def test_all_of_it(self, save: Save, small_events: pl.DataFrame) -> None:
        loaded = load_all(save(small_events), None, today=TODAY)
        assert loaded.test is None
        assert loaded.train.users.ids.to_list() == [10, 20, 30, 40]
        assert loaded.train.now == day(13) + 1

    def test_now_of_a_log_of_days_is_the_next_day(self, save: Save, small_events: pl.DataFrame) -> None:
        loaded = load_all(save(small_events.with_columns(pl.col("started_at").cast(pl.Date))), None, today=TODAY)
        assert loaded.train.now == day(14)

    def test_fingerprints(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        first = load(save, small_events, small_items).fingerprints
        assert [f.rows for f in first] == [12, 4]
        assert load(save, small_events, small_items).fingerprints == first
        assert load(save, small_events.reverse(), small_items).fingerprints[0].sha256 != first[0].sha256


class TestForms:
    @pytest.mark.parametrize("dtype", [pl.Int32, pl.UInt8, pl.UInt64, pl.String, pl.Categorical])
    def test_ids_of_any_type(self, save: Save, small_events: pl.DataFrame, dtype: Any) -> None:
        ids = pl.col("user_id", "item_id")
        text = ids.cast(pl.String).str.zfill(3).cast(dtype) if dtype in (pl.String, pl.Categorical) else ids.cast(dtype)
        loaded = load(save, small_events.with_columns(text))
        plain = load(save, small_events)
        same_train(loaded.train, plain.train, ids=False)
        expected = pl.String if dtype == pl.Categorical else dtype
        assert loaded.train.users.ids.dtype == expected
        assert loaded.test is not None
        assert loaded.test.cold_users.dtype == expected
        assert [int(i) for i in loaded.train.users.ids] == [10, 20, 30]

    def test_the_log_decides_the_width_of_item_ids(
        self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame
    ) -> None:
        loaded = load(save, small_events.with_columns(pl.col("item_id").cast(pl.Int32)), small_items)
        assert loaded.train.catalogue.items.ids.dtype == pl.Int32
        same_log(loaded.train.log, load(save, small_events, small_items).train.log)

    @pytest.mark.parametrize("unit", ["ms", "us", "ns"])
    def test_datetimes_of_any_unit_floor_to_seconds(self, save: Save, unit: Any) -> None:
        times = [datetime(1969, 12, 31, 23, 59, 58, 600_000), datetime(2021, 1, 1, 0, 0, 0, 999_000), CUT, CUT]
        table = pl.DataFrame({"user_id": [1, 2, 1, 2], "item_id": [3, 4, 3, 4], "started_at": times})
        train = load(save, table.with_columns(pl.col("started_at").cast(pl.Datetime(unit)))).train
        assert rows(train.log) == [[(0, to_seconds(datetime(1969, 12, 31, 23, 59, 58)))], [(1, day(1))]]

    def test_zones_are_taken_to_utc(self, save: Save, small_events: pl.DataFrame) -> None:
        moved = small_events.with_columns(
            pl.col("started_at").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
        )
        same_train(load(save, moved).train, load(save, small_events).train)

    @pytest.mark.parametrize("name", ["timestamp", "datetime"])
    def test_aliases(self, save: Save, small_events: pl.DataFrame, name: str) -> None:
        renamed = small_events.rename({"item_id": "track_id", "started_at": name}).with_columns(extra=1)
        loaded = load(save, renamed)
        same_train(loaded.train, load(save, small_events).train)
        assert loaded.found.logs["events"].columns["item_id"] == "track_id"

    def test_the_name_itself_wins_over_its_alias(self, save: Save, small_events: pl.DataFrame) -> None:
        both = small_events.with_columns(track_id=pl.lit("x"), timestamp=pl.lit(1))
        same_train(load(save, both).train, load(save, small_events).train)

    def test_folder_and_glob(self, save: Save, tmp_path: Path, small_events: pl.DataFrame) -> None:
        save(small_events[:5], "log/a.parquet")
        save(small_events[5:], "log/deep/b.parquet")
        (tmp_path / "log" / "notes.txt").write_text("no table")
        whole = load(save, small_events).train
        for address in ("log", "log/**/*.parquet"):
            same_train(load_events(str(tmp_path / address), None, CUT, today=TODAY).train, whole)

    def test_weights(self, save: Save, small_events: pl.DataFrame) -> None:
        weighted = small_events.with_columns(weight=pl.Series([1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11, 12]))
        train = load(save, weighted).train
        assert train.log.weight is not None
        # The 5th of January comes twice, but with two weights, so it is no duplicate.
        assert rows(train.log)[0] == [(0, day(1)), (1, day(2)), (0, day(5)), (0, day(5))]
        assert train.log.weight.tolist() == [2, 4, 5, 7, 1, 6, 3]

    def test_ids_far_apart(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        far = small_events.with_columns(pl.col("user_id") * 10**16 - 2**62, pl.col("item_id") * 10**16)
        items = small_items.with_columns(pl.col("item_id") * 10**16)
        loaded, plain = load(save, far, items), load(save, small_events, small_items)
        same_train(loaded.train, plain.train, ids=False)
        assert loaded.train.users.ids.to_list() == [u * 10**16 - 2**62 for u in (10, 20, 30)]
        assert loaded.test is not None
        assert loaded.test.cold_users.to_list() == [40 * 10**16 - 2**62]


class TestRules:
    def test_duplicates(self, save: Save, small_events: pl.DataFrame) -> None:
        assert load(save, small_events, on_duplicate="keep").train.log.n_events == 7
        with pytest.raises(DataError, match="1 row repeats another one's"):
            load(save, small_events, on_duplicate="error")

    def test_orphans(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        loaded = load(save, small_events, small_items, on_orphan="drop")
        assert loaded.train.catalogue.items.ids.to_list() == [5, 7, 9, 11]
        assert rows(loaded.train.log)[2] == [(2, day(4))]
        assert loaded.found.logs["events"].dropped == {"on_orphan": 3, "on_duplicate": 1}
        with pytest.raises(DataError, match="3 of 12 rows are of items that the catalogue lacks"):
            load(save, small_events, small_items, on_orphan="error")

    def test_a_user_of_orphans_only_goes_with_them(self, save: Save, small_events: pl.DataFrame) -> None:
        items = pl.DataFrame({"item_id": [5, 9, 13, 15]})
        loaded = load(save, small_events, items, on_orphan="drop")
        assert loaded.train.users.ids.to_list() == [10, 30]
        same_train(loaded.train, load(save, small_events.filter(pl.col("item_id") != 7), items).train)

    def test_futures(self, save: Save, small_events: pl.DataFrame) -> None:
        later = pl.DataFrame({"user_id": [20], "item_id": [5], "started_at": [datetime(2021, 2, 1, 0, 0, 1)]})
        table = pl.concat([small_events, later])
        assert load(save, table).found.logs["events"].dropped == {"on_future": 1, "on_duplicate": 1}
        kept = load(save, table, on_future="keep").test
        assert kept is not None
        assert rows(kept.log)[1] == [(0, to_seconds(datetime(2021, 2, 1, 0, 0, 1)))]
        with pytest.raises(DataError, match=r"1 of 13 rows are later than now.*row 13"):
            load(save, table, on_future="error")

    def test_nulls_are_dropped_on_request(self, save: Save, small_events: pl.DataFrame) -> None:
        holes = pl.DataFrame(
            {"user_id": [None, 10, None], "item_id": [5, None, None], "started_at": [CUT, CUT, CUT]},
            schema=small_events.schema,
        )
        loaded = load(save, pl.concat([holes, small_events]), on_null="drop")
        same_train(loaded.train, load(save, small_events).train)
        assert loaded.found.logs["events"].nulls == {"user_id": 2, "item_id": 2}
        assert loaded.found.logs["events"].dropped["on_null"] == 3


class TestReadyMade:
    def test_without_time_repeats_are_plays(self, save: Save) -> None:
        train = save(pl.DataFrame({"user_id": [2, 1, 2, 2], "item_id": [8, 9, 7, 8]}), "train.parquet")
        test = save(pl.DataFrame({"user_id": [3, 2, 1], "item_id": [9, 9, 6]}), "test.parquet")
        loaded = load_ready_made(train, test, None, today=TODAY)
        assert rows(loaded.train.log) == [[(2, None)], [(0, None), (1, None), (1, None)]]
        assert loaded.train.now == 0
        assert loaded.test is not None
        assert rows(loaded.test.log) == [[(3, None)], [(2, None)]]
        assert loaded.test.cold_users.to_list() == [3]
        assert rows(loaded.test.cold) == [[(2, None)]]
        assert (loaded.test.unknown_items, loaded.test.unknown_events) == (1, 1)

    def test_equals_a_cut_log(self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame) -> None:
        late = pl.col("started_at") >= CUT
        train = save(small_events.filter(~late), "train.parquet")
        test = save(small_events.filter(late).with_columns(pl.col("user_id").cast(pl.Int32)), "test.parquet")
        made = load_ready_made(train, test, save(small_items, "items.parquet"), today=TODAY)
        whole = load(save, small_events, small_items)
        same_log(made.train.log, whole.train.log)
        same_catalogue(made.train.catalogue, whole.train.catalogue)
        assert made.test is not None
        assert whole.test is not None
        same_log(made.test.log, whole.test.log)
        assert_series_equal(made.test.cold_users, whole.test.cold_users)

    @pytest.mark.parametrize("timed", [True, False])
    def test_point_4_train_equal_to_test_is_an_error(self, save: Save, small_events: pl.DataFrame, timed: bool) -> None:
        """A set measured by itself gave figures; users and items that merely occur equally often are no error."""
        table = small_events if timed else small_events.drop("started_at")
        train, test = save(table, "train.parquet"), save(table.reverse(), "test.parquet")
        with pytest.raises(DataError, match=r"train and test hold the same 1[12] events"):
            load_ready_made(train, test, None, today=TODAY)
        crossed = (
            pl.DataFrame({"user_id": [1, 2], "item_id": [8, 9]}),
            pl.DataFrame({"user_id": [2, 1], "item_id": [8, 9]}),
        )
        made = load_ready_made(save(crossed[0], "a.parquet"), save(crossed[1], "b.parquet"), None, today=TODAY)
        assert made.test is not None


class TestNoLeak:
    @pytest.mark.parametrize("what", ["deleted", "shuffled", "invented", "altered"])
    def test_test_events_leave_train_alone(
        self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame, what: str
    ) -> None:
        late = pl.col("started_at") >= CUT
        train, test = small_events.filter(~late), small_events.filter(late)
        invented = pl.DataFrame(
            {"user_id": [5, 20, 99], "item_id": [1, 11, 3], "started_at": [CUT, datetime(2021, 1, 20), CUT]}
        )
        changed = {
            "deleted": test.filter(pl.col("user_id") == 30),
            "shuffled": test.with_columns(pl.col("user_id").reverse()),
            "invented": pl.concat([invented, test]),
            "altered": test.with_columns(pl.col("item_id") + 2, pl.col("started_at").dt.offset_by("3d")),
        }[what]
        other = load(save, pl.concat([changed, train]), small_items)
        same_train(other.train, load(save, small_events, small_items).train)


@st.composite
def logs(draw: st.DrawFn) -> pl.DataFrame:
    """Small logs with at least two users and items before the cut, and something to test on."""
    ids = st.integers(1, 6)
    days = st.integers(1, 20)
    events = draw(st.lists(st.tuples(ids, ids, days, st.integers(1, 3)), max_size=25))
    events += [(1, 2, 1, 1), (2, 1, 2, 1), (1, 1, 12, 1)]
    return pl.DataFrame(
        {
            "user_id": [u for u, _, _, _ in events],
            "item_id": [10 * i for _, i, _, _ in events],
            "started_at": [date(2021, 1, d) for _, _, d, _ in events],
            "weight": [float(w) for _, _, _, w in events],
        }
    )


@settings(max_examples=25, deadline=None)
@given(table=logs(), seed=st.integers(0, 99), weighted=st.booleans())
def test_row_order_never_matters(table: pl.DataFrame, seed: int, weighted: bool) -> None:
    table = table if weighted else table.drop("weight")
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{n}.parquet" for n in range(2)]
        table.write_parquet(paths[0])
        table.sample(fraction=1.0, shuffle=True, seed=seed).write_parquet(paths[1])
        one, other = (load_events(path, None, CUT, today=TODAY) for path in paths)
    same_train(one.train, other.train)
    assert one.test is not None
    assert other.test is not None
    same_log(one.test.log, other.test.log)
    same_log(one.test.cold, other.test.cold)


@settings(max_examples=15, deadline=None)
@given(table=logs())
def test_relabelling_in_order_changes_ids_only(table: pl.DataFrame) -> None:
    relabelled = table.with_columns(pl.col("user_id") ** 3 - 100, pl.format("{}-x", pl.col("item_id")))
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{n}.parquet" for n in range(2)]
        table.write_parquet(paths[0])
        relabelled.write_parquet(paths[1])
        one, other = (load_events(path, None, CUT, today=TODAY) for path in paths)
    same_train(one.train, other.train, ids=False)
    assert [u**3 - 100 for u in one.train.users.ids] == other.train.users.ids.to_list()
    assert [f"{i}-x" for i in one.train.catalogue.items.ids] == other.train.catalogue.items.ids.to_list()


def test_progress_counts_up_to_the_rows(save: Save, small_events: pl.DataFrame) -> None:
    seen: list[tuple[str, int, int]] = []
    load_events(save(small_events), None, CUT, today=TODAY, progress=lambda *step: seen.append(step))
    assert seen[-1] == ("reading events", 12, 12)


def test_a_log_is_one_file_or_two() -> None:
    with pytest.raises(ConfigError, match="given: events and train"):
        survey({"events": "a", "train": "b"}, None, None)
    with pytest.raises(ConfigError, match="already cut"):
        survey({"train": "a", "test": "b"}, None, CUT)


@pytest.mark.parametrize(
    ("name", "items", "cut", "users", "cold"),
    [
        ("hetrec_lastfm", "items_dbpedia_genres", datetime(2010, 11, 30, 23), 1784, 108),
        ("uci_online_retail", "items", datetime(2011, 11, 21, 9, 11), 4199, 136),
    ],
)
def test_real_logs(
    real_data: Callable[[str], Path], name: str, items: str, cut: datetime, users: int, cold: int
) -> None:
    path = real_data(f"{name}/events.parquet")
    loaded = load_events(str(path), str(real_data(f"{name}/{items}.parquet")), cut)
    table = pl.read_parquet(path).with_columns(pl.col("started_at").dt.truncate("1s")).unique()
    train = table.filter(pl.col("started_at") < cut)
    assert loaded.test is not None
    assert loaded.train.n_users == train["user_id"].n_unique() == users
    assert len(loaded.test.cold_users) == cold
    assert loaded.train.log.n_events == len(train)
    counts = train.group_by("item_id").len().sort("item_id")
    heard = loaded.train.plays > 0
    assert loaded.train.catalogue.items.ids.filter(pl.Series(heard)).to_list() == counts["item_id"].to_list()
    assert loaded.train.plays[heard].tolist() == counts["len"].to_list()
