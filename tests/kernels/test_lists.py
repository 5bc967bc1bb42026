"""List kernels against plain Python, and the popular list."""

import numpy as np
import polars as pl
import pytest
from tests.kernels.twins import (
    Event,
    slow_ascending,
    slow_best_of_rows,
    slow_decayed_counts,
    slow_descending,
    slow_first_unseen,
    slow_union,
    slow_window_counts,
)

from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.times import DAY
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.kernels.best.keys import ascending, descending
from tonearm.kernels.best.lists import best_of_rows, decayed_counts, first_of_rows, first_unseen, union, window_counts
from tonearm.sources.popularity import Popularity, Recent
from tonearm.types import AnyArray, Float32s, Int32s, Int64s


def flat(rows: list[list[int]]) -> tuple[Int64s, Int32s]:
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return indptr, np.array([i for row in rows for i in row], dtype=np.int32)


def rows_of(indptr: Int64s, values: AnyArray) -> list[list[float]]:
    return [values[indptr[r] : indptr[r + 1]].tolist() for r in range(len(indptr) - 1)]


def test_first_unseen_by_hand() -> None:
    order = np.array([4, 0, 3, 1], np.int32)
    seen = flat([[], [0, 4], [0, 1, 3, 4], [2, 5]])
    assert rows_of(*first_unseen(order, 2, *seen)) == [[4, 0], [3, 1], [], [4, 0]]
    assert rows_of(*first_unseen(order, 9, *seen)) == [[4, 0, 3, 1], [3, 1], [], [4, 0, 3, 1]]
    assert rows_of(*first_unseen(order[:0], 2, *seen)) == [[], [], [], []]
    assert rows_of(*first_unseen(order, 2, *flat([]))) == []


def test_first_of_rows_by_hand() -> None:
    indptr, item = flat([[5, 1, 2], [], [0], [3, 4]])
    out_indptr, out_item, out_value = first_of_rows(indptr, item, np.arange(6, dtype=np.float32), 2)
    assert rows_of(out_indptr, out_item) == [[5, 1], [], [0], [3, 4]]
    assert rows_of(out_indptr, out_value) == [[0, 1], [], [3], [4, 5]]


@pytest.mark.parametrize("seed", range(3))
def test_first_unseen_is_what_is_left_of_the_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(30)[:20].astype(np.int32)
    seen = [sorted(rng.choice(30, n, replace=False).tolist()) for n in (0, 30, 12, 1, 25)]
    assert rows_of(*first_unseen(order, 7, *flat(seen))) == [slow_first_unseen(order.tolist(), 7, own) for own in seen]


