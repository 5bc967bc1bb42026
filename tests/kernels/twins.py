"""The slow, readable twin of every kernel: plain Python or dense NumPy that follows the definition word for word.

A twin works on what reads best, such as lists of one user, and the tests bring that into the kernel's arrays.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tonearm.kernels.shape import FRESH, RARE
from tonearm.synth.catalogue import period_of_day
from tonearm.synth.preset import N_DAYS, TEST_DAY
from tonearm.types import Bools, Float32s, Float64s, Int32s, Int64s

Event = tuple[int, int, float]
"""Time, item and weight."""


# best


def slow_first_from(values: Sequence[int], lo: int, hi: int, least: int) -> int:
    """The first place of values[lo:hi] with at least that much, else hi."""
    return next((place for place in range(lo, hi) if values[place] >= least), hi)


def slow_place_of(values: Sequence[int], lo: int, hi: int, wanted: int) -> int:
    """Where a value stands in values[lo:hi], else −1."""
    return next((place for place in range(lo, hi) if values[place] == wanted), -1)


def slow_ascending(values: Sequence[int]) -> list[int]:
    """Places, least value first."""
    return sorted(range(len(values)), key=lambda place: (values[place], place))


def slow_descending(scores: Sequence[float]) -> list[int]:
    """Places, greatest score first."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))


def slow_best_of_rows(items: Sequence[int], scores: Sequence[float], k: int) -> list[tuple[int, float]]:
    """The k best of one row, ties by ascending item."""
    return sorted(zip(items, scores, strict=True), key=lambda pair: (-pair[1], pair[0]))[:k]


def slow_best_positive(scores: Float64s, k: int) -> list[tuple[int, float]]:
    """The k best positive scores of a dense row."""
    kept = np.flatnonzero(scores > 0)
    return slow_best_of_rows(kept.tolist(), scores[kept].tolist(), k)


def slow_first_unseen(order: Iterable[int], k: int, seen: Iterable[int]) -> list[int]:
    """The first k of an order that one user has not seen."""
    return [item for item in order if item not in set(seen)][:k]


def slow_window_counts(events: list[Event], since: int, n_items: int) -> list[float]:
    """Weight of each item's events at or after a moment."""
    return [sum(w for t, i, w in events if i == item and t >= since) for item in range(n_items)]


def slow_decayed_counts(events: list[Event], now: int, half_life: float, n_items: int) -> list[float]:
    """Weight of each item's events, halved with each half-life that has passed."""
    return [sum(w * 0.5 ** ((now - t) / half_life) for t, i, w in events if i == item) for item in range(n_items)]


# lists


def slow_union(lists: list[list[list[int]]]) -> list[list[tuple[int, list[int]]]]:
    """For each row, its distinct items ascending, each with its 1-based rank in every list or 0."""
    return [
        [
            (item, [row.index(item) + 1 if item in row else 0 for row in rows])
            for item in sorted({i for row in rows for i in row})
        ]
        for rows in zip(*lists, strict=True)
    ]


# events, for one user's events where not said otherwise


def slow_search(values: Iterable[int], ids: list[int]) -> list[int]:
    """The place of each value, −1 where it is no id."""
    return [ids.index(value) if value in ids else -1 for value in values]


def slow_look_up(values: Iterable[int], table: list[int], least: int) -> list[int]:
    """table[value − least], −1 outside."""
    return [table[value - least] if value - least in range(len(table)) else -1 for value in values]


def slow_order(events: list[Event], weighted: bool) -> list[Event]:
    """By time, item and, where it counts, weight."""
    return sorted(events) if weighted else sorted(events, key=lambda event: event[:2])


def slow_count_distinct(events: list[Event]) -> int:
    """How many there are of ordered events, repeats left out."""
    return len(set(events))


def slow_unpack(events: list[Event], drop_repeats: bool) -> list[Event]:
    """Ordered events, repeats left out if asked."""
    return sorted(set(events)) if drop_repeats else events


def slow_cut(events: list[Event], cutoff: int) -> int:
    """How many come before."""
    return sum(time < cutoff for time, _, _ in events)


