"""Open what the caller points at, a parquet file, a folder, a glob or an s3:// address, as one lazy table."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import available_timezones

import polars as pl

from tonearm.data.times import DAY, EPOCH
from tonearm.errors import DataError
from tonearm.loading.files import Parts, check_name, fit, inside, local_files, remote_files

ALIASES = {"item_id": ("track_id",), "started_at": ("timestamp", "datetime")}
"""Other names that a column may come under; the first name is preferred where both are there."""

BATCH = 4_000_000
"""Rows that are read at a time."""

WHOLE_HASH_BELOW = 256 * 1024 * 1024
"""Files up to this many bytes are hashed whole, larger ones by size, footer and the last MiB."""

_UNIT = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True)
class Input:
    """One address, resolved.

    address: as the caller wrote it
    schema: the columns of all files, and the keys in the names of their folders
    """

    address: str
    parts: Parts
    remote: bool
    schema: pl.Schema

    def scan(self, files: Sequence[str] | None = None) -> pl.LazyFrame:
        """All rows, or those of some of the files, lazily."""
        return _open(files or self.parts.files, self.remote, self.parts)


@dataclass(frozen=True)
class Fingerprint:
    """What tells one input from another.

    bytes: total size, None for a remote address
    sha256: digest, None for a remote address
    hashed: what the digest covers, in words
    """

    path: str
    rows: int
    bytes: int | None
    sha256: str | None
    hashed: str


@dataclass(frozen=True)
class Events:
    """A log as the caller gave it, its columns found.

    columns: our name of each used column -> the caller's
    """

    input: Input
    columns: dict[str, str]

    @property
    def timed(self) -> bool:
        return "started_at" in self.columns

    @property
    def dates(self) -> bool:
        """Whether times are dates."""
        return self.timed and self.input.schema[self.columns["started_at"]] == pl.Date

    @property
    def weighted(self) -> bool:
        return "weight" in self.columns

    @property
    def item_type(self) -> pl.DataType:
        """The type of item ids in `table`."""
        dtype = self.input.schema[self.columns["item_id"]]
        return dtype if dtype.is_integer() else pl.String()

    @property
    def table(self) -> pl.LazyFrame:
        """Columns user_id, item_id, and if present time (int64 seconds since `EPOCH`), clock and weight (float32)."""
        return self.canonical(self.input.scan())

    def canonical(self, scan: pl.LazyFrame) -> pl.LazyFrame:
        """The used columns of some of the input's rows under our names and units, and `clock` beside times."""
        schema = self.input.schema
        picked = [_id(name, self.columns[name], schema) for name in ("user_id", "item_id")]
        if self.timed:
            picked.append(seconds(self.columns["started_at"], schema).alias("time"))
            picked.append(_clock(self.columns["started_at"], schema).alias("clock"))
        if self.weighted:
            picked.append(pl.col(self.columns["weight"]).cast(pl.Float32).alias("weight"))
        return scan.select(picked)

    def first_row(self, condition: pl.Expr) -> str:
        """Where the condition holds first: 'row 317', or 'row 3 of part-2.parquet' in a folder; rows count from 1."""
        files = self.input.parts.files
        for file in files:
            part = self.canonical(self.input.scan((file,))).with_row_index("row").filter(condition)
            found = part.select("row").head(1).collect()["row"]
            if len(found):
                where = f" of {inside(self.input.address, file)}" if len(files) > 1 else ""
                return f"row {found[0] + 1:,}{where}"
        return "row unknown"


def first_row(table: pl.DataFrame, condition: pl.Expr) -> str:
    """The first row of a table where a condition holds, counted from 1: 'row 317'."""
    return f"row {table.select(condition.arg_true().first()).item() + 1:,}"


