"""What a log in parts comes to: counts, the histories that a run keeps, and the figures of its profile."""

import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tonearm.config import Config
from tonearm.data.times import to_moment
from tonearm.loading.items import CatalogueFound
from tonearm.loading.summary import Found, LogFound, SideFound, notes
from tonearm.loading.summary import TestFound as TestCounts
from tonearm.parts import lists
from tonearm.parts.counted import Counted
from tonearm.parts.shard import Shard
from tonearm.parts.work import Arrays
from tonearm.report import profile
from tonearm.runs import directory
from tonearm.runs.data import TEST, TRAIN, of_ids
from tonearm.types import AnyArray

COLUMNS = ("indptr", "item", "time", "weight")
"""The arrays of a log."""


def test_of_shard(shard: Shard) -> Arrays:
    """Counts of the test, and its place in time."""
    lengths = [log.stop - log.start for log in (shard.test, shard.cold)]
    logs = [log for log in (shard.train, shard.test, shard.cold) if log.n_events]
    ends, tests = [log.span for log in logs], [log.span for log in (shard.test, shard.cold) if log.n_events]
    unknown = sum(int((log.item >= shard.train.n_items).sum()) for log in (shard.test, shard.cold))
    big, small = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    return {
        "warm": np.array([(lengths[0] > 0).sum(), lengths[0].sum()]),
        "cold": np.array([(lengths[1] > 0).sum(), lengths[1].sum()]),
        "unknown": np.array([unknown]),
        "least": np.array([min((lo for lo, _ in ends), default=big)]),
        "most": np.array([max((hi for _, hi in ends), default=small)]),
        "least test": np.array([min((lo for lo, _ in tests), default=big)]),
        "most test": np.array([max((hi for _, hi in tests), default=small)]),
        "most train": np.array([shard.train.span[1] if shard.train.n_events else small]),
    }


def _median(times: Any) -> float:
    """Of values, each as often there as `times` says."""
    ends = np.cumsum(times)
    n = int(ends[-1])
    low, high = (int(np.searchsorted(ends, place, side="right")) for place in ((n - 1) // 2, n // 2))
    return (low + high) / 2


def found_of(
    rows: LogFound,
    items: CatalogueFound | None,
    orphans: int | None,
    new_items: int,
    drops: bool,
    train: Counted,
    tested: Arrays,
) -> Found:
    """What was counted, as loading on one machine has it.

    rows: all but the repeats, which go where `drops`; orphans: items of train that the catalogue lacks;
        new_items: those of test that neither knows
    tested: as `test_of_shard` makes them, of all shards
    """

    def text(seconds: Any) -> str:
        return to_moment(int(seconds)).isoformat(sep=" ")

    histories, heard = train.sums["histories"].copy(), train.events[train.events > 0]
    histories[:1] = 0
    repeats = int(train.sums["repeats"][0])
    side = SideFound(
        events=train.n_events,
        users=train.n_users,
        items=len(heard),
        repeats=train.n_events - int(train.listeners.sum()),
        users_with_one=int(histories[1]) if len(histories) > 1 else 0,
        items_with_one=int((heard == 1).sum()),
        median_per_user=_median(histories),
        max_per_user=len(histories) - 1,
        median_per_item=float(np.median(heard)),
        max_per_item=int(heard.max()),
        first=text(tested["least"][0]),
        last=text(tested["most train"][0]),
    )
    (warm, warm_events), (cold, cold_events) = tested["warm"].tolist(), tested["cold"].tolist()
    test = TestCounts(
        events=warm_events + cold_events,
        users=warm + cold,
        warm_users=warm,
        cold_users=cold,
        unknown_items=new_items,
        unknown_events=int(tested["unknown"][0]),
        first=text(tested["least test"][0]),
        last=text(tested["most test"][0]),
    )
    dropped = rows.dropped | ({"on_duplicate": repeats} if repeats and drops else {})
    kept = rows.kept - dropped.get("on_duplicate", 0)
    one = replace(rows, duplicates=repeats, dropped=dropped, kept=kept)
    result = Found({"events": one}, items, side, test, orphans)
    return replace(result, notes=notes(result))


def write_histories(folder: Path, spooled: list[Path], new_items: pl.Series, unknown: int) -> None:
    """data/train.npz and data/test.npz, as one machine writes them, shard by shard.

    spooled: the arrays of every shard, in order; unknown: events of new items
    """
    directory.save_arrays(folder / TRAIN, _joined(spooled, {"": "train_"}, "users"))
    both = _joined(spooled, {"warm_": "warm_", "cold_": "cold_"}, "cold_users")
    more: Arrays = of_ids("new_items", new_items) | {"unknown_events": np.array(unknown)}
    directory.save_arrays(folder / TEST, {**both, **more})


def _joined(spooled: list[Path], logs: dict[str, str], ids: str) -> dict[str, directory.Joined]:
    """The arrays of logs and ids of all shards, end to end, as they are written."""

    def every(name: str) -> Iterator[AnyArray]:
        before = 0
        for place, path in enumerate(spooled):
            array = directory.map_arrays(path)[name]
            if name.endswith("indptr"):
                yield (array[1:] if place else array) + before
            else:
                yield array + before if name.endswith("_ends") else array
            before += int(array[-1]) if len(array) and name.endswith(("indptr", "_ends")) else 0

    first = directory.map_arrays(spooled[0])
    columns = {f"{ours}{name}": f"{theirs}{name}" for ours, theirs in logs.items() for name in COLUMNS}
    names = columns | {name: name for name in (ids, f"{ids}_ends", f"{ids}_text")}
    return {
        ours: directory.Joined(partial(every, theirs), first[theirs].dtype)
        for ours, theirs in names.items()
        if theirs in first
    }


def profile_of(
    train: Counted, spooled: list[Path], sums: Arrays, unit: str, edges: Any, config: Config
) -> dict[str, Any]:
    """As `profile` makes it; example users are of the first shard."""
    rng = np.random.default_rng([config.seed, zlib.crc32(b"profile")])
    shard = Shard.of(0, directory.map_arrays(spooled[0]))
    data = lists.part_of(train, shard)
    truth, test = lists.answers_of(data, shard.test, config), lists.test_of(data, shard)
    histories = train.sums["histories"]
    lengths = np.flatnonzero(histories[1:]) + 1
    times = {name: sums[f"time {name}"] for name in profile.TIMES}
    return {
        "format": 1,
        "filter_seen": config.filter_seen,
        "time": profile.time_rows(unit, edges, times),
        "popularity": profile.popularity_profile(train.plays),
        "history_lengths": profile.histogram(lengths, "users", histories[lengths]),
        "item_plays": profile.histogram(train.plays[train.plays > 0], "items"),
        "genres": profile.genre_profile(train),
        "examples": {
            "users": profile.example_users(data, test, truth, rng),
            "items": profile.example_items(train, rng),
        },
    }
