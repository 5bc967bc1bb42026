"""Put the rows of a log into the places of their users, batch by batch, and make a `Log` of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.kernels import events as kernels
from tonearm.loading.events import Events
from tonearm.loading.inputs import batches, reading
from tonearm.terminal.progress import Progress
from tonearm.types import Float32s, Int32s, Int64s


@dataclass(frozen=True)
class Room:
    """Space for the events of some users within some time; `pour` fills it and moves `cursor` on.

    lo, hi: seconds; events with lo <= time < hi belong here
    start, stop: (n_users,) int64, each user's places
    cursor: (n_users,) int64, the next free place
    key: (n_events,) int64, time in the high half, item in the low one
    weight: (n_events,) float32, or empty
    """

    users: Vocabulary
    lo: int
    hi: int
    start: Int64s
    stop: Int64s
    cursor: Int64s
    key: Int64s
    weight: Float32s

    @classmethod
    def of(cls, users: Vocabulary, counts: Int64s, lo: int, hi: int, weighted: bool) -> "Room":
        """Room for counts[u] events of each user u."""
        stop = counts.cumsum()
        start = stop - counts
        n = int(stop[-1]) if len(stop) else 0
        return cls(
            users, lo, hi, start, stop, start.copy(), np.empty(n, np.int64), np.empty(n if weighted else 0, np.float32)
        )


def pour(
    events: Events,
    rows: pl.LazyFrame,
    total: int,
    encode: Callable[[pl.Series], Int32s],
    rooms: Sequence[Room],
    progress: Progress,
) -> None:
    """Read rows (`user_id`, `item_id`, and `time` and `weight` if present) and put each where it belongs.

    total: how many rows there are, for progress
    encode: item ids to indices, −1 for one that is unknown
    Rows of unknown users and items are skipped.

    Raises:
        DataError: a user has more events than there is room for: the file changed since it was counted.
    """
    done = 0
    with reading(events.input.address):
        for batch in batches(rows):
            item = encode(batch["item_id"])
            time = np.array(batch["time"] if events.timed else [], dtype=np.int32)
            weight = np.array(batch["weight"] if events.weighted else [], dtype=np.float32)
            for room in rooms:
                _place(room, batch["user_id"], item, time, weight, events)
            done += len(batch)
            progress("reading events", done, total)


def log_of(events: Events, rows: pl.LazyFrame, users: Vocabulary, items: Vocabulary, span: tuple[int, int]) -> Log:
    """Rows that are few enough to be held at once, as a log of some users and items; others are skipped.

    span: seconds; rows with lo <= time < hi belong here
    """
    parts = [(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))]
    with reading(events.input.address):
        for batch in batches(rows):
            user, item = users.encode(batch["user_id"]), items.encode(batch["item_id"])
            time = np.array(batch["time"], np.int32) if events.timed else np.zeros(len(batch), np.int32)
            kept = (user >= 0) & (item >= 0)
            if events.timed:
                kept &= (time >= span[0]) & (time < span[1])
            parts.append((user[kept], item[kept], time[kept], np.array(batch["weight"], np.float32)[kept]))
    user, item, time, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((weight, item, time, user))
    stop = np.bincount(user, minlength=len(users)).cumsum().astype(np.int64)
    start = np.concatenate((np.zeros(1, np.int64), stop))[: len(users)]
    return Log(start, stop, item[order], time[order] if events.timed else None, weight[order], len(items))


def _place(room: Room, ids: pl.Series, item: Int32s, time: Int32s, weight: Float32s, events: Events) -> None:
    if events.timed and (int(time.min()) < room.lo or int(time.max()) >= room.hi):
        inside = np.flatnonzero((time >= room.lo) & (time < room.hi))
        if len(inside) == 0:
            return
        ids, item, time = ids.gather(inside), item[inside], time[inside]
        weight = weight[inside] if events.weighted else weight
    user = room.users.encode(ids)
    overflow = kernels.scatter(user, item, time, room.cursor, room.stop, room.key, weight, room.weight)
    if overflow:
        raise DataError(f"{events.input.address}: the file changed while it was read. Start again when it is complete.")


def settle(room: Room, n_items: int, timed: bool, drop_repeats: bool) -> tuple[Log, int]:
    """Order what was poured; returns the log and how many rows repeat another's time, item and weight.

    drop_repeats: leave those out; without time there are none, as a repeated row is a repeat listen
    """
    start, stop = room.start, room.cursor
    kernels.order(start, stop, room.key, room.weight)
    counts = stop - start
    repeats = 0
    if timed:
        distinct = kernels.count_distinct(start, stop, room.key, room.weight)
        repeats = int((counts - distinct).sum())
        counts = distinct if drop_repeats else counts
    indptr = np.concatenate((np.zeros(1, np.int64), counts.cumsum()))
    drop = timed and drop_repeats
    item, time, weight = kernels.unpack(start, stop, room.key, room.weight, indptr, drop, timed)
    log = Log(indptr[:-1], indptr[1:], item, time if timed else None, weight if len(room.weight) else None, n_items)
    return log, repeats