def batches(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows in pieces of about `BATCH`, in any order."""
    return iter(rows.collect_batches(chunk_size=BATCH, maintain_order=False, engine="streaming"))


@contextmanager
def reading(address: str) -> Iterator[None]:
    """Turn what goes wrong while reading into a DataError that names the address."""
    try:
        yield
    except PermissionError as error:
        raise DataError(f"{address}: no permission to read it. Change its mode, or run as a user who may.") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = " and the AWS_* settings in the environment" if "://" in address else ""
        raise DataError(f"{address}: cannot be read ({reason}). Check the file{hint}.") from error


def open_input(address: str) -> Input:
    """Resolve an address and read its schema.

    Raises:
        DataError: nothing there, not parquet, no permission, or files of one folder that do not fit together.
    """
    check_name(address)
    remote = "://" in address
    if remote and not address.startswith("s3://"):
        raise DataError(f"{address}: only local paths and s3:// addresses can be read. Copy the file, or use s3://.")
    with reading(address):
        files = (
            remote_files(address, lambda some: _open(some, remote, paths="path")) if remote else local_files(address)
        )
        parts = fit(address, files, lambda file: _open((file,), remote).collect_schema())
        schema = _open(files, remote, parts).collect_schema()
    return Input(address, parts, remote, schema)


def open_events(address: str) -> Events:
    """Open a log and find its columns.

    Raises:
        DataError: as `open_input`; or user_id or item_id is missing, two columns compete for one role, or a type
            is none that we read. All problems with the columns stand in one message, a line each.
    """
    source = open_input(address)
    columns: dict[str, str] = {}
    problems = []
    for name in ("user_id", "item_id", "started_at", "weight"):
        try:
            found = find_column(source, name)
            if found is not None:
                _check_type(source, name, found)
                columns[name] = found
            elif name in ("user_id", "item_id"):
                raise DataError(_missing(source, name))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return Events(source, columns)


def find_column(source: Input, name: str) -> str | None:
    """The caller's column for one of ours: the name itself, else its alias, else None.

    Folders named `date=2022-01-01` give the time where no column does.

    Raises:
        DataError: several aliases are there and the name itself is not; or the files hold it in types that do not fit.
    """
    found = _named(source, name)
    if found is None and name == "started_at" and "date" in source.parts.keys:
        return "date"
    if found in source.parts.clashes:
        raise DataError(source.parts.clashes[found])
    return found


def _named(source: Input, name: str) -> str | None:
    if name in source.schema:
        return name
    found = [alias for alias in ALIASES.get(name, ()) if alias in source.schema]
    if len(found) > 1:
        both = " and ".join(found)
        raise DataError(f"{source.address}: {both} could both be {name}. Rename the one you mean to {name}.")
    return found[0] if found else None


def require_time(events: Events) -> bool:
    """True; raises DataError where a cut by time is asked of a log without time."""
    if not events.timed:
        raise DataError(_missing(events.input, "started_at"))
    return True


def fingerprint(source: Input, rows: int) -> Fingerprint:
    """Digest of an input: all bytes of small files; size and last MiB (which holds the footer) of large ones."""
    if source.remote:
        return Fingerprint(source.address, rows, None, None, "nothing: a remote address, told by its rows only")
    digest, total, whole = hashlib.sha256(), 0, True
    for file in source.parts.files:
        with reading(source.address), Path(file).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            total += size
            if size > WHOLE_HASH_BELOW:
                whole = False
                digest.update(size.to_bytes(8, "little"))
                stream.seek(size - 1024 * 1024)
            while chunk := stream.read(1024 * 1024):
                digest.update(chunk)
    hashed = "all bytes" if whole else "all bytes; of files above 256 MiB the size and the last MiB"
    return Fingerprint(source.address, rows, total, digest.hexdigest(), hashed)


def storage_options() -> dict[str, str]:
    """The AWS_* settings of the environment, for s3:// addresses."""
    return {name.lower(): value for name, value in os.environ.items() if name.startswith("AWS_") and value}


def shown(moment: datetime) -> str:
    """A moment as messages show it: the date alone at midnight."""
    return moment.date().isoformat() if moment.time() == datetime.min.time() else moment.isoformat(sep=" ")


def _open(files: Sequence[str], remote: bool, parts: Parts | None = None, paths: str | None = None) -> pl.LazyFrame:
    """The rows of some files, with the columns and types that all of them together have.

    paths: a column for the file that each row is of
    """
    several = parts is not None and not parts.uniform
    widen = pl.ScanCastOptions(integer_cast="upcast", float_cast="upcast") if several else None
    return pl.scan_parquet(
        list(files),
        hive_partitioning=parts is not None and len(parts.keys) > 0,
        glob=remote,
        schema=parts.schema if parts is not None and several else None,
        missing_columns="insert" if several else "raise",
        extra_columns="ignore",
        cast_options=widen,
        include_file_paths=paths,
        storage_options=storage_options() if remote else None,
    )


def _missing(source: Input, name: str) -> str:
    aliases = ALIASES.get(name, ())
    also = f" (or {' or '.join(aliases)})" if aliases else ""
    return f"{source.address}: no column {name}{also}. It has {', '.join(source.schema)}. Rename the one that is meant."


def _check_type(source: Input, name: str, column: str) -> None:
    dtype = source.schema[column]
    if name in ("user_id", "item_id"):
        right = is_id(dtype)
        wanted = "an integer of at most 64 bits or a string"
    elif name == "started_at":
        right = isinstance(dtype, pl.Date | pl.Datetime) or dtype in (pl.Date, pl.Datetime)
        wanted = "a date or a datetime"
    else:
        right = dtype.is_numeric()
        wanted = "a number"
    if not right:
        raise DataError(f"{source.address}: {column} is of type {dtype}, and {name} must be {wanted}. Cast it first.")


def is_id(dtype: pl.DataType) -> bool:
    """Whether ids may be of this type."""
    narrow = dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128)
    return narrow or dtype in (pl.String, pl.Categorical, pl.Enum)


def _id(name: str, column: str, schema: pl.Schema) -> pl.Expr:
    values = pl.col(column)
    return (values if schema[column].is_integer() else values.cast(pl.String)).alias(name)


def seconds(column: str, schema: pl.Schema) -> pl.Expr:
    """A column of dates or datetimes as whole seconds since `EPOCH`; int64."""
    dtype = schema[column]
    number = pl.col(column).cast(pl.Int64)
    start = int((EPOCH - datetime(1970, 1, 1)).total_seconds())
    if isinstance(dtype, pl.Datetime):
        return number // _UNIT[dtype.time_unit] - start
    return number * DAY - start


def _clock(column: str, schema: pl.Schema) -> pl.Expr:
    """The time of day in the column's own zone, in seconds; what nobody selects is not computed."""
    dtype = schema[column]
    if isinstance(dtype, pl.Datetime) and dtype.time_zone in available_timezones() - {"UTC"}:
        return pl.col(column).dt.replace_time_zone(None).dt.epoch("s") % DAY
    return seconds(column, schema) % DAY
