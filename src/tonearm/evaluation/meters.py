"""How good lists are, block by block: meters that add up."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from tonearm.data.catalogue import Catalogue
from tonearm.data.lists import Lists
from tonearm.data.log import Log, Pairs
from tonearm.data.truth import Truth
from tonearm.errors import ConfigError
from tonearm.kernels import metrics as kernels
from tonearm.types import AnyArray, Counts, Float32s, Float64s, Int32s, Int64s

KS = (5, 10, 20, 100)

FAMILIES = ("precision", "recall", "ndcg", "hit_rate", "mrr", "map")

BANDS = ("head", "torso", "tail")
"""Most-played items that make up the first half of all plays, the next three tenths, and the rest."""

LEVELS = ("light", "medium", "heavy")


def cold_users(cold: Log, plays: Counts, popular: Int32s, k: int) -> dict[str, Any]:
    """What the first k items of the popular list would have meant to users without any history.

    cold: test events of the cold users, a row for each; plays: (n_items,) plays of each item in train
    popular: item index, most popular first

    share_with_hit, mean_hits and recall are means over cold users with at least one test item that exists in train;
    share_of_cold_users_without_hit is of all of them, and mean_hits_of_cold_users_with_hit of those with a hit.
    None of them: null, and `note` says which.
    """
    pairs = Pairs.of(cold)
    row = np.repeat(np.arange(pairs.n_users), np.diff(pairs.indptr))
    known = np.pad(plays, (0, cold.n_items - len(plays)))[pairs.item] > 0
    sizes = np.bincount(row[known], minlength=pairs.n_users)
    hits = np.bincount(row[known & np.isin(pairs.item, popular[:k])], minlength=pairs.n_users)
    n_users, some, with_hit = int((np.diff(pairs.indptr) > 0).sum()), sizes > 0, int((hits > 0).sum())
    note = None
    if not some.any():
        none_known = f"none of the cold users ({n_users:,}) heard an item that exists in train"
        note = "no cold users" if n_users == 0 else none_known
    return {
        "users": n_users,
        "events": cold.n_events,
        "users_with_truth": int(some.sum()),
        "k": k,
        "users_with_hit": with_hit,
        "share_with_hit": float((hits[some] > 0).mean()) if some.any() else None,
        "mean_hits": float(hits[some].mean()) if some.any() else None,
        "recall": float((hits[some] / sizes[some]).mean()) if some.any() else None,
        "share_of_cold_users_without_hit": 1 - with_hit / n_users if n_users else None,
        "mean_hits_of_cold_users_with_hit": float(hits.sum() / with_hit) if with_hit else None,
        "note": note,
    }


@dataclass(frozen=True)
class Items:
    """What a meter needs to know of every item.

    plays: (n_items,) plays in train: events, or their summed weight
    catalogue_size: the first so many items are those that coverage and gini are of
    genre_indptr, genre_index, n_genres: genres of each item; n_genres is 0 where there are none
    band: (n_items,) int32 into `BANDS`, −1 for an item without plays
    genre: (n_items,) int32 first genre as an index into genre_names, −1 for none or one of the rarer
    """

    plays: Counts
    catalogue_size: int
    genre_indptr: Int64s
    genre_index: Int32s
    n_genres: int
    band: Int32s
    genre: Int32s
    genre_names: tuple[str, ...]

    @cached_property
    def information(self) -> Float64s:
        """−log2 of each item's share of all plays; an item without plays counts as played once."""
        total = self.plays.sum() or 1
        return np.asarray(-np.log2(np.where(self.plays > 0, self.plays, 1) / total), np.float64)


def describe_items(plays: Counts, catalogue: Catalogue, n_genres: int = 10) -> Items:
    """Facts of all items from their plays in train and the catalogue; slices cover the n_genres most-played genres."""
    order = np.lexsort((np.arange(len(plays)), -plays))
    before = np.cumsum(plays[order]) - plays[order]
    band = np.empty(len(plays), np.int32)
    band[order] = np.searchsorted(np.array([0.5, 0.8]) * plays.sum(), before, side="right")
    band[plays == 0] = -1
    genre = np.full(len(plays), -1, np.int32)
    tags = catalogue.genres
    size = len(catalogue)
    if tags is None:
        empty = np.zeros(len(plays) + 1, np.int64)
        return Items(plays, size, empty, np.empty(0, np.int32), 0, band, genre, ())
    some = np.flatnonzero(np.diff(tags.indptr) > 0)
    first = tags.index[tags.indptr[some]]
    played = np.bincount(first, weights=plays[some], minlength=len(tags.labels))
    top = np.lexsort((np.arange(len(played)), -played))[:n_genres]
    top = top[played[top] > 0]
    place = np.full(len(tags.labels), -1, np.int32)
    place[top] = np.arange(len(top), dtype=np.int32)
    genre[some] = place[first]
    names = tuple(str(name) for name in tags.labels.decode(top.astype(np.int32)).to_list())
    return Items(plays, size, tags.indptr, tags.index, len(tags.labels), band, genre, names)


