"""What is wrong with a file of text that the reader refuses: which lines, how many, and what to do."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from tonearm.errors import DataError
from tonearm.loading.files import PACKED, Parts, inside
from tonearm.terminal.words import counted

Fault = tuple[int, str]
"""A line, counted from 1, and what is wrong with it."""


def malformed(address: str, parts: Parts, error: Exception) -> DataError:
    """The error to raise where a file could not be read.

    error: what the reader said, which is told where nothing better is found
    """
    for file in parts.files:
        where = address if len(parts.files) == 1 else f"{address} ({inside(address, file)})"
        try:
            faults = _json_faults(file) if parts.form == "JSON lines" else _csv_faults(file, parts.separator)
            first = next(faults, None)
            others = sum(1 for _ in faults)
        except (OSError, pa.ArrowException) as packed:
            return DataError(f"{where}: cannot be unpacked ({packed}). Pack it anew.")
        if first is not None:
            lines = counted(others + 1, "line")
            line, what = first
            return DataError(f"{where}: {lines} cannot be read as {parts.form} (first: line {line:,}, {what}). {_MEND}")
    if isinstance(error, pl.exceptions.NoDataError):
        return DataError(f"{address}: the file is empty. Write the table anew, with its columns.")
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(f"{address}: cannot be read as {parts.form} ({reason}). Write it anew.")


_MEND = "Correct them, or write the table as parquet."


def _lines(file: str) -> io.TextIOWrapper:
    """The file unpacked, with what is no UTF-8 as lone surrogates."""
    packed = next((ending for ending in PACKED if file.lower().endswith(ending)), None)
    stream = pa.input_stream(str(Path(file)), compression={".gz": "gzip", ".zst": "zstd", None: None}[packed])
    return io.TextIOWrapper(io.BufferedReader(stream), "utf-8-sig", "surrogateescape", newline="")


def _csv_faults(file: str, separator: str) -> Iterator[Fault]:
    with _lines(file) as text:
        rows = csv.reader(text, delimiter=separator, strict=True)
        line = 1
        try:
            header = next(rows, [])
            for row in rows:
                line, before = rows.line_num, line
                if len(row) > len(header):
                    yield before + 1, f"{len(row)} fields where the header has {len(header)}"
                elif any(not field.isprintable() and _foreign(field) for field in row):
                    yield before + 1, "no UTF-8"
        except csv.Error as error:
            yield line + 1, "a quote that is not closed" if "end of data" in str(error) else str(error)


def _json_faults(file: str) -> Iterator[Fault]:
    with _lines(file) as text:
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:  # also objects within objects
                yield number, str(error)
                continue
            if not isinstance(value, dict):
                yield number, "no object in braces" + (", as in a JSON array" if line.lstrip()[0] == "[" else "")
            elif _foreign(line):
                yield number, "no UTF-8"


def _foreign(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)
