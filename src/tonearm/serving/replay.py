"""What the service would have answered after plays of the test, and how good that was: offline beside blended."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.truth import Truth
from tonearm.errors import DataError
from tonearm.evaluation.bootstrap import interval, resample
from tonearm.evaluation.meters import AccuracyMeter
from tonearm.runs.read import Run
from tonearm.serving.forget import copy_without
from tonearm.serving.online import DEEP, Blend, answer, with_plays
from tonearm.serving.version import RUN, Version, write_version
from tonearm.terminal.progress import Progress, no_progress
from tonearm.types import Float32s, Int32s, Int64s

STEPS = (1, 2, 3, 5, 10, 20)
"""Plays after which lists are looked at; for users whom the run did not know, from the third on."""

COLD = 3
AHEAD = 10
"""The next plays that a list is to foretell."""

BLOCK = 512

OFFLINE = Blend(rule="offline")


@dataclass(frozen=True)
class Population:
    """Users, and what they played after the cut.

    users: (n,) rows of the run, −1 for those whom it did not know; log: (n rows) items of the run alone
    """

    users: Int32s
    log: Log

    def at(self, step: int, rows: Int64s) -> tuple[list[Int32s], list[Int32s]]:
        """What each of some users had played after so many plays, oldest first, and what they played next."""
        items = [self.log.item[self.log.start[row] : self.log.stop[row]] for row in rows.tolist()]
        return [own[:step] for own in items], [np.unique(own[step : step + AHEAD]) for own in items]


def replay(
    run: Path,
    blends: Mapping[str, Blend],
    *,
    k: int = 10,
    users: int = 2000,
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Hit rate and ndcg of the next plays for each blend and for the offline list, warm and cold users apart.

    Every user counts once, by the mean over the steps at which something was left to foretell. The truth of a step are
    the distinct items of the next `AHEAD` plays that the run knows and, where heard tracks are left out, that are new.

    k: the cut-off; users: of each population at most, drawn at random

    Raises:
        DataError: the folder is not a run, or has no test to replay.
    """
    source = Run.open(run)
    source.files.check()
    with tempfile.TemporaryDirectory(prefix="tonearm-") as folder:
        copy_without(source, Path(folder) / RUN, ())
        write_version(Path(folder))
        version = Version.open(Path(folder), making=True)
        if version.restored.test is None:
            raise DataError(f"{run}: has no test to replay. Make a run with --test-from.")
        rng = np.random.default_rng(seed)
        found = {
            name: _measure(version, some, {"offline": OFFLINE, **blends}, k, rng, progress)
            for name, some in _populations(version, users, rng).items()
        }
    return {"run": str(run), "k": k, "ahead": AHEAD, "populations": found}


def _populations(version: Version, most: int, rng: np.random.Generator) -> dict[str, Population]:
    test, data = version.restored.test, version.data
    assert test is not None
    found = {}
    for name, log in (("warm", test.log), ("cold", test.cold)):
        users = np.arange(log.n_users) if name == "warm" else np.full(log.n_users, -1)
        known = _known(log, data.plays > 0)
        rows = np.flatnonzero(known.stop - known.start > (1 if name == "warm" else COLD))
        rows = np.sort(rng.choice(rows, min(most, len(rows)), replace=False))
        found[name] = Population(users[rows].astype(np.int32), known.users(rows.astype(np.int32)))
    return found


def _known(log: Log, played: Any) -> Log:
    """The events of items that the run knows, users in turn."""
    own = log.packed()
    keep = np.append(played, np.zeros(max(log.n_items - len(played), 0), np.bool_))[own.item]
    before = np.concatenate(([0], keep.cumsum())).astype(np.int64)
    return Log(before[own.start], before[own.stop], own.item[keep], None, None, len(played))


def _measure(
    version: Version,
    some: Population,
    blends: Mapping[str, Blend],
    k: int,
    rng: np.random.Generator,
    progress: Progress,
) -> dict[str, Any]:
    n, cold = len(some.users), bool(len(some.users)) and bool(some.users[0] < 0)
    sums = {name: np.zeros((n, 2), np.float32) for name in blends}
    times = np.zeros(n, np.int64)
    steps: dict[str, dict[str, Any]] = {}
    for step in [step for step in STEPS if not cold or step >= COLD]:
        rows = np.flatnonzero(some.log.stop - some.log.start > step)
        values, counted = _at_step(version, some, step, rows, blends, k, progress)
        times[counted] += 1
        steps[str(step)] = {"users": len(counted)}
        for name, value in values.items():
            sums[name][counted] += value
            steps[str(step)][name] = _figures(value.mean(axis=0)) if len(value) else None
    seen = times > 0
    means = {name: (total[seen] / times[seen, None]).astype(np.float32) for name, total in sums.items()}
    return {"users": int(seen.sum()), "steps": steps, "blends": _compared(means, rng) if seen.any() else {}}


