"""Feature kernels against plain Python."""

import numpy as np
import pytest
from tests.kernels.twins import slow_standardize, slow_tag_affinity

from tonearm.kernels.features import item_times, standardize, tag_affinity
from tonearm.types import Float32s, Int32s, Int64s

DAY = 86_400
NOW = 50 * DAY
N_ITEMS, N_TAGS = 9, 4


def flat(rows: list[list[int]]) -> tuple[Int64s, Int32s]:
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return indptr, np.array([i for row in rows for i in row], dtype=np.int32)


def test_standardize_is_the_z_score_of_each_row() -> None:
    rng = np.random.default_rng(0)
    indptr = np.cumsum([0, 5, 0, 1, 12, 3])
    scores = (rng.standard_normal((21, 3)) * [1, 1e6, 1e-6]).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    scores[6:18, 1] = 7  # one value all along
    scores[18:, 2] = np.nan
    found = standardize(indptr, scores)
    np.testing.assert_allclose(found, slow_standardize(indptr, scores), rtol=1e-5, atol=1e-6)
    assert (found[6:18, 1] == 0).all()
    assert (found[18:, 2] == 0).all()
    assert (found[5] == 0).all()


def test_standardize_tells_great_scores_apart() -> None:
    scores = np.array([[1e7], [1e7 + 1], [1e7 + 2]], np.float32)
    np.testing.assert_allclose(standardize(np.array([0, 3]), scores)[:, 0], [-(1.5**0.5), 0, 1.5**0.5], rtol=1e-6)
    constant = np.full((7, 1), 0.1, np.float32)
    assert standardize(np.array([0, 7]), constant).tolist() == [[0]] * 7


History = list[dict[int, tuple[float, int]]]
"""For each user, by item: plays and the second of the last one."""


def some_histories(seed: int) -> tuple[History, list[list[int]], list[list[int]]]:
    """Histories with ties in time, an empty one and a full one; tags of items, some with none; candidates."""
    rng = np.random.default_rng(seed)
    histories = []
    for n in (4, 0, N_ITEMS, 1, 6):
        own = sorted(rng.choice(N_ITEMS, n, replace=False).tolist())
        histories.append({i: (float(rng.integers(1, 5)), int(rng.integers(40, 44)) * DAY) for i in own})
    tags = [rng.choice(N_TAGS, rng.integers(0, 3), replace=False).tolist() for _ in range(N_ITEMS)]
    candidates = [sorted(rng.choice(N_ITEMS, n, replace=False).tolist()) for n in (N_ITEMS, 3, 7, 0, 5)]
    return histories, tags, candidates


def arrays_of(histories: History) -> tuple[Int64s, Int32s, Float32s, Int32s]:
    indptr, item = flat([list(h) for h in histories])
    plays = np.array([p for h in histories for p, _ in h.values()], np.float32)
    return indptr, item, plays, np.array([t for h in histories for _, t in h.values()], np.int32)


@pytest.mark.parametrize("seed", range(4))
def test_tag_affinity_is_that_of_the_other_items(seed: int) -> None:
    histories, tags, candidates = some_histories(seed)
    indptr, item, plays, last = arrays_of(histories)
    expected = [slow_tag_affinity(h, tags, c, NOW) for h, own in zip(histories, candidates, strict=True) for c in own]
    found = tag_affinity(indptr, item, plays, last, NOW, *flat(tags), N_TAGS, *flat(candidates))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    untimed = tag_affinity(indptr, item, plays, last[:0], 0, *flat(tags), N_TAGS, *flat(candidates))
    np.testing.assert_array_equal(untimed[:, :2], found[:, :2])
    assert np.isnan(untimed[:, 2]).all()


def test_item_times_are_the_first_and_last_of_the_events_within_bounds() -> None:
    start, stop = np.array([0, 2, 2, 4]), np.array([1, 2, 4, 6])
    item = np.array([3, 0, 1, 3, 1, 1], np.int32)
    time = np.array([-7, 99, 5, 2, -4, 8], np.int32)  # the second event is nobody's
    first, last = item_times(start, stop, item, time, 5)
    assert first.tolist() == [0, -4, 0, -7, 0]
    assert last.tolist() == [0, 8, 0, 2, 0]
