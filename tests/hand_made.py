"""A finished run made by hand: nine users, twelve items, three lists, and every file that reports and views read."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tonearm.config import Config, to_toml
from tonearm.data.lists import Lists
from tonearm.data.truth import truth
from tonearm.evaluation.funnel import FunnelMeter
from tonearm.evaluation.meters import ListMeter, cold_users, describe_items
from tonearm.evaluation.summary import summarise
from tonearm.loading.load import Loaded, load_events, load_ready_made
from tonearm.report.profile import profile
from tonearm.runs import directory, vouch
from tonearm.runs.data import write_data

CUT = datetime(2022, 9, 1)
NAMES = ["<script>alert(1)</script>", "שלום עולם", "Мелодия & Ко", *(f"Track {i}" for i in range(3, 12))]


@pytest.fixture
def small_log() -> pl.DataFrame:
    """60 events of 9 users over 2022; users 201 to 208 are warm, 209 appears after the cut; 12 items, 500 up."""
    rows = []
    for u in range(8):
        rows += [
            (201 + u, 500 + (u * 2 + i * i) % 11, datetime(2022, 1 + (u + i) % 8, 3 + i)) for i in range(3 + u % 4)
        ]
        rows.append((201 + u, 500 + (u * 2) % 11, datetime(2022, 8, 20 + u)))
        rows += [(201 + u, 500 + (u + 5 * j) % 12, CUT + timedelta(days=u + 40 * j)) for j in range(2)]
    rows += [(209, 500 + i, CUT + timedelta(days=3)) for i in (0, 4)]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "started_at"], orient="row")


@pytest.fixture
def small_catalogue() -> pl.DataFrame:
    """Names that must be escaped, run from right to left, or are Cyrillic; genres for all but every fourth item."""
    return pl.DataFrame(
        {
            "item_id": range(500, 512),
            "name": NAMES,
            "genres": [[] if i % 4 == 3 else ["pop", "rock"][: 1 + i % 2] for i in range(12)],
            "artists": [[f"Band {i // 3}"] for i in range(12)],
        }
    )


@pytest.fixture
def make_run(tmp_path: Path, small_log: pl.DataFrame, small_catalogue: pl.DataFrame) -> Callable[..., Path]:
    """make_run("name", timed=True, catalogue=True, cold=True, final="turned"): write a run, return its folder.

    final: "turned" lists every unheard item from the least popular up, "popular" from the most popular down
    """

    def make(
        name: str = "run", *, timed: bool = True, catalogue: bool = True, cold: bool = True, final: str = "turned"
    ) -> Path:
        log = small_log if cold else small_log.filter(pl.col("user_id") < 209)
        before, inputs = pl.col("started_at") < CUT, tmp_path / "input"
        inputs.mkdir(exist_ok=True)
        items = str(inputs / "items.parquet") if catalogue else None
        small_catalogue.write_parquet(inputs / "items.parquet")
        if timed:
            given = {"events": str(inputs / "events.parquet")}
            log.write_parquet(given["events"])
            loaded = load_events(given["events"], items, CUT)
        else:
            given = {"train": str(inputs / "train.parquet"), "test": str(inputs / "test.parquet")}
            log.filter(before).drop("started_at").write_parquet(given["train"])
            log.filter(~before).drop("started_at").write_parquet(given["test"])
            loaded = load_ready_made(given["train"], given["test"], items)
        folder = tmp_path / name
        folder.mkdir()
        manifest = _manifest(loaded, given | ({"items": items} if items else {}), timed)
        _write(folder, loaded, final)
        vouch.write_manifest(folder, manifest)
        return folder

    return make


def _lists(loaded: Loaded, order: np.ndarray[Any, np.dtype[np.int32]]) -> Lists:
    """All items of an order that each user has not heard."""
    pairs = loaded.train.pairs
    rows = [order[~np.isin(order, pairs.item[pairs.row(u)])] for u in range(loaded.train.n_users)]
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    item = np.concatenate(rows).astype(np.int32)
    return Lists(indptr, item, -np.arange(len(item), dtype=np.float32))


def _write(folder: Path, loaded: Loaded, final: str) -> None:
    train, test = loaded.train, loaded.test
    assert test is not None
    popular = train.popularity_order
    orders = {
        "top_popular": popular,
        "personal_als": np.roll(popular, 3),
        "recommendations": popular[::-1] if final == "turned" else popular,
    }
    answers = truth(train.log, test.log)
    users = np.arange(train.n_users, dtype=np.int32)
    items = describe_items(train.plays, train.catalogue)
    meters = {}
    for name, order in orders.items():
        lists = _lists(loaded, order)
        meters[name] = ListMeter(answers, items, (2, 4))
        meters[name].add(users, lists, train.pairs)
        if name != "top_popular":
            _table(loaded, lists).write_parquet(folder / f"{name}.parquet")
    union = _lists(loaded, np.arange(len(train.catalogue), dtype=np.int32))
    member = np.stack([np.ones(len(union.item), np.bool_), union.item % 3 != 0], axis=1)
    funnel = FunnelMeter(answers, ["popular", "als"], k=4)
    funnel.add(users, union, member, _lists(loaded, orders["recommendations"]))
    cold = cold_users(test.cold, train.plays, popular, 4)
    metrics = summarise(answers, meters, np.random.default_rng(5), funnel=funnel, cold=cold, resamples=50)
    directory.write_json(folder / "metrics.json", metrics)
    directory.write_json(folder / "profile.json", profile(train, test, answers, 3))
    (folder / "config.toml").write_text(to_toml(Config()), encoding="utf-8")
    write_data(folder, train, test, np.zeros((train.n_items, 0), np.float32))
    ids = train.catalogue.items
    top = pl.DataFrame(
        {"rank": range(1, len(popular) + 1), "item_id": ids.decode(popular), "plays": train.plays[popular]}
    )
    top.with_columns(users=pl.Series(train.listeners[popular])).write_parquet(folder / "top_popular.parquet")
    ring = [(int(ids.ids[i]), int(ids.ids[(i + s) % len(ids)]), 1 / s, s) for i in range(len(ids)) for s in (1, 2)]
    pl.DataFrame(ring, schema=["item_id_1", "item_id_2", "score", "rank"], orient="row").write_parquet(
        folder / "similar.parquet"
    )


def _table(loaded: Loaded, lists: Lists) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": loaded.train.users.decode(lists.row),
            "item_id": loaded.train.catalogue.items.decode(lists.item),
            "score": lists.score,
            "rank": lists.rank,
        }
    )


def _manifest(loaded: Loaded, inputs: dict[str, str], timed: bool) -> dict[str, Any]:
    return {
        "format": 1,
        "versions": {"python": "3.11", "tonearm": "0.1.0"},
        "seed": 3,
        "inputs": inputs,
        "test_from": CUT.isoformat() if timed else None,
        "cutoff": CUT.isoformat() if timed else None,
        "fingerprints": [asdict(f) for f in loaded.fingerprints],
        "found": loaded.found.as_dict(),
        "users": loaded.train.n_users,
        "items": loaded.train.n_items,
        "sources": {"popular": {}, "als": {"loss": [9.5, 7.25, 7.0]}},
        "ranker": {
            "metric": "ndcg@20 over retrieved label items",
            "users": 8,
            "held_out_users": 3,
            "rows": 60,
            "positives": 9,
            "by_share_of_trees": {"0.0": 0.2, "0.5": 0.3, "1.0": 0.25},
            "share_of_trees": 0.5,
            "sources_alone": {"popular": 0.1, "als": 0.2},
            "blend": {"popular": 0.4, "als": 0.6},
            "trees": [12],
            "loss": "logloss",
            "importances": {"als_score": 70.0, "popular_rank": 30.0},
        },
        "stages": [
            {"name": "load", "seconds": 1.5, "peak_mb": 210.0},
            {"name": "lists", "seconds": 2.0, "peak_mb": 250.0},
        ],
    }