def slow_item_counts(users: list[list[Event]], n_items: int) -> tuple[list[int], list[int]]:
    """Events and users of each item, of all users."""
    plays = Counter(item for events in users for _, item, _ in events)
    listeners = Counter(item for events in users for item in {i for _, i, _ in events})
    return [plays[item] for item in range(n_items)], [listeners[item] for item in range(n_items)]


def slow_item_weights(users: list[list[Event]], n_items: int) -> tuple[list[float], bool]:
    """Weight of each item, and whether all weights are whole, of all users."""
    all_events = [event for events in users for event in events]
    totals = [sum(w for _, i, w in all_events if i == item) for item in range(n_items)]
    return totals, all(w == int(w) for _, _, w in all_events)


def slow_count_pairs(events: list[Event]) -> int:
    """Distinct items."""
    return len({item for _, item, _ in events})


def slow_sum_pairs(events: list[Event], weighted: bool) -> list[tuple[int, float, int]]:
    """Item, summed weight or count, and last time of each distinct item, ascending."""
    own = [(item, [e for e in events if e[1] == item]) for item in sorted({i for _, i, _ in events})]
    return [(i, sum(w for _, _, w in same) if weighted else len(same), max(t for t, _, _ in same)) for i, same in own]


# repeats


def slow_activation(ages: list[float], weights: list[float], decay: float) -> float:
    """Faded plays of one pair, whose ages are in days."""
    return float(sum(weight * (1 + age) ** -decay for age, weight in zip(ages, weights, strict=True)))


def slow_rhythm(pair_days: Iterable[int], user_days: Iterable[int]) -> list[float]:
    """Days of the pair and of its user, mean and median of the gaps between the pair's days."""
    days = sorted(set(pair_days))
    gaps = np.diff(days) if len(days) > 1 else np.array([np.nan])
    return [len(days), len(set(user_days)), float(gaps.mean()), float(np.median(gaps))]


def slow_place_in_history(history: list[int], candidate: int) -> int:
    """The place of a candidate in one user's history, else −1."""
    return history.index(candidate) if candidate in history else -1


# content


def slow_profiles(history: dict[int, float], genres: list[list[int]], n_genres: int) -> Float64s:
    """Weights of the items shared among their genres, summed, and scaled to length one."""
    total = np.zeros(n_genres)
    for item, weight in history.items():
        for genre in genres[item]:
            total[genre] += weight / len(genres[item])
    length = np.sqrt((total**2).sum())
    return total / length if length > 0 else total


def slow_score_sets(profile: Float64s, genres: list[int]) -> float:
    """Cosine of a profile with the vector that is 1 for each genre; 0 where either is zero."""
    vector = np.zeros(len(profile))
    vector[genres] = 1
    length = np.sqrt((profile**2).sum() * (vector**2).sum())
    return float(profile @ vector / length) if length > 0 else 0.0


# features


def slow_standardize(indptr: Int64s, scores: Float32s) -> Float32s:
    """Less the mean, by the standard deviation, of each row and column; NaN is the least score."""
    out = np.zeros(scores.shape)
    for lo, hi in pairwise(indptr):
        for column in range(scores.shape[1]):
            own = scores[lo:hi, column].astype(np.float64)
            if np.isnan(own).all():
                continue
            own = np.where(np.isnan(own), np.nanmin(own), own)
            if own.std() > 0:
                out[lo:hi, column] = (own - own.mean()) / own.std()
    return out.astype(np.float32)


def slow_tag_affinity(
    history: dict[int, tuple[float, int]], tags: list[list[int]], candidate: int, now: int
) -> list[float]:
    """The greatest, over the candidate's tags, of what the other items of the history say of the tag."""
    others = {tag: [v for i, v in history.items() if i != candidate and tag in tags[i]] for tag in tags[candidate]}
    last = [t for own in others.values() for _, t in own]
    return [
        max((sum(p for p, _ in own) for own in others.values()), default=0.0),
        max((float(len(own)) for own in others.values()), default=0.0),
        (max(last) - now) / 86_400 if last else np.nan,
    ]


# item-item


def slow_cooccurrence(played: Float64s) -> Float64s:
    """Users of each two items, of a dense 0/1 matrix by user."""
    return np.asarray(played.T @ played)


