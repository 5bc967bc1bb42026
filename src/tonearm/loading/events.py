"""A log as the caller gave it: which columns it has, and its rows under our names and units."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import available_timezones

import polars as pl

from tonearm.data.times import DAY, EPOCH
from tonearm.errors import DataError
from tonearm.loading.casts import SAMPLE
from tonearm.loading.columns import EVENTS
from tonearm.loading.files import inside
from tonearm.loading.inputs import Input, Source, find_column, is_id, missing, open_input

UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
"""What a number since 1970 may count, and how many make a second."""

_UNIT = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True)
class Events:
    """A log as the caller gave it, its columns found.

    columns: our name of each used column -> the caller's
    unit: of times that are numbers since 1970, one of `UNITS`
    """

    input: Input
    columns: dict[str, str]
    unit: str | None = None

    @property
    def timed(self) -> bool:
        return "started_at" in self.columns

    @property
    def dates(self) -> bool:
        """Whether times are dates."""
        return self.timed and self.input.schema[self.columns["started_at"]] == pl.Date

    @property
    def kinded(self) -> bool:
        """Whether rows say what kind of feedback they are."""
        return "kind" in self.columns

    @property
    def weighted(self) -> bool:
        """Whether rows count differently, by a weight of their own or by their kind."""
        return "weight" in self.columns or self.kinded

    def as_text(self, name: str) -> "Events":
        """The same, with a column of ids as strings."""
        return replace(self, input=self.input.fixed([pl.col(self.columns[name]).cast(pl.String)]))

    def whole(self, name: str) -> bool:
        """Whether a column of ids holds integers."""
        return self.input.schema[self.columns[name]].is_integer()

    @property
    def item_type(self) -> pl.DataType:
        """The type of item ids in `table`."""
        dtype = self.input.schema[self.columns["item_id"]]
        return dtype if dtype.is_integer() else pl.String()

    @property
    def table(self) -> pl.LazyFrame:
        """Columns user_id, item_id, and if present time (int64 seconds since `EPOCH`), clock, weight, kind."""
        return self.canonical(self.input.scan())

    def canonical(self, scan: pl.LazyFrame) -> pl.LazyFrame:
        """The used columns of some of the input's rows under our names and units, and `clock` beside times."""
        schema = self.input.schema
        picked = [_id(name, self.columns[name], schema) for name in ("user_id", "item_id")]
        if self.timed:
            picked.append(seconds(self.columns["started_at"], schema, self.unit).alias("time"))
            picked.append(_clock(self.columns["started_at"], schema, self.unit).alias("clock"))
        if self.weighted:
            weight = pl.col(self.columns["weight"]) if "weight" in self.columns else pl.lit(1)
            picked.append(weight.cast(pl.Float32).alias("weight"))
        if self.kinded:
            picked.append(pl.col(self.columns["kind"]).cast(pl.String).str.to_lowercase().alias("kind"))
        return scan.select(picked)

    def first_row(self, condition: pl.Expr) -> str:
        """Where the condition holds first: 'row 317', or 'row 3 of part-2.parquet' in a folder; rows count from 1."""
        files = self.input.parts.files
        for place in range(max(1, len(files))):
            rows = self.input.scan(place if files else None)
            part = self.canonical(rows).with_row_index("row").filter(condition)
            found = part.select("row").head(1).collect()["row"]
            if len(found):
                where = f" of {inside(self.input.address, files[place])}" if len(files) > 1 else ""
                return f"row {found[0] + 1:,}{where}"
        return "row unknown"


def open_events(source: Source, columns: Mapping[str, str] | None = None) -> Events:
    """Open a log and find its columns.

    columns: as `open_input`

    Raises:
        DataError: as `open_input`; or user_id or item_id is missing, two columns compete for one role, or a type
            is none that we read. All problems with the columns stand in one message, a line each.
    """
    opened = open_input(source, EVENTS, columns)
    found: dict[str, str] = {}
    problems = []
    for name in EVENTS:
        try:
            column = find_column(opened, name)
            if column is not None:
                _check_type(opened, name, column)
                found[name] = column
            elif name in ("user_id", "item_id"):
                raise DataError(missing(opened, name))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    time = found.get("started_at")
    numbers = time is not None and opened.schema[time].is_numeric()
    return Events(opened, found, unit_of(opened, time) if numbers and time is not None else None)


def require_time(events: Events) -> bool:
    """True; raises DataError where a cut by time is asked of a log without time."""
    if not events.timed:
        raise DataError(missing(events.input, "started_at"))
    return True


def _check_type(source: Input, name: str, column: str) -> None:
    dtype = source.schema[column]
    if name in ("user_id", "item_id"):
        right = is_id(dtype)
        wanted = "an integer of at most 64 bits or a string"
    elif name == "started_at":
        right = isinstance(dtype, pl.Date | pl.Datetime) or dtype in (pl.Date, pl.Datetime) or dtype.is_numeric()
        wanted = "a date, a datetime, or a number since 1970"
    elif name == "kind":
        right = dtype in (pl.String, pl.Categorical, pl.Enum)
        wanted = "a string"
    else:
        right = dtype.is_numeric()
        wanted = "a number"
    if not right:
        raise DataError(f"{source.address}: {column} is of type {dtype}, and {name} must be {wanted}. Cast it first.")


def _id(name: str, column: str, schema: pl.Schema) -> pl.Expr:
    values = pl.col(column)
    return (values if schema[column].is_integer() else values.cast(pl.String)).alias(name)


def unit_of(source: Input, column: str) -> str:
    """What numbers since 1970 count, by how large most of the first are; seconds reach to the year 5138."""
    some = source.scan().select(pl.col(column).abs()).filter(pl.col(column).is_finite()).head(SAMPLE).collect()
    size = some[column].median() or 0
    assert isinstance(size, float | int)
    return next((unit for unit, per_second in UNITS.items() if size < 1e11 * per_second), "nanoseconds")


def seconds(column: str, schema: pl.Schema, unit: str | None = None) -> pl.Expr:
    """A column of dates, datetimes or numbers of a unit as whole seconds since `EPOCH`; int64."""
    dtype = schema[column]
    start = int((EPOCH - datetime(1970, 1, 1)).total_seconds())
    if unit is not None:
        number = pl.col(column) if dtype.is_integer() else pl.col(column).floor()
        return (number // UNITS[unit]).cast(pl.Int64, strict=False) - start
    number = pl.col(column).cast(pl.Int64)
    if isinstance(dtype, pl.Datetime):
        return number // _UNIT[dtype.time_unit] - start
    return number * DAY - start


def _clock(column: str, schema: pl.Schema, unit: str | None) -> pl.Expr:
    """The time of day in the column's own zone, in seconds; what nobody selects is not computed."""
    dtype = schema[column]
    if isinstance(dtype, pl.Datetime) and dtype.time_zone in available_timezones() - {"UTC"}:
        return pl.col(column).dt.replace_time_zone(None).dt.epoch("s") % DAY
    return seconds(column, schema, unit) % DAY
