"""Two finished runs side by side: settings, data, metrics with paired intervals, lists, and costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.truth import Truth, truth
from tonearm.errors import DataError
from tonearm.evaluation.bootstrap import interval, resample
from tonearm.evaluation.meters import ListMeter, describe_items
from tonearm.loading.inputs import reading
from tonearm.runs.read import Run
from tonearm.terminal.words import counted

LIST = "recommendations.parquet"

Tree = Mapping[str, Any]


def compare(run_a: Path, run_b: Path) -> RenderableType:
    """What differs between two runs, for the terminal.

    Raises:
        DataError: one of the folders is not a run.
    """
    a, b = Run.open(run_a), Run.open(run_b)
    found = differences(a, b)
    parts: list[RenderableType] = [Text(f"A: {run_a}\nB: {run_b}"), _settings(found["settings"])]
    parts.append(Text(found["data"]))
    parts.append(_metric_table(found))
    if found["paired_note"]:
        parts.append(Text(found["paired_note"], style="yellow"))
    parts += [Text(found["overlap"]["words"]), _stage_table(found["stages"])]
    return Group(*parts)


def differences(a: Run, b: Run) -> dict[str, Any]:
    """The same as plain values.

    settings: option -> [A's, B's] where they differ; data: words; metrics: list -> metric -> [A's, B's];
    paired: metric -> [B − A, low, high] of the final lists, empty where `paired_note` says why; overlap: of the final
    lists; stages: name -> [A's seconds, B's]
    """
    same, words = _same_data(a.manifest, b.manifest)
    mine, theirs = a.metrics, b.metrics
    metrics = {
        name: {
            metric: [values[metric], theirs["lists"][name][metric]]
            for metric in values
            if metric in theirs["lists"][name]
        }
        for name, values in mine["lists"].items()
        if name in theirs["lists"]
    }
    paired, note = paired_intervals(a, b) if same else ({}, "No paired intervals, as the runs are of different data.")
    return {
        "settings": _different(_flat(a.config), _flat(b.config)),
        "data": words,
        "focus": [mine["focus"], theirs["focus"]],
        "final": mine["final"],
        "metrics": metrics,
        "paired": paired,
        "paired_note": note,
        "overlap": overlap(a, b, mine["focus"]),
        "stages": _stages(a.manifest, b.manifest),
    }


def paired_intervals(a: Run, b: Run, resamples: int = 1000) -> tuple[dict[str, list[float]], str | None]:
    """B − A of the final lists' accuracy with its paired bootstrap interval, from their test; or words why not."""
    if a.config["filter_seen"] != b.config["filter_seen"]:
        return {}, "No paired intervals: filter_seen differs, so the two are measured by different truths."
    ks = sorted(set(a.metrics["ks"]) & set(b.metrics["ks"]))
    if not ks:
        return {}, "No paired intervals: the runs have no k in common."
    train, test = a.kept.train, a.kept.test
    if test is None:
        return {}, "No paired intervals, as the runs had no test."
    answers = truth(train.log, test.log, a.config["filter_seen"])
    if len(answers) == 0:
        return {}, "No paired intervals: no user is evaluated."
    meters = [_measure(run, train, answers, ks) for run in (a, b)]
    drawn = resample([meter.values for meter in meters], np.random.default_rng(0), resamples)
    low, high = interval(drawn[1] - drawn[0])
    means = [meter.values.mean(axis=0, dtype=np.float64) for meter in meters]
    return {
        metric: [float(means[1][c] - means[0][c]), float(low[c]), float(high[c])]
        for c, metric in enumerate(meters[0].columns)
    }, None


def overlap(a: Run, b: Run, k: int) -> dict[str, Any]:
    """Mean over users of both runs of |both| / |either| of their first k recommendations.

    Where there are many users, those of the first row groups are enough: at most 20,000 users are looked at.
    """
    heads = [_heads(run, k) for run in (a, b)]
    if (
        heads[0].schema["user_id"] != heads[1].schema["user_id"]
        or heads[0].schema["item_id"] != heads[1].schema["item_id"]
    ):
        return {
            "users": 0,
            "jaccard": None,
            "words": "The runs' ids are of different types, so lists cannot be compared.",
        }
    sizes = [head.group_by("user_id").len(name) for head, name in zip(heads, ("a", "b"), strict=True)]
    users = sizes[0].join(sizes[1], on="user_id")
    if len(users) == 0:
        return {"users": 0, "jaccard": None, "words": "The runs have no user in common."}
    both = heads[0].join(heads[1], on=["user_id", "item_id"]).group_by("user_id").len("both")
    joined = users.join(both, on="user_id", how="left").with_columns(pl.col("both").fill_null(0).cast(pl.Int64))
    share = joined.select((pl.col("both") / (pl.col("a") + pl.col("b") - pl.col("both"))).mean()).item()
    words = (
        f"Final lists: the first {k} of the two runs share {share:.1%} of their items (|both| / |either|, mean over "
        f"{len(users):,} users)."
    )
    return {"users": len(users), "jaccard": float(share), "words": words}


USERS = 20_000


def _heads(run: Run, k: int) -> pl.DataFrame:
    """The first k of the lists of the first users."""
    table = run.scan(LIST)
    if table is None:
        raise DataError(f"{run.folder}: has no {LIST}. Make the run anew.")
    with reading(str(run.folder / LIST)):
        first = table.filter(pl.col("rank") == 1).select("user_id").head(USERS).collect()["user_id"]
        ids = pl.col("user_id").is_between(first.min(), first.max())
        return table.filter(ids & (pl.col("rank") <= k)).select("user_id", "item_id").collect()


