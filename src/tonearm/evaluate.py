"""From meters, or from two files, to `metrics.json`: every figure with its interval, comparisons, slices, funnel."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tonearm.bootstrap import interval, resample
from tonearm.data import Catalogue, Log, Pairs
from tonearm.errors import DataError
from tonearm.funnel import FunnelMeter
from tonearm.inputs import find_column, first_row, is_id, open_input, reading
from tonearm.lists import Lists
from tonearm.metrics import KS, ListMeter, Truth, describe_items
from tonearm.metrics import truth as truth_of
from tonearm.types import AnyArray, Float64s, Int32s
from tonearm.verdict import warnings
from tonearm.vocabulary import Vocabulary

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
    "coverage": "distinct items over the whole list, or its first k, / catalogue size",
    "novelty": "share of the top k not heard in train; mean over users with a list",
    "surprisal": "mean of -log2 (plays / all plays) over the top k; mean over users with a list",
    "diversity": "1 - mean cosine of the genres of two items in the top k; mean over users with two items with a genre",
    "popularity": "mean plays of the top k; mean over users with a list",
    "popularity_bias": "popularity / history_popularity - 1, the latter being the mean plays of what those users heard",
    "gini": "Gini coefficient of how often each item of the catalogue is shown",
    "parts": "the same lists and metrics where truth is only what the user had heard in train (repeat), or had not "
    "(discovery); population: users with such a truth",
    "interval": "95% percentile interval of a paired bootstrap over users",
}


def evaluate(
    truth: Truth,
    meters: Mapping[str, ListMeter],
    rng: np.random.Generator,
    *,
    final: str = "recommendations",
    funnel: FunnelMeter | None = None,
    shape: Metrics | None = None,
    cold: Metrics | None = None,
    population: Mapping[str, int] | None = None,
    resamples: int = 1000,
) -> Metrics:
    """Everything that `metrics.json` holds, as plain values without NaN; docs/metrics.md describes it.

    meters: by list name, all over this truth, with the same ks and the same parts; comparisons set `final` against
        every other one
    shape: what shaping the final list costs, as `RuleCosts.summary` returns it
    cold: as `cold_users` returns it
    population: further counts to stand beside those of the truth, or instead of them
    """
    names = list(meters)
    columns = meters[names[0]].columns
    means = {name: meter.summary() for name, meter in meters.items()}
    drawn = resample([meter.values for meter in meters.values()], rng, resamples)
    slices = {name: meter.slices() for name, meter in meters.items()}
    seen = ", less those they already heard in train" if truth.filter_seen else ""
    metrics: Metrics = {
        "definitions": {k: v.format(seen=seen) for k, v in DEFINITIONS.items()},
        "filter_seen": truth.filter_seen,
        "ks": list(meters[names[0]].ks),
        "focus": meters[names[0]].focus,
        "final": final,
        "population": _population(truth, cold) | dict(population or {}),
        "lists": means,
        "intervals": {name: _intervals(columns, drawn[i]) for i, name in enumerate(names)},
        "comparisons": _comparisons(names, columns, means, drawn, final),
        "parts": _parts(meters, rng, final, resamples) or None,
        "cold": cold,
        "slices": _merge(slices),
        "funnel": funnel.summary() if funnel is not None else None,
    }
    if shape is not None:
        metrics["shape"] = shape
    metrics["notes"] = _notes(truth, metrics, next(iter(meters.values())))
    metrics["warnings"] = warnings(metrics)
    return metrics


def _parts(meters: Mapping[str, ListMeter], rng: np.random.Generator, final: str, resamples: int) -> Metrics:
    """The accuracy of every list over each part of the truth, with intervals and comparisons."""
    result: Metrics = {}
    for part, first in next(iter(meters.values())).parts.items():
        inside = {name: meter.parts[part] for name, meter in meters.items()}
        names, means = list(inside), {name: meter.means() for name, meter in inside.items()}
        drawn = resample([meter.values for meter in inside.values()], rng, resamples)
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


def _notes(truth: Truth, metrics: Metrics, meter: ListMeter) -> list[str]:
    """Why a figure is missing, in words."""
    notes = []
    if len(truth) == 0:
        notes.append("no user is evaluated: no warm user heard an item in test that could have been recommended")
    if meter.items.n_genres == 0:
        notes.append("diversity and genre slices are missing: no item has a genre")
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


def evaluate_files(
    lists: Path | str,
    truth: Path | str,
    train: Path | str | None = None,
    *,
    ks: Sequence[int] = KS,
    filter_seen: bool = True,
    seed: int = 0,
    resamples: int = 1000,
) -> Metrics:
    """Measure any lists file against any truth file; the content of a `metrics.json` with one list in it.

    lists: user_id, item_id, and rank or score (rank counts where both are there)
    truth: user_id, item_id. train: the same; without it every user counts as warm, nothing as heard, and what needs
    plays or histories is null.

    Raises:
        DataError: a column is missing or of the wrong type, an id is null, a list holds an item twice, or lists and
            truth have no user or no item in common.
    """
    given = _read(lists, ordered=True)
    tables = {"lists": given, "truth": _read(truth)} | ({} if train is None else {"train": _read(train)})
    addresses = {"lists": str(lists), "truth": str(truth), "train": str(train)}
    _check_common(tables, addresses)
    users = Vocabulary.of(*(t["user_id"] for t in tables.values()))
    items = Vocabulary.of(*(t["item_id"] for t in tables.values()))
    logs = {name: _log(rows, users, items) for name, rows in tables.items() if name != "lists"}
    ranked = _lists(given, users, items)
    name = Path(lists).stem
    heard = logs.get("train")
    if heard is None:
        nobody = np.zeros(len(users), np.int64)
        heard, answers = Log(nobody, nobody, np.empty(0, np.int32), None, None, len(items)), _all_of(logs["truth"])
    else:
        answers = truth_of(heard, logs["truth"], filter_seen)
    plays = heard.item_counts()[0]
    offered = plays > 0
    offered[ranked.item] = True
    meter = ListMeter(answers, describe_items(plays, Catalogue(items), int(offered.sum())), ks)
    for lo in range(0, len(users), _BLOCK):
        hi = min(lo + _BLOCK, len(users))
        part = slice(int(ranked.indptr[lo]), int(ranked.indptr[hi]))
        block = Lists(ranked.indptr[lo : hi + 1] - ranked.indptr[lo], ranked.item[part], ranked.score[part])
        meter.add(np.arange(lo, hi, dtype=np.int32), block, Pairs.of(heard.users(np.arange(lo, hi, dtype=np.int32))))
    metrics = evaluate(answers, {name: meter}, np.random.default_rng(seed), final=name, resamples=resamples)
    return metrics if train is not None else _without_train(metrics, name)


_BLOCK = 50_000


def _read(address: Path | str, ordered: bool = False) -> pl.DataFrame:
    """user_id and item_id of a file, and for lists `place`: what to sort by, ascending."""
    source = open_input(str(address))
    columns = {}
    for name in ("user_id", "item_id"):
        found = find_column(source, name)
        if found is None:
            raise DataError(
                f"{address}: no column {name}. It has {', '.join(source.schema)}. Rename the one that is meant."
            )
        if not is_id(source.schema[found]):
            raise DataError(
                f"{address}: {found} is of type {source.schema[found]}; ids are integers or strings. Cast it."
            )
        dtype = pl.Int64() if source.schema[found].is_integer() else pl.String()
        columns[name] = pl.col(found).cast(dtype).alias(name)
    if ordered:
        by = next((c for c in ("rank", "score") if c in source.schema), None)
        if by is None:
            raise DataError(
                f"{address}: neither rank nor score. It has {', '.join(source.schema)}. Add the one you have."
            )
        if not source.schema[by].is_numeric():
            raise DataError(f"{address}: {by} is of type {source.schema[by]} and must be a number. Cast it.")
        place = pl.col(by).cast(pl.Float64)
        columns["place"] = (place if by == "rank" else -place).alias("place")
    with reading(str(address)):
        rows = source.scan().select(*columns.values()).collect()
    if len(rows) == 0:
        raise DataError(f"{address}: no rows. There is nothing to measure.")
    for name in columns:
        missing = pl.col(name).is_null() | (pl.col(name).is_nan() if name == "place" else False)
        n = rows.select(missing.sum()).item()
        if n:
            what = name if name != "place" else "rank or score"
            where = first_row(rows, missing)
            raise DataError(f"{address}: {n:,} of {len(rows):,} rows have no {what} (first: {where}). Drop them.")
    repeated = rows.select(pl.struct("user_id", "item_id").is_first_distinct().not_()).to_series() if ordered else None
    if repeated is not None and repeated.any():
        twice = rows.row(int(repeated.arg_true()[0]), named=True)
        raise DataError(
            f"{address}: {int(repeated.sum()):,} of {len(rows):,} rows repeat an item in a user's list (first: user "
            f"{twice['user_id']}, item {twice['item_id']}). Keep the best one of each."
        )
    return rows


def _check_common(tables: Mapping[str, pl.DataFrame], addresses: Mapping[str, str]) -> None:
    """Raise where the files cannot be of one population."""
    for name in ("user_id", "item_id"):
        lists, truth = tables["lists"][name], tables["truth"][name]
        for other, rows in tables.items():
            if rows[name].dtype != lists.dtype:
                raise DataError(
                    f"{name} is {lists.dtype} in {addresses['lists']} and {rows[name].dtype} in {addresses[other]}. "
                    "Cast one to the type of the other."
                )
        if not lists.unique().is_in(truth.unique().implode()).any():
            raise DataError(
                f"{addresses['lists']} and {addresses['truth']} have no {name} in common ({lists.n_unique():,} and "
                f"{truth.n_unique():,} different ones). Check that both use the same ids."
            )


def _log(rows: pl.DataFrame, users: Vocabulary, items: Vocabulary) -> Log:
    """A log without time, ordered by user."""
    user, item = users.encode(rows["user_id"]), items.encode(rows["item_id"])
    order = np.lexsort((item, user))
    bounds = _bounds(user, len(users))
    return Log(bounds[:-1], bounds[1:], item[order], None, None, len(items))


def _lists(rows: pl.DataFrame, users: Vocabulary, items: Vocabulary) -> Lists:
    """One list for each user of the vocabulary, best first, ties by ascending item index."""
    user, item = users.encode(rows["user_id"]), items.encode(rows["item_id"])
    place = rows["place"].to_numpy()
    order = np.lexsort((item, place, user))
    return Lists(_bounds(user, len(users)), item[order], -place[order].astype(np.float32))


def _bounds(user: Int32s, n_users: int) -> AnyArray:
    return np.concatenate(([0], np.bincount(user, minlength=n_users).cumsum())).astype(np.int64)


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


_NEED_TRAIN = ("novelty", "surprisal", "popularity", "popularity_bias", "coverage", "gini", "history_popularity")


def _without_train(metrics: Metrics, name: str) -> Metrics:
    """The same with null, and words, for all that needs train."""
    values = {k: None if k.split("@")[0] in _NEED_TRAIN else v for k, v in metrics["lists"][name].items()}
    words = (
        "no train file: every user of the truth is evaluated, and " + ", ".join(_NEED_TRAIN) + " and slices are missing"
    )
    definitions = metrics["definitions"] | {
        "truth": "a user's distinct items in the truth file",
        "population": "every user of the truth file; a user without a list scores 0; macro average",
    }
    return metrics | {
        "definitions": definitions,
        "lists": {name: values},
        "slices": {},
        "notes": [*metrics["notes"], words],
    }