def with_stranger(items: Items) -> Items:
    """The same and one more item, which stands for any that is not among them: without plays, genre or coverage."""
    return replace(
        items,
        plays=cast(Counts, np.pad(items.plays, (0, 1))),
        genre_indptr=np.append(items.genre_indptr, items.genre_indptr[-1:]),
        band=np.append(items.band, np.full(1, -1, np.int32)),
        genre=np.append(items.genre, np.full(1, -1, np.int32)),
    )


def gini(counts: AnyArray, n_items: int) -> float | None:
    """Gini coefficient of exposure over n_items items, of which those beyond `counts` have none; None without any.

    0 when every item is shown equally often, near 1 when all exposure goes to one.
    """
    shown = np.sort(counts[counts > 0]).astype(np.float64)
    total = shown.sum()
    if total == 0:
        return None
    place = np.arange(n_items - len(shown) + 1, n_items + 1)
    return float((2 * place - n_items - 1) @ shown / (n_items * total))


def check_ks(ks: Sequence[int]) -> tuple[int, ...]:
    """The ks in ascending order.

    Raises:
        ConfigError: there is none, or one is below 1.
    """
    if not ks or min(ks) < 1:
        raise ConfigError(f"k must be a whole number from 1 up, got {list(ks)}")
    return tuple(sorted({int(k) for k in ks}))


def ks_within(ks: Sequence[int], longest: int) -> tuple[int, ...]:
    """The ks that lists can be measured at: none above the length they are made for, which stands in for an empty rest.

    longest: items that a list holds at most

    Raises:
        ConfigError: as `check_ks`.
    """
    return tuple(k for k in check_ks(ks) if k <= longest) or (longest,)


def left_out_ks(ks: Sequence[int], longest: int) -> list[str]:
    """Words on the ks that `ks_within` leaves out; nothing where it leaves none."""
    above = ", ".join(str(k) for k in check_ks(ks) if k > longest)
    return [f"nothing is measured at {above}: no list holds more than {longest:,} items"] if above else []


def focus_of(ks: Sequence[int]) -> int:
    """The one k that slices and the funnel are shown at: 20, or the largest k if 20 is not among them."""
    return 20 if 20 in ks else max(ks)


class AccuracyMeter:
    """Adds up the accuracy of one list, block by block.

    values: (n_evaluated, 6 n_k) float32, accuracy of each evaluated user; `columns` names them
    sizes: (n_units,) how many users each row of `values` is the sum of; None where it is one
    """

    sizes: Float64s | None = None

    def __init__(self, truth: Truth, ks: Sequence[int] = KS) -> None:
        self.truth, self.ks = truth, check_ks(ks)
        self.focus = focus_of(self.ks)
        self.columns = [f"{family}@{k}" for family in FAMILIES for k in self.ks]
        self.values: Float32s = np.zeros((len(truth), len(self.columns)), np.float32)
        self._k = np.array(self.ks, np.int64)
        self._discount = 1 / np.log2(np.arange(self.ks[-1]) + 2)
        self._ideal = np.cumsum(self._discount)
        self._sums = np.zeros(len(self.columns))

    def count(self, users: Int32s, lists: Lists) -> None:
        """Count a block of users, each user once over all blocks; row i of lists belongs to users[i]."""
        row = self.truth.rows_of(users)
        values = np.zeros((len(users), len(self.columns)))
        kernels.accuracy(*self._about(row, lists), self._k, values)
        self.values[row[row >= 0]] = values[row >= 0]
        _add(values, self._sums)

    def sums(self) -> dict[str, AnyArray]:
        """All that adds up over users but `values`, by name: to add another meter's in place is to count its users."""
        return {"accuracy": self._sums}

    def means(self) -> dict[str, float | None]:
        """Every accuracy metric of the list; None where nobody is evaluated."""
        n = len(self.truth)
        return {name: float(total / n) if n else None for name, total in zip(self.columns, self._sums, strict=True)}

    def _about(self, row: Int64s, lists: Lists) -> tuple[Int64s, Int64s, Int32s, Int64s, Int32s, Float64s, Float64s]:
        truth = self.truth
        return row, lists.indptr, lists.item, truth.indptr, truth.item, self._discount, self._ideal


