"""Histories of what a model holds and of what is told of its listeners since."""

import numpy as np
import polars as pl
import pytest

from tonearm.asking.histories import Histories
from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary

N_USERS, N_ITEMS = 7, 9


def some_log(seed: int, timed: bool) -> Log:
    """Few moments, so that many events share theirs; one user has nothing."""
    rng = np.random.default_rng(seed)
    row = np.sort(rng.integers(0, N_USERS - seed % 2, 60))
    item, time = rng.integers(0, N_ITEMS, 60).astype(np.int32), rng.integers(100, 110, 60).astype(np.int32)
    order = np.lexsort((item, time, row) if timed else (item, row))
    stop = np.bincount(row, minlength=N_USERS).cumsum()
    start = np.concatenate(([0], stop[:-1]))
    return Log(start, stop, item[order], time[order] if timed else None, None, N_ITEMS)


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_old_and_new_plays_are_one_history_in_order(timed: bool, seed: int) -> None:
    """By time, and at one moment by item, as a log that holds both is read."""
    held, told = some_log(2 * seed, timed), some_log(2 * seed + 1, timed)
    users, items = (Vocabulary(pl.Series("id", range(n))) for n in (N_USERS, N_ITEMS))
    data = Dataset(users, Catalogue(items), held, 200 if timed else 0)
    ids = pl.Series("user_id", [4, 0, 6, 2])
    [(asked, block)] = Histories(data, users, told, 200).blocks(ids, 10, True)
    assert asked.to_list() == ids.to_list()
    for place, user in enumerate(ids):
        events: list[tuple[int, int]] = []
        for log in (held, told):
            own = slice(int(log.start[user]), int(log.stop[user]))
            times = [0] * (own.stop - own.start) if log.time is None else log.time[own].tolist()
            events += zip(times, log.item[own].tolist(), strict=True)
        own = slice(int(block.log.start[place]), int(block.log.stop[place]))
        assert block.log.item[own].tolist() == [item for _, item in sorted(events)]
        if block.log.time is not None:
            assert block.log.time[own].tolist() == [time for time, _ in sorted(events)]
