"""The event log: every event of every user in time order, and the log summed over repeats."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tonearm.errors import DataError
from tonearm.kernels import events as kernels
from tonearm.types import Counts, Float32s, Int32s, Int64s

EXACT = 2.0**53  # sums below it are exact in float64


@dataclass(frozen=True)
class Log:
    """Every event of every user, ordered by user, then time, then item.

    User u's events are the positions start[u] to stop[u] (exclusive) of the shared arrays.

    start, stop: (n_users,) int64
    item: (n_events,) int32 item index
    time: (n_events,) int32 seconds since `EPOCH`, or None where the input has no time
    weight: (n_events,) float32, or None where each event counts once as a play
    """

    start: Int64s
    stop: Int64s
    item: Int32s
    time: Int32s | None
    weight: Float32s | None
    n_items: int

    @property
    def n_users(self) -> int:
        return len(self.start)

    @cached_property
    def n_events(self) -> int:
        return int((self.stop - self.start).sum())

    @cached_property
    def span(self) -> tuple[int, int]:
        """Times of the first and last event, in seconds.

        Raises:
            DataError: the log is empty or has no time.
        """
        if self.time is None or self.n_events == 0:
            raise DataError("the log has no events with a time, so it has no first and last day")
        some = self.start < self.stop
        return int(self.time[self.start[some]].min()), int(self.time[self.stop[some] - 1].max())

    def before(self, cutoff: int) -> "Log":
        """Events earlier than the cutoff (seconds, exclusive); shares the arrays."""
        return replace(self, stop=self._cut(cutoff))

    def since(self, cutoff: int) -> "Log":
        """Events at or after the cutoff (seconds); shares the arrays."""
        return replace(self, start=self._cut(cutoff))

    def rows(self, lo: int, hi: int) -> "Log":
        """The users lo to hi (exclusive); shares the arrays."""
        return replace(self, start=self.start[lo:hi], stop=self.stop[lo:hi])

    def users(self, index: Int32s) -> "Log":
        """Some users in the order asked for; shares the arrays."""
        return replace(self, start=self.start[index], stop=self.stop[index])

    def places(self) -> Int64s:
        """Where each of the events stands in the shared arrays, users in turn; (n_events,)."""
        lengths = self.stop - self.start
        first = np.repeat(self.start - (lengths.cumsum() - lengths), lengths)
        places: Int64s = np.arange(len(first), dtype=np.int64) + first
        return places

    def packed(self) -> "Log":
        """The same events in arrays that hold no others, users in turn; this log where it is so already."""
        stop = np.cumsum(self.stop - self.start)
        if self.n_events == len(self.item) and np.array_equal(stop, self.stop):
            return self
        place = self.places()
        time = None if self.time is None else self.time[place]
        weight = None if self.weight is None else self.weight[place]
        return Log(stop - (self.stop - self.start), stop, self.item[place], time, weight, self.n_items)

    def _cut(self, cutoff: int) -> Int64s:
        if self.time is None:
            raise DataError("the log has no started_at, so it cannot be cut by time")
        return kernels.cut(self.start, self.stop, self.time, cutoff)

    def item_counts(self) -> tuple[Int64s, Int64s]:
        """Events and distinct users of every item, each (n_items,) int64."""
        return kernels.item_counts(self.start, self.stop, self.item, self.n_items)

    def item_weights(self) -> Counts:
        """Summed weight of every item, (n_items,) int64, or float64 where not all weights are whole numbers."""
        total, whole = kernels.item_weights(self.start, self.stop, self.item, self.weights, self.n_items)
        return total.astype(np.int64) if whole and total.sum() < EXACT else total

    @property
    def weights(self) -> Float32s:
        """`weight` as kernels take it: empty where each event counts once."""
        return np.empty(0, np.float32) if self.weight is None else self.weight


@dataclass(frozen=True)
class Pairs:
    """A log summed over repeats: one entry for each (user, item), items ascending within a user.

    indptr: (n_users + 1,) int64
    item: (n_pairs,) int32
    plays: (n_pairs,) float32, events or summed weight
    last: (n_pairs,) int32 seconds of the latest event, or None
    """

    indptr: Int64s
    item: Int32s
    plays: Float32s
    last: Int32s | None
    n_items: int

    @property
    def n_users(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def of(cls, log: Log, more: tuple[Int64s, Int32s] | None = None) -> "Pairs":
        """Sum a log over repeats.

        more: (n,) lengths and the items of rows that follow those of the users, each played once and at one moment
        """
        indptr = kernels.count_pairs(log.start, log.stop, log.item)
        n = int(indptr[-1])
        if more is not None:
            indptr = np.concatenate((indptr, n + np.cumsum(more[0])))
        item, plays, last = kernels.sum_pairs(
            log.start,
            log.stop,
            log.item,
            log.time if log.time is not None else np.empty(0, np.int32),
            log.weights,
            indptr,
        )
        if more is not None:
            item[n:], plays[n:], last[n:] = more[1], 1, 0
        return cls(indptr, item, plays, last if log.time is not None else None, log.n_items)

    def head(self, n: int) -> "Pairs":
        """The first n rows."""
        kept = slice(int(self.indptr[n]))
        last = None if self.last is None else self.last[kept]
        return Pairs(self.indptr[: n + 1], self.item[kept], self.plays[kept], last, self.n_items)

    def row(self, user: int) -> slice:
        """Where one user's entries stand."""
        return slice(int(self.indptr[user]), int(self.indptr[user + 1]))
