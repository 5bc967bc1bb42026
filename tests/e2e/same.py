"""Whether two runs made the same files."""

import json
from collections.abc import Callable
from pathlib import Path

import catboost
import polars as pl


def tables(run: Path) -> dict[str, bytes]:
    """The bytes of every parquet file of a run."""
    found = {path.name: path.read_bytes() for path in sorted(run.glob("*.parquet"))}
    assert len(found) == 7
    return found


def models(run: Path) -> dict[str, bytes]:
    """The bytes of every model; of the trees what they predict by, not the moment they were made."""
    found = {path.name: path.read_bytes() for path in (run / "models").glob("*.npz")}
    assert len(found) >= 4
    found["ranker.json"] = (run / "models" / "ranker.json").read_bytes()
    trees = catboost.CatBoost().load_model(str(run / "models" / "cb_model.cbm"))
    copy = run.parent / "trees.json"
    trees.save_model(str(copy), format="json")
    tree = json.loads(copy.read_text())
    copy.unlink()
    found["trees"] = json.dumps([tree["oblivious_trees"], tree["scale_and_bias"], tree["features_info"]]).encode()
    return found


def assert_same(run: Path, other: Path) -> None:
    """Every list, model and feature is the same to the byte."""
    for of in (tables, models):
        mine, theirs = of(run), of(other)
        assert list(mine) == list(theirs)
        assert [name for name in mine if mine[name] != theirs[name]] == []


def assert_same_but_ids(
    run: Path, other: Path, user: Callable[[pl.Expr], pl.Expr], item: Callable[[pl.Expr], pl.Expr]
) -> None:
    """The other run's tables are this one's with ids renamed, and its models are the same."""
    assert models(run) == models(other)
    for name in tables(run):
        mine, theirs = pl.read_parquet(run / name), pl.read_parquet(other / name)
        renamed = mine.with_columns(
            [user(pl.col(c)).alias(c) for c in mine.columns if c == "user_id"]
            + [item(pl.col(c)).alias(c) for c in mine.columns if c.startswith("item_id")]
        )
        assert renamed.equals(theirs.cast(renamed.schema)), name
