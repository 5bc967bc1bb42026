"""What a repeated row, a stray date, an orphan and an odd id are to a log."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

import polars as pl
import pytest

from tonearm.config import Config
from tonearm.data.times import DAY, parse_moment, to_seconds
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import ConfigError, DataError
from tonearm.loading.check import check
from tonearm.loading.count import DataOptions
from tonearm.loading.load import Loaded, load_all, load_events, load_ready_made
from tonearm.report.profile import dated, time_profile

Save = Callable[..., str]
CUT = datetime(2021, 1, 10)
TODAY = datetime(2021, 2, 1)
TIME = pl.col("started_at")


def load(save: Save, events: pl.DataFrame, items: pl.DataFrame | None = None, **options: Any) -> Loaded:
    path = None if items is None else save(items, "items.parquet")
    return load_events(save(events), path, CUT, DataOptions(**options), TODAY)


def five_plays(clock: timedelta = timedelta(0)) -> pl.DataFrame:
    """Users 1 and 2 in January; user 1 hears item 7 five times on the 3rd, and each hears something after the cut."""
    plays = [(1, 7, 3)] * 5 + [(1, 8, 4), (2, 7, 5), (2, 9, 2), (1, 9, 11), (2, 8, 11), (2, 8, 11)]
    rows = [(user, item, datetime(2021, 1, day) + clock) for user, item, day in plays]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "started_at"], orient="row")


class TestDaysAndSeconds:
    """Point 8: in a log of days five plays on a day are five plays; where times are seconds, equal rows are one."""

    @pytest.mark.parametrize(
        "times",
        [
            TIME.cast(pl.Date),
            TIME,
            TIME + pl.duration(hours=21),
            TIME.dt.replace_time_zone("Europe/Paris"),
            TIME.dt.replace_time_zone("Europe/Paris").dt.convert_time_zone("UTC"),
        ],
        ids=["dates", "midnights", "one time of day", "midnights of a zone", "those as UTC"],
    )
    def test_repeats_of_a_day_stay(self, save: Save, times: pl.Expr) -> None:
        loaded = load(save, five_plays().with_columns(started_at=times))
        log = loaded.found.logs["events"]
        assert (log.days, log.duplicates, log.dropped, log.kept) == (True, 5, {}, 11)
        assert loaded.train.plays.tolist() == [6, 1, 1]
        assert loaded.test is not None
        assert loaded.test.log.n_events == 3
        assert "5 of 11 rows repeat another row's user, item, day and weight; they are kept" in loaded.found.notes[0]

    def test_midnights_of_a_zone_stay_through_the_change_of_the_clocks(self, save: Save) -> None:
        spring = five_plays().with_columns(
            started_at=(TIME + pl.duration(days=83)).dt.replace_time_zone("Europe/Paris")
        )
        late = load_events(save(spring), None, CUT + timedelta(days=83), today=datetime(2021, 5, 1))
        assert late.train.plays.tolist() == [6, 1, 1]

    def test_repeats_of_a_second_go_and_are_told(self, save: Save) -> None:
        table = five_plays().with_columns(started_at=TIME + pl.duration(seconds=pl.col("item_id")))
        loaded = load(save, table)
        log = loaded.found.logs["events"]
        assert (log.days, log.duplicates, log.dropped) == (False, 5, {"on_duplicate": 5})
        assert loaded.train.plays.tolist() == [2, 1, 1]
        assert (
            "5 of 11 rows repeat another row's user, item, time and weight; they are left out" in loaded.found.notes[0]
        )

    @pytest.mark.parametrize(("rule", "plays"), [("auto", 6), ("keep", 6), ("drop", 2)])
    def test_a_rule_that_is_named_holds_for_days_too(self, save: Save, rule: str, plays: int) -> None:
        assert load(save, five_plays(), on_duplicate=rule).train.plays[0] == plays

    def test_only_train_says_what_a_time_is(self, save: Save) -> None:
        """Nothing after the cut decides on anything before it."""
        table = five_plays().with_columns(
            started_at=pl.when(TIME >= CUT).then(TIME + pl.duration(seconds=9)).otherwise(TIME)
        )
        assert load(save, table).train.plays.tolist() == [6, 1, 1]
        train, test = save(table.filter(TIME < CUT), "train.parquet"), save(table.filter(TIME >= CUT), "test.parquet")
        loaded = load_ready_made(train, test, None, today=TODAY)
        assert loaded.train.plays.tolist() == [6, 1, 1]
        assert loaded.test is not None
        assert loaded.test.log.n_events == 3

    def test_one_moment_alone_is_no_day(self, save: Save) -> None:
        table = five_plays(timedelta(hours=7)).with_columns(started_at=pl.lit(datetime(2021, 1, 3, 7)))
        loaded = load_all(save(table), None, today=TODAY)
        assert not loaded.found.logs["events"].days
        assert loaded.train.now == to_seconds(datetime(2021, 1, 3, 7)) + 1


class TestSpan:
    """Point 7: what the rules leave out counts for nothing."""

    def test_first_and_last_are_of_the_rows_that_stay(
        self, save: Save, small_events: pl.DataFrame, small_items: pl.DataFrame
    ) -> None:
        strangers = pl.DataFrame(
            {"user_id": [10, 10], "item_id": [99, 99], "started_at": [datetime(2020, 1, 1, 5), datetime(2021, 1, 30)]}
        )
        table = pl.concat([small_events, strangers])
        kept = load(save, table, small_items).found.logs["events"]
        assert (kept.first, kept.last) == ("2020-01-01 05:00:00", "2021-01-30 00:00:00")
        dropped = load(save, table, small_items, on_orphan="drop").found.logs["events"]
        assert (dropped.first, dropped.last) == ("2021-01-01 00:00:00", "2021-01-11 00:00:00")


class TestIds:
    """Points 8-1 and 9: ids beyond 2^63, and catalogues that are another one's."""

    def test_catalogue_ids_beyond_int64(self, save: Save, small_events: pl.DataFrame) -> None:
        events = small_events.with_columns(pl.col("item_id").cast(pl.UInt64))
        items = pl.DataFrame({"item_id": pl.Series([5, 7, 2**63 + 5], dtype=pl.UInt64)})
        with pytest.raises(DataError, match=r"items\.parquet: item_id goes up to 9223372036854775813, above 2\^63 - 1"):
            load(save, events, items)

    def test_an_id_beyond_int64_is_no_negative_one(self) -> None:
        words = Vocabulary(pl.Series([-9, -1, 3, 2**62]))
        assert words.encode(pl.Series([2**64 - 1, 3, None, 2**63 + 1], dtype=pl.UInt64)).tolist() == [-1, 2, -1, -1]
        least = Vocabulary(pl.Series([-(2**63), 4]))
        assert least.encode(pl.Series([None, -(2**63), 4])).tolist() == [-1, 0, 1]

    @pytest.mark.parametrize("rule", ["keep", "drop"])
    @pytest.mark.parametrize(
        ("ids", "words"),
        [
            (["5 ", "7 ", "9 "], r"the log has '13', the catalogue '5 '"),
            (["a5", "a7", "a13"], r"the log has '13', the catalogue 'a13'"),
            ([], r"the catalogue holds no item"),
        ],
    )
    def test_a_catalogue_that_matches_nothing(
        self, save: Save, small_events: pl.DataFrame, ids: list[str], words: str, rule: Literal["keep", "drop"]
    ) -> None:
        events = save(small_events.with_columns(pl.col("item_id").cast(pl.String)))
        items = save(pl.DataFrame({"item_id": ids}, schema={"item_id": pl.String}), "items.parquet")
        with pytest.raises(DataError, match=words) as caught:
            load_events(events, items, CUT, DataOptions(on_orphan=rule), TODAY)
        assert f"{events} and {items}: " in str(caught.value)
        assert check({"events": events}, items, CUT, Config(data=DataOptions(on_orphan=rule)), TODAY).errors

    def test_the_example_is_the_likest(self, save: Save) -> None:
        events = pl.DataFrame({"user_id": [1, 2], "item_id": ["b", "b"], "started_at": [CUT, CUT]})
        with pytest.raises(DataError, match=r"the log has 'b', the catalogue 'B '\. Give both the same ids"):
            load_all(save(events), save(pl.DataFrame({"item_id": ["A ", "B "]}), "items.parquet"), today=TODAY)


