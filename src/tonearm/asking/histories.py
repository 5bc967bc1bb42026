"""What listeners have played when lists are asked for: what a model holds of them, and what is told of them since."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl

from tonearm.data.dataset import Block, Dataset
from tonearm.data.log import Log
from tonearm.data.times import DAY
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.loading.load import DataOptions, gather, survey
from tonearm.loading.tables import Tabular, as_source
from tonearm.terminal.words import counted
from tonearm.types import Int32s, Int64s


@dataclass(frozen=True)
class Histories:
    """The histories of all whom a model knows, and of those it is told of.

    users, log: whom it is told of, ascending, and a row for each over the items of `data`
    now: the moment that lists are made for, in seconds: that of `data`, or just after the last play told of
    """

    data: Dataset
    users: Vocabulary
    log: Log
    now: int

    @classmethod
    def held(cls, data: Dataset) -> "Histories":
        """Those of a model alone."""
        return cls(data, Vocabulary(data.users.ids.clear()), data.log.rows(0, 0), data.now)

    @classmethod
    def told(
        cls, data: Dataset, given: Tabular, options: DataOptions, days: bool, today: datetime | None = None
    ) -> "Histories":
        """Also those of a table of plays: user_id, item_id, and as far as known started_at and weight.

        Of a user whom the model knows, plays before its own last moment are held already and are not counted again.
        Plays without a time are taken as of that moment. What cannot be used is warned of.

        options: what becomes of rows that are not as they should be; days: the model's times are days

        Raises:
            DataError: the table cannot be used, or its ids are of another kind than the model's.
        """
        kept = replace(
            options.everyone, on_duplicate="drop" if options.drops_repeats(days) else "keep", on_orphan="keep"
        )
        loaded = gather(survey({"events": as_source(given, "history")}, None, None, kept, today, learning=False))
        new, log = loaded.train, loaded.train.log
        users = Vocabulary(cast_ids(new.users.ids, data.users, "history", "user_id"))
        known = data.catalogue.items
        items = known.encode(cast_ids(new.catalogue.items.ids, known, "history", "item_id"))[log.item]
        keep = items >= 0
        if not keep.all():
            n, of = int((~keep).sum()), counted(len(keep), "play")
            _say(f"{n:,} of {of} are left out, as the model does not know their items")
        if log.weight is not None and data.log.weight is None:
            _say("weights are left out, as the model learnt from a log without them")
        row = np.repeat(np.arange(len(users)), log.stop - log.start)
        time, weight, now = None, None, data.now
        if data.log.time is not None:
            time = log.time if log.time is not None else np.full(len(items), data.now - 1, np.int32)
            if log.time is not None:
                keep &= (time >= data.now) | (data.users.encode(users.ids) < 0)[row]
            time = time[keep]
            now = max(now, int(time.max(initial=data.now - 1)) + (DAY if days else 1))
        if data.log.weight is not None:
            weight = np.ones(int(keep.sum()), np.float32) if log.weight is None else log.weight[keep]
        start, stop = _bounds(row[keep], len(users))
        return cls(data, users, Log(start, stop, items[keep], time, weight, data.n_items), now)

    def blocks(self, ids: pl.Series, size: int, filter_seen: bool) -> Iterator[tuple[pl.Series, Block]]:
        """The histories of some users, `size` at a time, each time with their ids."""
        index, told = self.data.users.encode(ids), self.users.encode(ids)
        for lo in range(0, len(ids), size):
            part = slice(lo, lo + size)
            yield ids[part], self._block(index[part], told[part], filter_seen)

    def _block(self, index: Int32s, told: Int32s, filter_seen: bool) -> Block:
        held, new = _rows(self.data.log, index), _rows(self.log, told)
        moved = new.stop > new.start
        log = _joined(held, new) if moved.any() else held
        against = None if self.data.against is None else _rows(self.data.against, index)
        return Block.of(index, log, self.now, filter_seen, moved, against)


def cast_ids(ids: pl.Series, like: Vocabulary, what: str, column: str) -> pl.Series:
    """Ids as the type that a model's have.

    Raises:
        DataError: that type cannot hold them.
    """
    dtype = like.ids.dtype
    cast = ids.cast(dtype, strict=False) if ids.dtype.is_integer() == dtype.is_integer() or len(ids) == 0 else None
    if cast is not None and cast.null_count() == ids.null_count():
        return cast
    lost = ids[0] if cast is None else ids.filter(cast.is_null() & ids.is_not_null())[0]
    raise DataError(f"{what}: {column} is of type {ids.dtype} (first: {lost!r}), the model's of {dtype}. Cast it.")


def _rows(log: Log, index: Int32s) -> Log:
    """Rows of a log, empty ones for −1; shares the arrays."""
    start, stop = (np.append(ends, 0)[index] for ends in (log.start, log.stop))
    return replace(log, start=start, stop=stop)


def _bounds(row: Int64s, n: int) -> tuple[Int64s, Int64s]:
    """Where the entries of each of n rows begin and end, rows in turn."""
    size = np.bincount(row, minlength=n)
    stop = size.cumsum().astype(np.int64)
    return stop - size, stop


def _joined(one: Log, other: Log) -> Log:
    """The events of both, row by row, each row in time order."""
    parts = one.packed(), other.packed()
    row = np.concatenate([np.repeat(np.arange(part.n_users), part.stop - part.start) for part in parts])
    item = np.concatenate([part.item for part in parts])
    time = None if one.time is None else np.concatenate([part.time for part in parts if part.time is not None])
    weight = None if one.weight is None else np.concatenate([part.weight for part in parts if part.weight is not None])
    # both are in order already, so that a stable sort by one key but merges them
    second = item if time is None else time
    key = (row << 32) + (second - np.int64(second.min(initial=0)))
    order = np.argsort(key, kind="stable")
    together = np.diff(key[order]) == 0
    if (np.diff(item[order])[together] < 0).any():
        order = np.lexsort((item, key))
    start, stop = _bounds(row, one.n_users)
    time, weight = None if time is None else time[order], None if weight is None else weight[order]
    return Log(start, stop, item[order], time, weight, one.n_items)


def _say(words: str) -> None:
    warnings.warn(f"history: {words}", UserWarning, stacklevel=4)