def slow_neighbours(
    played: Float64s, weight: Float64s, row_norm: float, column_norm: Float64s, shrink: float, item: int, size: int
) -> list[tuple[int, float]]:
    """The most similar items of one item."""
    row = (played[:, item] * weight) @ played / (shrink + row_norm * column_norm)
    row[item] = 0
    return slow_best_positive(row.astype(np.float32).astype(np.float64), size)


def slow_regress_on_neighbours(columns: Float64s, target: Float64s, regularization: float) -> Float64s:
    """Ridge regression by its normal equations."""
    gram = columns.T @ columns + regularization * np.eye(columns.shape[1])
    return np.asarray(np.linalg.solve(gram, columns.T @ target))


def slow_score_sparse(histories: Float64s, model: Float64s) -> Float64s:
    """Scores of every item for every user, all dense."""
    return np.asarray(histories @ model)


def slow_sums_search(
    histories: Float64s, model: Float64s, scale: float, left_out: Bools, k: int
) -> list[list[tuple[int, float]]]:
    """The list of each user by one model, all dense."""
    scores = scale * slow_score_sparse(histories, model)
    return [slow_best_positive(own, k) for own in np.where(left_out, 0, scores)]


def slow_weights_to(items: Int32s, model: Float64s, target: int) -> list[float]:
    """What each item adds to one target, by a dense model."""
    return [float(model[item, target]) for item in items]


# ALS and nearest vectors


def slow_solve_rows(plays: Float64s, other: Float64s, regularization: float, alpha: float) -> Float64s:
    """Every row's normal equations, formed and solved."""
    out = np.zeros((len(plays), other.shape[1]))
    for r, row in enumerate(plays):
        if row.any():
            confidence = np.where(row > 0, alpha * row, 1.0)
            matrix = (other.T * confidence) @ other + regularization * np.eye(other.shape[1])
            out[r] = np.linalg.solve(matrix, (other.T * confidence) @ (row > 0))
    return out


def slow_score_pairs(users: Float32s, items: Float32s) -> Float32s:
    """s = u_f · v_f + s over the features in order, each step rounded to float32 once.

    The product of two float32 numbers is exact in float64, and so, but for one case in half a billion, is the sum
    when it is rounded on to float32.
    """
    total = np.zeros((len(users), len(items)), np.float32)
    for f in range(users.shape[1]):
        exact = users[:, f, None].astype(np.float64) * items[None, :, f].astype(np.float64)
        total = (exact + total).astype(np.float32)
    return total


def slow_scan(scores: Float32s, k: int, left_out: Bools) -> tuple[Int64s, Int32s, Float32s]:
    """The k best of each row of scores, ties by ascending item, by sorting all that are not left out."""
    indptr, item, score = [0], [], []
    for row, out in zip(scores, left_out, strict=True):
        kept = np.flatnonzero(~out)
        best = kept[np.lexsort((kept, -row[kept]))][:k]
        item.append(best)
        score.append(row[best])
        indptr.append(indptr[-1] + len(best))
    return np.array(indptr), np.concatenate(item).astype(np.int32), np.concatenate(score)


# metrics


def slow_accuracy(ranked: list[int], wanted: set[int], k: int) -> list[float]:
    """precision, recall, ndcg, hit_rate, mrr and map of one list at k."""
    top = ranked[:k]
    hits = [place for place, item in enumerate(top, 1) if item in wanted]
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(wanted)) + 1))
    return [
        len(hits) / len(top) if top else 0.0,
        len(hits) / len(wanted),
        sum(1 / math.log2(place + 1) for place in hits) / ideal,
        float(bool(hits)),
        1 / hits[0] if hits else 0.0,
        sum(n / place for n, place in enumerate(hits, 1)) / len(wanted),
    ]


def slow_collect_truth(train: list[int], test: list[int], known: set[int], filter_seen: bool) -> list[int]:
    """The items of one user's truth."""
    return sorted({item for item in test if item in known and not (filter_seen and item in train)})


def slow_beyond(
    items: list[int], heard: list[int], plays: Float64s, information: Float64s, genres: list[list[int]]
) -> list[float]:
    """Novelty, surprisal, popularity and diversity of a list that is not empty."""
    new = [item not in heard for item in items]
    means = [float(np.mean(one)) for one in (new, information[items], plays[items])]
    return [*means, _diversity(items, genres)]


