"""Open what the caller points at, files here or in a store, or a table in memory, as one lazy table."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from tonearm.errors import DataError
from tonearm.loading.casts import SAMPLE, apply, casts_for, misread
from tonearm.loading.columns import ALIASES, KINDS, full_names
from tonearm.loading.convert import Scratch, convert
from tonearm.loading.files import STORES, TEXTS, Parts, check_name, fit, local_files, one_form, remote_files
from tonearm.loading.malformed import malformed
from tonearm.loading.open_files import scan, schema_of, separator_of

BATCH = 4_000_000
"""Rows that are read at a time."""

WHOLE_HASH_BELOW = 256 * 1024 * 1024
"""Files up to this many bytes are hashed whole, larger ones by size, footer and the last MiB."""


@dataclass(frozen=True)
class Table:
    """A table in memory.

    name: what messages call it
    """

    name: str
    rows: pl.LazyFrame


@dataclass(frozen=True)
class Paths:
    """Several paths, folders, patterns or addresses that are one table.

    name: what messages call it
    """

    name: str
    paths: tuple[str, ...]


Source = str | Table | Paths
"""Where a table is: a path, folder, pattern or address, several of them, or in memory."""


@dataclass(frozen=True)
class Input:
    """One source, resolved.

    address: as the caller wrote it
    parts: its files; none for a table in memory
    schema: the columns of all files, and the keys in the names of their folders
    columns: the caller's column for some of ours, where it goes by another name
    rows: of a table in memory
    made: parquet files in place of its own, one for each, which later passes read; they go with `folder`
    fixes: what columns are read as
    """

    address: str
    parts: Parts
    schema: pl.Schema
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: pl.LazyFrame | None = None
    made: Parts | None = None
    folder: Scratch | None = None
    fixes: tuple[pl.Expr, ...] = ()

    def scan(self, place: int | None = None) -> pl.LazyFrame:
        """All rows, or those of one file, lazily."""
        if self.rows is not None:
            return self.rows.with_columns(self.fixes)
        parts = self.made or self.parts
        return scan(parts.files if place is None else (parts.files[place],), parts).with_columns(self.fixes)

    @property
    def text(self) -> bool:
        """Whether ids are integers only as they look so."""
        return self.parts.form in TEXTS

    def fixed(self, fixes: Sequence[pl.Expr]) -> "Input":
        """The same, some columns read as other types."""
        if not fixes:
            return self
        schema = pl.Schema({**self.schema, **pl.LazyFrame(schema=self.schema).select(fixes).collect_schema()})
        return replace(self, fixes=(*self.fixes, *fixes), schema=schema)


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
        settings = STORES.get(address.partition("://")[0])
        hint = f" and the {settings}* settings in the environment" if settings else ""
        raise DataError(f"{address}: cannot be read ({reason}). Check the file{hint}.") from error


def open_input(source: Source, wanted: Sequence[str] = tuple(KINDS), columns: Mapping[str, str] | None = None) -> Input:
    """Resolve a source and read its schema; text is read once, into parquet files in a temporary folder.

    wanted: our names of the columns that will be read; others stand in the schema, perhaps as text
    columns: what the caller calls some of them, as `parse_columns` gives it

    Raises:
        DataError: nothing there, of no form, no permission, files of one folder that do not fit together, or text
            that cannot be read.
    """
    names = full_names(columns or {})
    if isinstance(source, Table):
        with reading(source.name):
            schema = source.rows.collect_schema()
        opened = Input(source.name, Parts((), schema, "memory"), schema, names, source.rows)
    elif isinstance(source, Paths):
        opened = _files(source.name, source.paths, names)
    else:
        opened = _files(source, (source,), names)
    found = {name: column for name in wanted if (column := _present(opened, name)) is not None}
    # A key in the names of folders is no column of the files yet.
    kinds = {column: KINDS[name] for name, column in found.items() if column in opened.schema}
    with reading(opened.address):
        opened = _texts_read(opened, kinds)
        return opened.fixed([_bytes_as_text(opened, c) for c in kinds if opened.schema[c] == pl.Binary])


def _files(address: str, paths: Sequence[str], names: dict[str, str]) -> Input:
    """Local or remote files, as they are; address: what messages call them."""
    found: dict[str, str] = {}
    for path in paths:
        check_name(path)
        remote = "://" in path
        if remote and path.partition("://")[0] not in STORES:
            known = ", ".join(f"{store}://" for store in STORES if store != "http")
            raise DataError(f"{path}: only local paths and {known} addresses can be read. Copy the file.")
        with reading(path):
            files, form = remote_files(path, _paths) if remote else local_files(path)
        found |= dict.fromkeys(files, form)
    with reading(address):
        form = one_form(address, {form: file for file, form in reversed(found.items())})
        bare = Parts(tuple(found), pl.Schema(), form)
        try:
            bare = replace(bare, separator=separator_of(bare))
            parts = fit(address, bare, lambda file: schema_of(file, bare))
        except (pl.exceptions.PolarsError, OSError) as error:
            if form not in TEXTS or remote or isinstance(error, PermissionError):
                raise
            raise malformed(address, bare, error) from error
        schema = scan(parts.files, parts).collect_schema() if form == "parquet" else parts.schema
    return Input(address, parts, schema, names)


def _paths(pattern: str, form: str) -> pl.LazyFrame:
    return scan((pattern,), Parts((pattern,), pl.Schema(), form), paths="path")


def _texts_read(opened: Input, kinds: Mapping[str, str]) -> Input:
    """Text as what its columns hold."""
    texts = {c: kind for c, kind in kinds.items() if opened.schema[c] == pl.String and kind in ("time", "number")}
    if not kinds or (opened.parts.form in ("parquet", "memory") and not texts):
        return opened
    if opened.rows is not None:
        named = opened.rows.select(list(texts))
        casts = casts_for(texts, named.filter(pl.any_horizontal(pl.all().is_not_null())).head(SAMPLE).collect())
        problems = misread(casts, opened.address, [(opened.address, named)])
        if problems:
            raise DataError("\n".join(problems.values()))
        return opened.fixed(apply(casts, list(casts)))
    parts = opened.parts
    folder, files = convert(opened.address, parts, kinds, lambda file: scan((file,), parts))
    bare = Parts(files, pl.Schema())
    made = fit(str(folder.path), bare, lambda file: schema_of(file, bare))
    schema = pl.Schema({**opened.schema, **scan(files, made).collect_schema()})
    return replace(opened, schema=schema, made=made, folder=folder)


def _present(source: Input, name: str) -> str | None:
    """The column that `find_column` would find, None where it would raise."""
    try:
        return find_column(source, name)
    except DataError:
        return None


def _bytes_as_text(source: Input, column: str) -> pl.Expr:
    """Bytes as the text that they are, as a UUID where there are 16, else as hexadecimal; a sample decides."""
    sample = source.scan().select(pl.col(column)).filter(pl.col(column).is_not_null()).head(SAMPLE).collect()[column]
    try:
        sample.cast(pl.String)
    except pl.exceptions.PolarsError:
        code = pl.col(column).bin.encode("hex")
        if not (sample.bin.size() == 16).all():
            return code
        pieces = [code.str.slice(start, length) for start, length in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
        return pl.concat_str(pieces, separator="-").alias(column)
    return pl.col(column).cast(pl.String)


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
    if source.columns.get(name) in source.schema:
        return source.columns[name]
    if name in source.schema:
        return name
    found = [alias for alias in ALIASES.get(name, ()) if alias in source.schema]
    if len(found) > 1:
        both = " and ".join(found)
        raise DataError(f"{source.address}: {both} could both be {name}. Rename the one you mean to {name}.")
    return found[0] if found else None


def fingerprint(source: Input, rows: int) -> Fingerprint:
    """Digest of an input: all bytes of small files; size and last MiB (which holds the footer) of large ones."""
    if not source.parts.files:
        return Fingerprint(source.address, rows, None, None, "nothing: a table in memory, told by its rows only")
    if any("://" in file for file in source.parts.files):
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


def shown(moment: datetime) -> str:
    """A moment as messages show it: the date alone at midnight."""
    return moment.date().isoformat() if moment.time() == datetime.min.time() else moment.isoformat(sep=" ")


def missing(source: Input, name: str) -> str:
    """A sentence on a column that is not there."""
    aliases = ALIASES.get(name, ())
    also = f" (or {' or '.join(aliases)})" if aliases else ""
    has = ", ".join(source.schema)
    mend = "Rename the one that is meant."
    if source.parts.form in ("CSV", "TSV") and not any(column[:1].isalpha() for column in source.schema):
        mend = "Its first line is taken for the names of columns: write them there."
    return f"{source.address}: no column {name}{also}. It has {has}. {mend}"


def is_id(dtype: pl.DataType) -> bool:
    """Whether ids may be of this type."""
    narrow = dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128)
    return narrow or dtype in (pl.String, pl.Categorical, pl.Enum)
