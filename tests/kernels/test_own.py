"""Kernels of repeats against plain Python."""

from collections import defaultdict

import numpy as np
import pytest
from tests.kernels.twins import slow_activation, slow_place_in_history, slow_rhythm

from tonearm.data.log import Log, Pairs
from tonearm.kernels.own import DAY, activation, place_in_history, rhythm
from tonearm.types import Float32s, Int32s

NOW = 90 * DAY


def some_log(seed: int) -> Log:
    """Five users, one without a history, many repeats, some of them on one day."""
    rng = np.random.default_rng(seed)
    lengths = np.array([30, 0, 1, 12, 7])
    stop = np.cumsum(lengths)
    time = np.concatenate([np.sort(rng.integers(60 * DAY, NOW, n)) for n in lengths]).astype(np.int32)
    item = rng.integers(0, 6, stop[-1]).astype(np.int32)
    return Log(stop - lengths, stop, item, time, rng.integers(1, 4, len(item)).astype(np.float32), 9)


def events_of_pairs(log: Log) -> list[tuple[int, list[int]]]:
    """User of each pair in order of user and item, and where its events stand, in order of time."""
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for user in range(log.n_users):
        for e in range(log.start[user], log.stop[user]):
            found[user, int(log.item[e])].append(e)
    return [(user, found[user, item]) for user, item in sorted(found)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_activation_sums_faded_plays(seed: int, decay: float) -> None:
    log = some_log(seed)
    assert log.time is not None
    assert log.weight is not None
    pairs = Pairs.of(log)

    def found(time: Int32s, weight: Float32s) -> Float32s:
        return activation(log.start, log.stop, log.item, time, weight, pairs.indptr, pairs.item, NOW, decay)

    own = [events for _, events in events_of_pairs(log)]
    assert max(map(len, own)) > 3
    age = (NOW - log.time.astype(np.float64)) / DAY
    faded = [slow_activation(age[e].tolist(), log.weight[e].tolist(), decay) for e in own]
    np.testing.assert_allclose(found(log.time, log.weight), faded, rtol=1e-5)
    alike = [slow_activation(age[e].tolist(), [1.0] * len(e), decay) for e in own]
    np.testing.assert_allclose(found(log.time, log.weight[:0]), alike, rtol=1e-5)
    np.testing.assert_array_equal(found(log.time[:0], log.weight), pairs.plays)


@pytest.mark.parametrize("seed", range(3))
def test_rhythm_is_that_of_distinct_days(seed: int) -> None:
    log = some_log(seed)
    assert log.time is not None
    pairs, day = Pairs.of(log), log.time // DAY
    counts, gaps = rhythm(log.start, log.stop, log.item, log.time, pairs.indptr, pairs.item)
    expected = [
        slow_rhythm(day[events].tolist(), day[log.start[user] : log.stop[user]].tolist())
        for user, events in events_of_pairs(log)
    ]
    np.testing.assert_allclose(np.hstack([counts, gaps]), expected, rtol=1e-6)
    assert (counts[:, 0] < pairs.plays).any()


def test_place_in_history() -> None:
    indptr, item = np.array([0, 3, 3, 5]), np.array([2, 5, 7, 0, 5], np.int32)
    candidate_indptr, candidate = np.array([0, 4, 5, 7]), np.array([1, 2, 7, 8, 5, 0, 7], np.int32)
    found = place_in_history(indptr, item, candidate_indptr, candidate).tolist()
    assert found == [-1, 0, 2, -1, -1, 3, -1]
    for user, lo in enumerate(indptr[:-1]):
        own = item[lo : indptr[user + 1]].tolist()
        for c in range(candidate_indptr[user], candidate_indptr[user + 1]):
            place = slow_place_in_history(own, int(candidate[c]))
            assert found[c] == (lo + place if place >= 0 else -1)
