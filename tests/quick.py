"""Small runs for tests that need a whole one: a tiny log, quick options, and a run that all share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tonearm import pipeline
from tonearm.config import Config, load_config
from tonearm.pipeline import Inputs
from tonearm.ranking.training import TrainingTable
from tonearm.runs import directory, vouch
from tonearm.synth import generate
from tonearm.types import Float32s, Int64s

CUT = datetime(2022, 12, 16)

QUICK = (
    "candidates=20",
    "output.k=20",
    "block=64",
    "als.factors=8",
    "als.iterations=3",
    "ranker.iterations=8",
    "ranker.depth=3",
    "ranker.folds=2",
    "ranker.repeats=2",
    "evaluation.resamples=20",
    "evaluation.ks=[5, 20]",
)


@dataclass(frozen=True)
class Log:
    """A log and its catalogue as tables; train is what lies before `CUT`."""

    events: pl.DataFrame
    items: pl.DataFrame

    @property
    def train(self) -> pl.DataFrame:
        return self.events.filter(pl.col("started_at") < CUT)

    @property
    def test(self) -> pl.DataFrame:
        return self.events.filter(pl.col("started_at") >= CUT)


def quick_config(*overrides: str) -> Config:
    """Options under which a tiny run takes a second or two."""
    return load_config(overrides=(*QUICK, *overrides))


def run_quick(
    folder: Path, events: pl.DataFrame, items: pl.DataFrame | None, *overrides: str, report: bool = False
) -> Path:
    """Write the tables into a new folder, run on them, and return the run's folder."""
    folder.mkdir()
    events.write_parquet(folder / "events.parquet")
    if items is not None:
        items.write_parquet(folder / "items.parquet")
    inputs = Inputs(
        events=str(folder / "events.parquet"),
        items=None if items is None else str(folder / "items.parquet"),
        test_from=CUT,
    )
    run_inputs(inputs, folder / "run", *overrides, report=report)
    return folder / "run"


def run_inputs(inputs: Inputs, out: Path, *overrides: str, report: bool = False, refit: bool = False) -> dict[str, Any]:
    """Run in this process; the report, which takes longer than all the rest, is a stub unless asked for."""
    if report:
        return pipeline.run(inputs, out, quick_config(*overrides), refit=refit)
    with stub_report():
        return pipeline.run(inputs, out, quick_config(*overrides), refit=refit)


@contextmanager
def stub_report() -> Iterator[None]:
    """A one-line report.html for the time being."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tonearm.report.write", _write_stub)
        yield


def _write_stub(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "report.html").write_text(f"<!doctype html><title>{manifest['seed']}</title>")


@pytest.fixture(scope="session")
def tiny_log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """`tonearm synth --preset tiny --seed 1`: timed, with repeats and cold users."""
    folder = tmp_path_factory.mktemp("synth") / "log"
    generate("tiny", folder, seed=1)
    return Log(pl.read_parquet(folder / "events.parquet"), pl.read_parquet(folder / "items.parquet"))


@pytest.fixture(scope="session")
def tiny_run(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on `tiny_log` with every feature written out, its report included."""
    folder = tmp_path_factory.mktemp("tiny") / "whole"
    return run_quick(folder, tiny_log.events, tiny_log.items, 'output.features="all"', report=True)


def copied(run: Path, folder: Path, ranker: dict[str, float] | None = None) -> Path:
    """A copy of a run, with some of ranker.json changed and vouched for."""
    copy = folder / "copy"
    shutil.copytree(run, copy)
    if ranker is not None:
        path = copy / "models" / "ranker.json"
        directory.write_json(path, directory.read_json(path) | ranker)
        vouched_for(copy)
    return copy


def vouched_for(run: Path, **more: Any) -> None:
    """Make the manifest of a changed run true again, with more in it."""
    vouch.write_manifest(run, directory.read_json(run / "manifest.json") | more)


def table_of(names: tuple[str, ...], features: Float32s, label: Float32s, indptr: Int64s) -> TrainingTable:
    """A training table of users with one window each, all of whose candidates are there and all of whose labels found.

    The columns of standardised scores are those whose names say so.
    """
    wanted = np.maximum(np.add.reduceat(label, indptr[:-1]), 1).astype(np.int64)
    user = np.arange(len(wanted), dtype=np.int32)
    nothing = TrainingTable.empty(names)
    return TrainingTable(names, nothing.z, features, label, indptr, user, wanted, np.ones(len(wanted), np.bool_))