def _diversity(items: list[int], genres: list[list[int]]) -> float:
    tagged = [set(genres[item]) for item in items if genres[item]]
    pairs = [(a, b) for place, a in enumerate(tagged) for b in tagged[:place]]
    if not pairs:
        return math.nan
    return 1 - sum(len(a & b) / math.sqrt(len(a) * len(b)) for a, b in pairs) / len(pairs)


def slow_poisson_weights(a: int, b: int, user: int) -> int:
    """The weight of one user in the resample whose two random words are a and b."""

    def mix(h: int) -> int:
        h ^= h >> 16
        h = h * 0x85EBCA6B % 2**32
        h ^= h >> 13
        h = h * 0xC2B2AE35 % 2**32
        return h ^ h >> 16

    uniform = mix(mix((user + a) % 2**32) ^ b) / 2**32
    weight, cumulative = 0, math.exp(-1)
    while uniform >= cumulative:
        weight += 1
        cumulative += math.exp(-1) / math.factorial(weight)
    return weight


# shaping


def slow_diversify(scores: list[float], cosine: Float32s, k: int, dial: float) -> list[int]:
    """The order of one row, given the cosine of each two of its entries."""
    pool = list(range(len(scores)))[: 2 * k]
    spread = (scores[pool[0]] - scores[pool[-1]]) or np.inf if pool else np.inf
    relevance = [(scores[i] - scores[pool[-1]]) / spread for i in pool]
    taken: list[int] = []
    while len(taken) < min(k, len(pool)):
        left = [i for i in pool if i not in taken]
        value = [(1 - dial) * relevance[i] - dial * max([cosine[i, j] for j in taken] + [0]) for i in left]
        taken.append(left[int(np.argmax(np.round(value, 6)))])
    return taken + [i for i in range(len(scores)) if i not in taken]


class SlowTake:
    """One list of `take` in the making, for a case of tests/property/test_shape_properties.py."""

    def __init__(self, case: Any, user: int) -> None:
        self.case, self.rules = case, case.shaper
        self.own, self.heard = case.candidates[user], set(case.heard[user])
        multiplier = 2654435761
        self.turn = user * multiplier % 2**32
        self.list: list[int] = []
        self.relaxed = 0

    def allowed(self, item: int) -> bool:
        """Rules that are never broken."""
        version = self.rules.version
        if item in self.list or item in self.heard or not all(mask[item] for mask in self.rules.masks.values()):
            return False
        if len(version) == 0 or version[item] < 0:
            return True
        others = set(self.list) | (self.heard if self.rules.unheard else set())
        return version[item] not in {version[other] for other in others}

    def within(self, item: int, more: int = 0) -> bool:
        """The limits per artist and album."""
        for on, labels, limit in (
            (self.rules.artists, self.case.artists, self.rules.per_artist),
            (self.rules.albums, self.case.albums, self.rules.per_album),
        ):
            if on is not None:
                for label in labels[item]:
                    if sum(label in labels[other] for other in self.list) >= limit + more:
                        return False
        return True

    def first(self, items: list[int], more: int = 0) -> int | None:
        return next((i for i in items if self.allowed(i) and self.within(i, more)), None)

    def run(self) -> list[int]:
        k, kinds, shares = self.case.k, self.rules.kinds, self.rules.shares
        popular = self.rules.popular.tolist()
        wanted = [int(np.floor(share * k + 1e-9)) for share in shares]
        pools = []
        for kind in (FRESH, RARE):
            pool = [i for i in popular if kinds[i, kind] and all(mask[i] for mask in self.rules.masks.values())]
            turn = self.turn % len(pool) if kind == RARE and pool else 0
            pools.append(pool[turn:] + pool[:turn])
        while len(self.list) < k:
            item = None
            for kind in (FRESH, RARE):
                have = [int(kinds[self.list, which].sum()) for which in (FRESH, RARE)]
                left = sum(max(w - h, 0) for w, h in zip(wanted, have, strict=True))
                behind = have[kind] < np.floor(shares[kind] * (len(self.list) + 1) + 1e-9)
                if have[kind] < wanted[kind] and (behind or left >= k - len(self.list)):
                    item = self.first([i for i in self.own if kinds[i, kind]] + pools[kind])
                    if item is None:
                        wanted[kind] = 0
                    else:
                        break
            if item is None:
                item = self.first(self.own + popular)
            if item is None:
                break
            self.list.append(item)
        more = 1
        while len(self.list) < k and any(self.allowed(i) for i in self.own + popular):
            for i in self.own + popular:
                if len(self.list) < k and self.allowed(i) and self.within(i, more):
                    self.list.append(i)
                    self.relaxed += 1
            more *= 2
        return self.list


