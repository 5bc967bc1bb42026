"""The bootstrap against its slow twin, and its intervals against theory."""

import math

import numpy as np
import pytest
from tests.kernels.twins import slow_poisson_weights

from tonearm.evaluation.bootstrap import N_GROUPS, interval, resample
from tonearm.kernels import metrics as kernels
from tonearm.types import AnyArray


def poisson(keys: AnyArray, first: int, n: int) -> AnyArray:
    thresholds = np.floor(np.cumsum([math.exp(-1) / math.factorial(i) for i in range(12)]) * 2**32).astype(np.uint32)
    out = np.empty((len(keys), n))
    kernels.poisson_weights(keys, first, thresholds, out)
    return out


def test_weights_agree_with_their_twin_and_are_poisson() -> None:
    keys = np.random.default_rng(8).integers(0, 2**32, (60, 2), dtype=np.uint32)
    found = poisson(keys, 5, 40)
    assert found.tolist() == [[slow_poisson_weights(int(a), int(b), 5 + j) for j in range(40)] for a, b in keys]
    many = poisson(keys, 0, 20_000)
    assert many.mean() == pytest.approx(1, abs=0.005)
    assert many.var() == pytest.approx(1, abs=0.01)
    between = np.corrcoef(many)[~np.eye(60, dtype=np.bool_)]
    assert np.abs(between).max() < 5 / math.sqrt(20_000)


def test_groups_agree_with_their_twin() -> None:
    rng = np.random.default_rng(9)
    values, group = rng.random((50, 2), np.float32), rng.integers(0, 6, 50)
    found = np.zeros((6, 2))
    kernels.sum_groups(values, group, found)
    np.testing.assert_allclose(found, [values[group == g].sum(axis=0, dtype=np.float64) for g in range(6)])


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(10).exponential(size=(3000, 1)).astype(np.float32)
    low, high = interval(resample([values], np.random.default_rng(0), 2000)[0])[:, 0]
    error = 1.96 * values.std() / math.sqrt(3000)
    assert (high - low) / 2 == pytest.approx(error, rel=0.06)
    assert float(high + low) / 2 == pytest.approx(float(values.mean()), abs=0.1 * float(error))


def test_bootstrap_is_paired_and_repeatable() -> None:
    rng = np.random.default_rng(11)
    one = rng.random((500, 2), np.float32)
    other = one + np.float32(0.01)
    drawn = resample([one, other], np.random.default_rng(0), 300)
    np.testing.assert_allclose(drawn[1] - drawn[0], 0.01, atol=1e-6)
    assert drawn.tolist() == resample([one, other], np.random.default_rng(0), 300).tolist()
    assert drawn.tolist() != resample([one, other], np.random.default_rng(1), 300).tolist()


def test_bootstrap_of_groups_has_the_spread_of_one_of_users() -> None:
    values = np.random.default_rng(12).random((3 * N_GROUPS + 5, 1), np.float32)
    drawn = resample([values], np.random.default_rng(0), 1000)
    assert drawn.std() == pytest.approx(values.std() / math.sqrt(len(values)), rel=0.08)


def test_bootstrap_of_one_user_or_none() -> None:
    assert interval(resample([np.full((1, 1), 0.25, np.float32)], np.random.default_rng(0), 50)[0]).tolist() == [
        [0.25],
        [0.25],
    ]
    assert resample([np.empty((0, 3), np.float32)], np.random.default_rng(0)).shape == (1, 0, 3)
