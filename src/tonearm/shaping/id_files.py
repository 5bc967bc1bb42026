"""Lists of ids, labels and times from outside, as they concern the items of a catalogue."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from tonearm.data.catalogue import Tags
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.loading.events import seconds
from tonearm.loading.files import local_path
from tonearm.loading.inputs import Source, find_column, is_id, open_input, reading
from tonearm.types import Bools, Int32s


def encode(items: Vocabulary, ids: Sequence[int | str] | pl.Series) -> Int32s:
    """Indices of ids of any type; −1 for unknown ones."""
    text = ids.cast(pl.String) if isinstance(ids, pl.Series) else pl.Series([str(i) for i in ids], dtype=pl.String)
    return items.encode(text.cast(items.ids.dtype, strict=False))


def with_label(tags: Tags, names: Sequence[str]) -> tuple[Bools, Bools]:
    """Which items carry one of some labels, and which of these exist; upper and lower case are the same."""
    labels = tags.labels.ids.str.to_lowercase()
    wanted = pl.Series([name.strip().lower() for name in names], dtype=pl.String)
    chosen = labels.is_in(wanted.implode()).to_numpy()
    mask = np.zeros(len(tags.indptr) - 1, np.bool_)
    mask[np.repeat(np.arange(len(mask)), np.diff(tags.indptr))[chosen[tags.index]]] = True
    return mask, wanted.is_in(labels.implode()).to_numpy()


def count_unknown(
    option: str, given: Sequence[int | str] | pl.Series, unknown: Bools, what: str, notes: list[str]
) -> None:
    if unknown.any():
        first = given[int(np.flatnonzero(unknown)[0])]
        notes.append(f"{option}: {int(unknown.sum()):,} of {len(given):,} {what} are unknown (first: {first})")


def ids_of(address: str, option: str) -> pl.Series:
    """The ids of a parquet file's item_id, or of a text file with one a line."""
    if not address.endswith((".parquet", "/")):
        try:
            lines = local_path(address).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{address}: cannot be read as text ({error}). Check {option}; parquet files end in .parquet."
            ) from error
        return pl.Series([line.strip() for line in lines if line.strip()], dtype=pl.String)
    return _table(address, []).to_series()


def bounds_of(source: Source, at: int, columns: Mapping[str, str] | None = None) -> tuple[pl.Series, Bools]:
    """Ids of a table, and whether a moment (in seconds) lies within the bounds of each."""
    table = _table(source, ["available_from", "available_until"], columns)
    lower, upper = (table[name] for name in ("available_from", "available_until"))
    return table["item_id"], ((lower <= at).fill_null(True) & (upper > at).fill_null(True)).to_numpy()


def _table(source: Source, times: list[str], columns: Mapping[str, str] | None = None) -> pl.DataFrame:
    """item_id of a table as strings, and some times in seconds, null where a column is missing."""
    opened = open_input(source, ("item_id", *times), columns)
    address = opened.address
    item = find_column(opened, "item_id")
    if item is None or not is_id(opened.schema[item]):
        raise DataError(f"{address}: no column item_id of integers or strings. It has {', '.join(opened.schema)}.")
    given = [name for name in times if name in opened.schema]
    if times and not given:
        raise DataError(
            f"{address}: neither {' nor '.join(times)}. It has {', '.join(opened.schema)}. Add one, or unset "
            "shape.availability."
        )
    for name in given:
        if not isinstance(opened.schema[name], pl.Date | pl.Datetime):
            raise DataError(f"{address}: {name} is of type {opened.schema[name]}, and must be a date or a datetime.")
    picked = [
        (seconds(name, opened.schema) if name in given else pl.lit(None, dtype=pl.Int64)).alias(name) for name in times
    ]
    with reading(address):
        rows = opened.scan().select(pl.col(item).cast(pl.String).alias("item_id"), *picked).collect()
    return rows.filter(pl.col("item_id").is_not_null())
