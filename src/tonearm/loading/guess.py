"""Guess which column holds what, by its name and by what it holds, for `tonearm check` to propose."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from tonearm.errors import DataError
from tonearm.loading.casts import SAMPLE, casts_for
from tonearm.loading.columns import EVENTS, ITEMS, KINDS, SHORT
from tonearm.loading.inputs import Source, find_column, open_input

NAMES = {
    "user_id": "user uid userid usr listener listenerid customer customerid member memberid account accountid visitor "
    "visitorid client clientid username profileid subscriber person personid reviewerid",
    "item_id": "item itemid iid track trackid song songid sku product productid movie movieid artistid articleid asin "
    "stockcode contentid video videoid book bookid show showid podcastid episodeid recordingid uri trackuri",
    "started_at": "startedat time ts timestamp date datetime day playedat listenedat eventtime eventdate createdat "
    "invoicedate endtime starttime utctime unixtime uts when t",
    "weight": "weight plays playcount count quantity qty listens times ms msplayed",
    "kind": "kind eventtype feedback",
    "name": "name title trackname itemname songname songtitle movietitle productname description",
    "genres": "genres genre style styles tags tag category categories",
    "artists": "artists artist artistname author authors band performer brand",
    "albums": "albums album albumname release collection",
}
"""What people call a column, letters and digits only."""

WIDE = 300
"""Columns, and letters of their longest name, from which on a table's are not guessed: to try each takes too long."""

PAST, AHEAD = datetime(1980, 1, 1).timestamp(), datetime(2060, 1, 1).timestamp()


def guess(source: Source, wanted: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """The caller's column for each of ours that the table seems to have under another name.

    wanted: `EVENTS` or `ITEMS`
    columns: those that the caller has named
    """
    opened = open_input(source, (), columns)
    if max([len(opened.schema), *map(len, opened.schema)]) > WIDE:
        return {}
    rows = opened.scan().head(SAMPLE).collect()
    taken: dict[str, str] = {}
    for name in wanted:
        try:
            found = find_column(opened, name)
        except DataError:
            continue
        if found is not None:
            taken[name] = found
    guessed: dict[str, str] = {}
    for name in wanted:
        if name in taken:
            continue
        free = [column for column in rows.columns if column not in taken.values()]
        fitting = [column for column in free if _holds(KINDS[name], rows[column])]
        known = NAMES[name].split()
        named = sorted((known.index(plain), column) for column in fitting if (plain := _plain(column)) in known)
        if named:
            guessed[name] = taken[name] = named[0][1]
    for name in ("started_at", "user_id", "item_id"):  # what no name tells, by what is left
        if name in wanted and name not in taken:
            free = [c for c in rows.columns if c not in taken.values() and _holds(KINDS[name], rows[c])]
            if len(free) == 1 or (free and name == "user_id"):
                guessed[name] = taken[name] = free[0]
    return guessed


def flag(guesses: Sequence[Mapping[str, str]], columns: Mapping[str, str]) -> str | None:
    """The value of --columns for what was guessed of some tables and what the caller named; None where a table needs
    another name than the next."""
    short = {full: name for name, full in SHORT.items()}
    joined = dict(columns)
    for some in guesses:
        for name, column in some.items():
            if joined.setdefault(short.get(name, name), column) != column:
                return None
    return ",".join(f"{name}={column}" for name, column in joined.items())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _holds(kind: str, values: pl.Series) -> bool:
    """Whether a column may be of a kind, by its type and its first rows."""
    dtype = values.dtype
    if kind == "id":
        return dtype.is_integer() or (dtype in (pl.String, pl.Binary) and not _holds("time", values))
    if kind in ("text", "labels"):
        return dtype == pl.String or (kind == "labels" and isinstance(dtype, pl.List))
    if dtype == pl.String:
        cast = casts_for({values.name: kind}, values.to_frame())[values.name]
        read = values.to_frame().select(cast.expression(False)).to_series()
        if read.null_count() > values.null_count() or read.null_count() == len(values):
            return False
        values, dtype = read, read.dtype
    if kind == "number":
        return dtype.is_numeric()
    if dtype.is_numeric():
        size = values.abs().median()
        return isinstance(size, int | float) and any(PAST <= size / unit <= AHEAD for unit in (1, 1e3, 1e6, 1e9))
    return isinstance(dtype, pl.Date | pl.Datetime) or dtype in (pl.Date, pl.Datetime)


def guess_all(logs: Mapping[str, Source], items: Source | None, columns: Mapping[str, str]) -> str | None:
    """The value of --columns that seems to fit the tables; None where they need none, or where it cannot be told."""
    tables = [(source, EVENTS) for source in logs.values()] + ([(items, ITEMS)] if items is not None else [])
    guesses = []
    for source, wanted in tables:
        try:
            guesses.append(guess(source, wanted, columns))
        except DataError:
            return None
    return flag(guesses, columns) if any(guesses) else None
