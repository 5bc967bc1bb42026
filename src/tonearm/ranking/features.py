"""Features: what the ranker knows of a user, an item, and the two together, before `now` and never later."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tonearm.data.catalogue import Tags
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log, Pairs
from tonearm.data.times import DAY
from tonearm.errors import ConfigError, DataError
from tonearm.kernels import features as kernels
from tonearm.kernels import own as own_kernels
from tonearm.ranking.candidates import Candidates
from tonearm.types import Float32s, Int32s, Int64s

WINDOWS = (7, 30, 90)
"""Days of the recent popularity windows."""


class Scratch:
    """Memory that one block's matrix after another is written to: to get it anew costs more than to fill it."""

    def __init__(self) -> None:
        self._flat: Float32s = np.empty(0, np.float32)

    def matrix(self, n: int, width: int) -> Float32s:
        """(n, width) float32 of any content, column by column, as CatBoost reads it without a copy."""
        if len(self._flat) < n * width:
            self._flat = np.empty(n * width * 5 // 4, np.float32)  # blocks differ little
        return self._flat[: n * width].reshape(width, n).T


@dataclass(frozen=True)
class Features:
    """How features are made, fitted on the events before `now`.

    names: the columns of the matrix that `compute` returns
    columns, width: their places among the columns that are computed, and how many those are
    own: whether the user's own plays of a candidate are among them
    item: (n_items, n_item_features) float32
    popularity: (n_items,) float32, log(1 + plays)
    refusals: (n_items,) float32, the share of skips and the like among what users did with the item; None where the log
        has no kinds
    """

    names: tuple[str, ...]
    item: Float32s
    popularity: Float32s
    tags: tuple[tuple[str, Tags], ...]
    own: bool
    columns: Int64s
    width: int
    refusals: Float32s | None = None

    @classmethod
    def fit(
        cls,
        data: Dataset,
        sources: Sequence[str],
        filter_seen: bool,
        wanted: Sequence[str] = (),
        item: Float32s | None = None,
    ) -> "Features":
        """Count what is known of each item; groups without data (time, artists, ...) are left out.

        wanted: names of the features to make, as far as the data have them; none named means all
        item: those of the items where they were counted before on the same data, as counting takes a pass over the log

        Raises:
            ConfigError: the data have none of them.
        """
        catalogue = data.catalogue
        tags = tuple(
            (name, tags)
            for name, tags in (("artist", catalogue.artists), ("album", catalogue.albums))
            if tags is not None and _repeats(tags)
        )
        timed, own = data.log.time is not None, not filter_seen
        if wanted:  # what takes long to make is left out unless it is asked for
            tags = tuple((tag, of) for tag, of in tags if {*_affinity_names(tag, timed)} & {*wanted})
            own = own and bool({*_own_names(timed)} & {*wanted})
        names = _names(sources, [tag for tag, _ in tags], timed, filter_seen, own, data.against is not None)
        columns = np.array([i for i, name in enumerate(names) if not wanted or name in wanted], np.int64)
        if len(columns) == 0:
            raise ConfigError(
                f"the data have none of ranker.features ({', '.join(wanted)}). Name one of {', '.join(names)}."
            )
        if item is None:
            item_columns = _item_features(data, filter_seen)
            item = np.zeros((data.n_items, len(item_columns)), np.float32)
            for column, values in enumerate(item_columns.values()):
                item[:, column] = values
        if item.shape != (data.n_items, len(_item_names(timed, filter_seen))):
            raise DataError("what the run holds of its items is not what features are made of. Make the run anew.")
        popularity = np.log1p(data.plays, dtype=np.float32)
        refusals = None if data.against is None else _refusals(data, data.against)
        return cls(tuple(names[c] for c in columns), item, popularity, tags, own, columns, len(names), refusals)

    def compute(self, block: Block, candidates: Candidates, scratch: "Scratch | None" = None) -> Float32s:
        """The features of every candidate, (n_candidates, n_features) float32 column by column; NaN where unknown.

        scratch: memory to write to; the result holds until it is used again
        """
        indptr, item = candidates.lists.indptr, candidates.lists.item
        out = (scratch or Scratch()).matrix(len(candidates), self.width)
        z = kernels.standardize(indptr, candidates.scores)
        user = _user_features(block, self.popularity)
        kernels.place_known(indptr, item, candidates.scores, z, self.item, user, out)
        at = 2 * z.shape[1] + self.item.shape[1] + user.shape[1]
        pairs, timed = block.pairs, block.pairs.last is not None
        last = pairs.last if pairs.last is not None else np.empty(0, np.int32)
        for _, tags in self.tags:
            affinity = kernels.tag_affinity(
                pairs.indptr,
                pairs.item,
                pairs.plays,
                last,
                block.now,
                tags.indptr,
                tags.index,
                len(tags.labels),
                indptr,
                item,
            )
            width = 3 if timed else 2
            out[:, at : at + width] = affinity[:, :width]
            at += width
        if self.own:
            own = _own_features(block, candidates.lists)
            out[:, at : at + own.shape[1]] = own
            at += own.shape[1]
        if self.refusals is not None:
            out[:, at] = _own_skips(block, candidates.lists)
            out[:, at + 1] = self.refusals[item]
            at += 2
        assert at == self.width
        return out if len(self.columns) == at else out.T[self.columns].T


def _repeats(tags: Tags) -> bool:
    """Whether any label is shared by two items; a column of labels used once says nothing about other items."""
    return len(tags.index) > len(tags.labels)


def feature_names(sources: Sequence[str], filter_seen: bool) -> list[str]:
    """Every feature of these sources, made from data that lack nothing."""
    return _names(sources, ("artist", "album"), True, filter_seen, not filter_seen, True)


def _names(
    sources: Sequence[str], tags: Sequence[str], timed: bool, filter_seen: bool, own: bool, against: bool
) -> list[str]:
    return [
        *(f"{source}_{kind}" for source in sources for kind in ("score", "z")),
        *_item_names(timed, filter_seen),
        *_user_names(timed),
        *(name for tag in tags for name in _affinity_names(tag, timed)),
        *(_own_names(timed) if own else ()),
        *(("own_skips", "item_skip_share") if against else ()),
    ]


def _affinity_names(tag: str, timed: bool) -> list[str]:
    return [f"{tag}_{kind}" for kind in (("plays", "items", "recency") if timed else ("plays", "items"))]


def _item_names(timed: bool, filter_seen: bool) -> list[str]:
    names = [] if filter_seen else ["item_plays_per_user"]
    if timed:
        names += [f"item_{kind}_{days}d" for days in WINDOWS for kind in ("plays", "trend")]
        names += ["item_age", "item_recency"]
    return names


def _item_features(data: Dataset, filter_seen: bool) -> dict[str, Float32s]:
    """By `_item_names`. Plays in all are the score of the popular source, and so not among them."""
    plays = data.plays.astype(np.float32)
    columns: dict[str, Float32s] = {}
    if not filter_seen:
        columns["item_plays_per_user"] = (plays / np.maximum(data.listeners, 1)).astype(np.float32)
    log = data.log
    if log.time is not None:
        for days, count in zip(WINDOWS, data.plays_within(WINDOWS).astype(np.float32), strict=True):
            columns[f"item_plays_{days}d"] = np.log1p(count)
            columns[f"item_trend_{days}d"] = (count + 1) / (plays + 10)
        first, last = data.item_times()
        played = data.plays > 0
        columns["item_age"] = _days_before(data.now, first, played)
        columns["item_recency"] = -_days_before(data.now, last, played)
    return columns


def _days_before(now: int, time: Int32s, known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Float32s:
    return np.where(known, (now - time.astype(np.float64)) / DAY, np.nan).astype(np.float32)


def _user_names(timed: bool) -> list[str]:
    names = ["user_tracks", "user_plays_per_track", "user_popularity"]
    return [*names, "user_tenure", "user_recency", "user_recent_share"] if timed else names


def _user_features(block: Block, item_log_plays: Float32s) -> Float32s:
    pairs = block.pairs
    lengths = np.diff(pairs.indptr)
    some = np.maximum(lengths, 1)
    row = np.repeat(np.arange(len(block)), lengths)

    def mean(values: Float32s) -> Float32s:
        return (np.bincount(row, weights=values, minlength=len(block)) / some).astype(np.float32)

    columns = [np.log1p(lengths).astype(np.float32), mean(pairs.plays), mean(item_log_plays[pairs.item])]
    log = block.log
    if log.time is not None:
        has = log.stop > log.start
        first = log.time[np.where(has, log.start, 0)] if len(log.time) else np.zeros(len(block), np.int32)
        last = log.time[np.where(has, log.stop - 1, 0)] if len(log.time) else np.zeros(len(block), np.int32)
        columns += [_days_before(block.now, first, has), -_days_before(block.now, last, has)]
        assert pairs.last is not None
        columns.append(mean((pairs.last >= block.now - 30 * DAY).astype(np.float32)))
    return np.stack(columns, axis=1)


def _own_names(timed: bool) -> list[str]:
    names = ["own_seen", "own_plays"]
    return [*names, "own_recency", "own_days", "own_day_share", "own_gap", "own_due"] if timed else names


def _own_features(block: Block, candidates: Lists) -> Float32s:
    """What the user's own plays of a candidate say, (n_candidates, 2 or 7) float32.

    Whether it was played, and how often; −days since the last time; days with a play of it, as a number and as a share
    of the user's days with any; the mean gap between those days; and the days since the last over the median gap.
    """
    pairs, log = block.pairs, block.log
    own = own_kernels.place_in_history(pairs.indptr, pairs.item, candidates.indptr, candidates.item)
    seen = own >= 0
    place = np.where(seen, own, 0)

    def of_own(values: Float32s, otherwise: float) -> Float32s:
        found = values[place] if len(values) else np.zeros(len(place), np.float32)
        return np.where(seen, found, np.float32(otherwise)).astype(np.float32)

    columns = [seen.astype(np.float32), of_own(pairs.plays, 0)]
    if pairs.last is not None and log.time is not None:
        since = ((block.now - pairs.last.astype(np.float64)) / DAY).astype(np.float32)
        days, gaps = own_kernels.rhythm(log.start, log.stop, log.item, log.time, pairs.indptr, pairs.item)
        columns += [of_own(-since, np.nan), of_own(days[:, 0], 0), of_own(days[:, 0] / days[:, 1], 0)]
        columns += [of_own(gaps[:, 0], np.nan), of_own(since / gaps[:, 1], np.nan)]
    return np.stack(columns, axis=1)


def _own_skips(block: Block, candidates: Lists) -> Float32s:
    """How often a user skipped or disliked each candidate, (n_candidates,) float32."""
    if block.against is None:
        return np.zeros(len(candidates.item), np.float32)
    skips = Pairs.of(replace(block.against, weight=None))
    place = own_kernels.place_in_history(skips.indptr, skips.item, candidates.indptr, candidates.item)
    return np.where(place >= 0, np.append(skips.plays, np.float32(0))[place], 0).astype(np.float32)


def _refusals(data: Dataset, against: Log) -> Float32s:
    skips = against.item_counts()[0]
    return (skips / (data.events + skips + 10)).astype(np.float32)
