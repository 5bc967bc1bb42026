"""Files of each form as lazy tables."""

import os
from collections.abc import Sequence

import polars as pl

from tonearm.loading.casts import SAMPLE
from tonearm.loading.files import STORES, TEXTS, Parts, is_pattern, visible

NULLS = ["", "NULL", "\\N"]
"""What stands for a missing value in CSV and TSV."""


_PATH = "the file that a row is of"


def scan(files: Sequence[str], parts: Parts, paths: str | None = None) -> pl.LazyFrame:
    """The rows of some files of a table, with the columns and types that all of them together have.

    CSV and TSV come as text, numbers of JSON lines too; other forms than parquet are scanned a file at a time.

    paths: a column for the file that each row is of
    """
    options = storage_options(files[0])
    pattern = files[0] if parts.form in TEXTS and is_pattern(files[0]) else None
    if pattern is not None and paths is None:  # of a store, as local ones are resolved
        return scan(files, parts, _PATH).filter(visible(pattern, _PATH)).drop(_PATH)
    if parts.form == "parquet":
        return _parquet(files, parts, paths, options)
    if parts.form == "Arrow":
        return pl.scan_ipc(
            list(files), hive_partitioning=False, include_file_paths=paths, storage_options=options, glob=_remote(files)
        )
    if parts.form == "JSON lines":
        schema = {c: dtype if isinstance(dtype, pl.List) else pl.String() for c, dtype in parts.schema.items()}
        return pl.scan_ndjson(
            list(files),
            schema=schema or None,
            infer_schema_length=SAMPLE,
            include_file_paths=paths,
            storage_options=options,
        )
    return pl.scan_csv(
        list(files),
        separator=parts.separator,
        infer_schema=False,
        null_values=NULLS,
        include_file_paths=paths,
        storage_options=options,
        glob=_remote(files),
    )


def separator_of(parts: Parts) -> str:
    """What stands between the fields of text: a tab in TSV, in CSV what the first line has most of."""
    if parts.form == "TSV":
        return "\t"
    if parts.form != "CSV":
        return ","
    first = pl.scan_lines(parts.files[0], storage_options=storage_options(parts.files[0])).head(1).collect()["line"]
    return max((",", ";", "\t", "|"), key="".join(first).count)


def schema_of(file: str, bare: Parts) -> pl.Schema:
    """The columns of one file; of JSON lines, those that hold something among the first."""
    schema = scan((file,), bare).collect_schema()
    return pl.Schema({column: dtype for column, dtype in schema.items() if dtype != pl.Null or bare.form == "parquet"})


def storage_options(address: str) -> dict[str, str] | None:
    """The settings of the environment for the store of an address, None for a local one."""
    store, _, place = address.partition("://")
    begin = STORES[store] if place else ""
    return {
        name.lower(): value for name, value in os.environ.items() if begin and name.startswith(begin) and value
    } or None


def _remote(files: Sequence[str]) -> bool:
    return "://" in files[0]


def _parquet(files: Sequence[str], parts: Parts, paths: str | None, options: dict[str, str] | None) -> pl.LazyFrame:
    several = not parts.uniform
    return pl.scan_parquet(
        list(files),
        hive_partitioning=len(parts.keys) > 0,
        glob=_remote(files),
        schema=parts.schema if several else None,
        missing_columns="insert" if several else "raise",
        extra_columns="ignore",
        cast_options=pl.ScanCastOptions(integer_cast="upcast", float_cast="upcast") if several else None,
        include_file_paths=paths,
        storage_options=options,
    )