def slow_take(case: Any, user: int) -> tuple[list[int], int]:
    """One user's list, and how many of its items stand above the limits."""
    one = SlowTake(case, user)
    return one.run(), one.relaxed


# synth


class SlowRandom:
    """The kernels' random numbers in plain Python integers."""

    def __init__(self, state: int) -> None:
        self.state = state

    def __call__(self) -> float:
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return ((z ^ (z >> 31)) >> 11) / 2**53


def slow_pick(cumulative: Float64s, low: int, high: int, u: float) -> int:
    """The index that u in [0, 1) falls on."""
    mass = cumulative[high] - cumulative[low]
    if mass <= 0:
        return low + int(u * (high - low))
    return low + int(np.searchsorted(cumulative[low : high + 1], cumulative[low] + u * mass, side="right")) - 1


def slow_listen(
    draw: SlowRandom,
    plays: int,
    test_plays: int,
    span: tuple[int, int],
    days: Float64s,
    sums: Float64s,
    scene_start: Int64s,
    artist_start: Int64s,
    release: Int64s,
    shares: tuple[float, float, float],
) -> list[tuple[int, int]]:
    """(item, second) of one listener, by the rules in the kernel's docstring."""
    n_items = release.size
    scene_of = np.repeat(np.arange(scene_start.size - 1), np.diff(scene_start))
    artist_of = np.repeat(np.arange(artist_start.size - 1), np.diff(artist_start))
    on_day = [0] * N_DAYS
    for play in range(plays):
        low, high = (TEST_DAY, N_DAYS) if play < test_plays else (span[0], span[1] + 1)
        on_day[slow_pick(days, low, high, draw())] += 1
    favourites = []
    for _ in range(min(40, 2 + int(math.log2(1 + plays / 8)) + plays // 500)):
        first = slow_pick(sums[-1], 0, n_items, draw())
        scene = slice(*scene_start[scene_of[first] :][:2].tolist())
        artists = [artist_of[first]] + [
            artist_of[slow_pick(sums[-1], scene.start, scene.stop, draw())] for _ in range(2)
        ]
        early = -math.log(1 - draw())
        late = -math.log(1 - draw()) if draw() < 0.4 else early
        favourites.append((scene, artists, early, late))
    mainstream, loyalty, repeats = (2 * share * draw() for share in shares)
    heard: list[tuple[int, int]] = []
    distinct: set[int] = set()
    favourite = 0
    for day in range(N_DAYS):
        season = day / N_DAYS
        weights = np.cumsum([0.0] + [(1 - season) * early + season * late for _, _, early, late in favourites])
        for nth in range(on_day[day]):
            second = day * 86400 + int(86400 * (nth + draw()) / on_day[day])
            if heard and draw() < repeats:
                heard.append((heard[int(len(heard) * (1 - draw() ** 2))][0], second))
                continue
            if nth == 0 or draw() > 0.5:
                favourite = slow_pick(weights, 0, len(favourites), draw())
            scene, artists = favourites[favourite][:2]
            for attempt in range(12):
                low, high = 0, n_items
                if attempt < 6 and draw() >= mainstream:
                    low, high = scene.start, scene.stop
                    if draw() < loyalty:
                        low, high = artist_start[artists[int(draw() ** 2 * 3)] :][:2].tolist()
                item = slow_pick(sums[period_of_day()[day]], low, high, draw())
                if release[item] <= day and item not in distinct:
                    break
            else:
                item = int(draw() * n_items)
                while release[item] > day or item in distinct:
                    item = (item + 1) % n_items
            distinct.add(item)
            heard.append((item, second))
    return heard
