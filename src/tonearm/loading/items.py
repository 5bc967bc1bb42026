"""Read the catalogue and lay it out by item index."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.loading.columns import ITEMS
from tonearm.loading.inputs import Input, Source, find_column, first_row, is_id, missing, open_input, reading
from tonearm.types import Int32s

TAGS = ("genres", "artists", "albums")

DELIMITERS = {"genres": ("|", ";", ",", ":"), "artists": ("|", ";"), "albums": ("|", ";")}
"""What may stand between the labels of one string, the surest first; names of artists and albums hold commas."""


@dataclass(frozen=True)
class Items:
    """The catalogue as it was read: `item_id` in ascending order, and those of name, genres, artists, albums it has."""

    input: Input
    table: pl.DataFrame

    @property
    def ids(self) -> pl.Series:
        return self.table["item_id"]


@dataclass(frozen=True)
class CatalogueFound:
    """What a catalogue holds.

    filled: items with a non-empty name, genres, artists and albums; a column that is missing or empty all over is not
        named here
    missing: columns that are missing
    empty: columns that are there and hold nothing
    """

    path: str
    rows: int
    null_ids: int
    filled: dict[str, int]
    missing: list[str]
    empty: list[str]


def open_items(
    given: Source,
    like: pl.DataType | None,
    drop_nulls: bool,
    columns: Mapping[str, str] | None = None,
    text: bool = False,
) -> tuple[Items, CatalogueFound]:
    """Read a catalogue.

    like: the type of the log's item ids, which the catalogue's are cast to; None to keep their own
    drop_nulls: leave rows without item_id out instead of raising
    columns: as `open_input`
    text: the log is text, so that its ids may be strings that look like integers

    Raises:
        DataError: not readable; no item_id; wrong types; null or repeated ids; ids that the log's type cannot hold.
            All problems with the columns stand in one message, a line each.
    """
    source = open_input(given, ITEMS, columns)
    address, columns = source.address, _columns(source)
    scan = source.scan().select(pl.col(theirs).alias(ours) for ours, theirs in columns.items())
    with reading(address):
        table = scan.collect()
    nulls = table["item_id"].null_count()
    if nulls and not drop_nulls:
        raise DataError(
            f"{address}: {nulls:,} of {len(table):,} rows have no {columns['item_id']} (first: "
            f'{first_row(table, pl.col("item_id").is_null())}). Drop them, or set data.on_null = "drop".'
        )
    rows = len(table)
    _check_distinct(address, table)
    table = table.filter(pl.col("item_id").is_not_null())
    table = table.with_columns(_like(source, table["item_id"], like, text)).sort("item_id")
    if table["item_id"].dtype == pl.UInt64 and len(table) and int(table["item_id"][-1]) > 2**63 - 1:
        raise DataError(f"{address}: item_id goes up to {table['item_id'][-1]}, above 2^63 - 1. Cast it to strings.")
    table = table.with_columns(_cleaned(table[name]) for name in TAGS if name in columns)
    filled = {name: _filled(table[name]) for name in ("name", *TAGS) if name in columns}
    found = CatalogueFound(
        path=address,
        rows=rows,
        null_ids=nulls,
        filled={name: n for name, n in filled.items() if n},
        missing=[name for name in ("name", *TAGS) if name not in columns],
        empty=[name for name, n in filled.items() if n == 0],
    )
    return Items(source, table), found


def lay_out(items: Items | None, vocabulary: Vocabulary) -> Catalogue:
    """The catalogue over a vocabulary that holds all of its items and perhaps more."""
    if items is None:
        return Catalogue(vocabulary)
    index = vocabulary.encode(items.ids)
    table, n = items.table, len(vocabulary)
    name = None
    if "name" in table.columns and table["name"].null_count() < len(table):
        place = np.full(n, len(table), dtype=np.int64)
        place[index] = np.arange(len(table))
        padded = pl.concat([table["name"], pl.Series("name", [None], dtype=pl.String)])
        name = padded.gather(place)
    tags = {column: _tags(table[column], index, n) for column in TAGS if column in table.columns}
    return Catalogue(vocabulary, name, tags.get("genres"), tags.get("artists"), tags.get("albums"))


def _columns(source: Input) -> dict[str, str]:
    """Our names of the columns that are there -> the caller's; raises on missing ids and on wrong types."""
    columns, problems = {}, []
    item = find_column(source, "item_id")
    if item is None:
        problems.append(missing(source, "item_id"))
    else:
        columns["item_id"] = item
        if not is_id(source.schema[item]):
            problems.append(
                f"{source.address}: {item} is of type {source.schema[item]}, and item_id must be an integer of at most "
                "64 bits or a string. Cast it first."
            )
    for name in ("name", *TAGS):
        try:
            column = find_column(source, name)
        except DataError as error:
            problems.append(str(error))
            continue
        if column is None:
            continue
        columns[name], dtype = column, source.schema[column]
        if dtype not in (pl.String, pl.Null, *(() if name == "name" else (pl.List(pl.String), pl.List(pl.Null)))):
            words = "a string" if name == "name" else "a list of strings, or a string of several with | or ; between"
            problems.append(
                f"{source.address}: {column} is of type {dtype}, and must be {words}. Cast it, or leave it out."
            )
    if problems:
        raise DataError("\n".join(problems))
    return columns


