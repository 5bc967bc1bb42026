"""What the log looks like, as plain figures for the report: volume by time, popularity, histories, genres, examples."""

import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from tonearm.data.dataset import Dataset
from tonearm.data.log import Log, Pairs
from tonearm.data.times import DAY, to_moment, to_seconds
from tonearm.data.truth import Truth
from tonearm.evaluation.meters import BANDS, LEVELS, activity_levels, describe_items
from tonearm.kernels import profile as kernels
from tonearm.kernels.events import cut
from tonearm.loading.count import ZERO
from tonearm.loading.load import Test
from tonearm.types import AnyArray, Bools, Counts, Int32s, Int64s

HISTORY = 20
TESTED = 50
POPULAR = 20
CURVE_POINTS = 80
GENRES = 20
TOPS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5)
TIMES = ("train_events", "train_users", "test_events", "test_users", "both_users")

Row = dict[str, Any]


def profile(train: Dataset, test: Test, truth: Truth, seed: int) -> dict[str, Any]:
    """Everything `profile.json` holds, as plain values without NaN; docs/use/report.md describes it.

    seed: decides which users and items are the examples
    """
    rng = np.random.default_rng([seed, zlib.crc32(b"profile")])
    return {
        "format": 1,
        "filter_seen": truth.filter_seen,
        "time": time_profile(dated(train.log), dated(test.log), dated(test.cold)),
        "popularity": popularity_profile(train.plays),
        "history_lengths": histogram(train.log.stop - train.log.start, "users"),
        "item_plays": histogram(train.plays[train.plays > 0], "items"),
        "genres": genre_profile(train),
        "examples": {"users": example_users(train, test, truth, rng), "items": example_items(train, rng)},
    }


def time_profile(train: Log, warm: Log, cold: Log) -> dict[str, Any] | None:
    """Events and active users by day, week, month or year, train and test apart; None where train has no time.

    warm: the test events of the users of train; cold: those of others
    both_users: users with an event in train and one in test in the same stretch; train_users and test_users hold them
    """
    logs = [log for log in (train, warm, cold) if log.time is not None and log.n_events]
    if train.time is None or not logs:
        return None
    spans = [log.span for log in logs]
    unit, edges = time_edges(min(lo for lo, _ in spans), max(hi for _, hi in spans))
    return time_rows(unit, edges, time_counts(train, warm, cold, edges))


def time_counts(train: Log, warm: Log, cold: Log, edges: Int64s) -> dict[str, Int64s]:
    """How many events and users of each side fall between the edges, (n_edges − 1,) each; they add up over users."""
    counts = dict.fromkeys(TIMES, np.zeros(len(edges) - 1, np.int64))
    for log in (train, warm, cold):
        if log.time is None or log.n_events == 0:
            continue
        side = "train" if log is train else "test"
        events, users = kernels.count_by_time(log.start, log.stop, log.time, edges)
        counts[f"{side}_events"] = counts[f"{side}_events"] + events
        counts[f"{side}_users"] = counts[f"{side}_users"] + users
    counts["both_users"] = _users_of_both(train, warm, edges, (counts["train_users"] > 0) & (counts["test_users"] > 0))
    return counts


def time_rows(unit: str, edges: Int64s, counts: Mapping[str, Int64s]) -> dict[str, Any]:
    """The same as `time_profile` returns it."""
    rows = [
        {"start": to_moment(lo).date().isoformat(), "end": to_moment(hi).date().isoformat()}
        | {name: int(values[b]) for name, values in counts.items()}
        for b, (lo, hi) in enumerate(pairwise(edges.tolist()))
    ]
    return {"by": unit, "rows": rows}


def _users_of_both(train: Log, warm: Log, edges: Int64s, shared: Bools) -> Int64s:
    """Users with an event in both logs in each stretch; only those stretches are `shared` that may have such."""

    def active(log: Log, stretch: int) -> Bools:
        assert log.time is not None
        first, after = (cut(log.start, log.stop, log.time, int(edge)) for edge in edges[stretch : stretch + 2])
        return after > first

    found = np.zeros(len(shared), np.int64)
    if warm.n_events:
        for b in np.flatnonzero(shared).tolist():
            found[b] = (active(train, b) & active(warm, b)).sum()
    return found


