"""How lists are asked for by the caller's own ids, and handed back as a table of them."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from tonearm.asking.histories import Histories, cast_ids
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import ConfigError, DataError
from tonearm.types import Bools, Int32s, Int64s

Ids = Iterable[int | str] | pl.Series
"""Ids in any order: a list, a column of a table."""


def users_of(histories: Histories, users: Ids | None) -> pl.Series:
    """Who gets lists, each once: those asked for, else those told of, else all that the model knows.

    Raises:
        DataError: ids are of another kind than the model's.
    """
    if users is None:
        return (histories.users if len(histories.users) else histories.data.users).ids.rename("user_id")
    ids = cast_ids(series_of(users, "users"), histories.data.users, "users", "the ids").unique(maintain_order=True)
    strange = ids.filter(pl.Series((histories.data.users.encode(ids) < 0) & (histories.users.encode(ids) < 0)))
    if len(strange):
        warnings.warn(
            f"users: {len(strange):,} of {len(ids):,} are unknown (first: {strange[0]}) and get the popular list. Pass "
            "what they played as history.",
            UserWarning,
            stacklevel=3,
        )
    return ids.rename("user_id")


def places_of(ids: Ids, known: Vocabulary, what: str) -> tuple[pl.Series, Int32s]:
    """Ids and their indices.

    Raises:
        DataError: one of them is unknown.
    """
    given = cast_ids(series_of(ids, what), known, what, "the ids")
    index = known.encode(given)
    if (index < 0).any():
        n, first = int((index < 0).sum()), given[int(np.flatnonzero(index < 0)[0])]
        some = ", ".join(str(one) for one in known.ids.head(3))
        raise DataError(f"{what}: {n:,} of {len(given):,} are unknown (first: {first}). Known are {some} and others.")
    return given, index


def allowed_of(data: Dataset, items: Ids | None, exclude: Ids | None) -> Bools | None:
    """(n_items,) bool, which items may be shown; None for all. Ids that the model does not know say nothing.

    Raises:
        DataError: none of `items` is known.
    """
    if items is None and exclude is None:
        return None
    known, allowed = data.catalogue.items, np.ones(data.n_items, np.bool_)
    for ids, what, keep in ((items, "items", True), (exclude, "exclude", False)):
        if ids is None:
            continue
        index = known.encode(cast_ids(series_of(ids, what), known, what, "the ids"))
        named = np.zeros(data.n_items, np.bool_)
        named[index[index >= 0]] = True
        if keep and not named.any():
            raise DataError(
                f"items: the model knows none of the {len(index):,} ids. Its ids are such as {known.ids[0]}."
            )
        allowed &= named == keep
    return allowed


def frame_of(ids: pl.Series, lists: Lists, data: Dataset, **more: pl.Series) -> pl.DataFrame:
    """user_id, item_id, score and rank of the lists of some users; a score of NaN is null."""
    columns: dict[str, Any] = {
        "user_id": ids.gather(lists.row),
        "item_id": data.catalogue.items.decode(lists.item),
        "score": pl.Series(lists.score, nan_to_null=True),
        "rank": pl.Series(lists.rank),
    }
    return pl.DataFrame(columns | more)


def with_popular(lists: Lists, block: Block, popular: Lists) -> Lists:
    """The same with the popular list for users without a history, which has one row."""
    new = np.diff(block.pairs.indptr) == 0
    if not new.any():
        return lists
    n = np.where(new, len(popular.item), np.diff(lists.indptr))
    indptr = np.concatenate(([0], np.cumsum(n))).astype(np.int64)
    mine = np.repeat(~new, n)
    item, score = np.empty(len(mine), np.int32), np.empty(len(mine), np.float32)
    old = np.repeat(~new, np.diff(lists.indptr))
    item[mine], score[mine] = lists.item[old], lists.score[old]
    item[~mine], score[~mine] = np.tile(popular.item, new.sum()), np.tile(popular.score, new.sum())
    return Lists(indptr, item, score)


def check_k(k: int) -> int:
    """Raises ConfigError where k is no whole number from 1 up."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ConfigError(f"k is {k!r}; it must be a whole number from 1 up.")
    return int(k)


def series_of(ids: Ids, what: str) -> pl.Series:
    """Ids as one column.

    Raises:
        ConfigError: they are no list of integers or strings.
    """
    try:
        if isinstance(ids, str):
            raise TypeError("one string")
        made = ids if isinstance(ids, pl.Series) else pl.Series(what, ids if hasattr(ids, "__len__") else list(ids))
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{what}: pass a list or a column of ids ({error}).") from error
    if len(made) and not (made.dtype.is_integer() or made.dtype == pl.String):
        raise ConfigError(f"{what}: ids are of type {made.dtype}, and must be integers or strings. Cast them.")
    return made.drop_nulls()


def cast_file_ids(ids: pl.Series, known: Vocabulary, what: str) -> pl.Series:
    """Ids of a file, whose numbers may be text.

    Raises:
        DataError: the model's type cannot hold them.
    """
    if ids.dtype == pl.String and known.ids.dtype.is_integer():
        numbers = ids.str.strip_chars().cast(pl.Int64, strict=False)
        ids = numbers if numbers.null_count() == ids.null_count() else ids
    return cast_ids(ids if ids.dtype.is_integer() else ids.cast(pl.String), known, what, "user_id")


def first_of(order: Int32s, data: Dataset, k: int) -> Lists:
    """The first k items of an order as a list of one row, scored by plays."""
    item = order[:k]
    indptr: Int64s = np.array([0, len(item)], np.int64)
    return Lists(indptr, item, data.plays[item].astype(np.float32))
