"""Paired bootstrap over users: how much of a difference between lists is luck of the draw.

Every user gets a Poisson(1) weight in each resample, the same for all lists and metrics, so that one pass over the
users yields the interval of every mean and of every difference. Source: Chamandy et al. 2012, "Estimating uncertainty
for massive data streams", section 3. Above 32,768 users, random groups of users of equal size are drawn instead of
single users: the variance stays the same, and it is known to within .4%, where 1,000 resamples know it within 2%.
"""

import math
from collections.abc import Sequence

import numpy as np

from tonearm.kernels import metrics as kernels
from tonearm.kernels.metrics import UInt32s
from tonearm.types import AnyArray, Float32s, Float64s

N_GROUPS = 32_768
_BLOCK = 4096


def resample(
    values: Sequence[AnyArray], rng: np.random.Generator, n_resamples: int = 1000, sizes: Float64s | None = None
) -> Float64s:
    """Means of every column in each resample of the users, (n_lists, n_resamples, m) float64.

    values: for each list (n_users, m), row i of each belongs to the same user
    sizes: (n_users,) how many users each row is the sum of, where it is not one
    Memory does not grow with the number of users. No users: an array without resamples.
    """
    n_users, m = values[0].shape
    if n_users == 0:
        return np.empty((len(values), 0, m))
    groups = _group(values, rng) if sizes is None else np.concatenate([*values, sizes[:, None]], axis=1)
    keys = rng.integers(0, 2**32, size=(n_resamples, 2), dtype=np.uint32)
    sums = np.zeros((n_resamples, groups.shape[1]))
    for lo in range(0, len(groups), _BLOCK):
        block = groups[lo : lo + _BLOCK]
        weights = np.empty((n_resamples, len(block)))
        kernels.poisson_weights(keys, lo, _THRESHOLDS, weights)
        sums += weights @ block
    # A resample of very few users may draw nobody at all.
    drawn = sums[sums[:, -1] > 0]
    means = drawn[:, :-1] / drawn[:, -1:]
    return np.ascontiguousarray(means.reshape(len(means), len(values), m).transpose(1, 0, 2))


def _group(values: Sequence[Float32s], rng: np.random.Generator) -> Float64s:
    """Sums of all lists' columns, and the number of users, in each unit that is drawn; (n_units, n_lists m + 1)."""
    n_users, m = values[0].shape
    if n_users <= N_GROUPS:
        return np.concatenate([*values, np.ones((n_users, 1))], axis=1, dtype=np.float64)
    group = rng.permutation(n_users) % N_GROUPS
    parts = [np.zeros((N_GROUPS, m)) for _ in values]
    for part, table in zip(parts, values, strict=True):
        kernels.sum_groups(table, group, part)
    return np.concatenate([*parts, np.bincount(group, minlength=N_GROUPS)[:, None]], axis=1, dtype=np.float64)


def interval(means: Float64s, level: float = 0.95) -> Float64s:
    """Percentile interval of resampled means or differences, (2, m) from (n_resamples, m)."""
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)


def _poisson_thresholds() -> UInt32s:
    """2^32 times the cumulative probabilities of Poisson(1), as far as 32 bits can tell."""
    cumulative = np.cumsum([math.exp(-1) / math.factorial(n) for n in range(12)])
    return np.array(np.floor(cumulative * 2**32), np.uint32)


_THRESHOLDS = _poisson_thresholds()