def dated(log: Log) -> Log:
    """A log without its events of 1970-01-01, a missing time more often than a play, unless it has no later ones."""
    if log.time is None or log.n_events == 0 or not ZERO <= log.span[0] < ZERO + DAY:
        return log
    later = log.since(ZERO + DAY)
    return later if later.n_events else log


def time_edges(first: int, last: int) -> tuple[str, Int64s]:
    """The unit that suits a span of seconds (both ends inclusive), and the bounds of its stretches, (n + 1,) int64."""
    begin, end = to_moment(first), to_moment(last)
    days = (end - begin).days
    midnight = begin.replace(hour=0, minute=0, second=0)
    if days <= 21:
        unit, moment = "day", midnight
    elif days <= 120:
        unit, moment = "week", midnight - timedelta(days=midnight.weekday())
    elif days <= 40 * 365:
        unit, moment = "month", midnight.replace(day=1)
    else:
        unit, moment = "year", midnight.replace(month=1, day=1)
    edges = [moment]
    while edges[-1] <= end:
        edges.append(_next(edges[-1], unit))
    return unit, np.array([to_seconds(edge) for edge in edges], np.int64)


def _next(moment: datetime, unit: str) -> datetime:
    if unit == "day":
        return moment + timedelta(days=1)
    if unit == "week":
        return moment + timedelta(days=7)
    if unit == "year":
        return moment.replace(year=moment.year + 1)
    return (moment + timedelta(days=32)).replace(day=1)


def popularity_profile(plays: Counts) -> dict[str, Any]:
    """Plays at log-spaced ranks of popularity, and the share of all plays that the most played items take.

    plays: (n_items,), events or their summed weight; items without plays are left out
    """
    ordered = np.sort(plays[plays > 0])[::-1]
    n = len(ordered)
    if n == 0:
        return {"items": 0, "plays": 0, "curve": [], "top": []}
    ranks = np.unique(np.geomspace(1, n, CURVE_POINTS).round().astype(np.int64))
    total = ordered.cumsum()
    tops = {share: max(1, round(share * n)) for share in TOPS}
    return {
        "items": n,
        "plays": total[-1].item(),
        "curve": [{"rank": int(rank), "plays": ordered[rank - 1].item()} for rank in ranks],
        "top": [
            {"share_of_items": share, "items": size, "share_of_plays": float(total[size - 1] / total[-1])}
            for share, size in tops.items()
            if share * n >= 1
        ],
    }


def histogram(values: AnyArray, what: str, times: AnyArray | None = None) -> list[Row]:
    """How many values (whole numbers) fall into 0, 1, 2-4, 5-9, 10-19, 20-49, ..., up to the largest: from, to, `what`.

    times: how often each value is there; None: once
    Steps go 1, 2, 5, 10, 20, 50, ...; `to` is inclusive. Of values with fractions, only the whole part counts.
    """
    if len(values) == 0:
        return []
    largest = int(values.max())
    lows = [0, *(step * 10**power for power in range(len(str(largest))) for step in (1, 2, 5))]
    lows = [low for low in lows if low <= largest]
    highs = [*(low - 1 for low in lows[1:]), largest]
    counts = np.bincount(np.searchsorted(lows, values, side="right") - 1, times, minlength=len(lows))
    bins = [{"from": low, "to": high, what: int(n)} for low, high, n in zip(lows, highs, counts, strict=True)]
    return bins if bins[0][what] or len(bins) == 1 else bins[1:]


def genre_profile(data: Dataset) -> dict[str, Any] | None:
    """Items and plays of the most played genres; an item counts for each of its genres. None where there are none."""
    genres = data.catalogue.genres
    if genres is None:
        return None
    n = len(genres.labels)
    items = np.bincount(genres.index, minlength=n)
    lengths = np.diff(genres.indptr)
    plays = np.bincount(genres.index, weights=np.repeat(data.plays, lengths), minlength=n).astype(data.plays.dtype)
    order = np.lexsort((np.arange(n), -plays))[:GENRES].astype(np.int32)
    total = float(data.plays.sum()) or 1.0
    names = genres.labels.decode(order).to_list()
    return {
        "genres": n,
        "items_with_genre": int((lengths > 0).sum()),
        "share_of_plays_with_genre": float(data.plays[lengths > 0].sum() / total),
        "rows": [
            {"genre": name, "items": int(items[g]), "plays": plays[g].item(), "share_of_plays": float(plays[g] / total)}
            for name, g in zip(names, order, strict=True)
        ],
    }


