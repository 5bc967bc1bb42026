"""The made-up listeners: how much each hears, from when to when, and how much of it on or after 2022-12-16."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from tonearm.synth.preset import N_DAYS, TEST_DAY, Preset
from tonearm.types import Bools, Float64s, Int32s

# Listens of each month up to 2022-12-15 as shares of them all: growth until November.
_MONTHS = (4.8, 5.1, 6.3, 6.8, 7.4, 7.7, 8.3, 8.8, 9.6, 10.9, 12.2, 5.8)
_WEEK = (1.03, 1.02, 1.02, 1.03, 1.06, 0.95, 0.89)  # from Monday
_COLD_PLAYS = 60  # a listener of sixteen days has hardly more


@dataclass(frozen=True)
class Listeners:
    """What is fixed about every listener beforehand: (n_users,) int32 each; days count from 2022-01-01.

    plays: all listens; test_plays: those from the test day on; first_day, last_day: the span of the others.
    """

    plays: Int32s
    test_plays: Int32s
    first_day: Int32s
    last_day: Int32s


def make_listeners(preset: Preset, rng: np.random.Generator) -> Listeners:
    """Draw listeners such that the totals of the preset (events, test events, test and cold users) are met exactly."""
    plays = rng.permutation(_plays(preset))
    cold, warm_test = _choose(plays, preset, rng)
    first_day, last_day = _spans(plays, warm_test, rng)
    test_plays = np.where(cold, plays, 0).astype(np.int32)
    daily = daily_shares(preset)
    ahead = np.cumsum(daily[::-1])[::-1]
    chance = ahead[TEST_DAY] / ahead[first_day[warm_test]]
    wanted = preset.test_events - int(plays[cold].sum())
    test_plays[warm_test] = _test_plays(plays[warm_test], chance, wanted, rng)
    return Listeners(plays, test_plays, first_day, last_day)


def daily_shares(preset: Preset) -> Float64s:
    """Share of all listens on each day of 2022, (n_days,), sums to 1."""
    dates = np.datetime64("2022-01-01") + np.arange(N_DAYS)
    month = dates.astype("datetime64[M]").astype(np.int64) % 12
    week = np.array(_WEEK)[(dates.astype(np.int64) + 3) % 7]
    test = np.arange(N_DAYS) >= TEST_DAY
    share = np.zeros(N_DAYS)
    before = 1.0 - preset.test_events / preset.events
    for m, volume in enumerate(_MONTHS):
        days = (month == m) & ~test
        share[days] = week[days] / week[days].sum() * volume / sum(_MONTHS) * before
    share[test] = week[test] / week[test].sum() * (1.0 - before)
    return share


def day_rates(listeners: Listeners, daily: Float64s, rounds: int = 30) -> Float64s:
    """Running sum of day rates, (n_days + 1,), for which listeners bound to their spans add up to `daily`.

    Raises the rate of each day by wanted / expected listens until they agree (iterative proportional fitting).
    """
    train = (listeners.plays - listeners.test_plays).astype(np.float64)
    spans = np.bincount(listeners.first_day * TEST_DAY + listeners.last_day, train, TEST_DAY * TEST_DAY)
    spans = spans.reshape(TEST_DAY, TEST_DAY)
    wanted = daily[:TEST_DAY] / daily[:TEST_DAY].sum() * spans.sum()
    rate = wanted.copy()
    first, last = np.indices(spans.shape)
    for _ in range(rounds):
        sums = np.concatenate([[0.0], np.cumsum(rate)])
        mass = np.maximum(sums[last + 1] - sums[first], 1e-300)
        per_rate = np.where(first <= last, spans / mass, 0.0)
        begun, ended = np.cumsum(per_rate.sum(axis=1)), np.cumsum(per_rate.sum(axis=0))
        open_spans = begun - np.concatenate([[0.0], ended[:-1]])
        rate *= wanted / np.maximum(rate * open_spans, 1e-300)
    return np.concatenate([[0.0], np.cumsum(np.concatenate([rate, daily[TEST_DAY:]]))])


def _plays(preset: Preset) -> Int32s:
    """Listens of each user, ascending: log-normal with the given median, bent towards the maximum, exact sum."""
    z = ndtri((np.arange(preset.users) + 0.5) / preset.users)
    low, high = 0.1, 4.0
    for _ in range(50):
        spread = (low + high) / 2
        raw = preset.median_plays * np.exp(spread * z)
        # The largest raw value r and the cap c give exactly the maximum m where r / (1 + r / c) = m.
        bend = max(1.0 / preset.max_plays - 1.0 / raw[-1], 0.0)
        plays = np.clip(np.rint(raw / (1.0 + raw * bend)), 1, preset.max_plays)
        low, high = (spread, high) if plays.sum() < preset.events else (low, spread)
    plays[-1] = preset.max_plays
    # The rest of the rounding goes to the upper middle, where nobody notices one play more or less.
    rest = int(preset.events - plays.sum())
    some = np.arange(int(0.6 * preset.users), int(0.98 * preset.users))
    plays[some] += rest // some.size
    plays[some[: rest % some.size]] += 1
    exact: Int32s = plays.astype(np.int32)
    return exact


def _choose(plays: Int32s, preset: Preset, rng: np.random.Generator) -> tuple[Bools, Bools]:
    """Who is cold, and who else is heard from in the test days: the more active, the likelier."""
    cold = np.zeros(plays.size, np.bool_)
    cold[rng.choice(np.flatnonzero(plays <= _COLD_PLAYS), preset.cold_users, replace=False)] = True
    eagerness = np.log(plays) + rng.normal(0.0, 1.2, plays.size)
    eagerness[cold | (plays < 2)] = -np.inf
    warm_test = np.zeros(plays.size, np.bool_)
    warm_test[np.argsort(-eagerness, kind="stable")[: preset.test_users - preset.cold_users]] = True
    return cold, warm_test


def _spans(plays: Int32s, warm_test: Bools, rng: np.random.Generator) -> tuple[Int32s, Int32s]:
    """First and last day before the test: two listeners in five are there from the start, the others join."""
    joined = rng.random(plays.size) > 0.4
    first = np.where(joined, rng.random(plays.size) ** 0.8 * (TEST_DAY - 1), 0.0).astype(np.int32)
    stay = 1.0 - rng.random(plays.size) ** 2
    last = np.where(warm_test, TEST_DAY - 1, first + stay * (TEST_DAY - 1 - first)).astype(np.int32)
    return first, last


def _test_plays(plays: Int32s, chance: Float64s, wanted: int, rng: np.random.Generator) -> Int32s:
    """Between 1 and plays - 1 listens each, in proportion to chance, `wanted` altogether."""
    low, high = 0.0, 1.0 / float(chance.max())
    for _ in range(40):
        scale = (low + high) / 2
        low, high = (scale, high) if (1.0 + (plays - 2) * chance * scale).sum() < wanted else (low, scale)
    drawn = 1 + rng.binomial(plays - 2, chance * scale)
    while (rest := wanted - int(drawn.sum())) != 0:
        able = np.flatnonzero(drawn < plays - 1 if rest > 0 else drawn > 1)
        if able.size == 0:
            break
        drawn[rng.choice(able, min(abs(rest), able.size), replace=False)] += 1 if rest > 0 else -1
    return drawn.astype(np.int32)
