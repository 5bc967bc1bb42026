"""Experiments: who gets which variant, what each was shown, and what became of it.

A user's variant hangs on a stable hash alone, so that it is the same in every worker and needs no memory. Users are
what was drawn, so intervals are over users, never over requests.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tonearm.errors import ConfigError
from tonearm.options import options
from tonearm.serving.events import Event, Impression
from tonearm.serving.online import Blend
from tonearm.types import Float64s

LEVEL = 1.959964
"""Standard errors on either side of an interval of 95%."""

Share = Annotated[float, Field(ge=0, le=1)]


@options
class Variant:
    """One way to answer.

    share: of the users, beside the shares of the others
    version: the version of the store; by default the one that is served
    blend: how the list is blended; explore: share of answers whose list is drawn at random from its first `pool` items
    against: another variant whose list is interleaved with its own, so that one listener compares the two
    """

    share: Annotated[float, Field(gt=0)] = 1.0
    version: str | None = None
    blend: Blend | None = None
    explore: Share = 0.0
    pool: Annotated[int, Field(ge=1)] = 100
    against: str | None = None


@options
class Experiment:
    """[experiment]: variants by name, and the name that users are hashed with.

    name: another name draws users anew; variants: two or more; none means no experiment
    """

    name: str = "experiment"
    variants: dict[str, Variant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, variant in self.variants.items():
            if variant.against is not None and variant.against not in self.variants:
                raise ConfigError(f"experiment.variants.{name}.against = '{variant.against}' is no variant.")

    def of(self, user: str) -> str:
        """The variant of a user; empty where there is no experiment."""
        if not self.variants:
            return ""
        names, ends = list(self.variants), np.cumsum([one.share for one in self.variants.values()])
        return names[int(np.searchsorted(ends, draw(self.name, user) * ends[-1], side="right"))]


def draw(*words: str) -> float:
    """A number from 0 to below 1 that some words always lead to, and that looks drawn at random."""
    return int.from_bytes(hashlib.sha256("/".join(words).encode()).digest()[:7], "big") / 2**56


def explored(listed: int, pool: int, k: int, share: float, rng: np.random.Generator) -> tuple[list[int], Float64s]:
    """Which places of a list are shown, and the chance of each place of the pool to be shown.

    With the chance `share` the k shown are drawn at random from the first `pool` places; else they are the first k.
    """
    pool = min(pool, listed)
    k = min(k, pool)
    chance = np.full(pool, share * k / max(pool, 1))
    chance[:k] += 1 - share
    drawn = rng.random() < share
    return (rng.permutation(pool)[:k].tolist() if drawn else list(range(k))), chance


def interleave(
    one: Sequence[int], other: Sequence[int], k: int, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Team draft: in turns, first by a coin, each list adds its best item that is not there; and whose each is, 0 or 1.

    Source: Radlinski, Kurup, Joachims 2008, section 4.2
    """
    lists, found, teams = (list(one), list(other)), list[int](), list[int]()
    while len(found) < k:
        sizes = [teams.count(0), teams.count(1)]
        turn = int(rng.integers(2)) if sizes[0] == sizes[1] else int(sizes[1] < sizes[0])
        left = [(team, item) for team in (turn, 1 - turn) for item in lists[team] if item not in found]
        if not left:
            break
        teams.append(left[0][0])
        found.append(left[0][1])
    return found, teams


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval of 95%."""

    value: float
    low: float
    high: float
    users: int

    @property
    def sure(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def rate(converted: Float64s, shown: Float64s) -> tuple[float, float]:
    """Conversions per showing over all users, and its variance by the delta method, as users are what was drawn."""
    n, total = len(shown), float(shown.sum())
    if n < 2 or total == 0:
        return float("nan"), float("nan")
    ratio = float(converted.sum()) / total
    return ratio, float(((converted - ratio * shown) ** 2).sum()) * n / (n - 1) / total**2


def difference(one: tuple[Float64s, Float64s], other: tuple[Float64s, Float64s]) -> Estimate:
    """By how much the rate of `other` is above that of `one`; each is conversions and showings by user."""
    (a, variance_a), (b, variance_b) = rate(*one), rate(*other)
    error = LEVEL * float(np.sqrt(variance_a + variance_b))
    return Estimate(b - a, b - a - error, b - a + error, len(one[0]) + len(other[0]))


def mean(values: Float64s) -> Estimate:
    """The mean over users."""
    n = len(values)
    value = float(values.mean()) if n else float("nan")
    error = LEVEL * float(values.std(ddof=1)) / np.sqrt(n) if n > 1 else float("inf")
    return Estimate(value, value - error, value + error, n)


def inverse_propensity(reward: Float64s, chance: Float64s, wanted: Float64s) -> Float64s:
    """What each showing says of another policy: reward × its chance under that policy / its chance as it was logged.

    Source: Horvitz, Thompson 1952
    """
    return reward * wanted / chance


def doubly_robust(
    reward: Float64s, chance: Float64s, wanted: Float64s, foretold: Float64s, foretold_of_policy: Float64s
) -> Float64s:
    """The same, where a model foretells rewards: right where either the model or the chances are.

    foretold: of what was shown; foretold_of_policy: of what the other policy would have shown, on average
    Source: Dudík, Langford, Li 2011, eq. 2
    """
    return foretold_of_policy + (reward - foretold) * wanted / chance


def conversions(
    impressions: Iterable[Impression], events: Iterable[Event], within: float
) -> Iterable[tuple[Impression, list[str], set[str]]]:
    """Each impression with the items it showed, and those of them that its user played within so many seconds."""
    played: dict[tuple[str, str], list[float]] = {}
    for event in events:
        played.setdefault((event.user_id, event.item_id), []).append(event.at)
    for shown in impressions:
        items = shown.items.split("\n") if shown.items else []
        yield (
            shown,
            items,
            {
                item
                for item in items
                if any(shown.at <= at < shown.at + within for at in played.get((shown.user_id, item), ()))
            },
        )


def summarise(impressions: Iterable[Impression], events: Iterable[Event], within: float = 86_400.0) -> dict[str, Any]:
    """Conversion of each variant, differences to the first one, and the credit of interleaved lists.

    A conversion is a play of a shown item by its user within so many seconds. Its rate is per list shown.
    """
    by_variant: dict[str, dict[str, list[float]]] = {}
    credit: dict[str, dict[str, float]] = {}
    for shown, items, taken in conversions(impressions, events, within):
        own = by_variant.setdefault(shown.variant, {}).setdefault(shown.user_id, [0.0, 0.0])
        own[0] += len(taken)
        own[1] += 1
        if shown.teams:
            team = dict(zip(items, shown.teams.split("\n"), strict=True))
            won = sum(1 if team[item] == "1" else -1 for item in taken)
            mine = credit.setdefault(shown.variant, {})
            mine[shown.user_id] = mine.get(shown.user_id, 0.0) + won
    columns = {
        name: (np.array([c for c, _ in users.values()]), np.array([n for _, n in users.values()]))
        for name, users in sorted(by_variant.items())
    }
    first = next(iter(columns), None)
    return {
        "variants": {name: _rated(*own) for name, own in columns.items()},
        "above": {
            name: vars(difference(columns[first], own)) for name, own in columns.items() if first and name != first
        },
        "against": first,
        "interleaved": {name: vars(mean(np.sign([*won.values()]))) for name, won in credit.items()},
    }


def _rated(converted: Float64s, shown: Float64s) -> dict[str, float]:
    ratio, variance = rate(converted, shown)
    error = LEVEL * float(np.sqrt(variance))
    return {
        "users": len(shown),
        "lists": float(shown.sum()),
        "rate": ratio,
        "low": ratio - error,
        "high": ratio + error,
    }


def shown(result: Mapping[str, Any]) -> Iterable[str]:
    """The result in lines for a terminal."""
    for name, own in result["variants"].items():
        yield (
            f"{name or 'all'}: {own['users']:,} users, {own['lists']:,.0f} lists, {own['rate']:.4f} plays a list "
            f"[{own['low']:.4f}, {own['high']:.4f}]"
        )
    for name, above in result["above"].items():
        yield f"{name} above {result['against']} by {above['value']:+.4f} [{above['low']:+.4f}, {above['high']:+.4f}]"
    for name, won in result["interleaved"].items():
        yield f"{name}: the other list wins by {won['value']:+.4f} [{won['low']:+.4f}, {won['high']:+.4f}] of users"
