"""The inner split: by time without copying, by a seeded draw without time."""

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.times import DAY, to_seconds
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import ConfigError, DataError
from tonearm.split import InnerSplit, NoWindow, SplitOptions, folds, inner_split, inner_splits
from tonearm.types import Int32s

START = to_seconds(datetime(2021, 1, 1))
N_ITEMS = 9


def dataset(histories: list[list[tuple[int, int]]], timed: bool = True) -> Dataset:
    """Users' (item, day) in order; the cut is the day after the last."""
    flat = [event for events in histories for event in events]
    stop = np.cumsum([len(events) for events in histories]).astype(np.int64)
    start = np.concatenate(([0], stop[:-1])).astype(np.int64)
    item = np.array([i for i, _ in flat], dtype=np.int32)
    time = np.array([START + d * DAY for _, d in flat], dtype=np.int32)
    now = START + (max(d for _, d in flat) + 1) * DAY if timed else 0
    log = Log(start, stop, item, time if timed else None, None, N_ITEMS)
    users = Vocabulary(pl.Series("id", range(len(histories))))
    return Dataset(users, Catalogue(Vocabulary(pl.Series("id", range(N_ITEMS)))), log, now)


def untimed(items: list[list[int]]) -> Dataset:
    return dataset([[(i, 0) for i in sorted(mine)] for mine in items], timed=False)


def of(log: Log) -> list[list[int]]:
    return [log.item[lo:hi].tolist() for lo, hi in zip(log.start, log.stop, strict=True)]


def train_times(log: Log, user: int) -> Int32s:
    assert log.time is not None
    return log.time[log.start[user] : log.stop[user]]


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


class TestByTime:
    TRAIN = dataset([[(0, 0), (1, 1), (2, 8), (3, 9)], [(4, 2), (0, 3), (5, 4)], [(6, 5), (7, 6), (8, 7)]])

    def test_the_last_days_are_labels(self) -> None:
        split = inner_split(self.TRAIN, SplitOptions(label_share=0.2), rng())
        assert split.cutoff == START + 8 * DAY == split.history.now
        assert of(split.history.log) == [[0, 1], [4, 0, 5], [6, 7, 8]]
        assert of(split.labels) == [[2, 3], [], []]

    def test_days_instead_of_a_share(self) -> None:
        split = inner_split(self.TRAIN, SplitOptions(label_days=4), rng())
        assert split.cutoff == START + 6 * DAY
        assert of(split.labels) == [[2, 3], [], [7, 8]]

    def test_nothing_is_copied_and_nothing_renamed(self) -> None:
        split = inner_split(self.TRAIN, SplitOptions(), rng())
        for log in (split.history.log, split.labels):
            assert log.item is self.TRAIN.log.item
            assert log.time is self.TRAIN.log.time
            assert log.n_users == 3
        assert split.history.users is self.TRAIN.users
        assert split.history.catalogue is self.TRAIN.catalogue

    def test_a_day_is_never_parted(self) -> None:
        busy = dataset([[(0, 0), (1, 5), (2, 5), (3, 5)], [(4, 1), (5, 5), (6, 5), (7, 6)]])
        split = inner_split(busy, SplitOptions(label_share=0.2), rng())
        assert of(split.history.log) == [[0], [4]]
        assert split.cutoff == START + 5 * DAY

    def test_first_moment_stays_history(self) -> None:
        heavy = dataset([[(0, 0), (1, 0), (2, 0)], [(4, 0), (5, 3)]])
        split = inner_split(heavy, SplitOptions(label_share=0.5), rng())
        assert of(split.history.log) == [[0, 1, 2], [4]]
        assert of(split.labels) == [[], [5]]

    def test_a_view_of_a_log_counts_its_own_events_only(self) -> None:
        earlier = inner_split(self.TRAIN, SplitOptions(label_share=0.2), rng()).history
        assert inner_split(earlier, SplitOptions(label_share=0.25), rng()).cutoff == START + 6 * DAY

    def test_one_moment_cannot_be_cut(self) -> None:
        one_day = dataset([[(0, 0), (1, 0)], [(2, 0)]])
        for options in (SplitOptions(), SplitOptions(label_days=3)):
            with pytest.raises(NoWindow, match=r"all 3 train events are of one moment.* Give a longer log"):
                inner_split(one_day, options, rng())

    @pytest.mark.parametrize(("days", "side"), [(10, "history"), (0.5, "label window")])
    def test_a_window_too_long_or_too_short(self, days: float, side: str) -> None:
        with pytest.raises(DataError, match=f"leaves the {side} empty.* Set split.label_days") as raised:
            inner_split(self.TRAIN, SplitOptions(label_days=days), rng())
        assert not isinstance(raised.value, NoWindow)  # here another option helps

    def test_no_window_sees_its_own_labels_or_later_ones(self) -> None:
        days = np.random.default_rng(3).integers(0, 90, (40, 30))
        train = dataset([[(i % N_ITEMS, int(day)) for i, day in enumerate(np.sort(own))] for own in days])
        splits = list(inner_splits(train, SplitOptions(label_share=0.2, windows=4), rng()))
        assert len(splits) == 4
        end = train.now
        for split in splits:
            assert split.cutoff == split.history.now
            for log, first, after in ((split.history.log, START, split.cutoff), (split.labels, split.cutoff, end)):
                times = np.concatenate([train_times(log, user) for user in range(log.n_users)])
                assert first <= times.min() <= times.max() < after
            end = split.cutoff
        assert sum(split.labels.n_events for split in splits) + splits[-1].history.log.n_events == train.log.n_events