def _like(source: Input, ids: pl.Series, like: pl.DataType | None, text: bool) -> pl.Series:
    address = source.address
    if not ids.dtype.is_integer() or (source.text and like == pl.String):
        ids = ids.cast(pl.String)
    if like is None or ids.dtype == like or (text and ids.dtype == pl.String):
        return ids
    if ids.dtype.is_integer() != like.is_integer():
        raise DataError(
            f"{address}: item_id is of type {ids.dtype}, but {like} in the log, so no event would find its item. "
            "Cast one of the two."
        )
    cast = ids.cast(like, strict=False)
    lost = cast.null_count()
    if lost:
        raise DataError(
            f"{address}: {lost:,} of {len(ids):,} item_id do not fit into {like}, their type in the log (first: "
            f"{ids.filter(cast.is_null())[0]}). Cast the log's item_id to {ids.dtype}."
        )
    return cast


def _check_distinct(address: str, table: pl.DataFrame) -> None:
    repeated = pl.col("item_id").is_not_null() & ~pl.col("item_id").is_first_distinct()
    n = table.filter(repeated).height
    if n == 0:
        return
    row = first_row(table, repeated)
    raise DataError(
        f"{address}: {n:,} of {len(table):,} rows repeat an item_id (first: {row}). Keep one row for each item."
    )


def _cleaned(column: pl.Series) -> pl.Expr:
    """Lists of strings without nulls and empty strings; a null list is an empty one."""
    lists = pl.col(column.name)
    if column.dtype == pl.String:
        lists = _split(column)
    lists = lists.cast(pl.List(pl.String))
    kept = lists.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != "")))
    return kept.fill_null(pl.lit([], dtype=pl.List(pl.String)))


def _split(column: pl.Series) -> pl.Expr:
    """Strings of several labels as lists: cut at the one of `DELIMITERS` that most of them hold."""
    listed = column.str.starts_with("[") & column.str.ends_with("]")
    if listed.all() and listed.any():  # a list as Python or JSON prints it
        between, around = ",", " '\"[]"
    else:
        held = {sign: column.str.contains(sign, literal=True).sum() for sign in DELIMITERS[column.name]}
        between, around = max(held, key=lambda sign: held[sign]), " "
        if not held[between]:
            return pl.concat_list(pl.col(column.name))
    return pl.col(column.name).str.split(between).list.eval(pl.element().str.strip_chars(around))


def _filled(column: pl.Series) -> int:
    if column.dtype == pl.List:
        return int((column.list.len() > 0).sum())
    return len(column) - column.null_count()


def _tags(column: pl.Series, index: Int32s, n_items: int) -> Tags | None:
    """The labels by item index, without repeats in an item; None when there are none at all."""
    table = pl.DataFrame({"item": index, "label": column}).filter(pl.col("label").list.len() > 0).sort("item")
    flat = table.explode("label").unique(["item", "label"], maintain_order=True)
    if flat.is_empty():
        return None
    labels = Vocabulary.of(flat["label"])
    counts = np.bincount(flat["item"].to_numpy(), minlength=n_items)
    indptr = np.concatenate(([0], counts.cumsum())).astype(np.int64)
    return Tags(indptr, labels.encode(flat["label"]), labels)
