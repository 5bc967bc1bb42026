"""From meters to `metrics.json`: every figure with its interval, comparisons, slices, funnel, warnings and a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from tonearm.bootstrap import interval, resample
from tonearm.funnel import FunnelMeter
from tonearm.metrics import ListMeter, Truth
from tonearm.types import Float64s

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
    "popularity_bias": "popularity / history_popularity - 1; history_popularity is the mean plays of what users heard",
    "gini": "Gini coefficient of how often each item of the catalogue is shown",
    "interval": "95% percentile interval of a paired bootstrap over users",
}


def evaluate(
    truth: Truth,
    meters: Mapping[str, ListMeter],
    rng: np.random.Generator,
    *,
    final: str = "recommendations",
    funnel: FunnelMeter | None = None,
    cold: Metrics | None = None,
    resamples: int = 1000,
) -> Metrics:
    """Everything that `metrics.json` holds, as plain values without NaN; docs/metrics.md describes it.

    meters: by list name, all over this truth and with the same ks; comparisons set `final` against every other one
    cold: as `cold_users` returns it
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
        "population": dict(truth.population),
        "lists": means,
        "intervals": {name: _intervals(columns, drawn[i]) for i, name in enumerate(names)},
        "comparisons": _comparisons(names, columns, means, drawn, final),
        "cold": cold,
        "slices": _merge(slices),
        "funnel": funnel.summary() if funnel is not None else None,
    }
    metrics["notes"] = _notes(truth, metrics, next(iter(meters.values())))
    metrics["warnings"] = warnings(metrics)
    return metrics


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
    notes.extend(
        f"{name}: nobody got a list" for name, values in metrics["lists"].items() if values["listed_users"] == 0
    )
    return notes


def warnings(metrics: Metrics) -> list[str]:
    """Results that are too good or too bad to be true, each with its likeliest cause."""
    found: list[str] = []
    lists, focus = metrics["lists"], metrics["focus"]
    metric, smallest = f"ndcg@{focus}", min(metrics["ks"])
    for name, values in lists.items():
        precision, novelty = values[f"precision@{smallest}"], values[f"novelty@{focus}"]
        if precision is not None and precision > 0.5:
            found.append(
                f"{name}: precision@{smallest} is {precision:.3f}; real listening hardly ever allows above .5. "
                "Likeliest leak: test events are also in train, as when both come from one file that was not cut by time."
            )
        if metrics["filter_seen"] and novelty is not None and novelty < 1:
            found.append(
                f"{name}: {1 - novelty:.2%} of its top {focus} were already heard, though heard items cannot count as "
                "hits. Likeliest cause: the list was made with filter_seen = false, or from another train set."
            )
        if values[metric] == 0:
            found.append(
                f"{name}: not one hit in the top {focus}. Likeliest cause: its ids and those of the truth are not of "
                "the same kind."
            )
    found.extend(_against_sources(metrics, metric))
    funnel = metrics["funnel"]
    orphans = funnel["final"]["hits_no_source_proposed"] if funnel is not None else 0
    if orphans > 0:
        found.append(
            f"{orphans} hits of the final list were proposed by no source. Unless the list was filled up with popular items, scores and items have come apart."
        )
    return found


def _against_sources(metrics: Metrics, metric: str) -> list[str]:
    final, values = metrics["final"], {n: v[metric] for n, v in metrics["lists"].items() if v[metric] is not None}
    others = {name: value for name, value in values.items() if name != final}
    if final not in values or not others:
        return []
    best = max(others, key=lambda name: others[name])
    if others[best] > 0 and values[final] >= 10 * others[best]:
        return [
            f"{final}: {metric} is {values[final] / others[best]:.0f} times that of the best source, {best}. Likeliest "
            "leak: a feature or label of the ranker saw events of the test period."
        ]
    worse = [c for c in metrics["comparisons"] if c["metric"] == metric and c["against"] == best and c["high"] < 0]
    return [
        f"{final} is significantly below {best} by {metric} ({_signed(c['difference'])}). Likeliest cause: the "
        "ranker's labels come from events that its sources were fitted on, or there are too few of them."
        for c in worse
    ]


def _signed(value: float) -> str:
    """A difference as people write it: +.0021, -.0004."""
    return f"{value:+.4f}".replace("0.", ".", 1)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def sentence(comparison: Mapping[str, Any]) -> str:
    """One comparison in words, as in "final beats als by +.0021 ndcg@10 [+.0016, +.0026]"."""
    c = comparison
    verb = "beats" if c["low"] > 0 else "loses to" if c["high"] < 0 else "cannot be told from"
    between = f"[{_signed(c['low'])}, {_signed(c['high'])}]"
    return f"{c['list']} {verb} {c['against']} by {_signed(c['difference'])} {c['metric']} {between}"


def lines(metrics: Metrics) -> list[str]:
    """What stands below the table: comparisons, funnel, cold users, definitions, notes and warnings."""
    found = [sentence(c) for c in metrics["comparisons"] if c["metric"] == f"ndcg@{metrics['focus']}"]
    funnel, cold, population = metrics["funnel"], metrics["cold"], metrics["population"]
    if funnel is not None and funnel["limits"] is not None:
        found.append(
            f"{funnel['limits']} limits the result: of {funnel['possible_hits']:,} hits possible at {funnel['k']}, "
            f"{funnel['share_hit']:.1%} were made, {funnel['share_lost_by_retrieval']:.1%} no source found, "
            f"{funnel['share_lost_by_ranking']:.1%} the ranker buried"
        )
    if cold is not None and cold["share_with_hit"] is not None:
        found.append(
            f"cold users: {cold['users']:,}, of whom {cold['users_with_truth']:,} heard an item that exists in train; "
            f"{cold['share_with_hit']:.1%} of these find at least one in the popular list of {cold['k']}, "
            f"{cold['mean_hits']:.2f} on average"
        )
    words = metrics["definitions"]
    found.append(f"{population['evaluated_users']:,} users evaluated: {words['population']}")
    found.append(f"truth: {words['truth']} ({population['truth_items']:,} in all); intervals: {words['interval']}")
    found.extend(metrics["notes"])
    found.extend(f"warning: {text}" for text in metrics["warnings"])
    return found


def table(metrics: Metrics) -> Table:
    """The lists as rows and the main metrics as columns; what needs words stands in the caption."""
    ks, focus = metrics["ks"], metrics["focus"]
    smallest = min(ks)
    columns = [f"ndcg@{focus}", f"recall@{focus}", f"precision@{smallest}", f"hit_rate@{focus}", f"mrr@{focus}"]
    columns += ["coverage", f"novelty@{focus}", f"surprisal@{focus}", f"diversity@{focus}"]
    result = Table(caption="\n".join(lines(metrics)), caption_justify="left")
    result.add_column("list", no_wrap=True)
    for column in columns:
        result.add_column(column.replace("@", "\n@"), justify="right", no_wrap=True)
    for name, values in metrics["lists"].items():
        style = "bold" if name == metrics["final"] else None
        result.add_row(name, *(_figure(values.get(column)) for column in columns), style=style)
    return result
