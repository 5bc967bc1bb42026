"""What a caller passes as a table, taken in at the edge: paths and addresses, or tables of any library in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from tonearm.errors import ConfigError, DataError
from tonearm.loading.files import local_path
from tonearm.loading.inputs import Paths, Source, Table, find_column, open_input, reading


class ArrowTable(Protocol):
    """Whatever hands its columns over as Arrow: tables of pandas, Polars and Arrow, relations of DuckDB, and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The PyCapsule interface of Arrow."""
        ...


Tabular = str | Path | Sequence[str | Path] | pl.LazyFrame | ArrowTable
"""A path, address or list of them, or a table of pandas, Polars (eager or lazy), Arrow or DuckDB."""


def as_source(given: Tabular | Source, name: str) -> Source:
    """What `open_input` opens.

    name: what messages call a table that has no path

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(given, str | Path):
        return str(given)
    if isinstance(given, Table | Paths):
        return given
    if isinstance(given, list | tuple) and given and all(isinstance(path, str | Path) for path in given):
        return Paths(name, tuple(map(str, given)))
    if isinstance(given, pl.LazyFrame):
        return Table(name, given)
    if hasattr(given, "__arrow_c_stream__"):
        return Table(name, pl.DataFrame(given).lazy())
    raise ConfigError(
        f"{name} is of type {type(given).__name__}. Pass a table of pandas, Polars, Arrow or DuckDB, a path, an "
        "address or a list of paths."
    )


def ids_in_file(path: str, column: str) -> pl.Series:
    """The ids of one column of a table, or of a text file (.txt) with one a line, which are strings then.

    Raises:
        DataError: the file cannot be read, or has no such column.
    """
    if path.endswith(".txt"):
        try:
            lines = local_path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as text ({error}). Give one id a line.") from error
        return pl.Series(column, [line.strip() for line in lines if line.strip()], dtype=pl.String)
    source = open_input(path, (column,))
    found = find_column(source, column)
    if found is None:
        raise DataError(f"{path}: no column {column}. It has {', '.join(source.schema)}. Text files end in .txt.")
    with reading(source.address):
        return source.scan().select(pl.col(found).alias(column)).collect().to_series()


def address_of(source: Source) -> str:
    """What a table is called: its address, or its name where it is in memory."""
    return source if isinstance(source, str) else source.name
