"""Cut train once more: a history to fit sources on, and a label window to train the ranker by."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.times import DAY
from tonearm.errors import DataError
from tonearm.options import options
from tonearm.types import Bools, Int32s, Int64s


class NoWindow(DataError):
    """All events are on one side of every cut, whatever the options, so that there is no label window."""


@options
class SplitOptions:
    """How the label window is cut from train.

    label_share: share of the train events that the window holds: the latest ones, or, in a log without time, about
        this share of the items of each user
    label_days: length of the window in days before the end of train, instead of label_share; needs time
    windows: label windows at most, the latest first, each with the history before it; more than one are used while
        those so far have labels for few users
    """

    label_share: float = Field(default=0.1, gt=0, lt=1)
    label_days: float | None = Field(default=None, gt=0, le=50_000)
    windows: int = Field(default=3, ge=1)


@dataclass(frozen=True)
class InnerSplit:
    """History and labels, over the users and items of train.

    history: what the sources of the first stage may learn from; its `now` is the cutoff
    labels: (n_users rows) the events that the ranker learns to foresee
    cutoff: seconds, the first moment of the label window; None in a log without time
    against: what speaks against an item in the window, as in `Dataset`; in a log without time all that there is
    """

    history: Dataset
    labels: Log
    cutoff: int | None
    against: Log | None = None


def check_window(train: Dataset, options: SplitOptions) -> None:
    """Raises DataError where `label_days` cannot cut the latest label window, as `inner_splits` would."""
    if options.label_days is not None:
        with suppress(NoWindow):  # lists are made without a ranker then
            inner_split(train, options, np.random.default_rng(0))


def inner_split(train: Dataset, options: SplitOptions, rng: np.random.Generator) -> InnerSplit:
    """Cut train into history and label window: by time where there is one, else by a draw from each user's items.

    rng: used only without time; the draw depends on the users' sorted items, never on the order of input rows

    Raises:
        NoWindow: whatever the options, one of the two sides would be empty.
        DataError: label_days leaves one of them empty, or the log has no time.
    """
    if train.log.time is None:
        if options.label_days is not None:
            raise DataError("the log has no started_at, so label_days cannot cut it. Set label_share instead.")
        return _held_out(train, *_draw(train.log, options.label_share, rng))
    cutoff = _cutoff(train, options)
    history, labels = train.log.before(cutoff), train.log.since(cutoff)
    if history.n_events == 0 or labels.n_events == 0:
        side = "history" if history.n_events == 0 else "label window"
        times = _gather(train.log, train.log.time)
        if options.label_days is None or times.min() == times.max():
            raise NoWindow(
                f"all {train.log.n_events:,} train events are of one moment, so no label window can be cut from them. "
                "Give a longer log."
            )
        raise DataError(
            f"split.label_days = {options.label_days:g} leaves the {side} empty: all {train.log.n_events:,} train "
            "events are on one side of its cut. Set split.label_days or split.label_share so that both hold some."
        )
    against = None if train.against is None else train.against.since(cutoff)
    return InnerSplit(train.before(cutoff), labels, cutoff, against)


def inner_splits(train: Dataset, options: SplitOptions, rng: np.random.Generator) -> Iterator[InnerSplit]:
    """The latest label window, then the one before it with the history before that, and so on; at least one.

    Without time the windows are disjoint parts of each user's items.

    Raises:
        NoWindow: not even one window can be cut.
        DataError: as `inner_split`.
    """
    if train.log.time is None:
        check_window(train, options)
        yield from folds(train, max(2, round(1 / options.label_share)), rng)[: options.windows]
        return
    split = inner_split(train, options, rng)
    yield split
    for _ in range(options.windows - 1):
        try:
            split = inner_split(split.history, options, rng)
        except DataError:
            return
        yield split


def folds(train: Dataset, n: int, rng: np.random.Generator) -> list[InnerSplit]:
    """At most n splits of a log whose label sets are disjoint and together hold all items of all users with several.

    Each (user, item) is in the labels of one fold and in the history of the others. Users with fewer than n items
    have labels in as many folds as they have items, at most one in each; a user's only item is never held out. A fold
    without a label, as there are where users are very few, is left out.

    Raises:
        DataError: n is below 2.
        NoWindow: no fold has a label.
    """
    if n < 2:
        raise DataError(f"{n} folds cannot be made. Ask for 2 or more.")
    owner, group, size, place = _groups(train.log)
    fold = _rank_in_user(owner, rng) % n
    # Each user begins at a fold of their own, or the first folds would get all the short histories.
    fold = (fold + rng.integers(0, n, train.log.n_users)[owner]) % n
    fold[size == 1] = -1
    some = [f for f in range(n) if (fold == f).any()] or [0]
    return [_held_out(train, place, (fold == f)[group]) for f in some]


def earlier_cuts(train: Dataset, n: int, length: int) -> list[InnerSplit]:
    """Cuts one `length` (seconds) before the end of train, two, and so on to n: labels are of the length that follows.

    Raises:
        DataError: the log has no time, or a side of a cut is empty.
    """
    splits: list[InnerSplit] = []
    if n > 0 and train.log.time is None:
        raise DataError("folds are measured at earlier cuts, and the log has no started_at. Leave folds at 1.")
    for _ in range(n):
        cutoff = train.now - length
        history, labels = train.log.before(cutoff), train.log.since(cutoff)
        if history.n_events == 0 or labels.n_events == 0:
            side = "nothing to learn from" if history.n_events == 0 else "nothing to measure by"
            raise DataError(
                f"a cut {len(splits) + 1} × {length / DAY:.3g} days before the test, which is as long as the test is, "
                f"leaves {side}. Set folds to {len(splits) + 1} or less."
            )
        train = train.before(cutoff)
        splits.append(InnerSplit(train, labels, cutoff))
    return splits


def _cutoff(train: Dataset, options: SplitOptions) -> int:
    """First second of the label window."""
    log = train.log
    if options.label_days is not None:
        return train.now - int(options.label_days * DAY)
    times = _gather(log, log.time) if log.time is not None else np.empty(0, np.int32)
    if len(times) == 0:
        raise DataError("train holds no events, so there is nothing to split. Choose a later test_from.")
    keep = min(len(times) - 1, max(0, round(len(times) * (1 - options.label_share))))
    cutoff = int(np.partition(times, keep)[keep])
    if cutoff > int(times.min()):
        return cutoff
    # All of the first moment is history, even if that makes the window short.
    later = times[times > cutoff]
    return int(later.min()) if len(later) else cutoff


def _draw(log: Log, share: float, rng: np.random.Generator) -> tuple[Int64s, Bools]:
    """Hold out about `share` of each user's items, never all of them; positions of events and which are held."""
    owner, group, size, place = _groups(log)
    items = np.bincount(owner, minlength=log.n_users)
    # Rounded at random, so that short histories are drawn from as well.
    wanted = np.floor(items * share + rng.random(log.n_users)).astype(np.int64)
    held = _rank_in_user(owner, rng) < np.minimum(wanted, items - 1)[owner]
    return place, (held & (size > 1))[group]


