"""A project of somebody's own that uses Tonearm: every call that the pages name, as type checkers see it."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse

import tonearm


def nightly(events: pd.DataFrame, items: pl.LazyFrame, folder: Path) -> pl.DataFrame:
    """Fit, save, load, ask."""
    model: tonearm.Model = tonearm.fit(events, items, tonearm.Config(als=tonearm.ALS(factors=8)), before="2022-12-16")
    model.save(folder)
    lists: pl.DataFrame = tonearm.load(folder).recommend(users=["ann", "bob"], k=20, shape=tonearm.Shape(per_artist=2))
    new: pl.DataFrame = model.recommend(history=pl.DataFrame({"user_id": ["cy"], "item_id": [1]}), exclude=[7])
    reason: str | None = model.explain("ann", 7).because
    near: pl.DataFrame = model.similar(items=[7], k=3).vstack(model.similar_users(pl.Series(["ann"]), k=3))
    figures = tonearm.evaluate(lists, events, train=folder / "train.csv")
    return pl.concat([lists, new, near]).filter(pl.lit(reason is not None and figures["lists"] is not None))


def alone(paths: list[Path]) -> pl.DataFrame:
    """One source, from paths and from a matrix."""
    one = tonearm.ALS(factors=8).fit(paths).recommend(k=3)
    other = tonearm.EASE().fit(scipy.sparse.csr_array(np.eye(3)), seed=1).recommend([0], k=2, exclude=[1])
    return one.vstack(other)


def measured(events: str, out: Path) -> float:
    """A whole run from an address."""
    metrics = tonearm.run(tonearm.Inputs(events=events, test_from="2022-12-16"), out, tonearm.Config(), refit=True)
    return float(metrics["lists"]["recommendations"]["ndcg@20"])
