"""What a run must show before it is served: it is held against the version that is served now."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tonearm.options import options
from tonearm.runs.lists import FINAL, POPULAR
from tonearm.serving.version import Version
from tonearm.types import Int64s

FIRST = 10
"""Entries of a list that are compared."""

SAMPLE = 2000
"""Users whose lists are compared, drawn at random where there are more."""

Share = Annotated[float, Field(ge=0, le=1)]


@options
class Gate:
    """The least that a run must show; what is said of the served version counts only where one is served.

    min_listed: share of its users who have a list
    min_users: users with a list, as a share of those of the served version
    min_events: events of its log, as a share of those of the served version
    newer: its log ends later than that of the served version; without times, it is another log
    min_metric: its final lists' ndcg as a multiple of its popular list's, as a share of the same in the served version:
        one night's window of plays is easier to foresee than another's, for both lists
    max_heard: share of entries that their user had heard, where heard tracks are left out
    max_alike: share of the first 10 that two users drawn at random have in common, on average
    min_overlap: share of a user's first 10 that the served version has among theirs, on average
    min_own: by how much that is more than the share among a stranger's
    """

    min_listed: Share = 0.95
    min_users: Share = 0.8
    min_events: Share = 0.9
    newer: bool = True
    min_metric: Share = 0.8
    max_heard: Share = 0.0
    max_alike: Share = 0.8
    min_overlap: Share = 0.1
    min_own: Share = 0.05


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    name: the option that bounds it; value, bound: the figure and what it may be; words: what it is
    """

    name: str
    value: float
    bound: float
    passed: bool
    words: str

    def __str__(self) -> str:
        kind = "at most" if self.name.startswith("max") else "at least"
        verdict = "passes" if self.passed else "REFUSED"
        return f"{verdict:<8}{self.name:<12}{self.value:.4g} ({kind} {self.bound:.4g}): {self.words}"


def examine(new: Version, served: Version | None, gate: Gate) -> list[Check]:
    """Hold a version against the gate, and against the one that is served."""

    def check(name: str, value: float, words: str) -> Check:
        bound = float(getattr(gate, name))
        passed = value <= bound if name.startswith("max") else value >= bound
        return Check(name, float(value), bound, bool(passed), words)

    return [check(*found) for found in (*_alone(new), *(() if served is None else _beside(new, served, gate)))]


def _alone(new: Version) -> Iterator[tuple[str, float, str]]:
    rng = np.random.default_rng(0)
    lengths = np.diff(new.lists.indptr)
    listed = int((lengths > 0).sum())
    yield "min_listed", listed / max(len(lengths), 1), f"{listed:,} of {len(lengths):,} users have a list"
    some = _sample(np.flatnonzero(lengths > 0), rng)
    if new.run.metrics["filter_seen"]:
        log = new.run.kept.train.log
        heard = [np.isin(new.listed(u)[0], log.item[log.start[u] : log.stop[u]]).mean() for u in some.tolist()]
        yield "max_heard", _mean(heard), f"of the lists of {len(some):,} users had been heard by them"
    if len(some) > 1:
        firsts = [set(new.listed(u, FIRST)[0].tolist()) for u in some.tolist()]
        alike = [_common(a, b) for a, b in zip(firsts, firsts[1:] + firsts[:1], strict=True)]
        yield "max_alike", _mean(alike), f"of the first {FIRST} are the same for two users drawn at random"


def _beside(new: Version, served: Version, gate: Gate) -> Iterator[tuple[str, float, str]]:
    listed, before = (int((np.diff(one.lists.indptr) > 0).sum()) for one in (new, served))
    yield "min_users", listed / max(before, 1), f"{listed:,} users have a list, and {before:,} in the served version"
    logs = [one.run.kept.train.log for one in (new, served)]
    events, known = (log.n_events for log in logs)
    yield "min_events", events / max(known, 1), f"{events:,} events in the log, and {known:,} in the served version's"
    if gate.newer:
        yield "newer", float(_newer(new, served)), "its log ends later than that of the served version"
    lifts = [_lift(one.run.metrics) for one in (new, served)]
    if lifts[0] is not None and lifts[1]:
        words = f"{lifts[0]:.4g} times the ndcg of the popular list, and {lifts[1]:.4g} times in the served version"
        yield "min_metric", lifts[0] / lifts[1], words
    rng = np.random.default_rng(0)
    some = _sample(np.flatnonzero(np.diff(served.lists.indptr) > 0), rng).tolist()
    pairs = [(then, new.users.place(served.users.texts[then])) for then in some]
    drawn = [(then, now) for then, now in pairs if now >= 0]
    old = [_texts(served, then) for then, _ in drawn]
    own = [_common(_texts(new, now), then) for (_, now), then in zip(drawn, old, strict=True)]
    strange = [_common(_texts(new, now), then) for (_, now), then in zip(drawn, old[1:] + old[:1], strict=True)]
    words = f"of the first {FIRST} of {len(drawn):,} users stood among their first {FIRST} before"
    yield "min_overlap", _mean(own), words
    yield "min_own", _mean(own) - _mean(strange), f"more than among a stranger's ({_mean(strange):.4f})"


def _newer(new: Version, served: Version) -> bool:
    logs = [one.run.kept.train.log for one in (new, served)]
    if logs[0].time is not None and logs[1].time is not None:
        return bool(logs[0].span[1] > logs[1].span[1])
    return bool(new.run.manifest["fingerprints"] != served.run.manifest["fingerprints"])


def _lift(metrics: dict[str, Any]) -> float | None:
    """The final lists' ndcg as a multiple of the popular list's; None where that list has not one hit."""
    final, popular = (metrics["lists"].get(name, {}).get(f"ndcg@{metrics['focus']}") for name in (FINAL, POPULAR))
    return None if final is None or not popular else float(final / popular)


def _sample(rows: Int64s, rng: np.random.Generator) -> Int64s:
    return rng.permutation(rows)[:SAMPLE]


def _texts(version: Version, row: int) -> set[str]:
    return {version.items.texts[item] for item in version.listed(row, FIRST)[0].tolist()}


def _common(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / max(len(one), len(other), 1)


def _mean(values: list[Any]) -> float:
    return float(np.mean(values)) if values else 0.0
