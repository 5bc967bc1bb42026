"""What is known of every item, counted part by part, as the data set that item-side code asks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from tonearm.config import Config
from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Dataset
from tonearm.data.log import EXACT, Log, Pairs
from tonearm.data.times import DAY
from tonearm.data.vocabulary import Vocabulary
from tonearm.loading.count import EARLIEST, LATEST
from tonearm.parts.shard import Shard
from tonearm.parts.work import Arrays, Parts
from tonearm.ranking.features import WINDOWS
from tonearm.split import NoWindow, SplitOptions
from tonearm.types import Counts, Float64s, Int32s, Int64s


@dataclass(frozen=True)
class Counted(Dataset):
    """A data set without users: its log holds no event, and what there is to know of each item was counted before.

    sums: as `_of_shard` makes them, over all users
    """

    sums: Arrays

    @classmethod
    def on(cls, parts: Parts, catalogue: Catalogue, nobody: Log, ids: pl.Series, now: int, config: Config) -> "Counted":
        """What the events before a moment say of every item.

        nobody: a log without users, as theirs; ids: none, of the type of users' ids
        """
        lives = tuple(sorted({config.recent.half_life, config.trend.half_life}))
        sums = parts.total(partial(_of_shard, now, lives), 100 * nobody.n_items)
        return cls(Vocabulary(ids), catalogue, nobody, now, sums)

    def until(self, parts: Parts, now: int, config: Config) -> "Counted":
        """The same of the events before an earlier moment."""
        return Counted.on(parts, self.catalogue, self.log, self.users.ids, now, config)

    @property
    def n_users(self) -> int:
        """Those with an event."""
        return int(self.sums["users"][0])

    @property
    def n_events(self) -> int:
        """All events."""
        return int(self.sums["events"].sum())

    @property
    def _counts(self) -> tuple[Int64s, Int64s]:
        return self.sums["events"], self.sums["listeners"]

    @property
    def plays(self) -> Counts:
        """As of any data set."""
        if self.log.weight is None:
            return self.events
        total: Float64s = self.sums["plays"]
        return total.astype(np.int64) if (total == np.floor(total)).all() and total.sum() < EXACT else total

    def plays_within(self, days: Sequence[int]) -> Float64s:
        """As of any data set, for the numbers of days that are asked for."""
        return np.stack([self.sums[f"within {n}"] for n in days])

    def decayed_plays(self, half_life: float) -> Float64s:
        """As of any data set, for the half-lives of the options."""
        return self.sums[f"decayed {half_life}"]

    def item_times(self) -> tuple[Int32s, Int32s]:
        """As of any data set."""
        return self.sums["least time"], self.sums["most time"]

    @property
    def labels(self) -> Pairs:
        """The rows of the catalogue's labels, which follow those of users."""
        pairs = Pairs.of(self.log, self.catalogue.label_rows(self.listeners > 0))
        return replace(pairs, last=np.zeros(len(pairs.item), np.int32))


def _of_shard(now: int, lives: Sequence[float], shard: Shard) -> Arrays:
    log = shard.train.before(now)
    data = Dataset(Vocabulary(shard.users), Catalogue(Vocabulary(shard.users.clear())), log, now)
    events, listeners = log.item_counts()
    first, last = data.item_times()
    within = zip(WINDOWS, data.plays_within(WINDOWS), strict=True)
    lengths = log.stop - log.start
    return {
        "users": np.array([(lengths > 0).sum()]),
        "events": events,
        "listeners": listeners,
        **({} if log.weight is None else {"plays": log.item_weights().astype(np.float64)}),
        **{f"within {days}": plays for days, plays in within},
        **{f"decayed {life}": data.decayed_plays(life) for life in lives},
        "least time": np.where(events > 0, first, LATEST).astype(np.int32),
        "most time": np.where(events > 0, last, EARLIEST).astype(np.int32),
        "histories": np.bincount(lengths),
        "tracks": np.bincount(np.diff(Pairs.of(log).indptr)),
        "repeats": np.array([shard.repeats]),
    }


def label_window(parts: Parts, now: int, options: SplitOptions) -> int:
    """The first second of the latest label window before a moment, as `inner_split` cuts it.

    Raises:
        NoWindow: one side of the cut is empty.
    """
    first = EARLIEST // DAY
    days = parts.total(partial(_by_day, now))["days"]
    n, some = int(days.sum()), np.flatnonzero(days)
    if n == 0 or len(some) == 0:
        raise NoWindow("train holds no events before the window. Give a longer log.")

    def seconds(day: int) -> Int64s:
        return parts.total(partial(_by_second, now, day))["seconds"]

    def least(day: int) -> int:
        return day * DAY + int(np.flatnonzero(seconds(day))[0])

    start = least(int(some[0]) + first)
    if options.label_days is not None:
        cutoff = now - int(options.label_days * DAY)
    else:
        keep = min(n - 1, max(0, round(n * (1 - options.label_share))))
        at = int(np.searchsorted(np.cumsum(days), keep, side="right"))
        own = seconds(at + first)
        before = int(days[:at].sum())
        cutoff = (at + first) * DAY + int(np.searchsorted(np.cumsum(own), keep - before, side="right"))
        if cutoff <= start:  # all of the first moment is history, even if that makes the window short
            later = np.flatnonzero(own)
            later = later[(at + first) * DAY + later > cutoff]
            after = some[some > at]
            if len(later):
                cutoff = (at + first) * DAY + int(later[0])
            elif len(after):
                cutoff = least(int(after[0]) + first)
    last_day = int(some[-1]) + first
    if cutoff <= start or cutoff > last_day * DAY + int(np.flatnonzero(seconds(last_day))[-1]):
        raise NoWindow("all events are on one side of the cut, so no label window can be cut. Give a longer log.")
    return cutoff


def _by_day(now: int, shard: Shard) -> Arrays:
    times = _times(now, shard)
    return {"days": np.bincount(times // DAY - EARLIEST // DAY, minlength=1)}


def _by_second(now: int, day: int, shard: Shard) -> Arrays:
    times = _times(now, shard)
    return {"seconds": np.bincount(times[times // DAY == day] % DAY, minlength=DAY)}


def _times(now: int, shard: Shard) -> Int64s:
    log = shard.train.before(now)
    assert log.time is not None
    return log.time[log.places()].astype(np.int64)
