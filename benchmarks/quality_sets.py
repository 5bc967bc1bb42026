"""The real data sets, the windows that lists are measured on, and how a list is held against another."""

import json
import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from tonearm import Config, Inputs
from tonearm.config import stage_rng
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.truth import Truth, truth
from tonearm.evaluation.bootstrap import interval, resample
from tonearm.evaluation.meters import AccuracyMeter
from tonearm.split import inner_split
from tonearm.synth import generate
from tonearm.terminal.progress import no_progress
from tonearm.types import Float32s, Int32s

K = 20
"""Lists are compared at this cut-off."""

BLOCK = 4096

MADE = ("small", "medium")
"""Presets of `synth` that are measured on beside the real sets."""

T = TypeVar("T")
Row = dict[str, Any]


def inputs(data: Path) -> dict[str, Inputs]:
    """The sets that a folder holds: the four of known cutoff, and every other folder with a ready-made split.

    Such a folder has train.parquet and test.parquet, and items.parquet where there is a catalogue, as
    `quality_more.py` writes them.
    """
    cuts = {
        "hetrec": ("hetrec_lastfm", "items_dbpedia_genres.parquet", "2010-11-30T23:00:00"),
        "retail": ("uci_online_retail", "items.parquet", "2011-11-21T09:11:00"),
        "ml": ("ml_latest_small_2016", "items.parquet", "2015-07-16"),
    }
    found = {
        name: Inputs(str(data / folder / "events.parquet"), str(data / folder / items), test_from)
        for name, (folder, items, test_from) in cuts.items()
        if (data / folder).exists()
    }
    for train in sorted(data.glob("*/train.parquet")):
        folder = train.parent
        # Gowalla's catalogue has nothing but names
        items = None if folder.name == "gowalla_lightgcn" else folder / "items.parquet"
        catalogue = str(items) if items is not None and items.exists() else None
        name = "gowalla" if folder.name == "gowalla_lightgcn" else folder.name
        found[name] = Inputs(train=str(train), test=str(folder / "test.parquet"), items=catalogue)
    return found


def inputs_of(names: Sequence[str], data: Path, room: Path) -> dict[str, Inputs]:
    """Some sets by name: those of a folder, and presets of `synth`, whose logs are made in another."""
    known = inputs(data)
    for name in {*names} & {*MADE}:
        generate(name, room / name)
        known[name] = Inputs(str(room / name / "events.parquet"), str(room / name / "items.parquet"), "2022-12-16")
    return {name: known[name] for name in names}


@dataclass(frozen=True)
class Window:
    """What may be learnt from, and what the lists made of it are measured by."""

    train: Dataset
    truth: Truth


def windows(given: Inputs, config: Config) -> tuple[Window, Window]:
    """The inner window, cut from train as a run's first label window is, and the test window."""
    loaded = given.load(config, no_progress)
    assert loaded.test is not None
    split = inner_split(loaded.train, config.split, stage_rng(config.seed, "split"))
    return (
        Window(split.history, truth(split.history.log, split.labels)),
        Window(loaded.train, truth(loaded.train.log, loaded.test.log)),
    )


def measure(truth_: Truth, lists_of: Callable[[Int32s], Lists]) -> AccuracyMeter:
    """The accuracy at K of the lists that a function gives to some users, a row for each."""
    meter = AccuracyMeter(truth_, (K,))
    for lo in range(0, len(truth_), BLOCK):
        users = truth_.users[lo : lo + BLOCK]
        meter.count(users, lists_of(users))
    return meter


def ndcg_of(meter: AccuracyMeter) -> Float32s:
    """ndcg@K of each user, (n,)."""
    values: Float32s = meter.values[:, meter.columns.index(f"ndcg@{K}")]
    return values


def difference(ours: Float32s, other: Float32s, seed: int = 0) -> Row:
    """Mean of ours less the other over the same users, with the 95% interval of a paired bootstrap."""
    drawn = resample([ours[:, None], other[:, None]], np.random.default_rng(seed))
    low, high = interval(drawn[0] - drawn[1])[:, 0]
    mean = float(ours.mean(dtype=np.float64) - other.mean(dtype=np.float64))
    return {"difference": mean, "low": float(low), "high": float(high)}


def read_lists(path: Path, window: Window) -> Lists:
    """The first K entries of a file of lists (user_id, item_id, rank), a row for each user of the truth.

    An item that train does not know, which no truth holds, keeps its place in the list.
    """
    users, items = window.train.users, window.train.catalogue.items
    rows = pl.scan_parquet(path).filter(pl.col("rank") <= K).select("user_id", "item_id", "rank").collect()
    user, item, rank = users.encode(rows["user_id"]), items.encode(rows["item_id"]), rows["rank"].to_numpy()
    row = np.where(user >= 0, window.truth.rows_of(user), -1)
    order = np.lexsort((rank, row))
    order = order[row[order] >= 0]
    counts = np.bincount(row[order], minlength=len(window.truth))
    indptr = np.concatenate(([0], counts.cumsum())).astype(np.int64)
    return Lists(indptr, item[order], -rank[order].astype(np.float32))


def rows_of(truth_: Truth, lists: Lists) -> Callable[[Int32s], Lists]:
    """Lists that stand in the order of the truth, some users at a time."""

    def some(users: Int32s) -> Lists:
        lo = int(truth_.rows_of(users[:1])[0])
        bounds = lists.indptr[lo : lo + len(users) + 1]
        part = slice(int(bounds[0]), int(bounds[-1]))
        return Lists(bounds - bounds[0], lists.item[part], lists.score[part])

    return some


def padded(ids: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], items: Int32s) -> Lists:
    """Lists from a matrix of places into `items`, where −1 or a score of −inf (or the least float) means no entry."""
    some = (ids >= 0) & (scores > np.finfo(np.float32).min)
    indptr = np.concatenate(([0], some.sum(axis=1).cumsum())).astype(np.int64)
    return Lists(indptr, items[ids[some]].astype(np.int32), scores[some].astype(np.float32))


def figures(meter: AccuracyMeter) -> Row:
    """Recall and ndcg at K."""
    means = meter.means()
    return {"recall": means[f"recall@{K}"], "ndcg": means[f"ndcg@{K}"]}


def apart(function: Callable[..., Row], *given: Any) -> Row:
    """A row made in a process of its own, with its seconds and peak memory."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_timed, function, *given).result()


def _timed(function: Callable[..., Row], *given: Any) -> Row:
    start = time.perf_counter()
    row = function(*given)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return row | {"seconds": time.perf_counter() - start, "mb": peak / 1024}


def save(path: Path, rows: list[Row]) -> None:
    """Keep rows for other parts of the benchmark, and for a look at the trials."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> list[Row]:
    """Rows as `save` wrote them."""
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def shown(row: Row) -> str:
    """A difference with its interval."""
    return f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
