"""The one binary search, against looking at every place."""

import numpy as np
import pytest
from tests.kernels.twins import slow_first_from, slow_place_of

from tonearm.kernels.best.search import first_from, place_of


def test_by_hand() -> None:
    values = np.array([9, 1, 4, 6, 0], np.int32)  # places 1 to 4 ascend
    assert [place_of(values, 1, 4, v) for v in range(11)] == [-1, 1, -1, -1, 2, -1, 3, -1, -1, -1, -1]
    assert place_of(values, 2, 2, 4) == -1, "nothing to look at"
    assert [first_from(values, 1, 4, v) for v in (0, 1, 2, 6, 7)] == [1, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(3))
def test_every_stretch_of_drawn_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.sort(rng.choice(20, 7, replace=False)).astype(np.int32)
    for lo in range(8):
        for hi in range(lo, 8):
            for wanted in range(-1, 21):
                assert place_of(values, lo, hi, wanted) == slow_place_of(values.tolist(), lo, hi, wanted)
                assert first_from(values, lo, hi, wanted) == slow_first_from(values.tolist(), lo, hi, wanted)
