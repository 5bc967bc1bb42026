"""Item vectors, as a column of the catalogue or in a file of their own, by item index."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.loading.inputs import Input, Source, find_column, first_row, missing, open_input, reading
from tonearm.types import Float32s


@dataclass(frozen=True)
class VectorsFound:
    """Vectors of items.

    rows: of the table they are in; items: those that have one; numbers: in each
    """

    path: str
    rows: int
    items: int
    numbers: int


@dataclass(frozen=True)
class ItemVectors:
    """Vectors by item id.

    ids: distinct, of any type; values: (n, d) float32, finite
    """

    input: Input
    ids: pl.Series
    values: Float32s
    found: VectorsFound

    def lay_out(self, vocabulary: Vocabulary) -> Float32s:
        """(n_items, d) float32, zeros for an item without a vector; those of unknown items are left out.

        Raises:
            DataError: all of them are unknown.
        """
        place = vocabulary.encode(self.ids.cast(vocabulary.ids.dtype, strict=False))
        if not (place >= 0).any():
            raise DataError(
                f"{self.found.path}: none of its {self.found.items:,} items with a vector is one of the log or the "
                "catalogue. Give all the same ids."
            )
        out = np.zeros((len(vocabulary), self.found.numbers), np.float32)
        out[place[place >= 0]] = self.values[place >= 0]
        return out


def open_vectors(given: Source, columns: Mapping[str, str] | None = None) -> ItemVectors | None:
    """Read the columns item_id and vector of a table; None where no row has a vector.

    Raises:
        DataError: a column is missing or of a wrong type; an id is missing or stands twice; vectors differ in length,
            or hold what is no finite number.
    """
    source = open_input(given, ("item_id", "vector"), columns)
    address, item, column = source.address, find_column(source, "item_id"), find_column(source, "vector")
    for name, found in (("item_id", item), ("vector", column)):
        if found is None:
            raise DataError(missing(source, name))
    assert item is not None
    assert column is not None
    kind = source.schema[column]
    numbers = isinstance(kind, pl.List | pl.Array) and kind.inner is not None and _is_number(kind.inner)
    if not numbers and kind != pl.String:
        raise DataError(f"{address}: {column} is of type {kind}, and must be a list of numbers. Cast it first.")
    parsed = pl.col(column).cast(pl.List(pl.Float32)) if numbers else _parsed(column)
    with reading(address):
        whole = source.scan().select(pl.col(item).alias("item_id"), parsed.alias("vector")).collect()
    return _checked(source, whole)


def _checked(source: Input, whole: pl.DataFrame) -> ItemVectors | None:
    address, rows = source.address, len(whole)
    there = pl.col("vector").is_not_null() & (pl.col("vector").list.len() > 0)
    table = whole.filter(there)
    if table.is_empty():
        return None
    length = int(table["vector"].list.len().mode().sort()[0])
    bad = pl.col("vector").list.eval(pl.element().is_null() | ~pl.element().is_finite()).list.any()
    for wrong, words, mend in (
        (pl.col("item_id").is_null(), "no item_id", "Drop them"),
        (~pl.col("item_id").is_first_distinct(), "an item_id that came before", "Keep one row for each item"),
        (pl.col("vector").list.len() != length, f"a vector of another length than {length}", "Make all of one length"),
        (bad, "a vector with what is no finite number", "Correct them, or leave these vectors out"),
    ):
        n = whole.filter(there & wrong).height
        if n:
            row = first_row(whole, there & wrong)
            raise DataError(f"{address}: {n:,} of {rows:,} rows have {words} (first: {row}). {mend}.")
    values = table["vector"].explode().to_numpy().astype(np.float32).reshape(len(table), length)
    return ItemVectors(source, table["item_id"], values, VectorsFound(address, rows, len(table), length))


def _parsed(column: str) -> pl.Expr:
    """Numbers in text, in brackets or not, with commas, semicolons, bars or blanks between; null for an empty one."""
    text = pl.col(column).str.replace_all(r"[\[\](),;|\s]+", " ").str.strip_chars(" ")
    return pl.when(text != "").then(text.str.split(" ").cast(pl.List(pl.Float32), strict=False))


def _is_number(kind: object) -> bool:
    return isinstance(kind, pl.DataType) and kind.is_numeric()