class TestMoments:
    """Points 8-1 and 15-1: plays of 1970-01-01, and cuts at the ends of the calendar."""

    def test_plays_of_1970_are_told_and_stretch_no_chart(self, save: Save, small_events: pl.DataFrame) -> None:
        stray = pl.DataFrame({"user_id": [20, 30], "item_id": [5, 7], "started_at": [datetime(1970, 1, 1)] * 2})
        loaded = load(save, pl.concat([small_events, stray]))
        assert "2 of 14 rows are of 1970-01-01, which a missing time often turns into" in loaded.found.notes[1]
        assert loaded.train.log.n_events == 8
        assert loaded.test is not None
        found = time_profile(dated(loaded.train.log), dated(loaded.test.log), dated(loaded.test.cold))
        assert found is not None
        assert found["rows"][0]["start"] == "2021-01-01"
        assert sum(row["train_events"] for row in found["rows"]) == 6

    def test_a_log_of_nothing_else_keeps_its_chart(self, save: Save) -> None:
        table = pl.DataFrame({"user_id": [1, 2], "item_id": [3, 4], "started_at": [datetime(1970, 1, 1, 6)] * 2})
        log = load_all(save(table), None, today=TODAY).train.log
        assert dated(log).n_events == 2

    @pytest.mark.parametrize(
        "text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:00:00-05:00", "0001-01-01", "2070-01-01"]
    )
    def test_a_cut_at_the_end_of_the_calendar(self, save: Save, small_events: pl.DataFrame, text: str) -> None:
        with pytest.raises(ConfigError, match=r"test_from is .*times reach from 1932 to 2068"):
            load_events(save(small_events), None, parse_moment(text), today=TODAY)

    def test_seconds_of_a_zone(self) -> None:
        zone = timezone(timedelta(hours=5, minutes=30))
        assert to_seconds(datetime(2000, 1, 1, 5, 30, tzinfo=zone)) == 0
        assert to_seconds(datetime(1999, 12, 31, 23, 59, 59, 500_000)) == -1
        assert to_seconds(datetime(1, 1, 1, tzinfo=zone)) == to_seconds(datetime(1, 1, 1)) - 19_800
        assert to_seconds(datetime(2000, 1, 2, tzinfo=UTC)) == DAY