class ListMeter(AccuracyMeter):
    """Adds up all metrics of one list, block by block.

    parts: the accuracy of the same list over parts of the truth
    """

    def __init__(
        self, truth: Truth, items: Items, ks: Sequence[int] = KS, parts: Mapping[str, Truth] | None = None
    ) -> None:
        super().__init__(truth, ks)
        self.items = items
        self.parts = {name: AccuracyMeter(part, ks) for name, part in (parts or {}).items()}
        self._listed = np.zeros(2, np.int64)
        self._beyond = np.zeros(4 * len(self.ks) + 1), np.zeros(4 * len(self.ks) + 1, np.int64)
        self._exposure = np.zeros((len(self.ks) + 1, len(items.plays)), np.int32)
        # sums, and sums of squares, of both metrics in each group
        self._by_band = np.zeros(2 * len(BANDS)), np.zeros(2 * len(BANDS))
        self._by_genre = np.zeros(2 * len(items.genre_names)), np.zeros(2 * len(items.genre_names))
        self._plays = items.plays.astype(np.float64)

    def add(self, users: Int32s, lists: Lists, history: Pairs) -> None:
        """Count a block of train users, each user once over all blocks.

        users: (b,) int32; lists, history: row i belongs to users[i]
        """
        assert len(users) == len(lists) == history.n_users, "one list and one history for each user"
        self.count(users, lists)
        for part in self.parts.values():
            part.count(users, lists)
        row = self.truth.rows_of(users)
        listed = np.diff(lists.indptr) > 0
        self._listed += int(listed.sum()), int((listed & (row >= 0)).sum())
        for label, (sums, squares) in ((self.items.band, self._by_band), (self.items.genre, self._by_genre)):
            values, sizes = np.zeros((len(users), len(sums))), np.zeros((len(users), len(sums) // 2), np.int64)
            kernels.grouped(*self._about(row, lists), label, self.focus, sizes, values)
            _add(values, sums)
            _add(values * values, squares)
        rest = np.full((len(users), 4 * len(self.ks) + 1), np.nan)
        kernels.beyond(
            lists.indptr,
            lists.item,
            history.indptr,
            history.item,
            self._plays,
            self.items.information,
            self.items.genre_indptr,
            self.items.genre_index,
            self.items.n_genres,
            self._k,
            rest,
        )
        kernels.add_up(rest, *self._beyond)
        kernels.count_exposure(lists.indptr, lists.item, self._k, self._exposure)

    @property
    def listed_users(self) -> int:
        """Users who got a list."""
        return int(self._listed[0])

    def sums(self) -> dict[str, AnyArray]:
        """As of any accuracy meter."""
        beyond, band, genre = self._beyond, self._by_band, self._by_genre
        pairs = {"beyond": beyond, "band": band, "genre": genre}
        both = {f"{name}{i}": array for name, pair in pairs.items() for i, array in enumerate(pair)}
        return super().sums() | {"listed": self._listed, "exposure": self._exposure} | both

    def summary(self) -> dict[str, float | int | None]:
        """Every metric of the list; None where there is nothing to go over."""
        result: dict[str, float | int | None] = {**self.means()}
        means = [float(s / c) if c else None for s, c in zip(*self._beyond, strict=True)]
        n_k, heard = len(self.ks), means[-1]
        size = self.items.catalogue_size
        shown = np.cumsum(self._exposure[:, :size], axis=0, dtype=np.int64)
        for c, k in enumerate(self.ks):
            played = means[2 * n_k + c]
            result[f"novelty@{k}"] = means[c]
            result[f"surprisal@{k}"] = means[n_k + c]
            result[f"diversity@{k}"] = means[3 * n_k + c]
            result[f"popularity@{k}"] = played
            result[f"popularity_bias@{k}"] = played / heard - 1 if played is not None and heard else None
            result[f"coverage@{k}"] = float((shown[c] > 0).sum() / size) if size else None
            result[f"gini@{k}"] = gini(shown[c], size)
        result["coverage"] = float((shown[-1] > 0).sum() / size) if size else None
        result["gini"] = gini(shown[-1], size)
        result["history_popularity"] = heard
        result["listed_users"], result["evaluated_listed_users"] = self._listed.tolist()
        return result

    def slices(self) -> dict[str, list[dict[str, Any]]]:
        """recall and ndcg at `focus`, with intervals, by activity of users, popularity of items and genre of items."""
        names = [self.columns[c] for c in self.shown]
        result = {"activity": self.by_activity()}
        for kind, labels, label_of, (sums, squares) in (
            ("popularity", BANDS, self.items.band, self._by_band),
            ("genre", self.items.genre_names, self.items.genre, self._by_genre),
        ):
            users, n_items = self.group_sizes(label_of, len(labels))
            result[kind] = []
            for g, label in enumerate(labels):
                line: dict[str, Any] = {"slice": label, "users": int(users[g]), "truth_items": int(n_items[g])}
                for c, name in enumerate(names):
                    place = c * len(labels) + g
                    line |= mean(name, int(users[g]), sums[place], squares[place])
                result[kind].append(line)
        return result

    @property
    def shown(self) -> list[int]:
        """The columns of slices: recall and ndcg at `focus`."""
        return [self.columns.index(f"{family}@{self.focus}") for family in ("recall", "ndcg")]

    def by_activity(self) -> list[dict[str, Any]]:
        """The slices by activity."""
        level, history, lines = activity_levels(self.truth.history), self.truth.history, []
        for place, label in enumerate(LEVELS):
            inside = level == place
            some, values = history[inside], self.values[inside][:, self.shown].astype(np.float64)
            sums, squares = ([float(f(column)) for column in values.T] for f in (np.sum, lambda v: v @ v))
            line = activity_line(label, some, len(some))
            for c, column in enumerate(self.shown):
                line |= mean(self.columns[column], len(some), sums[c], squares[c])
            lines.append(line)
        return lines

    def group_sizes(self, label_of: Int32s, n_labels: int) -> tuple[Int64s, Int64s]:
        """Users with a truth item of each label, and truth items of each label; (n_labels,) int64 both."""
        return group_sizes(self.truth, label_of, n_labels)


def activity_line(label: str, lengths: Int64s, users: int) -> dict[str, Any]:
    """What a slice by activity is; lengths: of its users' histories, or the distinct ones of these."""
    some = len(lengths) > 0
    ends = (int(lengths.min()), int(lengths.max())) if some else (None, None)
    return {"slice": label, "users": users, "history_from": ends[0], "history_to": ends[1]}


def mean(name: str, n: int, total: float, squares: float) -> dict[str, Any]:
    """A mean over n users, and its 95% interval by the normal law, mean ± 1.96 s / √n, within 0 and 1.

    None where there is nobody; no interval for fewer than two.
    """
    mean = float(total / n) if n else None
    if mean is None or n < 2:
        return {name: mean, f"{name}_interval": None}
    half = 1.96 * math.sqrt(max(squares / n - mean * mean, 0) / (n - 1))
    return {name: mean, f"{name}_interval": [max(0.0, mean - half), min(1.0, mean + half)]}


def _add(values: Float64s, sums: Float64s) -> None:
    kernels.add_up(values, sums, np.zeros(len(sums), np.int64))


def activity_levels(history: Int64s) -> Int64s:
    """Terciles of history length as 0, 1, 2; users of equal length share a level, so that levels may be uneven."""
    if len(history) == 0:
        return np.empty(0, np.int64)
    cuts = np.quantile(history, [1 / 3, 2 / 3], method="lower")
    return np.searchsorted(cuts, history, side="left").astype(np.int64)


def group_sizes(truth: Truth, label: Int32s, n_labels: int) -> tuple[Int64s, Int64s]:
    """Users with a truth item of each label, and truth items of each label; (n_labels,) int64 both."""
    of_item = label[truth.item]
    inside = of_item >= 0
    has = np.zeros((len(truth), n_labels), np.bool_)
    has[truth.row[inside], of_item[inside]] = True
    return has.sum(axis=0, dtype=np.int64), np.bincount(of_item[inside], minlength=n_labels).astype(np.int64)
