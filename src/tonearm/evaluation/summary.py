"""From meters, or from two files, to `metrics.json`: every figure with its interval, comparisons, slices, funnel."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tonearm.data.log import Log, Pairs
from tonearm.data.truth import Truth
from tonearm.data.truth import truth as truth_of
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.evaluation.bootstrap import interval, resample
from tonearm.evaluation.funnel import FunnelMeter
from tonearm.evaluation.lists_file import Listed, read_lists
from tonearm.evaluation.meters import (
    KS,
    AccuracyMeter,
    ListMeter,
    cold_users,
    describe_items,
    ks_within,
    left_out_ks,
    with_stranger,
)
from tonearm.evaluation.repeats import parts_of
from tonearm.evaluation.words import warnings
from tonearm.loading.count import DataOptions
from tonearm.loading.load import Loaded, gather, survey
from tonearm.loading.tables import Tabular, address_of, as_source
from tonearm.types import Float64s

__all__ = ["DEFINITIONS", "Metrics", "evaluate", "evaluate_files", "warnings"]

Metrics = dict[str, Any]

DEFINITIONS = {
    "truth": "a user's distinct test items that exist in train{seen}",
    "population": "warm users (in train) with a non-empty truth; a user without a list scores 0; macro average",
    "precision": "hits / items recommended, at most k; 0 when nothing is recommended",
    "recall": "hits / |truth|",
    "ndcg": "binary gains, discount 1 / log2(rank + 1), ideal of min(k, |truth|) hits",
    "hit_rate": "1 with at least one hit, else 0",
    "mrr": "1 / rank of the first hit, 0 without one",
    "map": "sum of precision at the rank of each hit / |truth|",
    "coverage": "distinct items over the whole list, or its first k, / {size} ({of})",
    "novelty": "share of the top k not heard in train; mean over users with a list",
    "surprisal": "mean of -log2 (plays / all plays) over the top k; mean over users with a list",
    "diversity": "1 - mean cosine of the genres of two items in the top k; mean over users with two items with a genre",
    "popularity": "mean plays of the top k; mean over users with a list",
    "popularity_bias": "popularity / history_popularity - 1, the latter being the mean plays of what those users heard",
    "gini": "Gini coefficient of how often each of {size} ({of}) is shown",
    "parts": "the same lists and metrics where truth is only what the user had heard in train (repeat), or had not "
    "(discovery); population: users with such a truth",
    "interval": "95% percentile interval of a paired bootstrap over users",
}


def summarise(
    truth: Truth,
    meters: Mapping[str, ListMeter],
    rng: np.random.Generator,
    *,
    final: str = "recommendations",
    funnel: FunnelMeter | None = None,
    shape: Metrics | None = None,
    cold: Metrics | None = None,
    population: Mapping[str, int] | None = None,
    catalogue: str | None = "the catalogue",
    others: str = "train",
    resamples: int = 1000,
) -> Metrics:
    """Everything that `metrics.json` holds, as plain values without NaN; docs/use/metrics.md describes it.

    meters: by list name, all over this truth, with the same ks and the same parts; comparisons set `final` against
        every other one
    shape: what shaping the final list costs, as `RuleCosts.summary` returns it
    cold: as `cold_users` returns it
    population: further counts to stand beside those of the truth, or instead of them
    catalogue, others: whose items coverage is of, in words; catalogue is None where none was given
    """
    names = list(meters)
    columns = meters[names[0]].columns
    means = {name: meter.summary() for name, meter in meters.items()}
    drawn = _drawn(meters, rng, resamples)
    slices = {name: meter.slices() for name, meter in meters.items()}
    size = meters[names[0]].items.catalogue_size
    of = f"those of {catalogue} and of {others}" if catalogue else f"those of {others}, as no catalogue was given"
    seen = ", less those they already heard in train" if truth.filter_seen else ""
    metrics: Metrics = {
        "definitions": {k: v.format(seen=seen, size=f"{size:,} items", of=of) for k, v in DEFINITIONS.items()},
        "filter_seen": truth.filter_seen,
        "ks": list(meters[names[0]].ks),
        "focus": meters[names[0]].focus,
        "final": final,
        "catalogue": {"items": size, "of": of},
        "population": _population(truth, cold) | dict(population or {}),
        "lists": means,
        "intervals": {name: _intervals(columns, drawn[i]) for i, name in enumerate(names)},
        "comparisons": _comparisons(names, columns, means, drawn, final),
        "parts": _parts(meters, rng, final, resamples) or None,
        "cold": cold,
        "slices": _merge(slices),
        "funnel": funnel.summary(rng, resamples) if funnel is not None else None,
    }
    if shape is not None:
        metrics["shape"] = shape
    metrics["notes"] = _notes(truth, metrics, next(iter(meters.values())), catalogue is not None)
    metrics["warnings"] = warnings(metrics)
    return metrics


def _drawn(meters: Mapping[str, AccuracyMeter], rng: np.random.Generator, resamples: int) -> Float64s:
    """The means of every list in each resample of the users."""
    sizes = next(iter(meters.values())).sizes
    return resample([meter.values for meter in meters.values()], rng, resamples, sizes)


def _parts(meters: Mapping[str, ListMeter], rng: np.random.Generator, final: str, resamples: int) -> Metrics:
    """The accuracy of every list over each part of the truth, with intervals and comparisons."""
    result: Metrics = {}
    for part, first in next(iter(meters.values())).parts.items():
        inside = {name: meter.parts[part] for name, meter in meters.items()}
        names, means = list(inside), {name: meter.means() for name, meter in inside.items()}
        drawn = _drawn(inside, rng, resamples)
        result[part] = {
            "population": first.truth.population,
            "lists": means,
            "intervals": {name: _intervals(first.columns, drawn[i]) for i, name in enumerate(names)},
            "comparisons": _comparisons(names, first.columns, means, drawn, final),
        }
    return result


def _population(truth: Truth, cold: Metrics | None) -> dict[str, int]:
    """The counts of the truth, with the cold users, who have no row in it where they come as a log of their own."""
    counts = dict(truth.population)
    if cold is not None:
        counts["cold_test_users"] = cold["users"]
        counts["test_users"] = counts["warm_test_users"] + cold["users"]
        counts["test_events"] += cold["events"]
    return counts


def _intervals(columns: list[str], drawn: Float64s) -> dict[str, list[float] | None]:
    if len(drawn) == 0:
        return dict.fromkeys(columns)
    low, high = interval(drawn)
    return {name: [float(low[c]), float(high[c])] for c, name in enumerate(columns)}


def _comparisons(
    names: list[str], columns: list[str], means: Mapping[str, Mapping[str, Any]], drawn: Float64s, final: str
) -> list[Metrics]:
    """The final list against each other one, all accuracy metrics."""
    if final not in names or drawn.shape[1] == 0:
        return []
    result: list[Metrics] = []
    for i, against in enumerate(names):
        if against == final:
            continue
        differences = drawn[names.index(final)] - drawn[i]
        low, high = interval(differences)
        better = (differences > 0).mean(axis=0)
        for c, metric in enumerate(columns):
            result.append(
                {
                    "list": final,
                    "against": against,
                    "metric": metric,
                    "difference": means[final][metric] - means[against][metric],
                    "low": float(low[c]),
                    "high": float(high[c]),
                    "share_better": float(better[c]),
                    "significant": bool(low[c] > 0 or high[c] < 0),
                }
            )
    return result


def _merge(slices: Mapping[str, Mapping[str, list[Metrics]]]) -> dict[str, list[Metrics]]:
    """Slices of all lists side by side: what describes the slice once, and the metrics of each list under its name."""
    result: dict[str, list[Metrics]] = {}
    for name, kinds in slices.items():
        for kind, lines in kinds.items():
            merged = result.setdefault(
                kind, [{k: v for k, v in line.items() if "@" not in k} | {"lists": {}} for line in lines]
            )
            for target, line in zip(merged, lines, strict=True):
                target["lists"][name] = {k: v for k, v in line.items() if "@" in k}
    return result


def _notes(truth: Truth, metrics: Metrics, meter: ListMeter, catalogue: bool) -> list[str]:
    """Why a figure is missing, in words."""
    notes = []
    if len(truth) == 0:
        notes.append("no user is evaluated: no warm user heard an item in test that could have been recommended")
    notes.append("coverage and gini are of {items:,} items, {of}".format_map(metrics["catalogue"]))
    if meter.items.n_genres == 0:
        why = "no item has a genre" if catalogue else "no catalogue was given"
        notes.append(f"diversity and genre slices are missing: {why}")
    cold = metrics["cold"]
    if cold is not None and cold["note"]:
        notes.append(cold["note"])
    if "shape" in metrics:
        notes += metrics["shape"]["notes"]
        notes.append("the funnel follows the final list before shaping, made among what the hard rules let pass")
    notes.extend(
        f"{name}: nobody got a list" for name, values in metrics["lists"].items() if values["listed_users"] == 0
    )
    return notes


def evaluate(
    lists: Tabular,
    truth: Tabular,
    train: Tabular | None = None,
    items: Tabular | None = None,
    *,
    ks: Sequence[int] = KS,
    filter_seen: bool = True,
    seed: int = 0,
    resamples: int = 1000,
    columns: Mapping[str, str] | None = None,
) -> Metrics:
    """Measure any tool's lists against any truth; the content of a `metrics.json` with one list in it.

    Each is a table of pandas, Polars, Arrow or DuckDB, or a path or address.

    lists: user_id, item_id, and rank or score (rank counts where both are there); without user_id the list is
        everybody's, less what each had heard where filter_seen
    truth, train: logs as a run reads them, by the same rules; without train every user counts as warm, nothing as
        heard, and what needs plays or histories is null
    items: the catalogue, for coverage, Gini and diversity; without it these go by the items of train, or are null
    ks: those above the length of the longest list are left out
    columns: what the files call their columns, as data.columns

    Raises:
        DataError: a column is missing or of the wrong type, an id is null, a list holds an item twice or has gaps in
            its ranks, train and truth are the same, or lists and truth have no user or no item in common.
    """
    given = (("lists", lists), ("truth", truth), ("train", train), ("items", items))
    tables = {name: as_source(table, name) for name, table in given if table is not None}
    listed, catalogue = read_lists(tables["lists"], columns), tables.get("items")
    logs = {"events": tables["truth"]} if train is None else {"train": tables["train"], "test": tables["truth"]}
    options = DataOptions(columns=dict(columns or {}))
    loaded = gather(survey(logs, catalogue, None, options, learning=False, others=[listed.columns]))
    _check_common(listed, loaded, address_of(tables["truth"]))
    data, cold, depth = loaded.train, None, ks_within(ks, listed.longest)
    if loaded.test is None:
        answers, parts = _all_of(data.log), {}
        described = describe_items(np.zeros_like(data.plays), data.catalogue)
    else:
        answers = truth_of(data.log, loaded.test.log, filter_seen)
        described = describe_items(data.plays, data.catalogue)
        parts = {} if filter_seen else parts_of(answers, Pairs.of(data.log))
        popular = data.popularity_order
        if listed.users is None:
            popular = data.catalogue.items.encode(listed.items.decode(listed.item))
        cold = cold_users(loaded.test.cold, data.plays, popular, listed.longest)
    meter = ListMeter(answers, with_stranger(described), depth, parts)
    others = _measure(meter, listed, loaded, filter_seen)
    name = Path(address_of(tables["lists"])).stem
    metrics = summarise(
        answers,
        {name: meter},
        np.random.default_rng(seed),
        final=name,
        cold=cold,
        population=None if loaded.test is None else {"test_events_of_unknown_items": loaded.test.unknown_events},
        catalogue=None if catalogue is None else Path(address_of(catalogue)).name,
        others=Path(address_of(tables["truth" if train is None else "train"])).name,
        resamples=resamples,
    )
    metrics["notes"] += [*left_out_ks(ks, listed.longest), *others]
    return metrics if train is not None else _without_train(metrics, name, items is not None)


evaluate_files = evaluate
"""As `evaluate`, under its earlier name."""

_BLOCK = 50_000


def _measure(meter: ListMeter, listed: Listed, loaded: Loaded, filter_seen: bool) -> list[str]:
    """Meter every list, block by block; returns words on users and items that the measures pass over."""
    data, k = loaded.train, meter.ks[-1]
    index = data.catalogue.items.encode(listed.items.ids)
    notes = []
    strange = int((index < 0).sum())
    if strange:
        notes.append(
            f"{strange:,} of {len(index):,} items of the lists are known from nowhere else; coverage passes them over"
        )
    index[index < 0] = data.n_items
    for lo in range(0, data.n_users, _BLOCK):
        users = np.arange(lo, min(lo + _BLOCK, data.n_users), dtype=np.int32)
        heard = Pairs.of(data.log.users(users)) if loaded.test is not None else _nothing(len(users), data.n_items)
        lists = listed.block(listed.rows_of(data.users.decode(users)), index, heard if filter_seen else None, k)
        meter.add(users, lists, heard)
    if listed.users is None:
        return notes
    rest = np.flatnonzero(data.users.encode(listed.users.ids) < 0)
    if loaded.test is not None:
        if len(rest):
            notes.append(
                f"{len(rest):,} of {len(listed.users):,} users of the lists are not in train; their lists are left out"
            )
        return notes
    for lo in range(0, len(rest), _BLOCK):
        rows = rest[lo : lo + _BLOCK]
        nobody = np.full(len(rows), -1, np.int32)
        meter.add(nobody, listed.block(rows, index, None, k), _nothing(len(rows), data.n_items))
    return notes


def _nothing(n: int, n_items: int) -> Pairs:
    return Pairs(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), None, n_items)


def _check_common(listed: Listed, loaded: Loaded, truth: str) -> None:
    """Raise where lists and truth cannot be of one population."""
    data, test = loaded.train, loaded.test
    log = data.log if test is None else test.log
    items = np.unique(np.concatenate([log.item, test.cold.item] if test is not None else [log.item]))
    known = data.catalogue.items.decode(items[items < data.n_items])
    users = [data.users.decode(np.flatnonzero(log.start < log.stop).astype(np.int32))]
    if test is not None and test.cold_users.dtype == users[0].dtype:
        users.append(test.cold_users)
    for name, mine, theirs in (
        ("user_id", listed.users, Vocabulary.of(*users)),
        ("item_id", listed.items, Vocabulary.of(known)),
    ):
        if mine is None:
            continue
        if mine.ids.dtype.is_integer() != theirs.ids.dtype.is_integer():
            raise DataError(
                f"{name} is {mine.ids.dtype} in {listed.address} and {theirs.ids.dtype} in {truth}. "
                "Cast one to the type of the other."
            )
        if not (mine.encode(theirs.ids) >= 0).any():
            raise DataError(
                f"{listed.address} and {truth} have no {name} in common ({len(mine):,} and {len(theirs):,} different "
                "ones). Check that both use the same ids."
            )


def _all_of(test: Log) -> Truth:
    """The truth where nothing is known of train: every distinct item of every user in test."""
    pairs = Pairs.of(test)
    users = np.flatnonzero(np.diff(pairs.indptr) > 0).astype(np.int32)
    indptr = np.concatenate((pairs.indptr[users], pairs.indptr[-1:]))
    population = {
        "test_users": len(users),
        "evaluated_users": len(users),
        "test_events": test.n_events,
        "truth_items": len(pairs.item),
    }
    return Truth(users, indptr, pairs.item, np.zeros(len(users), np.int64), False, population)


_NEED_TRAIN = ("novelty", "surprisal", "popularity", "popularity_bias", "history_popularity")


def _without_train(metrics: Metrics, name: str, catalogue: bool) -> Metrics:
    """The same with null, and words, for all that needs train."""
    missing = _NEED_TRAIN if catalogue else (*_NEED_TRAIN, "coverage", "gini")
    values = {k: None if k.split("@")[0] in missing else v for k, v in metrics["lists"][name].items()}
    words = "no train file: every user of the truth is evaluated, and " + ", ".join(missing) + " and slices are missing"
    definitions = metrics["definitions"] | {
        "truth": "a user's distinct items in the truth file",
        "population": "every user of the truth file; a user without a list scores 0; macro average",
    }
    notes = [note for note in metrics["notes"] if catalogue or not note.startswith("coverage")]
    return metrics | {
        "definitions": definitions,
        "catalogue": metrics["catalogue"] if catalogue else None,
        "lists": {name: values},
        "slices": {},
        "notes": [*notes, words],
    }
