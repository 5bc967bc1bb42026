"""Experiments on simulated listeners, whose true effects are known: assignment, intervals, credit, other policies."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.command import tonearm

from tonearm.errors import ConfigError
from tonearm.serving.events import Event, Impression, open_events
from tonearm.serving.experiment import (
    Experiment,
    Variant,
    difference,
    doubly_robust,
    draw,
    explored,
    interleave,
    inverse_propensity,
    mean,
    summarise,
)
from tonearm.serving.online import Blend
from tonearm.serving.publish import current_id
from tonearm.serving.service import Service
from tonearm.types import Float64s


def listeners(
    rng: np.random.Generator, n: int, effect: float = 0.0
) -> tuple[tuple[Float64s, Float64s], tuple[Float64s, Float64s]]:
    """Plays and lists of two groups of users; tastes differ, who asks more plays more, `effect` is relative."""
    groups = []
    for lift in (1.0, 1.0 + effect):
        asks = 1 + rng.geometric(0.2, n)
        taste = rng.beta(2, 18, n) * (1 + 0.03 * np.minimum(asks, 20)) * lift
        groups.append((rng.binomial(asks, np.minimum(taste, 1)).astype(float), asks.astype(float)))
    return groups[0], groups[1]


def truth(effect: float) -> float:
    """The true difference of the rates, by very many listeners."""
    (a, n), (b, m) = listeners(np.random.default_rng(99), 4_000_000, effect)
    del b, m
    return effect * float(a.sum() / n.sum())


def test_tests_without_an_effect_are_called_significant_as_often_as_they_say() -> None:
    """Of 200 tests, luck alone puts one draw in five outside 3 to 7%; of 20,000 none should be outside 4.5 to 5.5%."""
    rng = np.random.default_rng(0)
    called = [difference(*listeners(rng, 1000)).sure for _ in range(20_000)]
    assert 0.045 <= np.mean(called) <= 0.055


def test_intervals_hold_the_true_effect_as_often_as_they_say() -> None:
    rng, effect = np.random.default_rng(1), truth(0.05)
    held = [(e := difference(*listeners(rng, 1000, 0.05))).low <= effect <= e.high for _ in range(2000)]
    assert 0.93 <= np.mean(held) <= 0.97


def test_users_are_what_is_drawn_not_lists() -> None:
    """Lists of one user are alike: intervals by list would be far too narrow."""
    rng = np.random.default_rng(2)
    wrong = []
    for _ in range(1000):
        groups = []
        for _ in range(2):
            asks = np.full(100, 50)
            groups.append((rng.binomial(asks, rng.beta(1, 3, 100)).astype(float), asks.astype(float)))
        assert isinstance(difference(*groups).value, float)
        wrong.append(difference(*groups).sure)
    assert 0.03 <= np.mean(wrong) <= 0.075


def test_everyone_keeps_a_variant_and_shares_are_kept() -> None:
    experiment = Experiment("spring", {"a": Variant(share=3), "b": Variant(share=1)})
    first = [experiment.of(f"user {i}") for i in range(20_000)]
    assert first == [experiment.of(f"user {i}") for i in range(20_000)]
    assert 0.24 < first.count("b") / 20_000 < 0.26
    other = Experiment("autumn", experiment.variants)
    both = [(one, other.of(f"user {i}")) for i, one in enumerate(first)]
    assert 0.055 < both.count(("b", "b")) / 20_000 < 0.07, "another name draws anew"
    assert draw("a", "b") == pytest.approx(0.7780, abs=0.5)
    assert Experiment().of("anybody") == ""


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="is no variant"):
        Experiment("x", {"a": Variant(against="c")})
    with pytest.raises(ConfigError, match="share"):
        Variant(share=-1)


def test_the_chance_of_a_place_is_how_often_it_is_shown() -> None:
    rng = np.random.default_rng(3)
    shown = np.zeros(12)
    for _ in range(20_000):
        places, chance = explored(12, 30, 4, 0.3, rng)
        assert len(set(places)) == 4
        shown[places] += 1
    assert shown / 20_000 == pytest.approx(chance, abs=0.015)
    assert chance.sum() == pytest.approx(4)


def logged(rng: np.random.Generator, n: int) -> Iterator[tuple[list[int], Float64s, Float64s]]:
    """n lists of 3 of 10 items, their chances, and what became of each item; item i is played with chance .05 i."""
    for _ in range(n):
        places, chance = explored(10, 10, 3, 0.4, rng)
        yield places, chance, (rng.random(10) < 0.05 * np.arange(10)).astype(float)


def test_another_policy_is_foretold_without_bias() -> None:
    """The other policy shows the items 7, 8 and 9, of which 1.2 plays come."""
    rng, wanted, true = np.random.default_rng(4), np.arange(10) >= 7, 1.2
    held_ips, held_dr, wide, narrow = list[bool](), list[bool](), list[float](), list[float]()
    model = np.full(10, 0.3)
    for _ in range(300):
        ips, dr = [], []
        for places, chance, played in logged(rng, 400):
            reward, at = played[places], np.array(places)
            ips.append(inverse_propensity(reward, chance[at], wanted[at]).sum())
            parts = doubly_robust(reward, chance[at], wanted[at], model[at], np.zeros(3))
            dr.append(model[wanted].sum() + parts.sum())
        for values, held, widths in ((ips, held_ips, wide), (dr, held_dr, narrow)):
            estimate = mean(np.array(values))
            held.append(estimate.low <= true <= estimate.high)
            widths.append(estimate.high - estimate.low)
    assert 0.92 <= np.mean(held_ips) <= 0.975
    assert 0.92 <= np.mean(held_dr) <= 0.975
    assert np.mean(narrow) < 0.9 * np.mean(wide)


def test_interleaved_lists_are_fair_and_whole() -> None:
    rng = np.random.default_rng(5)
    one, other = [1, 2, 3, 4], [4, 5, 1, 6, 7]
    first = []
    for _ in range(2000):
        found, teams = interleave(one, other, 5, rng)
        assert len(found) == len(set(found)) == 5
        assert abs(teams.count(0) - teams.count(1)) <= 1
        first.append(teams[0])
    assert 0.45 < np.mean(first) < 0.55
    assert sorted(interleave([1], [1, 2], 9, rng)[0]) == [1, 2]


def test_the_summary_joins_lists_and_plays() -> None:
    def shown(name: str, user: str, variant: str, at: float, items: str, teams: str = "") -> Impression:
        return Impression(name, user, at, variant, "v", "", items, "", teams)

    impressions = [
        shown("1", "ann", "a", 100, "7\n8"),
        shown("2", "bob", "a", 100, "7\n8"),
        shown("3", "eve", "b", 100, "7\n9", "0\n1"),
        shown("4", "eve", "b", 200, "9\n7", "1\n0"),
        shown("5", "dan", "b", 100, "", ""),
    ]
    plays = [
        Event("1", "ann", "7", 150),
        Event("2", "ann", "7", 160),
        Event("3", "bob", "7", 99),
        Event("4", "bob", "8", 201),
        Event("5", "eve", "9", 210),
        Event("6", "dan", "9", 110),
    ]
    found = summarise(impressions, plays, within=100)
    assert found["variants"]["a"]["rate"] == 0.5
    assert found["variants"]["b"] | {"low": 0, "high": 0} == {
        "users": 2,
        "lists": 3,
        "rate": 1 / 3,
        "low": 0,
        "high": 0,
    }
    assert found["above"]["b"]["value"] == pytest.approx(1 / 3 - 0.5)
    assert found["interleaved"]["b"]["value"] == 1


def test_the_service_logs_what_each_variant_showed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = open_events(None, store)
    served = str(current_id(store))
    variants = {
        "plain": Variant(version=served),
        "drawn": Variant(explore=1.0, pool=15),
        "mixed": Variant(blend=Blend(rule="near"), against="plain"),
    }
    service = Service(store, events, experiment=Experiment("x", variants))
    answers = [service.recommend(str(user), 5, context="home") for user in range(60)]
    assert {answer.variant for answer in answers} == set(variants)
    quick = service.at_once(next(str(u) for u in range(60) if answers[u].variant == "plain"), 5, context="home")
    assert quick is None or quick.variant == "plain"
    assert service.at_once(next(str(u) for u in range(60) if answers[u].variant == "drawn"), 5) is None
    assert service.recommend("1", 5, "offline").variant == ""
    service.flush()
    shown = {one.user_id: one for one in events.impressions()}
    for answer in answers:
        one = shown[answer.user_id]
        assert (one.variant, one.version, one.context) == (answer.variant, served, "home")
        assert one.items.split("\n") == [str(entry.item_id) for entry in answer.items]
        assert (one.propensity != "") == (answer.variant == "drawn")
        assert (one.teams != "") == (answer.variant == "mixed")
    events.close()
    said = tonearm(capsys, "experiment", "--store", store).out
    assert "plain above drawn by" in said
