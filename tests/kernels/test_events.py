"""Each kernel on events against a slow twin that is easy to read."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.twins import (
    Event,
    slow_count_distinct,
    slow_count_pairs,
    slow_cut,
    slow_item_counts,
    slow_item_weights,
    slow_look_up,
    slow_order,
    slow_search,
    slow_sum_pairs,
    slow_unpack,
)

from tonearm.kernels import events as kernels
from tonearm.types import Float32s, Int32s, Int64s


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Events of one to five users over four items, negative times among them, many repeats."""
    event = st.tuples(st.integers(-3, 3), st.integers(0, 3), st.sampled_from([0.5, 1.0, 2.0]))
    return draw(st.lists(st.lists(event, max_size=8), min_size=1, max_size=5))


def arrays(users: list[list[Event]], gap: int = 0) -> tuple[Int64s, Int64s, Int64s, Float32s]:
    """start, stop, key and weight, with `gap` unused places after each user."""
    start: list[int] = []
    stop: list[int] = []
    key: list[int] = []
    weight: list[float] = []
    for events in users:
        start.append(len(key))
        key += [(time << 32) | item for time, item, _ in events]
        weight += [w for _, _, w in events]
        stop.append(len(key))
        key += [0] * gap
        weight += [0.0] * gap
    return (
        np.array(start, dtype=np.int64),
        np.array(stop, dtype=np.int64),
        np.array(key, dtype=np.int64),
        np.array(weight, dtype=np.float32),
    )


NONE = np.empty(0, np.float32)
NO_TIME = np.empty(0, np.int32)


def columns(users: list[list[Event]]) -> tuple[Int64s, Int64s, Int32s, Int32s, Float32s]:
    """start, stop, item, time and weight of users whose events are in order."""
    start, stop, key, weight = arrays(users)
    return start, stop, (key & 0x7FFFFFFF).astype(np.int32), (key >> 32).astype(np.int32), weight


def test_look_up() -> None:
    table = np.array([0, -1, 1, 2], dtype=np.int32)
    values = np.array([10, 11, 12, 13, 9, 14, -(2**40)], dtype=np.int64)
    found = kernels.look_up(values, table, 10).tolist()
    assert found == slow_look_up(values.tolist(), table.tolist(), 10) == [0, -1, 1, 2, -1, -1, -1]


@given(ids=st.sets(st.integers(-(2**62), 2**62)), values=st.lists(st.integers(-(2**62), 2**62)))
@settings(max_examples=30, deadline=None)
def test_search(ids: set[int], values: list[int]) -> None:
    ordered = sorted(ids)
    wanted = values + ordered[::2]
    found = kernels.search(np.array(wanted, dtype=np.int64), np.array(ordered, dtype=np.int64))
    assert found.tolist() == slow_search(wanted, ordered)


@pytest.mark.parametrize("timed", [False, True])
def test_tally(timed: bool) -> None:
    values = np.array([7, 5, 7, 8, 4, 7, 9], dtype=np.int64)
    time = np.array([1, 3, 3, 2, 2, 4, 2], dtype=np.int32) if timed else NO_TIME
    counts = np.array([[0, 0], [0, 0], [10, 0], [0, 0]], dtype=np.int32)
    assert kernels.tally(values, time, 3, 5, counts) == 2
    assert counts.tolist() == ([[0, 1], [0, 0], [11, 2], [1, 0]] if timed else [[1, 0], [0, 0], [13, 0], [1, 0]])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("timed", [False, True])
def test_scatter(timed: bool, weighted: bool) -> None:
    user = np.array([1, 0, -1, 1, 0, 1], dtype=np.int32)
    item = np.array([3, 2, 1, 0, -1, 5], dtype=np.int32)
    time = np.array([7, -2, 9, 4, 1, 6], dtype=np.int32) if timed else NO_TIME
    weight = np.array([1, 2, 3, 4, 5, 6], dtype=np.float32) if weighted else NONE
    cursor, stop = np.array([0, 1], dtype=np.int64), np.array([1, 3], dtype=np.int64)
    key, out = np.zeros(3, np.int64), np.zeros(3 if weighted else 0, np.float32)
    # User 1 has three events and room for two; the last one finds no place.
    assert kernels.scatter(user, item, time, cursor, stop, key, weight, out) == 1
    times = [-2, 7, 4] if timed else [0, 0, 0]
    assert [(int(k) >> 32, int(k) & 0x7FFFFFFF) for k in key] == list(zip(times, [2, 3, 0], strict=True))
    assert out.tolist() == ([2, 1, 4] if weighted else [])
    assert cursor.tolist() == [1, 3]


