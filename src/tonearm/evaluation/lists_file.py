"""Lists in a file of anybody's making: one of each user, or one for everybody."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tonearm.data.lists import Lists
from tonearm.data.log import Pairs
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.kernels.best.lists import first_unseen
from tonearm.loading.inputs import Input, Source, find_column, first_row, is_id, open_input, reading
from tonearm.types import Int32s, Int64s


@dataclass(frozen=True)
class Listed:
    """The lists of a file, best first.

    columns: those of the file
    users: who has a list; None for one list that is everybody's
    items: all items of the lists
    indptr, item: (n_users + 1,) int64 and (n_entries,) int32 into `items`; one row where the list is everybody's
    """

    address: str
    columns: tuple[str, ...]
    users: Vocabulary | None
    items: Vocabulary
    indptr: Int64s
    item: Int32s

    @property
    def longest(self) -> int:
        """Items in the longest list."""
        return int(np.diff(self.indptr).max())

    def rows_of(self, ids: pl.Series) -> Int64s:
        """The row of each of some users, −1 for one without a list."""
        if self.users is None:
            return np.zeros(len(ids), np.int64)
        return self.users.encode(ids).astype(np.int64)

    def block(self, rows: Int64s, index: Int32s, heard: Pairs | None, k: int) -> Lists:
        """The lists of some rows, −1 being an empty one.

        index: (n_items,) what to call each item of `items`
        heard: what each row's user had heard, which is left out of a list that is everybody's before it is cut at k
        """
        if self.users is None and heard is not None:
            indptr, item = first_unseen(index[self.item], k, heard.indptr, heard.item)
            return Lists(indptr, item, np.zeros(len(item), np.float32))
        sizes = np.where(rows < 0, 0, np.diff(self.indptr)[rows])
        sizes = sizes if self.users is not None else np.minimum(sizes, k)
        indptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        place = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], sizes)
        return Lists(indptr, index[self.item[place]], np.zeros(len(place), np.float32))


def read_lists(given: Source, columns: Mapping[str, str] | None = None) -> Listed:
    """Read item_id, rank or score (rank counts where both are there), and user_id unless the list is everybody's.

    columns: what the file calls its columns, as data.columns

    Raises:
        DataError: a column is missing or of the wrong type, an id, rank or score is null, a list holds an item twice,
            or the ranks of a list are not 1, 2, 3 and so on.
    """
    source = open_input(given, ("user_id", "item_id", "rank", "score"), columns)
    address = source.address
    place, ranked = _place(source)
    picked = {"item_id": _id(source, "item_id"), "place": place}
    if find_column(source, "user_id") is not None:
        picked["user_id"] = _id(source, "user_id")
    elif not ranked or find_column(source, "score") is not None:
        raise DataError(
            f"{address}: no column user_id. It has {', '.join(source.schema)}. Rename the one that is meant; only a "
            "file of item_id and rank, as top_popular.parquet, is one list for everybody."
        )
    with reading(address):
        rows = source.scan().select(**picked).collect()
    _check_rows(address, rows)
    items = Vocabulary.of(rows["item_id"])
    users = Vocabulary.of(rows["user_id"]) if "user_id" in picked else None
    item = items.encode(rows["item_id"])
    user = users.encode(rows["user_id"]) if users is not None else np.zeros(len(rows), np.int32)
    values = rows["place"].to_numpy()
    order = np.lexsort((item, values, user))
    lengths = np.bincount(user, minlength=1 if users is None else len(users))
    listed = Listed(
        address,
        tuple(source.schema),
        users,
        items,
        np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        item[order].astype(np.int32),
    )
    if ranked:
        _check_dense(listed, values[order])
    return listed


def _id(source: Input, name: str) -> pl.Expr:
    found = find_column(source, name)
    if found is None:
        raise DataError(
            f"{source.address}: no column {name}. It has {', '.join(source.schema)}. Rename the one that is meant."
        )
    dtype = source.schema[found]
    if not is_id(dtype):
        raise DataError(f"{source.address}: {found} is of type {dtype}; ids are integers or strings. Cast it.")
    return pl.col(found) if dtype.is_integer() else pl.col(found).cast(pl.String)


def _place(source: Input) -> tuple[pl.Expr, bool]:
    """What to sort by, ascending, and whether it is a rank."""
    by, column = next(((c, found) for c in ("rank", "score") if (found := find_column(source, c))), ("", ""))
    if not column:
        raise DataError(
            f"{source.address}: neither rank nor score. It has {', '.join(source.schema)}. Add the one you have."
        )
    if not source.schema[column].is_numeric():
        raise DataError(f"{source.address}: {column} is of type {source.schema[column]} and must be a number. Cast it.")
    place = pl.col(column).cast(pl.Float64)
    return (place, True) if by == "rank" else (-place, False)


def _check_rows(address: str, rows: pl.DataFrame) -> None:
    if len(rows) == 0:
        raise DataError(f"{address}: no rows. There is nothing to measure.")
    for name in rows.columns:
        missing = pl.col(name).is_null() | (pl.col(name).is_nan() if name == "place" else False)
        n = rows.select(missing.sum()).item()
        if n:
            what = name if name != "place" else "rank or score"
            where = first_row(rows, missing)
            raise DataError(f"{address}: {n:,} of {len(rows):,} rows have no {what} (first: {where}). Drop them.")
    entry = [name for name in ("user_id", "item_id") if name in rows.columns]
    repeated = rows.select(pl.struct(entry).is_first_distinct().not_()).to_series()
    if repeated.any():
        twice = rows.row(int(repeated.arg_true()[0]), named=True)
        whose = f"user {twice['user_id']}, " if "user_id" in twice else ""
        raise DataError(
            f"{address}: {int(repeated.sum()):,} of {len(rows):,} rows repeat an item in a list (first: {whose}item "
            f"{twice['item_id']}). Keep the best one of each."
        )


def _check_dense(listed: Listed, rank: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    sizes = np.diff(listed.indptr)
    wrong = np.flatnonzero(rank != np.arange(len(rank)) - np.repeat(listed.indptr[:-1], sizes) + 1)
    if len(wrong) == 0:
        return
    row = np.unique(np.searchsorted(listed.indptr, wrong, side="right") - 1)
    has = ", ".join(f"{value:g}" for value in rank[listed.indptr[row[0]] : listed.indptr[row[0] + 1]][:4])
    whose = "the list" if listed.users is None else f"user {listed.users.ids[int(row[0])]}"
    raise DataError(
        f"{listed.address}: the ranks of {len(row):,} of {len(sizes):,} lists are not 1, 2, 3 and so on (first: "
        f"{whose} has {has}). Give whole lists, or rank what is left anew from 1."
    )
