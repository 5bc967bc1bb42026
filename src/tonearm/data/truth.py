"""What evaluated users went on to hear."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tonearm.data.log import Log, Pairs
from tonearm.kernels import events
from tonearm.kernels import metrics as kernels
from tonearm.types import Bools, Int32s, Int64s


@dataclass(frozen=True)
class Truth:
    """What evaluated users went on to hear: their distinct test items that could have been recommended.

    users: (n,) int32 ascending user index; none of them has an empty truth
    indptr, item: CSR, (n + 1,) int64 and (n_truth,) int32, items ascending in a row
    history: (n,) int64 events of each user in train
    filter_seen: items a user already heard in train were left out
    population: how many users and test items there were, and how many were left out for which reason
    """

    users: Int32s
    indptr: Int64s
    item: Int32s
    history: Int64s
    filter_seen: bool
    population: dict[str, int]

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def row(self) -> Int64s:
        """The row of each truth item, (n_truth,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.indptr))

    def of_rows(self, rows: Int64s) -> "Truth":
        """The truth of some of its users; `rows` ascends, and `population` stays what it was."""
        keep = np.zeros(len(self), np.bool_)
        keep[rows] = True
        indptr = np.concatenate(([0], np.cumsum(np.diff(self.indptr)[rows]))).astype(np.int64)
        item, users, history = self.item[keep[self.row]], self.users[rows], self.history[rows]
        return replace(self, users=users, indptr=indptr, item=item, history=history)

    def rows_of(self, users: Int32s) -> Int64s:
        """The row of each of some users, −1 where a user is not evaluated; (b,) int64."""
        if len(self) == 0:
            return np.full(len(users), -1, np.int64)
        place = np.minimum(np.searchsorted(self.users, users), len(self) - 1)
        return np.where(self.users[place] == users, place, -1).astype(np.int64)


def truth(train: Log | Pairs, test: Log, filter_seen: bool = True, known: Bools | None = None) -> Truth:
    """The truth of warm users: distinct test items that exist in train, less those heard in train where filter_seen.

    train, test: over the same user index; items of test that train does not know come after its own. A user without an
        entry in train is cold and not in the result.
    known: (n_items of test,) bool, which items exist in train, where `train` holds but a part of it
    """
    assert train.n_users == test.n_users, "train and test share one user index"
    assert train.n_items <= test.n_items, "train and test share one item index"
    start, stop = (train.start, train.stop) if isinstance(train, Log) else (train.indptr[:-1], train.indptr[1:])
    if known is None:
        known = events.item_counts(start, stop, train.item, test.n_items)[0] > 0
    pairs = Pairs.of(test)
    keep, counts = np.zeros(len(pairs.item), np.bool_), np.zeros((test.n_users, 3), np.int64)
    kernels.collect_truth(start, stop, train.item, pairs.indptr, pairs.item, known, filter_seen, keep, counts)
    kept, unknown, heard = counts.T
    history, distinct = stop - start, np.diff(pairs.indptr)
    warm, tested = history > 0, distinct > 0
    users = np.flatnonzero(warm & (kept > 0)).astype(np.int32)
    indptr = np.concatenate(([0], np.cumsum(kept[users]))).astype(np.int64)
    item = pairs.item[keep & np.repeat(warm, distinct)]
    population = {
        "train_users": int(warm.sum()),
        "test_users": int(tested.sum()),
        "warm_test_users": int((warm & tested).sum()),
        "cold_test_users": int((~warm & tested).sum()),
        "warm_test_users_without_truth": int((warm & tested & (kept == 0)).sum()),
        "evaluated_users": len(users),
        "test_events": test.n_events,
        "warm_test_items": int(distinct[warm].sum()),
        "warm_test_items_not_in_train": int(unknown[warm].sum()),
        "warm_test_items_already_heard": int(heard[warm].sum()),
        "truth_items": len(item),
    }
    return Truth(users, indptr, item, history[users], filter_seen, population)
