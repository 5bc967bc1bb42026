"""Text as what a column must hold: ids, times and numbers, and the rows that hold something else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

SAMPLE = 10_000
"""Rows that tell what a column of text holds."""

FORMATS = (
    "%Y-%m-%d",
    *(
        f"%Y-%m-%d{between}%H:%M{rest}"
        for between in ("T", " ")
        for rest in (":%S%.f", "", ":%S%.f %#z", ":%S%.f UTC", " %#z")
    ),
)
"""Dates and times of ISO 8601, without a zone, with an offset or Z, and in UTC."""

Part = tuple[str, pl.LazyFrame]
"""A name for messages, and rows."""


@dataclass(frozen=True)
class Cast:
    """What becomes of a column of text.

    expression: of whether to raise where a value cannot be read, instead of leaving null
    wanted: what each value should have been, in words
    whole: ids as integers, which become text again where one of them is not
    """

    expression: Callable[[bool], pl.Expr]
    wanted: str
    whole: bool = False


def casts_for(kinds: Mapping[str, str], sample: pl.DataFrame, texts: Sequence[str] = ()) -> dict[str, Cast]:
    """What becomes of each column of text in a sample; of columns that are no text, nothing.

    kinds: what each column is to hold, as `columns.KINDS` says
    texts: ids that stay text, whatever they look like
    """
    casts = {}
    for column, kind in kinds.items():
        if column not in sample.columns or sample[column].dtype != pl.String:
            continue
        values = sample[column].drop_nulls()
        if kind == "id" and column not in texts and not _bad(_whole(column), column, values):
            casts[column] = _whole(column)
        elif kind == "number":
            casts[column] = _number(column, pl.Float64(), "a number")
        elif kind == "time":
            casts[column] = _time(column, values)
    return casts


def apply(casts: Mapping[str, Cast], columns: Sequence[str]) -> list[pl.Expr]:
    """Some columns after their casts, which raise where a value cannot be read."""
    return [casts[column].expression(True) if column in casts else pl.col(column) for column in columns]


def misread(casts: Mapping[str, Cast], address: str, parts: Sequence[Part]) -> dict[str, str]:
    """A sentence on each column with values that its cast cannot read: how many, and the first."""
    said = {}
    for column, cast in casts.items():
        bad, total, first = 0, 0, ""
        for name, rows in parts:
            if column not in rows.collect_schema():
                continue
            wrong = pl.col(column).is_not_null() & cast.expression(False).is_null()
            found = rows.select(
                pl.len().alias("rows"),
                wrong.sum().alias("bad"),
                wrong.arg_true().first().alias("row"),
                pl.col(column).filter(wrong).first().alias("value"),
            ).collect(engine="streaming")
            row = found.row(0, named=True)
            if row["bad"] and not bad:
                where = f" of {name}" if len(parts) > 1 else ""
                first = f"(first: row {row['row'] + 1:,}{where}, '{row['value']}')"
            bad, total = bad + row["bad"], total + row["rows"]
        if bad:
            said[column] = (
                f"{address}: {bad:,} of {total:,} rows have a {column} that is not {cast.wanted} {first}. "
                "Correct them, or leave these fields empty."
            )
    return said


def _whole(column: str) -> Cast:
    """Integers that come back as they were written: no plus, no zeros before, nothing above 64 bits."""
    text = pl.col(column)
    odd = (text.str.starts_with("0") & (text.str.len_bytes() > 1)) | text.str.contains(r"^(\+|-0)")
    return Cast(
        lambda strict: pl.when(odd).then(pl.lit("odd")).otherwise(text).cast(pl.Int64, strict=strict).alias(column),
        "an integer",
        whole=True,
    )


def _number(column: str, dtype: pl.DataType, wanted: str) -> Cast:
    return Cast(lambda strict: pl.col(column).cast(dtype, strict=strict), wanted)


def _time(column: str, sample: pl.Series) -> Cast:
    """Seconds or finer units since 1970 where the sample is numbers, else the form that reads most of it."""
    numbers = [_number(column, dtype, "a number of seconds since 1970") for dtype in (pl.Int64(), pl.Float64())]
    times = [_moment(column, form) for form in FORMATS]
    return min((*times, *numbers), key=lambda cast: _bad(cast, column, sample))


def _moment(column: str, form: str) -> Cast:
    text = pl.col(column).str
    example = form.replace("%Y-%m-%d", "2022-12-16").replace("%H:%M", "09:30").replace(":%S%.f", ":00")
    wanted = f"a time such as {example.replace(' %#z', '+03:00')}"
    if form == "%Y-%m-%d":
        return Cast(lambda strict: text.to_date(form, strict=strict), f"a date such as {example}")
    return Cast(lambda strict: text.to_datetime(form, time_unit="us", strict=strict), wanted)


def _bad(cast: Cast, column: str, values: pl.Series) -> int:
    """How many values a cast cannot read."""
    return int(values.to_frame(column).select(cast.expression(False).null_count()).item())