def random_log(seed: int) -> Log:
    """Events of seven users, in time order within each; the arrays hold some that belong to nobody."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, 7)
    lengths[3] = 0
    start = np.cumsum(lengths + 2) - lengths
    time = rng.integers(0, 12, start[-1] + lengths[-1] + 1).astype(np.int32)
    for lo, n in zip(start, lengths, strict=True):
        time[lo : lo + n].sort()
    item = rng.integers(0, 5, len(time)).astype(np.int32)
    return Log(start.astype(np.int64), (start + lengths).astype(np.int64), item, time, None, 6)


def halves(log: Log) -> Float32s:
    """A weight of one half for every event."""
    return np.full(len(log.item), 0.5, np.float32)


def events_of(log: Log) -> list[Event]:
    """Every event, by the plainest of loops."""
    assert log.time is not None
    return [
        (int(log.time[place]), int(log.item[place]), 1.0)
        for u in range(log.n_users)
        for place in range(log.start[u], log.stop[u])
    ]


@pytest.mark.parametrize("seed", range(3))
def test_window_counts_are_events_since_each_moment(seed: int) -> None:
    log = random_log(seed)
    assert log.time is not None
    since = np.array([11, 8, 8, 3, -5])
    expected = [slow_window_counts(events_of(log), int(moment), 6) for moment in since]
    columns = log.start, log.stop, log.item, log.time
    assert window_counts(*columns, log.weights, since, 6).tolist() == expected
    assert window_counts(*columns, halves(log), since, 6).tolist() == (np.array(expected) / 2).tolist()
    assert np.array(expected)[-1].sum() == log.n_events


@pytest.mark.parametrize("seed", range(3))
def test_decayed_counts_halve_with_each_half_life(seed: int) -> None:
    log = random_log(seed)
    assert log.time is not None
    expected = slow_decayed_counts(events_of(log), 20, 4, 6)
    columns = log.start, log.stop, log.item, log.time
    found = decayed_counts(*columns, log.weights, 20, np.log(2) / 4, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert decayed_counts(*columns, halves(log), 20, np.log(2) / 4, 6).tolist() == (found / 2).tolist()


def found_union(lists: list[list[list[int]]]) -> list[list[tuple[int, list[int]]]]:
    parts = [flat(rows) for rows in lists]
    offsets = np.cumsum([0, *(len(item) for _, item in parts)])[:-1].astype(np.int64)
    indptr, item, ranks = union(
        np.stack([indptr for indptr, _ in parts]), offsets, np.concatenate([item for _, item in parts])
    )
    entries = list(zip(item.tolist(), ranks.tolist(), strict=True))
    return [entries[indptr[r] : indptr[r + 1]] for r in range(len(indptr) - 1)]


def test_union_by_hand() -> None:
    one, other = [[5, 2], [], [7]], [[2, 9, 0], [], []]
    assert found_union([one, other]) == [
        [(0, [0, 3]), (2, [2, 1]), (5, [1, 0]), (9, [0, 2])],
        [],
        [(7, [1, 0])],
    ]
    assert found_union([other]) == [[(0, [3]), (2, [1]), (9, [2])], [], []]


@pytest.mark.parametrize("seed", range(3))
def test_union_is_that_of_plain_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists = [[rng.permutation(15)[: rng.integers(0, 10)].tolist() for _ in range(8)] for _ in range(4)]
    assert found_union(lists) == slow_union(lists)


@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_places_in_order_of_values(n: int) -> None:
    """Ties, both zeros, and the least and the greatest number that there is."""
    rng = np.random.default_rng(n)
    whole = np.concatenate((rng.integers(-4, 4, n), [2**31 - 1, -(2**31), 0] * (n > 2))).astype(np.int32)
    assert ascending(whole).tolist() == slow_ascending(whole.tolist())
    scores = np.concatenate((rng.integers(-3, 4, n) / 2, [0.0, -0.0, np.inf, -np.inf] * (n > 2))).astype(np.float32)
    scores[::3] *= -1
    assert descending(scores).tolist() == slow_descending(scores.tolist())


@pytest.mark.parametrize("k", [1, 3, 50])
def test_best_of_rows_sorts_by_score_then_item(k: int) -> None:
    rng = np.random.default_rng(k)
    rows = [sorted(rng.choice(40, n, replace=False).tolist()) for n in (0, 12, 1, 7, 0, 3)]
    indptr, item = flat(rows)
    score = rng.integers(-2, 3, len(item)).astype(np.float32)
    out_indptr, out_item, out_score, place = best_of_rows(indptr, item, score, k)
    for row, own in enumerate(rows):
        span = slice(out_indptr[row], out_indptr[row + 1])
        expected = slow_best_of_rows(own, score[indptr[row] : indptr[row + 1]].tolist(), k)
        assert list(zip(out_item[span].tolist(), out_score[span].tolist(), strict=True)) == expected
        assert ((place[span] >= indptr[row]) & (place[span] < indptr[row + 1])).all()
    np.testing.assert_array_equal(item[place], out_item)
    np.testing.assert_array_equal(score[place], out_score)


# item 0: three plays by one; 1: two by two; 2: two by one; 3: two by two; 5: one, the latest; 4: none
HISTORIES = [[(0, 0), (0, 1), (0, 2), (3, 2)], [(1, 0), (2, 0), (2, 1)], [], [(3, 0), (1, 7), (5, 9)]]


def some_data(timed: bool = True) -> Dataset:
    stop = np.cumsum([len(h) for h in HISTORIES]).astype(np.int64)
    item = np.array([i for h in HISTORIES for i, _ in h], dtype=np.int32)
    time = np.array([day * DAY for h in HISTORIES for _, day in h], dtype=np.int32) if timed else None
    log = Log(np.concatenate(([0], stop[:-1])).astype(np.int64), stop, item, time, None, 6)
    return Dataset(Vocabulary(pl.Series(range(4))), Catalogue(Vocabulary(pl.Series(range(6)))), log, 10 * DAY)


def test_the_popular_list_goes_by_plays_then_item() -> None:
    data = some_data()
    model = Popularity().fit(data, np.random.default_rng(0))
    assert model.order.tolist() == data.popularity_order.tolist() == [0, 1, 2, 3, 5]
    lists = model.recommend(data.block(0, 4, True), 3)
    assert rows_of(lists.indptr, lists.item) == [[1, 2, 5], [0, 3, 5], [0, 1, 2], [0, 2]]
    assert rows_of(lists.indptr, lists.score)[:2] == [[2, 2, 1], [3, 2, 1]]
    again = model.recommend(data.block(0, 4, False), 2)
    assert rows_of(again.indptr, again.item) == [[0, 1]] * 4
    np.testing.assert_array_equal(model.score(data.block(0, 4, True), lists), lists.score)
    unheard = Lists(np.array([0, 1, 1, 1, 1]), np.array([4], np.int32), np.zeros(1, np.float32))
    assert model.score(data.block(0, 4, True), unheard).tolist() == [0]


def test_recent_plays_count_more_with_a_half_life() -> None:
    model = Recent(half_life=2).fit(some_data(), np.random.default_rng(0))
    ages = {0: (5, 4.5, 4), 1: (5, 1.5), 2: (5, 4.5), 3: (4, 5), 5: (0.5,)}  # in half-lives
    by_item = {item: sum(0.5**age for age in own) for item, own in ages.items()}
    assert model.order.tolist() == sorted(by_item, key=lambda item: -by_item[item]) == [5, 1, 0, 3, 2]
    np.testing.assert_allclose(model.value[[0, 1, 2, 3, 5]], list(by_item.values()), rtol=1e-6)
    assert model.value[4] == 0


def test_a_half_life_needs_time() -> None:
    with pytest.raises(DataError, match="no started_at"):
        Recent(half_life=2).fit(some_data(timed=False), np.random.default_rng(0))
