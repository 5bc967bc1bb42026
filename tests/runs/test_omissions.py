"""What a run says that it left out."""

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import polars as pl
import pytest

from tonearm.config import load_config
from tonearm.loading.load import load_events
from tonearm.ranking.ranker import RankerModel
from tonearm.runs.omissions import omissions
from tonearm.sources.left_out import LeftOut, as_rows

CUT = datetime(2022, 9, 1)


def ranker_of(*labelled: int) -> RankerModel:
    return cast(RankerModel, SimpleNamespace(validation={"labelled_users": [*labelled]}))


@pytest.fixture
def log(tmp_path: Path, small_log: pl.DataFrame) -> str:
    """The small log with two rows of the future and three that repeat others."""
    future = small_log.head(2).with_columns(started_at=pl.lit(datetime(2066, 1, 1)).cast(small_log["started_at"].dtype))
    timed = small_log.with_columns(pl.col("started_at") + pl.duration(seconds=pl.int_range(pl.len())))
    path = tmp_path / "plays.parquet"
    pl.concat([timed, future, timed.head(3)]).write_parquet(path)
    return str(path)


def test_point_9_all_that_was_left_out_stands_in_one_list(log: str, small_log: pl.DataFrame) -> None:
    """Point 9: rows, sources, users and similar items were left out in silence."""
    loaded = load_events(log, None, CUT)
    config = load_config(overrides=["user_knn.work=3", "ranker.users=5", "output.similar_exact=7"])
    found = omissions(loaded, config, [], ranker_of(8, 4), {"items": 11, "recall": 0.9})
    rows = len(small_log) + 5
    said = [row["sentence"] for row in found]
    for words in (
        f"2 of {rows:,} rows of {log} are dropped ({2 / rows:.1%})",
        f"3 of {rows:,} rows of {log} are dropped ({3 / rows:.1%})",
        '--set data.on_future="keep"',
        '--set data.on_duplicate="keep"',
        "source content is off, as the catalogue has no genres",
        "source user_knn is off",
        "--set user_knn.work=",
        "the ranker learnt from 9 users, without the others of 12 who have a label (25.0%)",
        "--set ranker.users=8",
        "similar.parquet is approximate, without some of the exact entries of 11 items (10.0%)",
        "--set output.similar_exact=11",
    ):
        assert any(words in sentence for sentence in said), (words, said)
    assert all(row.keys() == {"what", "share", "why", "cost", "option", "sentence"} for row in found)


def test_nothing_is_said_where_nothing_was_left_out(
    tmp_path: Path, small_log: pl.DataFrame, small_catalogue: pl.DataFrame
) -> None:
    small_log.write_parquet(tmp_path / "plays.parquet")
    small_catalogue.write_parquet(tmp_path / "items.parquet")
    loaded = load_events(str(tmp_path / "plays.parquet"), str(tmp_path / "items.parquet"), CUT)
    assert omissions(loaded, load_config(), [], ranker_of(8), {"items": 11, "recall": 1.0}) == []


def test_the_same_is_said_once() -> None:
    part = LeftOut("source ease is off", None, "it is", "it costs", "ease.items=3")
    assert [row["sentence"] for row in as_rows([part, part])] == [
        "source ease is off, as it is; it costs. What brings it back: --set ease.items=3."
    ]