def _groups(log: Log) -> tuple[Int64s, Int64s, Int64s, Int64s]:
    """The distinct (user, item) of a log in ascending order.

    Returns owner (n_pairs,) the user of each; group (n_events,) the pair of each event, events ordered by pair;
    size (n_pairs,) how many items the owner has; place (n_events,) where each event stands in the log's arrays.
    """
    lengths = log.stop - log.start
    user = np.repeat(np.arange(log.n_users, dtype=np.int64), lengths)
    place = log.places()
    key = (user << 32) | log.item[place]
    if len(key) and (np.diff(key) < 0).any():
        order = np.argsort(key, kind="stable")
        key, place = key[order], place[order]
    new = np.ones(len(key), np.bool_)
    new[1:] = key[1:] != key[:-1]
    owner = key[new] >> 32
    return owner, np.cumsum(new) - 1, np.bincount(owner, minlength=log.n_users)[owner], place


def _rank_in_user(owner: Int64s, rng: np.random.Generator) -> Int64s:
    """A random order of each user's pairs: 0-based place of each, (n_pairs,)."""
    order = np.lexsort((rng.random(len(owner)), owner))
    first = np.searchsorted(owner, owner)
    rank = np.empty(len(owner), np.int64)
    rank[order] = np.arange(len(owner)) - first
    return rank


def _held_out(train: Dataset, place: Int64s, held: Bools) -> InnerSplit:
    if held.all() or not held.any():
        side = "history" if held.all() else "label set"
        raise NoWindow(
            f"the inner split leaves the {side} empty: {train.log.n_events:,} train events of {train.n_users:,} users. "
            "Labels are drawn from users with two items or more; give a larger log, or raise split.label_share."
        )
    # Back in the order of the log, which a timed log does not share with its pairs.
    order = np.argsort(place, kind="stable")
    place, held = place[order], held[order]
    history, labels = _only(train.log, place, ~held), _only(train.log, place, held)
    return InnerSplit(replace(train, log=history), labels, None, train.against)


def _only(log: Log, place: Int64s, keep: Bools) -> Log:
    """A log of the events that are kept, in arrays of its own."""
    user = np.repeat(np.arange(log.n_users), log.stop - log.start)
    counts = np.bincount(user[keep], minlength=log.n_users)
    indptr = np.concatenate(([0], counts.cumsum())).astype(np.int64)
    kept = place[keep]
    return Log(
        indptr[:-1],
        indptr[1:],
        log.item[kept],
        log.time[kept] if log.time is not None else None,
        log.weight[kept] if log.weight is not None else None,
        log.n_items,
    )


def _gather(log: Log, values: Int32s) -> Int32s:
    """The values of the log's own events; the array itself where the log is all of it."""
    return values if log.n_events == len(values) else values[log.places()]