def example_users(train: Dataset, test: Test, truth: Truth, rng: np.random.Generator) -> list[Row]:
    """One evaluated user of each level of activity, drawn among those with enough history and test items to look at."""
    level, sizes = activity_levels(truth.history), np.diff(truth.indptr)
    rows = []
    for place, label in enumerate(LEVELS):
        inside = level == place
        for history, tested in ((5, 3), (3, 2), (1, 1)):
            some = np.flatnonzero(inside & (truth.history >= history) & (sizes >= tested))
            if len(some):
                rows.append({"level": label} | _user(train, test, truth, int(rng.choice(some))))
                break
    return rows


def _user(train: Dataset, test: Test, truth: Truth, row: int) -> Row:
    user = truth.users[row : row + 1]
    heard, tested = Pairs.of(train.log.users(user)), Pairs.of(test.log.users(user))
    latest = _order(heard)[:HISTORY]
    shown = _order(tested)
    shown = shown[tested.item[shown] < train.n_items][:TESTED]
    counts = np.isin(tested.item, truth.item[truth.indptr[row] : truth.indptr[row + 1]])
    known = train.plays[tested.item[shown]] > 0
    reasons = np.where(counts[shown], "counts", np.where(known, "already heard", "not in train"))
    popular = train.popularity_order[: POPULAR + len(heard.item)]
    if truth.filter_seen:
        popular = popular[~np.isin(popular, heard.item)]
    popular = popular[:POPULAR]
    return {
        "user_id": train.users.decode(user)[0],
        "events": int(truth.history[row]),
        "items": len(heard.item),
        "history": _entries(train, heard, latest),
        "test_items": len(tested.item),
        "truth_items": int(counts.sum()),
        "test": [
            entry | {"in_truth": bool(counts[place]), "reason": str(reason)}
            for entry, place, reason in zip(_entries(train, tested, shown), shown, reasons, strict=True)
        ],
        "popular": describe(train, popular),
    }


def _order(pairs: Pairs) -> Int64s:
    """Latest first, then most played, then lowest index."""
    keys = (pairs.item, -pairs.plays)
    return np.lexsort(keys if pairs.last is None else (*keys, -pairs.last.astype(np.int64)))


def _entries(data: Dataset, pairs: Pairs, places: Int64s) -> list[Row]:
    last = None if pairs.last is None else pairs.last[places].tolist()
    return [
        entry
        | {
            "plays": round(float(pairs.plays[place]), 3),
            "last": None if last is None else to_moment(last[i]).isoformat(sep=" "),
        }
        for i, (entry, place) in enumerate(zip(describe(data, pairs.item[places]), places, strict=True))
    ]


def describe(data: Dataset, items: Int32s) -> list[Row]:
    """item_id, name, genres and artists of some items."""
    facts = data.catalogue.describe(items).select("name", "genres", "artists")
    ids = data.catalogue.items.decode(items).alias("item_id")
    return pl.DataFrame([ids]).hstack(facts).to_dicts()


def example_items(train: Dataset, rng: np.random.Generator) -> list[Row]:
    """One item of each band of popularity, drawn among those with five plays or more where there are such."""
    band = describe_items(train.plays, train.catalogue).band
    rows = []
    for place, label in enumerate(BANDS):
        some = np.flatnonzero((band == place) & (train.plays >= 5))
        if len(some) == 0:
            some = np.flatnonzero(band == place)
        if len(some) == 0:
            continue
        item = np.array([rng.choice(some)], np.int32)
        more = {
            "band": label,
            "plays": train.plays[item[0]].item(),
            "users": int(train.listeners[item[0]]),
            "popularity_rank": int(np.flatnonzero(train.popularity_order == item[0])[0]) + 1,
        }
        rows.append(describe(train, item)[0] | more)
    return rows
