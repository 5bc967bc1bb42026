"""What was counted while loading, in the shapes that go into the manifest and that `tonearm check` prints."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from tonearm.data.log import Log
from tonearm.data.times import to_moment
from tonearm.kernels import events as kernels
from tonearm.loading.count import Census, DataOptions
from tonearm.loading.events import Events
from tonearm.loading.items import CatalogueFound
from tonearm.loading.vectors import VectorsFound
from tonearm.terminal.words import counted
from tonearm.types import Int64s


@dataclass(frozen=True)
class LogFound:
    """Rows of one log: how many were read, kept, and left out by which rule.

    columns: our name of each used column -> the caller's
    nulls: rows without each column; null_rows: rows without any of them
    futures, orphans, duplicates: rows later than today, of items that the catalogue lacks, and equal to another row;
        whether they were kept is the rules' matter; duplicates are None where errors kept them from being counted
    dropped: rule -> rows that it left out
    first, last: times of the first and last row kept
    days: times are days, so that a repeated row is a repeat listen
    undated: rows of 1970-01-01, which a missing time often turns into
    unit: what times count since 1970 where they are numbers
    kinds: rows of each kind, in a log with kinds
    """

    path: str
    columns: dict[str, str]
    rows: int
    kept: int
    nulls: dict[str, int]
    null_rows: int
    futures: int
    orphans: int
    duplicates: int | None
    dropped: dict[str, int]
    first: str | None
    last: str | None
    days: bool
    undated: int
    unit: str | None = None
    kinds: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SideFound:
    """Train or test in figures; `*_with_one` have a single event, `repeats` are events of a pair seen before."""

    events: int
    users: int
    items: int
    repeats: int
    users_with_one: int
    items_with_one: int
    median_per_user: float
    max_per_user: int
    median_per_item: float
    max_per_item: int
    first: str | None
    last: str | None


@dataclass(frozen=True)
class TestFound:
    """How test relates to train: warm users are in both, unknown items in neither train nor the catalogue."""

    __test__ = False

    events: int
    users: int
    warm_users: int
    cold_users: int
    unknown_items: int
    unknown_events: int
    first: str | None
    last: str | None


@dataclass(frozen=True)
class Found:
    """All that was counted while loading.

    logs: "events", or "train" and "test"
    orphan_items: items of train that the catalogue lacks; None where there is none
    notes: what is worth knowing and no error, a sentence each
    vectors: None where no item has one
    """

    logs: dict[str, LogFound] = field(default_factory=dict)
    catalogue: CatalogueFound | None = None
    train: SideFound | None = None
    test: TestFound | None = None
    orphan_items: int | None = None
    notes: list[str] = field(default_factory=list)
    vectors: VectorsFound | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers, ready for JSON."""
        return asdict(self)


def log_found(events: Events, census: Census, options: DataOptions, duplicates: int | None) -> LogFound:
    """The counts of one log; `duplicates` are None until its events are in order."""
    dropped = {
        "on_null": census.null_rows if options.on_null == "drop" else 0,
        "on_future": census.futures if options.on_future == "drop" else 0,
        "on_orphan": census.orphans if options.on_orphan == "drop" else 0,
        "on_duplicate": (duplicates or 0) if options.drops_repeats(census.days) else 0,
    }
    if options != options.everyone:
        others = sum(n for rule, n in dropped.items() if rule != "on_duplicate")
        others += sum(n for kind, n in census.kinds.items() if options.counts.get(kind, 1) <= 0)
        dropped["sample"] = max(0, census.rows - census.kept - others)
    return LogFound(
        path=events.input.address,
        columns=events.columns,
        rows=census.rows,
        kept=census.kept - dropped["on_duplicate"],
        nulls=census.nulls,
        null_rows=census.null_rows,
        futures=census.futures,
        orphans=census.orphans,
        duplicates=duplicates,
        dropped={rule: n for rule, n in dropped.items() if n},
        first=_text(census.first),
        last=_text(census.last),
        days=census.days,
        undated=census.undated,
        unit=events.unit,
        kinds=census.kinds,
    )


