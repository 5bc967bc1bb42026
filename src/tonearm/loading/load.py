"""From files to a `Dataset` to learn from and a `Test` to measure by; nothing at or after the cut reaches the former.

A log is read in batches, first to count the events of each user and item, then to put every event into its user's
place. At no time is there a table of all events beside the one array of 64-bit keys that they are ordered by.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import polars as pl

from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.times import DAY, to_moment, to_seconds
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import ConfigError, DataError
from tonearm.loading.columns import unused
from tonearm.loading.count import EARLIEST, LATEST, Census, DataOptions, census_problems, kept_rows, take_census
from tonearm.loading.events import Events, require_time
from tonearm.loading.inputs import Fingerprint, Source, fingerprint, shown
from tonearm.loading.items import CatalogueFound, Items, lay_out
from tonearm.loading.open_all import attempt, open_all, vectors_of
from tonearm.loading.sort_events import Room, log_of, pour, settle
from tonearm.loading.summary import Found, log_found, notes, side_found, test_found
from tonearm.loading.vectors import ItemVectors
from tonearm.terminal.progress import Progress, no_progress
from tonearm.terminal.words import counted
from tonearm.types import Int32s

__all__ = ["DataOptions", "Loaded", "Survey", "Test", "gather", "load_all", "load_events", "load_ready_made", "survey"]


@dataclass(frozen=True)
class Test:
    """What happened after the cut.

    log: one row for each train user; items that neither train nor the catalogue knows come after all those that do
    cold_users: ids of the test users that train does not know, ascending
    cold: one row for each cold user, over the same items
    new_items: ids of the items that are in neither train nor the catalogue, ascending; unknown_events: their events
    """

    __test__ = False

    log: Log
    cold_users: pl.Series
    cold: Log
    new_items: pl.Series
    unknown_events: int

    @property
    def unknown_items(self) -> int:
        """How many new items there are."""
        return len(self.new_items)


@dataclass(frozen=True)
class Loaded:
    """A data set to learn from, what to measure it by, and what was found on the way.

    test: None after `load_all`
    fingerprints: of the logs, then the catalogue
    today: seconds; later events were in the future
    """

    train: Dataset
    test: Test | None
    found: Found
    fingerprints: tuple[Fingerprint, ...]
    today: int

    @property
    def measured_by(self) -> Test:
        """The test, which is there."""
        assert self.test is not None
        return self.test


@dataclass(frozen=True)
class Survey:
    """The inputs after the counting: opened, counted, and what is wrong with them.

    logs: "events", or "train" and "test"; without those that could not be read
    cut: seconds, or None for ready-made sets and for `load_all`
    today: seconds
    problems: errors, each as a DataError words it
    """

    logs: dict[str, tuple[Events, Census]]
    items: Items | None
    catalogue: CatalogueFound | None
    cut: int | None
    today: int
    options: DataOptions
    problems: list[str]
    vectors: ItemVectors | None = None


def load_events(
    events: Source,
    items: Source | None,
    test_from: datetime,
    options: DataOptions | None = None,
    today: datetime | None = None,
    progress: Progress = no_progress,
) -> Loaded:
    """Load a log and cut it by time: train is everything before `test_from`, test is the rest.

    events, items: a file, a folder, a glob, an address in a store, or a table in memory
    test_from: a whole second, UTC or the zone of a log without one
    today: events later than this are in the future; by default now, in the zone farthest ahead of UTC

    Raises:
        DataError: the input cannot be used; every problem found stands in the message, a line each.
    """
    return _load({"events": events}, items, test_from, options, today, progress)


def load_ready_made(
    train: Source,
    test: Source,
    items: Source | None,
    options: DataOptions | None = None,
    today: datetime | None = None,
    progress: Progress = no_progress,
) -> Loaded:
    """Load two sets that are already cut; time is optional, else as `load_events`."""
    return _load({"train": train, "test": test}, items, None, options, today, progress)


def load_all(
    events: Source,
    items: Source | None,
    options: DataOptions | None = None,
    today: datetime | None = None,
    progress: Progress = no_progress,
) -> Loaded:
    """Load all of a log as train, without a cut; time is optional, else as `load_events`."""
    return _load({"events": events}, items, None, options, today, progress)


def survey(
    logs: Mapping[str, Source],
    items: Source | None,
    test_from: datetime | None,
    options: DataOptions | None = None,
    today: datetime | None = None,
    learning: bool = True,
    others: Sequence[Iterable[str]] = (),
) -> Survey:
    """Open and count the inputs; whatever is wrong with them is listed in the result.

    logs: {"events": source}, or {"train": source, "test": source}
    learning: train must be enough to learn from, and not only to measure by
    others: columns of further tables, which options.columns may speak of

    Raises:
        ConfigError: another set of logs, or a cut for sets that are already cut.
    """
    if set(logs) not in ({"events"}, {"train", "test"}):
        given = " and ".join(logs) or "none"
        raise ConfigError(f"The log is either events, or train and test together; given: {given}.")
    if "train" in logs and test_from is not None:
        raise ConfigError("test_from cuts events; train and test are already cut. Leave it out.")
    options = options or DataOptions()
    cut = None if test_from is None else to_seconds(test_from)
    if cut is not None and not EARLIEST <= cut <= LATEST:
        raise ConfigError(f"test_from is {test_from}, and times reach from 1932 to 2068. Choose one within the log.")
    now = to_seconds(today or datetime.now(UTC) + timedelta(hours=14))
    problems: list[str] = []
    opened, read = open_all(logs, items, options, problems)
    vectors = attempt(problems, partial(vectors_of, items, read, options))
    if not problems:
        tables = [*(events.input for events in opened.values() if events), *([read[0].input] if read else [])]
        tables += [vectors.input] if vectors is not None else []
        problems += unused(options.columns, [*(table.schema for table in tables), *others])
    catalogue = read[0].ids if read is not None else None
    counted: dict[str, tuple[Events, Census]] = {}
    for name, events in opened.items():
        if events is None or (cut is not None and not attempt(problems, partial(require_time, events))):
            continue
        census = attempt(problems, partial(take_census, events, cut, options, now, catalogue))
        if census is not None:
            counted[name] = (events, census)
            problems += census_problems(events, census, options, now)
    # Only train says whether times are days, so that nothing after the cut decides on anything before it.
    days = bool(counted) and next(iter(counted.values()))[1].days
    counted = {name: (log, replace(census, days=days and log.timed)) for name, (log, census) in counted.items()}
    table, described = read if read is not None else (None, None)
    if table is not None and counted:
        problems += _stranger_problems(*next(iter(counted.values())), table, options)
    result = Survey(counted, table, described, cut, now, options, problems, vectors)
    return result if problems else replace(result, problems=_side_problems(result, learning))


def gather(found: Survey, progress: Progress = no_progress) -> Loaded:
    """Put the events of a survey in place.

    Raises:
        DataError: the survey has problems; there are duplicates and the options forbid them; or the file changed
            after the survey.
    """
    if found.problems:
        raise DataError("\n".join(found.problems))
    sides = _sides(found)
    train_side, test_side = sides["train"], sides.get("test")
    users = Vocabulary(train_side.users["id"])
    items = Vocabulary.of(*([found.items.ids] if found.items is not None else []), train_side.items["id"])
    rooms, new = {"train": [_room(train_side, train_side.users)]}, items.ids.clear()
    if test_side is not None:
        rooms["test"] = _test_rooms(users, test_side)
        new = test_side.items["id"].filter(pl.Series(items.encode(test_side.items["id"]) < 0))
    for name, (events, census) in found.logs.items():
        rows = kept_rows(events, found.options, found.today, _ids(found))
        mine = (room for side in rooms if sides[side].log == name for room in rooms[side])
        pour(events, rows, census.kept, partial(_encode, items, Vocabulary(new)), tuple(mine), progress)
    cold_users = rooms["test"][1].users.ids if test_side is not None else None
    # Popped, so that the keys of one side are gone before the next is unpacked.
    settled = {side: _settle(found, sides[side], rooms.pop(side), len(items) + len(new)) for side in list(rooms)}
    log = replace(settled["train"][0][0], n_items=len(items))
    now = found.cut if found.cut is not None else _end(log, train_side.days)
    catalogue = lay_out(found.items, items)
    if found.vectors is not None:
        catalogue = replace(catalogue, vectors=found.vectors.lay_out(items))
    train = Dataset(users, catalogue, log, now, against=_against(found, train_side, users, items, now))
    test = None
    if test_side is not None and cold_users is not None:
        warm, cold = settled["test"][0]
        _check_differ(train_side, test_side, log, warm)
        unknown = sum(int((side.item >= len(items)).sum()) for side in (warm, cold))
        test = Test(warm, cold_users, cold, new, unknown)
    duplicates = dict.fromkeys(found.logs, 0)
    for side, (_, n) in settled.items():
        duplicates[sides[side].log] += n
    return Loaded(train, test, _found(found, sides, train, test, duplicates), _fingerprints(found), found.today)


@dataclass(frozen=True)
class _Side:
    """Train or test before its events are in place.

    log: the name of the log it is in; users, items: id, n (int64, > 0), ids ascending; span: seconds, end exclusive
    days: the log's times are days
    """

    log: str
    events: Events
    users: pl.DataFrame
    items: pl.DataFrame
    span: tuple[int, int]
    days: bool


def _sides(found: Survey) -> dict[str, _Side]:
    def side(log: str, column: str, lo: int, hi: int) -> _Side:
        events, census = found.logs[log]
        users, items = (
            table.select(pl.col(name).alias("id"), pl.col(column).alias("n")).filter(pl.col("n") > 0)
            for table, name in ((census.users, "user_id"), (census.items, "item_id"))
        )
        return _Side(log, events, users, items, (lo, hi), census.days)

    end = LATEST + 1
    if "train" in found.logs:
        return {name: side(name, "train", EARLIEST, end) for name in ("train", "test")}
    if found.cut is None:
        return {"train": side("events", "train", EARLIEST, end)}
    return {"train": side("events", "train", EARLIEST, found.cut), "test": side("events", "test", found.cut, end)}


def _side_problems(found: Survey, learning: bool) -> list[str]:
    """What a cut or a pair of sets can have wrong once the rows themselves are fine."""
    sides = _sides(found)
    train, test = sides["train"], sides.get("test")
    address = train.events.input.address
    if found.cut is not None and test is not None and (train.users.is_empty() or test.users.is_empty()):
        census = found.logs[train.log][1]
        where = "at or after" if train.users.is_empty() else "before"
        span = f"{shown(to_moment(census.first or 0))} to {shown(to_moment(census.last or 0))}"
        return [
            f"{address}: all {census.kept:,} events are {where} {shown(to_moment(found.cut))}; they span {span}. "
            "Choose a test_from within."
        ]
    problems = []
    for table, what in ((train.users, "user"), (train.items, "item")):
        if learning and len(table) == 1:
            only, n = table.row(0)
            problems.append(
                f"{address}: train holds one {what} only ({only}, {counted(n, 'event')}), which leaves nothing to "
                f"learn. Give a log of several {what}s"
                + (", or choose a later test_from." if found.cut is not None else ".")
            )
    return problems if test is None or problems else _overlap_problems(train, test)


def _stranger_problems(events: Events, census: Census, items: Items, options: DataOptions) -> list[str]:
    """The error that the log and the catalogue have no item in common, with an id of each as like as may be."""
    known = census.kept if options.on_orphan == "drop" else census.kept - census.orphans
    if known > 0 or census.stranger is None:
        return []
    where = f"{events.input.address} and {items.input.address}"
    if items.ids.is_empty():
        return [f"{where}: the catalogue holds no item. Complete it, or leave it out."]
    plain = items.ids.cast(pl.String).str.strip_chars().str.to_lowercase()
    alike = items.ids.filter(plain == str(census.stranger).strip().lower())
    example = (alike if len(alike) else items.ids)[0]
    return [
        f"{where}: none of the log's items is in the catalogue: the log has {census.stranger!r}, the catalogue "
        f"{example!r}. Give both the same ids, or leave the catalogue out."
    ]


def _overlap_problems(train: _Side, test: _Side) -> list[str]:
    where = train.events.input.address
    if test.log != train.log:
        where = f"{where} and {test.events.input.address}"
    problems = []
    for mine, theirs, what in ((train.users, test.users, "user"), (train.items, test.items, "item")):
        if mine["id"].dtype.is_integer() != theirs["id"].dtype.is_integer():
            types = f"{mine['id'].dtype} in train and {theirs['id'].dtype} in test"
            problems.append(f"{where}: {what}_id is {types}, so no {what} is in both. Cast one of the two.")
        elif not (Vocabulary(mine["id"]).encode(theirs["id"]) >= 0).any():
            problems.append(
                f"{where}: none of the {len(theirs):,} {what}s of test is in train, so nothing can be measured. "
                "Check that both come from one source, and the cut."
            )
    return problems


def _room(side: _Side, users: pl.DataFrame) -> Room:
    return Room.of(Vocabulary(users["id"]), users["n"].to_numpy(), *side.span, side.events.weighted)


def _test_rooms(users: Vocabulary, side: _Side) -> list[Room]:
    """Room for the test events of train users, and of the others."""
    place = users.encode(side.users["id"])
    counts = np.zeros(len(users), np.int64)
    counts[place[place >= 0]] = side.users["n"].to_numpy()[place >= 0]
    warm = Room.of(users, counts, *side.span, side.events.weighted)
    cold = side.users.filter(pl.Series(place < 0))
    cast = cold["id"].cast(users.ids.dtype, strict=False)
    return [warm, _room(side, cold.with_columns(cast) if cast.null_count() == 0 else cold)]


def _encode(known: Vocabulary, new: Vocabulary, ids: pl.Series) -> Int32s:
    """Indices of items, the new ones after all that are known."""
    index = known.encode(ids)
    place = np.flatnonzero(index < 0)
    if len(new) and len(place):
        index = index.copy()  # an encoded column of strings cannot be written to
        index[place] = len(known) + new.encode(ids.gather(place))
    return index


def _check_differ(train_side: _Side, test_side: _Side, train: Log, test: Log) -> None:
    same = np.array_equal(train.start, test.start) and np.array_equal(train.item, test.item)
    if same and (train.time is None or test.time is None or np.array_equal(train.time, test.time)):
        raise DataError(
            f"{train_side.events.input.address} and {test_side.events.input.address}: train and test hold the same "
            f"{train.n_events:,} events, so a list would be measured by what it was made from. Give as test what "
            "users went on to do after train."
        )


def _settle(found: Survey, side: _Side, rooms: list[Room], n_items: int) -> tuple[list[Log], int]:
    drop = found.options.drops_repeats(side.days)
    settled = [settle(room, n_items, side.events.timed, drop) for room in rooms]
    duplicates = sum(n for _, n in settled)
    if duplicates and found.options.on_duplicate == "error":
        raise DataError(
            f"{side.events.input.address}: {counted(duplicates, 'row', 'repeats')} another one's user, item, time "
            'and weight. Drop them, or set data.on_duplicate to "drop" or "keep".'
        )
    return [log for log, _ in settled], duplicates


def _end(log: Log, days: bool) -> int:
    """The moment just after the last event: the next second, the next day in a log of days, 0 without time."""
    return 0 if log.time is None else log.span[1] + (DAY if days else 1)


def _against(found: Survey, side: _Side, users: Vocabulary, items: Vocabulary, now: int) -> Log | None:
    """The rows of a side that speak against a track; None in a log without kinds."""
    if not side.events.kinded:
        return None
    rows = kept_rows(side.events, found.options, found.today, _ids(found), against=True)
    return log_of(side.events, rows, users, items, (side.span[0], now))


def _ids(found: Survey) -> pl.Series | None:
    return found.items.ids if found.items is not None else None


def _found(
    found: Survey, sides: dict[str, _Side], train: Dataset, test: Test | None, duplicates: dict[str, int]
) -> Found:
    side = side_found(train.log, train.events)
    counts = None
    if test is not None:
        counts = test_found(test.log, test.cold, sides["test"].users["n"], test.unknown_items, test.unknown_events)
    orphan_items = None
    if found.items is not None:
        orphan_items = int((Vocabulary(found.items.ids).encode(sides["train"].items["id"]) < 0).sum())
    logs = {name: log_found(*pair, found.options, duplicates[name]) for name, pair in found.logs.items()}
    vectors = found.vectors.found if found.vectors is not None else None
    result = Found(logs, found.catalogue, side, counts, orphan_items, vectors=vectors)
    return replace(result, notes=notes(result))


def _fingerprints(found: Survey) -> tuple[Fingerprint, ...]:
    prints = [fingerprint(events.input, census.rows) for events, census in found.logs.values()]
    if found.items is not None and found.catalogue is not None:
        prints.append(fingerprint(found.items.input, found.catalogue.rows))
    if found.vectors is not None and found.options.vectors is not None:
        prints.append(fingerprint(found.vectors.input, found.vectors.found.rows))
    return tuple(prints)


def _load(
    logs: Mapping[str, Source],
    items: Source | None,
    test_from: datetime | None,
    options: DataOptions | None,
    today: datetime | None,
    progress: Progress,
) -> Loaded:
    return gather(survey(logs, items, test_from, options, today), progress)
