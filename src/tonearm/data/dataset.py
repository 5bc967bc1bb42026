"""What a source may learn from, and the unit of work: a block of users."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from tonearm.data.catalogue import Catalogue
from tonearm.data.log import Log, Pairs
from tonearm.data.times import DAY
from tonearm.data.vocabulary import Vocabulary
from tonearm.kernels.best.lists import decayed_counts, window_counts
from tonearm.kernels.features import item_times
from tonearm.types import Bools, Counts, Float64s, Int32s, Int64s

NOW = 7  # days before the cut that count as now for popularity


@dataclass(frozen=True)
class Dataset:
    """What a source may learn from: the events before `now`, and the catalogue.

    now: the cutoff in seconds that every event lies before; 0 in a log without time
    against: what users did that speaks against an item, such as skips, with weight 1 where the item is not to be shown
        to them again, else 0; None where the log has no kinds
    """

    users: Vocabulary
    catalogue: Catalogue
    log: Log
    now: int
    against: Log | None = field(default=None, kw_only=True)

    def before(self, cutoff: int) -> "Dataset":
        """What was there to learn from at an earlier moment, in seconds."""
        against = None if self.against is None else self.against.before(cutoff)
        return replace(self, log=self.log.before(cutoff), now=cutoff, against=against)

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

    def rows(self, side_information: bool, drawn: Bools | None = None) -> Pairs:
        """`labelled_pairs` or `pairs`; drawn: (n_users,) bool, of which users, all where it is None."""
        if drawn is None or drawn.all():
            return self.labelled_pairs if side_information else self.pairs
        log = self.log.users(np.flatnonzero(drawn).astype(np.int32))
        return Pairs.of(log, self._label_rows if side_information else None)

    @cached_property
    def labelled_pairs(self) -> Pairs:
        """`pairs`, and rows for the catalogue's labels, as if each were a user who had played all that carry it.

        Source: Jeunen, Van Balen, Goethals 2020, section 4 ("collective" EASE), with weight 1
        """
        return Pairs.of(self.log, self._label_rows)

    @property
    def _label_rows(self) -> tuple[Int64s, Int32s]:
        return self.catalogue.label_rows(self.listeners > 0)

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

    def decayed_plays(self, half_life: float) -> Float64s:
        """Sum over plays of 2^(−age / half_life) for each item of a log with time, (n_items,); half_life in days."""
        log, rate = self.log, np.log(2) / (half_life * DAY)
        assert log.time is not None
        return decayed_counts(log.start, log.stop, log.item, log.time, log.weights, self.now, rate, self.n_items)

    def item_times(self) -> tuple[Int32s, Int32s]:
        """Seconds of the first and the last event of each item of a log with time, (n_items,) both."""
        log = self.log
        assert log.time is not None
        return item_times(log.start, log.stop, log.item, log.time, self.n_items)

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
        against = None if self.against is None else self.against.users(users)
        return Block.of(users, self.log.users(users), self.now, filter_seen, against=against)


@dataclass(frozen=True)
class Block:
    """The unit of work: some users and all that is known of each before `now`.

    users: (b,) int32 user index in the fitted data; −1 for a user who is not in it (folded in from the history alone)
    log, pairs: their histories, row i belongs to users[i]
    filter_seen: leave what a user has already heard out of their lists
    moved: (b,) bool, whose history has more in it than the fitted data, so that they are folded in too; None: nobody's
    against: as in the data set, a row for each user
    """

    users: Int32s
    log: Log
    pairs: Pairs
    now: int
    filter_seen: bool
    moved: Bools | None = None
    against: Log | None = None

    @classmethod
    def of(
        cls,
        users: Int32s,
        log: Log,
        now: int,
        filter_seen: bool,
        moved: Bools | None = None,
        against: Log | None = None,
    ) -> "Block":
        """A block of the histories in a log."""
        return cls(users, log, Pairs.of(log), now, filter_seen, moved, against)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        return self.pairs.n_items

    @property
    def folded(self) -> Bools:
        """(b,) bool, whose history is not the fitted one, so that what was learnt of themselves does not hold."""
        new: Bools = self.users < 0
        return new if self.moved is None else new | self.moved

    def row(self, i: int) -> "Block":
        """The block of one of its users."""
        moved = None if self.moved is None else self.moved[i : i + 1]
        against = None if self.against is None else self.against.rows(i, i + 1)
        return Block.of(self.users[i : i + 1], self.log.rows(i, i + 1), self.now, self.filter_seen, moved, against)

    @cached_property
    def seen(self) -> tuple[Int64s, Int32s]:
        """What to leave out: indptr (b + 1,) int64 and items, ascending in a row.

        Those are the heard ones where `filter_seen`, and those that a user does not want to see again.
        """
        indptr, item = np.zeros(len(self) + 1, np.int64), np.empty(0, np.int32)
        if self.filter_seen:
            indptr, item = self.pairs.indptr, self.pairs.item
        unwanted = None if self.against is None else self.against.weights[self.against.places()] > 0
        if self.against is None or unwanted is None or not unwanted.any():
            return indptr, item
        n = np.int64(self.n_items)
        row = np.repeat(np.arange(len(self)), self.against.stop - self.against.start)
        more = row[unwanted] * n + self.against.item[self.against.places()][unwanted]
        keys = np.union1d(np.repeat(np.arange(len(self)), np.diff(indptr)) * n + item, more)
        return np.searchsorted(keys, np.arange(len(self) + 1) * n).astype(np.int64), (keys % n).astype(np.int32)
