"""Four real data sets, each through the same contract checker, with settings that take little time."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from tests.contract.run_contract import check_run
from tests.quick import stub_report

from tonearm import pipeline
from tonearm.config import load_config
from tonearm.pipeline import Inputs

pytestmark = pytest.mark.slow

REDUCED = (
    "candidates=50",
    "output.k=50",
    "als.factors=16",
    "als.iterations=5",
    "ease.items=1000",
    "spectral.factors=16",
    "ranker.iterations=50",
    "ranker.negatives=30",
    "ranker.many=1",
    "evaluation.resamples=50",
)
EVENTS = {
    "hetrec_lastfm": ("items_dbpedia_genres", datetime(2010, 11, 30, 23)),
    "uci_online_retail": ("items", datetime(2011, 11, 21, 9, 11)),
    "ml_latest_small_2016": ("items", datetime(2015, 7, 16)),
}
USERS = 2_000


def run_and_check(inputs: Inputs, out: Path, train: pl.DataFrame, genres: bool) -> None:
    with stub_report():
        metrics = pipeline.run(inputs, out, load_config(overrides=REDUCED))
    check_run(out, train, k=50, genres=genres)
    lists = metrics["lists"]
    assert set(lists) >= {"top_popular", "personal_als", "recommendations", "item_item"}
    assert lists["recommendations"]["ndcg@20"] > 0


@pytest.mark.parametrize("name", list(EVENTS))
def test_a_log_cut_by_time(name: str, real_data: Callable[[str], Path], tmp_path: Path) -> None:
    items, cut = EVENTS[name]
    events, catalogue = real_data(f"{name}/events.parquet"), real_data(f"{name}/{items}.parquet")
    train = pl.read_parquet(events).filter(pl.col("started_at") < cut)
    genres = bool(pl.read_parquet(catalogue)["genres"].list.len().sum() > 0)
    assert genres == (name != "uci_online_retail")
    run_and_check(Inputs(str(events), str(catalogue), cut), tmp_path / "run", train, genres)


def test_a_ready_made_split(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    """The first users of Gowalla, whose log has neither time nor genres."""
    items = real_data("gowalla_lightgcn/items.parquet")
    tables = {}
    for name in ("train", "test"):
        whole = pl.read_parquet(real_data(f"gowalla_lightgcn/{name}.parquet"))
        tables[name] = whole.filter(pl.col("user_id") < USERS)
        tables[name].write_parquet(tmp_path / f"{name}.parquet")
    assert tables["train"]["user_id"].n_unique() == USERS
    train, test = (str(tmp_path / f"{name}.parquet") for name in tables)
    run_and_check(Inputs(train=train, test=test, items=str(items)), tmp_path / "run", tables["train"], False)