def _measure(run: Run, train: Dataset, answers: Truth, ks: Sequence[int]) -> ListMeter:
    """Accuracy of a run's final lists, for evaluated users alone."""
    table = run.scan(LIST)
    if table is None:
        raise DataError(f"{run.folder}: has no {LIST}. Make the run anew.")
    wanted = train.users.decode(answers.users)
    ids = pl.DataFrame({"user_id": wanted}).lazy()
    with reading(str(run.folder / LIST)):
        rows = table.filter(pl.col("rank") <= max(ks)).join(ids, on="user_id", how="semi").collect()
    rows = rows.sort("user_id", "rank")
    user, item = train.users.encode(rows["user_id"]), train.catalogue.items.encode(rows["item_id"])
    place = np.searchsorted(answers.users, user)
    indptr = np.concatenate(([0], np.bincount(place, minlength=len(answers)).cumsum())).astype(np.int64)
    meter = ListMeter(answers, describe_items(train.plays, train.catalogue), ks)
    lists = Lists(indptr, item, -rows["rank"].to_numpy().astype(np.float32))
    meter.add(answers.users, lists, train.block_of(answers.users, answers.filter_seen).pairs)
    return meter


def _same_data(a: Tree, b: Tree) -> tuple[bool, str]:
    prints = [[(f["rows"], f["sha256"]) for f in manifest["fingerprints"]] for manifest in (a, b)]
    cut = a["test_from"] == b["test_from"]
    if prints[0] == prints[1] and cut:
        known = all(sha is not None for _, sha in prints[0])
        return True, "Data: the same files and the same cut." + ("" if known else " (Remote files, told by rows only.)")
    words = [] if cut else [f"A is cut at {a['test_from']}, B at {b['test_from']}."]
    if prints[0] != prints[1]:
        paths = [", ".join(f"{f['path']} ({f['rows']:,} rows)" for f in m["fingerprints"]) for m in (a, b)]
        words.append(f"A is of {paths[0]}; B of {paths[1]}; their contents differ.")
    return False, "Data: " + " ".join(words) + " Differences of metrics mix the data with the settings."


def _flat(tree: Tree, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _different(a: Tree, b: Tree) -> dict[str, list[Any]]:
    names = [*a, *(name for name in b if name not in a)]
    return {name: [a.get(name), b.get(name)] for name in names if a.get(name) != b.get(name)}


def _stages(a: Tree, b: Tree) -> dict[str, list[float | None]]:
    seconds = [{stage["name"]: stage["seconds"] for stage in manifest["stages"]} for manifest in (a, b)]
    names = [*seconds[0], *(name for name in seconds[1] if name not in seconds[0])]
    return {name: [part.get(name) for part in seconds] for name in names}


def _settings(settings: Mapping[str, Sequence[Any]]) -> RenderableType:
    if not settings:
        return Text("Settings: the same.")
    table = Table("option", "A", "B", title="Settings that differ")
    for name, (mine, theirs) in settings.items():
        table.add_row(name, *("–" if value is None else str(value) for value in (mine, theirs)))
    return table


@dataclass(frozen=True)
class MetricRow:
    """A metric of one list in both runs, as written.

    sure: the paired interval of the difference holds no 0
    """

    list: str
    metric: str
    a: str
    b: str
    difference: str
    interval: str
    sure: bool


def metric_rows(found: Tree) -> list[MetricRow]:
    """The metrics that are compared: those that differ first, the final list's before others; equal ones last."""
    k = found["focus"][0]
    wanted = [f"ndcg@{k}", f"recall@{k}", f"hit_rate@{k}", "coverage", f"novelty@{k}", f"diversity@{k}"]
    rows: list[MetricRow] = []
    for name, metrics in sorted(found["metrics"].items(), key=lambda pair: pair[0] != found["final"]):
        for metric in wanted:
            if metric not in metrics:
                continue
            mine, theirs = metrics[metric]
            difference = None if mine is None or theirs is None else theirs - mine
            ends = found["paired"].get(metric) if name == found["final"] else None
            between = "" if ends is None else f"[{ends[1]:+.4f}, {ends[2]:+.4f}]"
            sure = ends is not None and (ends[1] > 0 or ends[2] < 0)
            rows.append(
                MetricRow(name, metric, _figure(mine), _figure(theirs), _figure(difference, "+"), between, sure)
            )
    return sorted(rows, key=lambda row: (not row.sure, row.a == row.b))


def _metric_table(found: Tree) -> RenderableType:
    every = metric_rows(found)
    rows = [row for row in every if row.a != row.b]
    same = Text(f"{counted(len(every) - len(rows), 'metric', 'is')} the same in both.")
    if not rows:
        return same
    table = Table(title="Metrics that differ")
    table.add_column("list")
    table.add_column("metric")
    for column in ("A", "B", "B − A", "paired interval"):
        table.add_column(column, justify="right")
    for place, row in enumerate(rows):
        values = (row.list, row.metric, row.a, row.b, row.difference, row.interval)
        last = place + 1 == len(rows) or rows[place + 1].list != row.list
        table.add_row(*values, style="bold" if row.sure else None, end_section=last)
    return Group(table, same) if len(rows) < len(every) else table


def _stage_table(stages: Mapping[str, Sequence[float | None]]) -> Table:
    table = Table(title="Seconds")
    table.add_column("stage")
    for column in ("A", "B"):
        table.add_column(column, justify="right")
    for name, seconds in stages.items():
        table.add_row(name, *("–" if value is None else f"{value:,.1f}" for value in seconds))
    table.add_section()
    table.add_row("all", *(f"{sum(s[i] or 0 for s in stages.values()):,.1f}" for i in range(2)))
    return table


def _figure(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.4f}"