@given(users=histories(), gap=st.integers(0, 2), weighted=st.booleans())
@settings(max_examples=40, deadline=None)
def test_order(users: list[list[Event]], gap: int, weighted: bool) -> None:
    start, stop, key, weight = arrays(users, gap)
    kernels.order(start, stop, key, weight if weighted else NONE)
    ordered = [slow_order(events, weighted) for events in users]
    _, _, expected_key, expected_weight = arrays(ordered, gap)
    np.testing.assert_array_equal(key, expected_key)
    if weighted:
        np.testing.assert_array_equal(weight, expected_weight)


@given(users=histories(), gap=st.integers(0, 2), weighted=st.booleans(), drop=st.booleans(), timed=st.booleans())
@settings(max_examples=60, deadline=None)
def test_count_distinct_and_unpack(users: list[list[Event]], gap: int, weighted: bool, drop: bool, timed: bool) -> None:
    users = [sorted(events if weighted else [(t, i, 1.0) for t, i, _ in events]) for events in users]
    start, stop, key, weight = arrays(users, gap)
    weight = weight if weighted else NONE
    distinct = kernels.count_distinct(start, stop, key, weight)
    assert distinct.tolist() == [slow_count_distinct(events) for events in users]
    kept = [slow_unpack(events, drop) for events in users]
    indptr = np.concatenate(([0], np.cumsum([len(events) for events in kept]))).astype(np.int64)
    item, time, out = kernels.unpack(start, stop, key, weight, indptr, drop, timed)
    flat = [event for events in kept for event in events]
    assert item.tolist() == [i for _, i, _ in flat]
    assert time.tolist() == ([t for t, _, _ in flat] if timed else [])
    assert out.tolist() == ([w for _, _, w in flat] if weighted else [])


@given(users=histories(), cutoff=st.integers(-4, 5))
@settings(max_examples=40, deadline=None)
def test_cut(users: list[list[Event]], cutoff: int) -> None:
    users = [sorted(events) for events in users]
    start, stop, _, time, _ = columns(users)
    earlier = [slow_cut(events, cutoff) for events in users]
    np.testing.assert_array_equal(kernels.cut(start, stop, time, cutoff) - start, earlier)


@given(users=histories())
@settings(max_examples=40, deadline=None)
def test_item_counts(users: list[list[Event]]) -> None:
    start, stop, item, _, _ = columns([sorted(events) for events in users])
    plays, listeners = kernels.item_counts(start, stop, item, 6)
    assert (plays.tolist(), listeners.tolist()) == slow_item_counts(users, 6)


@given(users=histories(), whole=st.booleans())
@settings(max_examples=40, deadline=None)
def test_item_weights(users: list[list[Event]], whole: bool) -> None:
    users = [[(t, i, float(int(w)) if whole else w) for t, i, w in sorted(events)] for events in users]
    start, stop, item, _, weight = columns(users)
    total, found = kernels.item_weights(start, stop, item, weight, 6)
    assert (total.tolist(), found) == slow_item_weights(users, 6)


@given(users=histories(), timed=st.booleans(), weighted=st.booleans())
@settings(max_examples=60, deadline=None)
def test_pairs(users: list[list[Event]], timed: bool, weighted: bool) -> None:
    users = [sorted(events) for events in users]
    start, stop, item, time, weight = columns(users)
    indptr = kernels.count_pairs(start, stop, item)
    got = kernels.sum_pairs(start, stop, item, time if timed else NO_TIME, weight if weighted else NONE, indptr)
    items, plays, last = got
    expected = [pair for events in users for pair in slow_sum_pairs(events, weighted)]
    assert np.diff(indptr).tolist() == [slow_count_pairs(events) for events in users]
    assert items.tolist() == [i for i, _, _ in expected]
    assert plays.tolist() == [amount for _, amount, _ in expected]
    assert last.tolist() == ([t for _, _, t in expected] if timed else [])


def test_item_counts_of_many_users() -> None:
    rng = np.random.default_rng(3)
    lengths = rng.integers(0, 9, 5000)
    stop = lengths.cumsum()
    item = rng.integers(0, 40, int(stop[-1])).astype(np.int32)
    plays, listeners = kernels.item_counts(stop - lengths, stop, item, 41)
    user = np.repeat(np.arange(5000), lengths)
    distinct = Counter(i for _, i in set(zip(user.tolist(), item.tolist(), strict=True)))
    np.testing.assert_array_equal(plays, np.bincount(item, minlength=41))
    assert listeners.tolist() == [distinct[i] for i in range(41)]
