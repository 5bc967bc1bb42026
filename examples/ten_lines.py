"""The library in ten lines: a log in, ranked lists and their metrics out."""

import tempfile
from datetime import datetime
from pathlib import Path

import polars as pl

import tonearm
from tonearm.synth import generate

folder = Path(tempfile.mkdtemp())
generate("tiny", folder / "log", seed=1)
inputs = tonearm.Inputs(
    events=str(folder / "log" / "events.parquet"),
    items=str(folder / "log" / "items.parquet"),
    test_from=datetime(2022, 12, 16),
)
metrics = tonearm.run(inputs, folder / "run", tonearm.load_config(overrides=("als.factors=16",)))
print(pl.read_parquet(folder / "run" / "recommendations.parquet").head(5))
print({name: round(values["ndcg@20"], 4) for name, values in metrics["lists"].items()})