class TestWithoutTime:
    TRAIN = untimed([[0, 1, 2, 2, 2, 3, 4, 5, 6, 7], [3], [1, 8], [4, 4], [2, 5, 8]])

    def test_each_item_goes_to_one_side_whole(self) -> None:
        split = inner_split(self.TRAIN, SplitOptions(label_share=0.4), rng())
        assert split.cutoff is None
        assert split.history.now == 0
        for before, history, labels in zip(of(self.TRAIN.log), of(split.history.log), of(split.labels), strict=True):
            assert sorted(history + labels) == before
            assert not set(history) & set(labels)
            assert history

    def test_a_users_only_item_is_never_held_out(self) -> None:
        for seed in range(20):
            labels = of(inner_split(self.TRAIN, SplitOptions(label_share=0.9), np.random.default_rng(seed)).labels)
            assert labels[1] == []
            assert labels[3] == []

    def test_seeded(self) -> None:
        one, other = (inner_split(self.TRAIN, SplitOptions(label_share=0.4), rng()) for _ in range(2))
        assert of(one.labels) == of(other.labels)
        seeds = [inner_split(self.TRAIN, SplitOptions(label_share=0.4), np.random.default_rng(s)) for s in range(9)]
        assert len({str(of(split.labels)) for split in seeds}) > 1

    def test_about_the_share_of_short_histories_too(self) -> None:
        many = untimed([[u % 9, (u + 1) % 9, (u + 3) % 9] for u in range(20_000)])
        split = inner_split(many, SplitOptions(label_share=0.1), rng())
        assert split.labels.n_events / many.log.n_events == pytest.approx(0.1, abs=0.01)
        plays = np.bincount(split.labels.item, minlength=9)
        assert plays.min() > 0.7 * plays.max()

    def test_days_need_time(self) -> None:
        with pytest.raises(DataError, match="label_days cannot cut it"):
            inner_split(self.TRAIN, SplitOptions(label_days=3), rng())

    def test_nothing_to_hold_out(self) -> None:
        with pytest.raises(DataError, match="leaves the label set empty: 2 train events of 2 users"):
            inner_split(untimed([[0], [1]]), SplitOptions(), rng())

    @pytest.mark.parametrize(("share", "held"), [(0.2, 0.2), (0.26, 0.25), (0.9, 0.5)])
    def test_windows_are_parts_of_about_the_share(self, share: float, held: float) -> None:
        many = untimed([[u % 9, (u + 1) % 9, (u + 3) % 9, (u + 4) % 9] for u in range(5_000)])
        splits = list(inner_splits(many, SplitOptions(label_share=share, windows=2), rng()))
        assert [split.labels.n_events / many.log.n_events for split in splits] == pytest.approx([held] * 2, abs=0.01)


class TestFolds:
    def test_labels_are_disjoint_and_complete(self) -> None:
        train = untimed([[0, 1, 2, 2, 3, 4, 5, 6], [3], [1, 8], [2, 5, 8]])
        parts = folds(train, 3, rng())
        labels = [of(part.labels) for part in parts]
        for u, mine in enumerate(of(train.log)):
            held = [i for fold in labels for i in fold[u]]
            assert sorted(held) == (mine if len(set(mine)) > 1 else [])
            assert all(sorted(of(p.history.log)[u] + fold[u]) == mine for p, fold in zip(parts, labels, strict=True))
            assert all(of(p.history.log)[u] for p in parts)
        assert [len(set(fold[0])) for fold in labels] in ([3, 2, 2], [2, 3, 2], [2, 2, 3])

    def test_a_timed_log_keeps_its_order(self) -> None:
        train = dataset([[(5, 0), (1, 1), (5, 2), (0, 3)], [(4, 2), (2, 2)]])
        for part in folds(train, 2, rng()):
            for log in (part.history.log, part.labels):
                assert log.time is not None
                for lo, hi in zip(log.start, log.stop, strict=True):
                    assert (np.diff(log.time[lo:hi]) >= 0).all()
            events = sum(log.n_events for log in (part.history.log, part.labels))
            assert events == 6

    def test_short_histories_spread_over_the_folds(self) -> None:
        parts = folds(untimed([[u % 9, (u + 4) % 9] for u in range(3000)]), 5, rng())
        sizes = [part.labels.n_events for part in parts]
        assert min(sizes) > 0.9 * max(sizes)

    def test_too_few(self) -> None:
        with pytest.raises(DataError, match="1 folds cannot be made"):
            folds(untimed([[0, 1], [2, 3]]), 1, rng())
        # a fold without labels is none
        assert len(folds(untimed([[0, 1], [2]]), 5, rng())) == 2
        with pytest.raises(NoWindow, match="leaves the label set empty"):
            folds(untimed([[0], [2]]), 5, rng())


@given(
    days=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12).map(sorted), min_size=2, max_size=6),
    share=st.sampled_from([0.05, 0.1, 0.3, 0.6]),
)
@settings(max_examples=60, deadline=None)
def test_every_event_is_on_its_side_of_the_cut(days: list[list[int]], share: float) -> None:
    train = dataset([[(d % N_ITEMS, d) for d in mine] for mine in days])
    flat = sorted(d for mine in days for d in mine)
    if flat[0] == flat[-1]:
        return
    split: InnerSplit = inner_split(train, SplitOptions(label_share=share), rng())
    assert split.cutoff is not None
    cut_day = (split.cutoff - START) / DAY
    assert split.labels.n_events == sum(d >= cut_day for d in flat)
    assert split.history.log.n_events == sum(d < cut_day for d in flat)
    # The day before the cut would make the window larger than asked for, or it is the only other choice.
    later = sum(d > cut_day for d in flat)
    assert later < max(1, share * len(flat) + 1)


@pytest.mark.parametrize("options", [{"label_share": 0}, {"label_share": 1.0}, {"label_days": -1}, {"share": 0.1}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SplitOptions(**options)
