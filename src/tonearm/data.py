"""What the whole pipeline works on: the event log, the catalogue, and blocks of users, all by index.

A `Log` keeps each user's events in time order, so cutting it by time is two pointers a user and copies nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from tonearm.errors import DataError
from tonearm.kernels import events as kernels
from tonearm.kernels.lists import window_counts
from tonearm.moments import DAY
from tonearm.types import Bools, Counts, Float32s, Float64s, Int32s, Int64s
from tonearm.vocabulary import Vocabulary

NOW = 7  # days before the cut that count as now for popularity

EXACT = 2.0**53  # sums below it are exact in float64

WIDEST = 2000  # items at most of a label that says which are alike; all pairs of them may be counted


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


@dataclass(frozen=True)
class Tags:
    """A list of labels for every item: genres, artists or albums.

    indptr: (n_items + 1,) int64
    index: (n_entries,) int32 into `labels`, in the order of the input, without repeats in an item
    labels: the distinct labels
    """

    indptr: Int64s
    index: Int32s
    labels: Vocabulary

    def of(self, item: int) -> list[str]:
        """The labels of one item."""
        return self.labels.decode(self.index[self.indptr[item] : self.indptr[item + 1]]).to_list()

    @cached_property
    def column(self) -> pl.Series:
        """One list of strings per item."""
        return self.take(np.arange(len(self.indptr) - 1, dtype=np.int32))

    def entries(self, items: Int32s) -> tuple[Int64s, Int32s]:
        """The labels of some items end to end: the place in `items` that each belongs to, and its index, both (n,)."""
        start, stop = self.indptr[items], self.indptr[items + 1]
        ends = np.cumsum(stop - start)
        row = np.repeat(np.arange(len(items), dtype=np.int64), stop - start)
        return row, self.index[np.arange(len(row)) + (stop - ends)[row]]

    def take(self, items: Int32s) -> pl.Series:
        """The lists of labels of some items, Series of list[str]."""
        row, index = self.entries(items)
        frame = pl.DataFrame({"row": row, "label": self.labels.decode(index)})
        lists = frame.group_by("row", maintain_order=True).agg(pl.col("label"))
        base = pl.DataFrame({"row": np.arange(len(items), dtype=np.int64)})
        joined = base.join(lists, on="row", how="left", maintain_order="left")["label"]
        return joined.fill_null(pl.Series([[]], dtype=pl.List(pl.String)))


@dataclass(frozen=True)
class Catalogue:
    """The items: their ids in order, and what is known of each.

    A field is None where the input has no such column or nothing in it.
    """

    items: Vocabulary
    name: pl.Series | None = None
    genres: Tags | None = None
    artists: Tags | None = None
    albums: Tags | None = None

    def __len__(self) -> int:
        return len(self.items)

    def label_rows(self, wanted: Bools) -> tuple[Int64s, Int32s]:
        """How many of some items carry each genre, artist and album, and which, ascending within a label.

        wanted: (n_items,). Labels of a single one of them, or of more than `WIDEST`, are left out.
        """
        sizes, carriers = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        for tags in (self.genres, self.artists, self.albums):
            if tags is None:
                continue
            item = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(tags.indptr))
            size = np.bincount(tags.index[wanted[item]], minlength=len(tags.labels))
            apt = (size > 1) & (size <= WIDEST)
            kept = np.flatnonzero(wanted[item] & apt[tags.index])
            carriers.append(item[kept[np.argsort(tags.index[kept], kind="stable")]])
            sizes.append(size[apt])
        return np.concatenate(sizes), np.concatenate(carriers)

    def describe(self, items: Int32s) -> pl.DataFrame:
        """name, genres, artists and albums of some items; null or empty where unknown."""
        empty = pl.repeat([], len(items), dtype=pl.List(pl.String), eager=True)
        return pl.DataFrame(
            {
                "name": self.name.gather(items)
                if self.name is not None
                else pl.repeat(None, len(items), dtype=pl.String, eager=True),
                "genres": self.genres.take(items) if self.genres is not None else empty,
                "artists": self.artists.take(items) if self.artists is not None else empty,
                "albums": self.albums.take(items) if self.albums is not None else empty,
            }
        )


@dataclass(frozen=True)
class Dataset:
    """What a source may learn from: the events before `now`, and the catalogue.

    now: the cutoff in seconds that every event lies before; 0 in a log without time
    """

    users: Vocabulary
    catalogue: Catalogue
    log: Log
    now: int

    @property
    def n_users(self) -> int:
        return self.log.n_users

    @property
    def n_items(self) -> int:
        return self.log.n_items

    @property
    def pairs(self) -> Pairs:
        """The log summed over repeats."""
        return self.labelled_pairs.head(self.n_users)

    def rows(self, side_information: bool) -> Pairs:
        """`labelled_pairs` or `pairs`."""
        return self.labelled_pairs if side_information else self.pairs

    @cached_property
    def labelled_pairs(self) -> Pairs:
        """`pairs`, and rows for the catalogue's labels, as if each were a user who had played all that carry it.

        Source: Jeunen, Van Balen, Goethals 2020, section 4 ("collective" EASE), with weight 1
        """
        return Pairs.of(self.log, self.catalogue.label_rows(self.listeners > 0))

    @cached_property
    def plays(self) -> Counts:
        """Events of each item, or their summed weight where the log has weights, (n_items,)."""
        return self.events if self.log.weight is None else self.log.item_weights()

    @property
    def events(self) -> Int64s:
        """Events of each item, (n_items,)."""
        return self._counts[0]

    @cached_property
    def listeners(self) -> Int64s:
        """Distinct users of each item, (n_items,)."""
        return self._counts[1]

    @cached_property
    def _counts(self) -> tuple[Int64s, Int64s]:
        return self.log.item_counts()

    @cached_property
    def plays_now(self) -> Float64s:
        """Plays of each item in the last `NOW` days, (n_items,); zeros in a log without time."""
        return self.plays_within((NOW,))[0] if self.log.time is not None else np.zeros(self.n_items)

    def plays_within(self, days: Sequence[int]) -> Float64s:
        """Plays of each item in the last days of each of some numbers of days, ascending, (n, n_items)."""
        log, since = self.log, np.array([self.now - n * DAY for n in days], np.int64)
        assert log.time is not None
        return window_counts(log.start, log.stop, log.item, log.time, log.weights, since, self.n_items)

    @cached_property
    def popularity_order(self) -> Int32s:
        """Items with an event, most plays first, then lowest index."""
        return np.argsort(-self.plays, kind="stable")[: int((self.plays > 0).sum())].astype(np.int32)

    def popular_of(self, allowed: Bools | None) -> Int32s:
        """`popularity_order` of some items, (n_items,) bool; of all where it is None."""
        return self.popularity_order if allowed is None else self.popularity_order[allowed[self.popularity_order]]

    def block(self, lo: int, hi: int, filter_seen: bool) -> "Block":
        """The users lo to hi (exclusive) with their histories."""
        return self.block_of(np.arange(lo, hi, dtype=np.int32), filter_seen)

    def block_of(self, users: Int32s, filter_seen: bool) -> "Block":
        """Some users with their histories."""
        log = self.log.users(users)
        return Block(users, log, Pairs.of(log), self.now, filter_seen)


@dataclass(frozen=True)
class Block:
    """The unit of work: some users and all that is known of each before `now`.

    users: (b,) int32 user index in the fitted data; −1 for a user who is not in it (folded in from the history alone)
    log, pairs: their histories, row i belongs to users[i]
    filter_seen: leave what a user has already heard out of their lists
    """

    users: Int32s
    log: Log
    pairs: Pairs
    now: int
    filter_seen: bool

    def __len__(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        return self.pairs.n_items

    @cached_property
    def seen(self) -> tuple[Int64s, Int32s]:
        """What to leave out: indptr (b + 1,) int64 and items, ascending in a row; empty unless `filter_seen`."""
        if self.filter_seen:
            return self.pairs.indptr, self.pairs.item
        return np.zeros(len(self) + 1, np.int64), np.empty(0, np.int32)