def _at_step(
    version: Version,
    some: Population,
    step: int,
    rows: Int64s,
    blends: Mapping[str, Blend],
    k: int,
    progress: Progress,
) -> tuple[dict[str, Float32s], Int64s]:
    """Hit rate and ndcg of each blend, (m, 2) each, and the rows of the m users who have a truth."""
    parts: dict[str, list[Float32s]] = {name: [np.empty((0, 2), np.float32)] for name in blends}
    counted = [np.empty(0, np.int64)]
    for lo in range(0, len(rows), BLOCK):
        progress(f"after {step} plays", lo, len(rows))
        own = rows[lo : lo + BLOCK]
        plays, ahead = some.at(step, own)
        block = with_plays(version.data, some.users[own], plays, version.restored.config.filter_seen)
        seen, items = block.seen
        ahead = [np.setdiff1d(new, items[a:b]) for new, a, b in zip(ahead, seen[:-1], seen[1:], strict=True)]
        bounds = np.concatenate(([0], np.cumsum([len(new) for new in ahead]))).astype(np.int64)
        has = np.diff(bounds) > 0
        counted.append(own[has])
        here = np.arange(len(own), dtype=np.int32)[has]
        wanted = Truth(here, np.unique(bounds), np.concatenate(ahead).astype(np.int32), bounds[:0], True, {})
        last = _rows([own_plays[::-1] for own_plays in plays])
        offline = _offline(version, some.users[own])
        wants = any(blend.rule in ("folded", "fused") for blend in blends.values())
        folded = version.recommender().lists(block).lists if wants else None
        for name, blend in blends.items():
            meter = AccuracyMeter(wanted, (k,))
            lists = answer(version, block, offline, last, k, blend, folded=folded)
            meter.count(np.arange(len(own), dtype=np.int32), lists)
            columns = [meter.columns.index(f"{family}@{k}") for family in ("hit_rate", "ndcg")]
            parts[name].append(meter.values[:, columns])
    return {name: np.concatenate(values) for name, values in parts.items()}, np.concatenate(counted)


def _offline(version: Version, users: Int32s) -> Lists:
    """The lists that were published; those of unknown users begin with what is popular."""
    popular = version.most_played(0, DEEP)[0]
    return _rows([version.listed(user)[0] if user >= 0 else popular for user in users.tolist()])


def _rows(items: Sequence[Int32s]) -> Lists:
    bounds = np.cumsum([0, *map(len, items)]).astype(np.int64)
    return Lists(bounds, np.concatenate([*items, np.empty(0, np.int32)]), np.zeros(int(bounds[-1]), np.float32))


def _compared(means: Mapping[str, Float32s], rng: np.random.Generator) -> dict[str, Any]:
    """Each blend's figures, and by how much they are above the offline list's, with intervals over users."""
    resampled = dict(zip(means, resample(list(means.values()), rng), strict=True))
    found: dict[str, Any] = {}
    for name, values in means.items():
        found[name] = _figures(values.mean(axis=0))
        if name != "offline":
            low, high = interval(resampled[name] - resampled["offline"])
            gain = values.mean(axis=0) - means["offline"].mean(axis=0)
            found[name]["above_offline"] = {
                metric: {"value": float(gain[i]), "low": float(low[i]), "high": float(high[i])}
                for i, metric in enumerate(("hit_rate", "ndcg"))
            }
    return found


def _figures(values: Float32s) -> dict[str, Any]:
    return {"hit_rate": float(values[0]), "ndcg": float(values[1])}


def shown(result: Mapping[str, Any]) -> Iterator[str]:
    """The result in lines for a terminal."""
    k = result["k"]
    for name, found in result["populations"].items():
        yield f"{name}: {found['users']:,} users, next {result['ahead']} plays"
        for blend, figures in found["blends"].items():
            line = f"  {blend:<10} hit_rate@{k} {figures['hit_rate']:.4f}  ndcg@{k} {figures['ndcg']:.4f}"
            if "above_offline" in figures:
                gain = figures["above_offline"]["ndcg"]
                line += f"  above offline by {gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
            yield line
