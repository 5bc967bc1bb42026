"""Figures of lists that were measured shard by shard: what adds up is added, and summarised as on one machine."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tonearm.config import Config, stage_rng
from tonearm.data.dataset import Dataset
from tonearm.data.truth import Truth
from tonearm.evaluation.measure import Measure
from tonearm.evaluation.meters import (
    LEVELS,
    AccuracyMeter,
    ListMeter,
    activity_line,
    cold_users,
    group_sizes,
    mean,
)
from tonearm.evaluation.summary import summarise
from tonearm.kernels.metrics import sum_groups
from tonearm.loading.load import Test
from tonearm.parts.work import Arrays
from tonearm.ranking.recommender import Recommender
from tonearm.report.profile import time_counts
from tonearm.types import AnyArray, Float64s, Int32s, Int64s

COLD = ("users", "events", "users_with_truth", "users_with_hit")


def states(measure: Measure, train: Dataset, test: Test, units: int, seed: int, place: int, edges: Int64s) -> Arrays:
    """What the measuring of a shard comes to, by name, as `Parts.total` puts it together.

    units: rows that are kept for the bootstrap at most, of users drawn together where there are more
    """
    truth = measure.truth
    found: Arrays = {}
    population = np.array([*truth.population.values()], np.int64)
    cold = cold_users(test.cold, train.plays, measure.popular, measure.config.output.k)
    with_truth = cold["users_with_truth"]
    sums = [*(cold[name] for name in COLD), *((cold[name] or 0) * with_truth for name in ("mean_hits", "recall"))]
    found |= {"population": population, "cold": np.array([*sums], np.float64)}
    found |= {"evaluated": np.array([len(truth)]), "histories": np.bincount(truth.history, minlength=1)}
    for name, meter in measure.meters.items():
        found |= _state(f"list {name} ", meter, units, seed, place)
        for part, inside in meter.parts.items():
            found |= {f"{part} {name} {key}": value for key, value in inside.sums().items()}
            found |= _units(f"{part} {name}", part, inside.values, units, seed, place)
            found[f"{part} population"] = np.array([*inside.truth.population.values()], np.int64)
    items = next(iter(measure.meters.values())).items
    for kind, label, n in (("band", items.band, 3), ("genre", items.genre, len(items.genre_names))):
        found |= {
            f"{kind} {what}": sizes
            for what, sizes in zip(("users", "items"), group_sizes(truth, label, n), strict=True)
        }
    found |= {f"funnel {name}": array for name, array in measure.funnel.sums().items()}
    found |= _units("funnel", "all", measure.funnel.lost, units, seed, place)
    return found | {f"time {name}": n for name, n in time_counts(train.log, test.log, test.cold, edges).items()}


def _state(before: str, meter: ListMeter, units: int, seed: int, place: int) -> Arrays:
    history, values = meter.truth.history, meter.values[:, meter.shown].astype(np.float64)
    by_length = np.zeros((int(history.max(initial=0)) + 1, 4))
    np.add.at(by_length, history, np.concatenate((values, values**2), axis=1))
    sums = {f"{before}{name}": array for name, array in meter.sums().items()}
    sums[f"{before}by_length"] = by_length
    name = before.removeprefix("list ").strip()
    return sums | _units(f"list {name}", "all", meter.values, units, seed, place)


def _units(name: str, group: str, values: AnyArray, units: int, seed: int, place: int) -> Arrays:
    """Values of users, or their sums over some users drawn together, the same for all lists, and how many these are."""
    n = len(values)
    if n <= units:
        return {f"each {name}": values.astype(np.float64), f"each sizes of {name}": np.ones(n)}
    of = np.random.default_rng([seed, place, len(group)]).permutation(n) % units
    sums = np.zeros((units, values.shape[1]))
    sum_groups(np.ascontiguousarray(values, np.float32), of.astype(np.int64), sums)
    return {f"each {name}": sums, f"each sizes of {name}": np.bincount(of, minlength=units).astype(np.float64)}


@dataclass(frozen=True)
class _Evaluated(Truth):
    """A truth of which only figures are here.

    n: its users
    """

    n: int

    def __len__(self) -> int:
        return self.n

    @classmethod
    def like(cls, none: Truth, n: int, population: Int64s) -> "_Evaluated":
        """A truth of n users; none: of nobody, with the same counts of its population."""
        counts = dict(zip(none.population, population.tolist(), strict=True))
        return cls(none.users, none.indptr, none.item, none.history, none.filter_seen, counts, n)


class _Meter(ListMeter):
    """A meter of all shards."""

    def __init__(self, name: str, one: ListMeter, truth: _Evaluated, sums: Arrays) -> None:
        super().__init__(one.truth, one.items, one.ks)
        self.truth, self.of, self.name = truth, sums, name
        _take(self, f"list {name}", sums)
        for part, inside in one.parts.items():
            n = int(sums[f"each sizes of {part} {name}"].sum())
            inside.truth = _Evaluated.like(inside.truth, n, sums[f"{part} population"])
            _take(inside, f"{part} {name}", sums)
            self.parts[part] = inside

    def by_activity(self) -> list[dict[str, Any]]:
        """As of any meter, by what users with a history of each length come to."""
        times, by_length = self.of["histories"], self.of[f"list {self.name} by_length"]
        ends = np.cumsum(times)
        cuts = [int(np.searchsorted(ends, int((ends[-1] - 1) * share), side="right")) for share in (1 / 3, 2 / 3)]
        level = np.searchsorted(cuts, np.arange(len(times)), side="left")
        lines = []
        for place, label in enumerate(LEVELS):
            own = np.flatnonzero((level == place) & (times > 0))
            n, sums = int(times[own].sum()), by_length[own].sum(axis=0)
            line = activity_line(label, own, n)
            for c, column in enumerate(self.shown):
                line |= mean(self.columns[column], n, float(sums[c]), float(sums[2 + c]))
            lines.append(line)
        return lines

    def group_sizes(self, label_of: Int32s, n_labels: int) -> tuple[Int64s, Int64s]:
        """As of any meter."""
        kind = "band" if label_of is self.items.band else "genre"
        return self.of[f"{kind} users"][:n_labels], self.of[f"{kind} items"][:n_labels]


def _take(meter: AccuracyMeter, name: str, sums: Arrays) -> None:
    for key, array in meter.sums().items():
        array += sums[f"{name} {key}"]
    meter.values, meter.sizes = sums[f"each {name}"], sums[f"each sizes of {name}"]


def metrics(
    sums: Arrays, nobody: Dataset, recommender: Recommender, config: Config, unknown_events: int, catalogue: str | None
) -> dict[str, Any]:
    """All figures.

    sums: the states of all shards, added up; nobody: the data set without users
    """
    none = nobody.catalogue.items.ids.clear()
    one = Measure(nobody, Test(nobody.log, nobody.users.ids, nobody.log, none, 0), recommender, config, part=True)
    truth = _Evaluated.like(one.truth, int(sums["evaluated"][0]), sums["population"])
    meters = {name: _Meter(name, meter, truth, sums) for name, meter in one.meters.items()}
    for key, array in one.funnel.sums().items():
        array += sums[f"funnel {key}"]
    one.funnel.lost, one.funnel.sizes = sums["each funnel"], sums["each sizes of funnel"]
    return summarise(
        truth,
        meters,
        stage_rng(config.seed, "bootstrap"),
        funnel=one.funnel,
        population={"test_events_of_unknown_items": unknown_events},
        cold=_cold(sums["cold"], config.output.k),
        catalogue=catalogue,
        resamples=config.evaluation.resamples,
    )


def _cold(sums: Float64s, k: int) -> dict[str, Any]:
    """As `cold_users` has it."""
    users, events, with_truth, with_hit = (int(n) for n in sums[:4])
    hits, recall = sums[4:].tolist()
    none_known = f"none of the cold users ({users:,}) heard an item that exists in train"
    return {
        "users": users,
        "events": events,
        "users_with_truth": with_truth,
        "k": k,
        "users_with_hit": with_hit,
        "share_with_hit": with_hit / with_truth if with_truth else None,
        "mean_hits": hits / with_truth if with_truth else None,
        "recall": recall / with_truth if with_truth else None,
        "share_of_cold_users_without_hit": 1 - with_hit / users if users else None,
        "mean_hits_of_cold_users_with_hit": hits / with_hit if with_hit else None,
        "note": None if with_truth else "no cold users" if users == 0 else none_known,
    }