def side_found(log: Log, plays: Int64s) -> SideFound:
    """Train in figures; `plays` are the events of each item."""
    lengths = log.stop - log.start
    heard = plays[plays > 0]
    pairs = int(kernels.count_pairs(log.start, log.stop, log.item)[-1])
    first, last = log.span if log.time is not None else (None, None)
    return SideFound(
        events=log.n_events,
        users=log.n_users,
        items=len(heard),
        repeats=log.n_events - pairs,
        users_with_one=int((lengths == 1).sum()),
        items_with_one=int((heard == 1).sum()),
        median_per_user=float(np.median(lengths)),
        max_per_user=int(lengths.max()),
        median_per_item=float(np.median(heard)),
        max_per_item=int(heard.max()),
        first=_text(first),
        last=_text(last),
    )


def test_found(warm: Log, cold: Log, per_user: pl.Series, unknown_items: int, unknown_events: int) -> TestFound:
    """Test in figures; `per_user` are the events of each of its users, unknown items included."""
    spans = [log.span for log in (warm, cold) if log.time is not None and log.n_events]
    return TestFound(
        events=warm.n_events + cold.n_events,
        users=len(per_user),
        warm_users=len(per_user) - cold.n_users,
        cold_users=cold.n_users,
        unknown_items=unknown_items,
        unknown_events=unknown_events,
        first=_text(min((s[0] for s in spans), default=None)),
        last=_text(max((s[1] for s in spans), default=None)),
    )


def in_a_line(found: Found) -> str:
    """What was read, in one line."""
    train, test = found.train, found.test
    assert train is not None
    said = f"Read {counted(train.events, 'event')} to learn from, of {counted(train.users, 'user')} and "
    said += f"{counted(train.items, 'item')}{_span(train.first, train.last)}"
    if test is not None:
        said += f"; {counted(test.events, 'event')} to test on, of {counted(test.users, 'user')} "
        said += f"({test.cold_users:,} cold){_span(test.first, test.last)}"
    return f"{said}."


def _span(first: str | None, last: str | None) -> str:
    if first is None or last is None:
        return ""
    return f", {first[:10]} to {last[:10]}" if first[:10] != last[:10] else f", {first[:10]}"


def undated(found: Found) -> list[str]:
    """A sentence on each log with rows of 1970-01-01."""
    return [
        f"{log.path}: {log.undated:,} of {counted(log.rows, 'row')} {'is' if log.undated == 1 else 'are'} of "
        f"1970-01-01, which a missing time often turns into; {_they(log.undated)} kept, as the oldest. Give them their "
        "time, or drop them from the file."
        for log in found.logs.values()
        if log.undated
    ]


def notes(found: Found) -> list[str]:
    """What is worth a look and stops nothing, a sentence each."""
    said = []
    for log in found.logs.values():
        if log.unit is not None:
            said.append(f"{log.path}: {log.columns['started_at']} is read as {log.unit} since 1970, as its size tells.")
        repeats = "day" if log.days else "time"
        for n, one, many, what, rule in (
            (log.null_rows, "lacks", "lack", "a value that is needed", "on_null"),
            (log.futures, "is", "are", "later than now", "on_future"),
            (log.orphans, "is", "are", "of items that the catalogue lacks", "on_orphan"),
            (log.duplicates, "repeats", "repeat", f"another row's user, item, {repeats} and weight", "on_duplicate"),
        ):
            if n:
                what = f"{one if n == 1 else many} {what}"
                done = "left out" if rule in log.dropped else "kept"
                said.append(f"{log.path}: {n:,} of {counted(log.rows, 'row')} {what}; {_they(n)} {done} (data.{rule}).")
    said += undated(found)
    catalogue = found.catalogue
    if catalogue is not None:
        if (n := catalogue.null_ids) > 0:
            said.append(f"{catalogue.path}: {counted(n, 'row', 'has')} no item_id; {_they(n)} left out.")
        for columns, what in ((catalogue.missing, "has no"), (catalogue.empty, "has nothing in")):
            if columns:
                said.append(f"{catalogue.path}: {what} {', '.join(columns)}; what needs them is switched off.")
    if found.test is not None and found.test.unknown_events:
        events, items = found.test.unknown_events, found.test.unknown_items
        said.append(
            f"{counted(events, 'test event', 'is')} of {counted(items, 'item')} that neither train nor the catalogue "
            f"knows; nothing can recommend {'it' if items == 1 else 'them'}."
        )
    return said


def _they(rows: int) -> str:
    return "it is" if rows == 1 else "they are"


def _text(seconds: int | None) -> str | None:
    return None if seconds is None else to_moment(seconds).isoformat(sep=" ")
