"""A shard: some users who stand next to one another, with all of their events, as a row of a table on the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.kernels import events as kernels
from tonearm.loading.count import EARLIEST, LATEST
from tonearm.loading.sort_events import Room, settle
from tonearm.runs.data import ids_of, log_of, of_ids, of_log
from tonearm.sources.history import drawn
from tonearm.types import AnyArray, Int32s, Int64s


@dataclass(frozen=True)
class Shard:
    """Users and what they heard; items are those of all shards.

    place: its number; users: ids of those with an event in train, ascending; train, test: a row for each of them
    cold_users, cold: the other users
    repeats: rows that repeat another one's user, item, time and weight
    """

    place: int
    users: pl.Series
    train: Log
    test: Log
    cold_users: pl.Series
    cold: Log
    repeats: int

    @classmethod
    def of(cls, place: int, arrays: Mapping[str, AnyArray]) -> "Shard":
        """The shard that `arrays` took apart."""
        sizes = arrays["sizes"]
        train = log_of(arrays, "train_", int(sizes[0]))
        test, cold = (log_of(arrays, f"{side}_", int(sizes[1])) for side in ("warm", "cold"))
        users, others = ids_of("users", arrays), ids_of("cold_users", arrays)
        return cls(place, users, train, test, others, cold, int(sizes[2]))

    def learnt(self, now: int, share: float = 1.0) -> Log:
        """What its users did before a moment, or what a share of them did."""
        log = self.train.before(now)
        return log if share >= 1 else log.users(np.flatnonzero(drawn(log.n_users, share)).astype(np.int32))

    def arrays(self) -> dict[str, AnyArray]:
        """The shard as arrays."""
        logs = {"train": self.train, "warm": self.test, "cold": self.cold}
        all_of_them = {f"{side}_{name}": array for side, log in logs.items() for name, array in of_log(log).items()}
        ids = of_ids("users", self.users) | of_ids("cold_users", self.cold_users)
        sizes = np.array([self.train.n_items, self.test.n_items, self.repeats], np.int64)
        return all_of_them | ids | {"sizes": sizes}

    @classmethod
    def build(
        cls,
        place: int,
        users: pl.Series,
        item: Int32s,
        time: Int32s,
        weight: AnyArray,
        cut: int,
        drop: bool,
        sizes: tuple[int, int],
    ) -> "Shard":
        """Put all events of some users in order, as loading on one machine does.

        item: (n,) int32, −1 for an event that is left out; weight: (n,) float32, or empty
        drop: leave repeated rows out; sizes: items that train and the catalogue know, and those that test has too
        """
        kept = item >= 0
        known = Vocabulary.of(users.filter(pl.Series(kept & (time < cut))))
        index = known.encode(users)
        others = Vocabulary.of(users.filter(pl.Series(kept & (index < 0))))
        logs, repeats = [], 0
        for ids, lo, hi, n in (
            (known, EARLIEST, cut, sizes[0]),
            (known, cut, LATEST + 1, sizes[1]),
            (others, cut, LATEST + 1, sizes[1]),
        ):
            row: Int32s = np.where(kept & (time >= lo) & (time < hi), ids.encode(users), -1).astype(np.int32)
            counts: Int64s = np.bincount(row[row >= 0], minlength=len(ids)).astype(np.int64)
            room = Room.of(ids, counts, lo, hi, len(weight) > 0)
            kernels.scatter(row, item, time, room.cursor, room.stop, room.key, weight, room.weight)
            log, n_repeats = settle(room, n, True, drop)
            logs.append(log)
            repeats += n_repeats
        return cls(place, known.ids, logs[0], logs[1], others.ids, logs[2], repeats)
