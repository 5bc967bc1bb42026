"""Count a log: how many events each user and item has, and what is wrong with the rows."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field

from tonearm.data.times import DAY, to_moment, to_seconds
from tonearm.errors import ConfigError
from tonearm.loading.columns import full_names
from tonearm.loading.count_ids import count_ids
from tonearm.loading.events import Events
from tonearm.loading.inputs import reading
from tonearm.loading.tables import ids_in_file
from tonearm.options import options

EARLIEST, LATEST = -(2**31), 2**31 - 1
HEAVIEST = 1e12
"""The largest weight; squares of a listener's sums stay within float32."""
"""Bounds of a time in seconds: late 1931 to early 2068."""

Rule = Literal["drop", "keep", "error"]

ZERO = to_seconds(datetime(1970, 1, 1))
"""The first second of the day that a missing time often turns into."""


SHARES = 1 << 20
"""Parts of equal size that listeners fall into for a sample."""


KINDS = {"play": 1.0, "like": 2.0, "skip": 0.0, "dislike": -1.0}
"""What a row of each kind counts as usual."""


@options
class DataOptions:
    """What the columns are called, and what becomes of rows that are not as they should be.

    columns: the caller's names of user, item, time, weight, name, genres, artists and albums, where they are others,
        as in { user = "UserID", item = "sku" }; they hold in every table that has such a column
    on_null: rows without a user, an item, a time (in a log with time) or a weight (in a log with weights)
    on_duplicate: rows that repeat another one's user, item, time (to the second) and weight. "auto" drops them, but for
        a log whose times are days, where they are repeat listens; in a log without time they are always kept
    on_orphan: events whose item is not in the catalogue; kept ones count as items without name and genres
    on_future: events later than the moment of the run
    sample: share of the listeners that is looked at, for a quick first look at a huge log: always the same ones
    users_file: only these listeners are looked at: a table with user_id, or a text file (.txt) with one id a line
    vectors: a table with item_id and vector, where the catalogue has no column vector
    kinds: what a row of each kind counts, times its weight, in a log with kinds, where it is not as usual: a play 1, a
        like 2, a skip 0, a dislike -1. What counts 0 or below is no play: it speaks against the track, and teaches the
        ranker. Below 0 it also keeps the track out of that user's lists
    """

    columns: dict[str, str] = field(default_factory=dict)
    on_null: Literal["error", "drop"] = "error"
    on_duplicate: Literal["auto", "drop", "keep", "error"] = "auto"
    on_orphan: Rule = "keep"
    on_future: Rule = "drop"
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    users_file: str | None = None
    vectors: str | None = None
    kinds: dict[str, Annotated[float, Field(ge=-1, le=1000)]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        full_names(self.columns)
        if not any(weight > 0 for weight in self.counts.values()):
            raise ConfigError(
                "data.kinds: no kind counts above 0, so that nothing is a play. Give one a weight above 0."
            )

    @property
    def counts(self) -> dict[str, float]:
        """What a row of each kind counts."""
        return KINDS | self.kinds

    @property
    def everyone(self) -> "DataOptions":
        """The same for all listeners."""
        return replace(self, sample=1.0, users_file=None)

    def drops_repeats(self, days: bool) -> bool:
        """Whether repeated rows go; days: the log's times are days."""
        return self.on_duplicate == "drop" or (self.on_duplicate == "auto" and not days)


@dataclass(frozen=True)
class Census:
    """What counting a log finds; every count is of rows.

    rows: all rows; nulls: rows without each column; null_rows: rows without any of them
    futures, outside, bad_weights: rows later than today, outside of 1932 to 2068, with a weight not in ]0, `HEAVIEST`]
    kept: rows that take part; orphans: of these and the dropped, rows whose item is not in the catalogue
    users, items: ids in ascending order with the number of kept rows before the cut (`train`) and since (`test`)
    stranger: an id that the catalogue lacks, None where it has all
    first, last: seconds of the first and last kept row
    days: times are days: those of all kept rows before the cut are one time of day, midnight or on several days
    undated: kept rows of 1970-01-01
    kinds: rows of each kind, in a log with kinds
    """

    rows: int
    nulls: dict[str, int]
    null_rows: int
    futures: int
    outside: int
    bad_weights: int
    kept: int
    orphans: int
    users: pl.DataFrame
    items: pl.DataFrame
    stranger: int | str | None
    first: int | None
    last: int | None
    days: bool
    undated: int
    kinds: dict[str, int] = field(default_factory=dict)


def kept_rows(
    events: Events,
    options: DataOptions,
    today: int,
    catalogue: pl.Series | None,
    clock: bool = False,
    against: bool = False,
) -> pl.LazyFrame:
    """The rows that take part: user_id, item_id, time (int32) and weight, the last two if present.

    today: seconds; later events are left out unless options.on_future is "keep"
    catalogue: ids of the items, for options.on_orphan = "drop"
    clock: with the time of day in the log's own zone
    against: rows of kinds that are no plays instead, with weight 1 where they keep the track out of lists, else 0
    """
    table = events.table.filter(_fine(events, options, today))
    if events.kinded:
        counts = pl.col("kind").replace_strict(options.counts, default=None, return_dtype=pl.Float32)
        weight = (counts < 0).cast(pl.Float32) if against else pl.col("weight") * counts
        table = table.filter(counts <= 0 if against else counts > 0).with_columns(weight.alias("weight")).drop("kind")
    if events.timed:
        table = table.with_columns(pl.col("time").cast(pl.Int32)).drop([] if clock else ["clock"])
    if catalogue is not None and options.on_orphan == "drop":
        table = table.join(pl.LazyFrame({"item_id": catalogue}), on="item_id", how="semi")
    if options.sample < 1:
        table = table.filter(pl.col("user_id").hash(seed=0) % SHARES < round(options.sample * SHARES))
    if options.users_file is not None:
        users = pl.LazyFrame({"named": ids_in_file(options.users_file, "user_id").cast(pl.String)})
        table = table.with_columns(pl.col("user_id").cast(pl.String).alias("named"))
        table = table.join(users, on="named", how="semi").drop("named")
    return table


def take_census(
    events: Events, cut: int | None, options: DataOptions, today: int, catalogue: pl.Series | None
) -> Census:
    """Count a log in three passes over few columns each.

    cut: seconds; rows before it are counted as train, the others as test; None counts all as train
    """
    with reading(events.input.address):
        row = events.table.select(_totals(events, cut, options, today)).collect(engine="streaming").row(0, named=True)
        users, items = (
            count_ids(events, kept_rows(events, options, today, known), name, _bounds(row, name), cut)
            for name, known in (("user_id", catalogue), ("item_id", None))
        )
    orphans, stranger = 0, None
    if catalogue is not None:
        outside = items.join(pl.DataFrame({"item_id": catalogue}), on="item_id", how="anti")
        orphans = int(outside.select(pl.col("train", "test").sum()).sum_horizontal()[0])
        stranger = outside["item_id"][0] if len(outside) else None
        if options.on_orphan == "drop":
            if orphans and events.timed:
                with reading(events.input.address):
                    kept = kept_rows(events, options, today, catalogue, clock=True).select(
                        _times(events, pl.lit(True), cut)
                    )
                    row |= kept.collect(engine="streaming").row(0, named=True)
            items = items.join(pl.DataFrame({"item_id": catalogue}), on="item_id", how="semi", maintain_order="left")
    return Census(
        rows=row["rows"],
        nulls={name: row[f"null_{name}"] for name in events.columns if row[f"null_{name}"]},
        null_rows=row["null_rows"],
        futures=row["futures"],
        outside=row["outside"],
        bad_weights=row["bad_weights"],
        kept=int(users["train"].sum()) + int(users["test"].sum()),
        orphans=orphans,
        users=users,
        items=items,
        stranger=stranger,
        first=row.get("all_min"),
        last=row.get("all_max"),
        days=_whole_days(events, row),
        undated=_undated(events, kept_rows(events, options, today, catalogue), row.get("all_min")),
        kinds=_kinds(events),
    )


def census_problems(events: Events, census: Census, options: DataOptions, today: int) -> list[str]:
    """The errors among the rows, each with how many, the first, and what to do."""
    rows, name = f"{census.rows:,} rows", events.input.address
    if census.rows == 0:
        return [f"{name}: the table has no rows. Give a log with events."]
    problems = []
    if options.on_null == "error":
        for column, n in census.nulls.items():
            first = events.first_row(pl.col(_ours(column)).is_null())
            problems.append(
                f"{name}: {n:,} of {rows} have no {events.columns[column]} (first: {first}). "
                'Drop them, or set data.on_null = "drop".'
            )
    if census.futures and options.on_future == "error":
        first = events.first_row(pl.col("time") > today)
        problems.append(
            f"{name}: {census.futures:,} of {rows} are later than now, {to_moment(today)} (first: {first}). "
            'Correct their time, or set data.on_future = "drop".'
        )
    if census.outside:
        first = events.first_row(_outside() & ~_dropped_future(options, today))
        problems.append(
            f"{name}: {census.outside:,} of {rows} have a {events.columns['started_at']} outside of 1932 to 2068 "
            f"(first: {first}). Correct them, or drop them from the file."
        )
    for kind in (kind for kind in census.kinds if kind not in options.counts):
        first = events.first_row(pl.col("kind") == kind)
        problems.append(
            f"{name}: {census.kinds[kind]:,} of {rows} are of kind '{kind}' (first: {first}), and data.kinds has "
            f"{', '.join(options.counts)}. Give it a weight there, or correct these rows."
        )
    if census.bad_weights:
        first = events.first_row(_bad_weight())
        problems.append(
            f"{name}: {census.bad_weights:,} of {rows} have a weight that is not a finite number above 0 and at most "
            f"1e12 (first: {first}). Correct or drop these rows, or drop the whole column."
        )
    if census.orphans and options.on_orphan == "error":
        problems.append(
            f"{name}: {census.orphans:,} of {rows} are of items that the catalogue lacks. "
            'Complete it, or set data.on_orphan to "keep" or "drop".'
        )
    problems += [
        f"{name}: {ids.name} goes up to {ids[-1]}, above 2^63 - 1. Cast the ids to strings."
        for ids in (census.users["user_id"], census.items["item_id"])
        if ids.dtype == pl.UInt64 and len(ids) and int(ids[-1]) > 2**63 - 1
    ]
    if census.kept == 0 and not problems:
        problems.append(f"{name}: none of {rows} is left by the rules of [data]. See `tonearm check` for the reasons.")
    return problems


def _kinds(events: Events) -> dict[str, int]:
    if not events.kinded:
        return {}
    with reading(events.input.address):
        rows = events.table.select(pl.col("kind").drop_nulls().value_counts(sort=True)).unnest("kind")
        return dict(rows.collect(engine="streaming").sort("count", "kind", descending=[True, False]).rows())


def _ours(column: str) -> str:
    return "time" if column == "started_at" else column


def _used(events: Events) -> list[str]:
    return [_ours(name) for name in events.columns]


def _outside() -> pl.Expr:
    return ~pl.col("time").is_between(EARLIEST, LATEST)


def _bad_weight() -> pl.Expr:
    return ~(pl.col("weight").is_finite() & (pl.col("weight") > 0) & (pl.col("weight") <= HEAVIEST))


def _dropped_future(options: DataOptions, today: int) -> pl.Expr:
    return pl.col("time") > today if options.on_future != "keep" else pl.lit(False)


def _fine(events: Events, options: DataOptions, today: int) -> pl.Expr:
    fine = pl.all_horizontal(pl.col(_used(events)).is_not_null())
    if events.timed:
        fine = fine & ~_outside() & ~_dropped_future(options, today)
    if events.weighted:
        fine = fine & ~_bad_weight()
    return fine


def _bounds(row: dict[str, Any], column: str) -> tuple[int, int] | None:
    least, greatest = row[f"least_{column}"], row[f"greatest_{column}"]
    return (least, greatest) if isinstance(least, int) else None


def _undated(events: Events, rows: pl.LazyFrame, first: int | None) -> int:
    """Rows of 1970-01-01; a pass of its own, which hardly any log needs."""
    if first is None or first >= ZERO + DAY:
        return 0
    with reading(events.input.address):
        on_day = pl.col("time").is_between(ZERO, ZERO + DAY - 1).sum()
        return int(rows.select(on_day).collect(engine="streaming").item())


def _times(events: Events, rows: pl.Expr, cut: int | None) -> list[pl.Expr]:
    """First and last of some rows; but in a log of dates, of those before the cut also, with their times of day."""
    train = rows & (pl.col("time") < cut) if cut is not None else rows
    parts = [("all", "time", rows)]
    if not events.dates:
        parts += [("train", "time", train), ("clock", "clock", train)]
    return [
        getattr(pl.col(column).filter(some), end)().alias(f"{name}_{end}")
        for name, column, some in parts
        for end in ("min", "max")
    ]


def _whole_days(events: Events, row: dict[str, Any]) -> bool:
    if not events.timed or events.dates:
        return events.dates
    clock = row["clock_min"]
    on_several = clock is not None and row["train_min"] // DAY != row["train_max"] // DAY
    return clock is not None and clock == row["clock_max"] and (clock == 0 or on_several)


def _totals(events: Events, cut: int | None, options: DataOptions, today: int) -> list[pl.Expr]:
    used = _used(events)
    zero = pl.lit(0)
    totals = [
        pl.len().alias("rows"),
        *(pl.col(name).min().alias(f"least_{name}") for name in ("user_id", "item_id")),
        *(pl.col(name).max().alias(f"greatest_{name}") for name in ("user_id", "item_id")),
        *(pl.col(_ours(name)).null_count().alias(f"null_{name}") for name in events.columns),
        pl.any_horizontal(pl.col(used).is_null()).sum().alias("null_rows"),
        ((pl.col("time") > today).sum() if events.timed else zero).alias("futures"),
        ((_outside() & ~_dropped_future(options, today)).sum() if events.timed else zero).alias("outside"),
        (_bad_weight().sum() if events.weighted else zero).alias("bad_weights"),
    ]
    if events.timed:
        totals += _times(events, _fine(events, options, today), cut)
    return totals
