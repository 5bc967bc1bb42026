"""Stores with a version of the tiny run, and bad runs made of a good one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.quick import tiny_log, tiny_run, vouched_for

from tonearm.runs import directory
from tonearm.serving.publish import publish

__all__ = ["tiny_log", "tiny_run"]


@pytest.fixture
def store(tiny_run: Path, tmp_path: Path) -> Path:
    """A store that serves `tiny_run`."""
    publish(tiny_run, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def altered(tiny_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """altered("name", lists=…, days=1): the run with other final lists, as if its log were some days longer."""

    def alter(name: str, lists: Callable[[pl.DataFrame], pl.DataFrame] = lambda table: table, days: int = 1) -> Path:
        run = tmp_path / name
        shutil.copytree(tiny_run, run)
        path = run / "recommendations.parquet"
        lists(pl.read_parquet(path)).write_parquet(path)
        arrays = directory.load_arrays(run / "data/train.npz")
        arrays["time"] = arrays["time"] + 86_400 * days
        directory.save_arrays(run / "data/train.npz", arrays)
        vouched_for(run)
        return run

    return alter


def ranked(table: pl.DataFrame) -> pl.DataFrame:
    """Lists whose ranks count from 1 again, in the order of their rows."""
    return table.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("user_id").alias("rank"))
