"""What a caller passes as a table, taken in at the edge: paths and addresses, or tables of any library in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from tonearm.errors import ConfigError
from tonearm.loading.inputs import Paths, Source, Table


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


def address_of(source: Source) -> str:
    """What a table is called: its address, or its name where it is in memory."""
    return source if isinstance(source, str) else source.name
