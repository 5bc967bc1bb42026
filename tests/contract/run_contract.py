"""One checker over every artefact of a run directory; raises AssertionError with what is wrong."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import polars as pl

from tonearm.config import load_config, to_toml

LISTS = ("personal_als", "content_recommendations", "recommendations")
FILES = ("top_popular.parquet", "similar.parquet", "genres.parquet", "metrics.json", "report.html", "config.toml")


def check_run(run: Path, train: pl.DataFrame, *, k: int = 100, filter_seen: bool = True, genres: bool = True) -> None:
    """Check schema, ranks, duplicates, seen tracks, users, scores and id types of every file.

    train: user_id, item_id of the events that the run learnt from
    """
    for name in (*FILES, "manifest.json", "models/als_model.npz", "models/cb_model.cbm"):
        assert (run / name).is_file(), f"{name} is missing"
    pairs = train.select("user_id", "item_id").unique()
    users, items = pairs["user_id"].unique().sort(), pairs["item_id"].unique().sort()
    for name in LISTS:
        if name == "content_recommendations" and not genres:
            assert not (run / f"{name}.parquet").exists()
            continue
        _check_list(name, pl.read_parquet(run / f"{name}.parquet"), pairs, users, items, k, filter_seen)
    fresh = run / "fresh_recommendations.parquet"
    # every catalogue with genres that is checked here has some track without plays
    assert fresh.exists() == (genres and read_config(run)["output"]["fresh"] > 0)
    if fresh.exists():
        _check_fresh(pl.read_parquet(fresh), users, items)
    final = check_final(run)
    played = pairs.group_by("user_id").len()
    counted = final.select("user_id", "tracks_played_by_user").unique().join(played, on="user_id")
    assert (counted["tracks_played_by_user"] == counted["len"]).all()
    _check_similar(pl.read_parquet(run / "similar.parquet"), items)
    _check_popular(pl.read_parquet(run / "top_popular.parquet"), train)
    _check_genres(pl.read_parquet(run / "genres.parquet"), genres)
    _check_models(run / "models", pairs)
    _check_json(json.loads((run / "metrics.json").read_text()), "metrics.json")
    manifest = json.loads((run / "manifest.json").read_text())
    _check_json(manifest, "manifest.json")
    for key in ("versions", "seed", "inputs", "fingerprints", "found", "stages", "files"):
        assert manifest[key] or key == "seed", f"manifest.json says nothing of {key}"
    _check_digests(run, manifest["files"])
    assert read_config(run), "config.toml is empty"


def check_final(run: Path, *, few: bool = False) -> pl.DataFrame:
    """Check the columns of the final list; `few`: there are no others."""
    final = pl.read_parquet(run / "recommendations.parquet")
    columns = ["user_id", "item_id", "score", "rank", "als_score", "content_score", "tracks_played_by_user"]
    assert (final.columns if few else final.columns[: len(columns)]) == columns
    for name in final.columns[4:]:
        if final[name].dtype.is_float():
            assert not final[name].is_nan().any(), f"{name}: NaN where null is meant"
    return final


def _check_list(
    name: str, table: pl.DataFrame, pairs: pl.DataFrame, users: pl.Series, items: pl.Series, k: int, filter_seen: bool
) -> None:
    assert table.columns[:4] == ["user_id", "item_id", "score", "rank"], name
    assert table["user_id"].dtype == users.dtype, f"{name}: ids changed their type"
    assert table["item_id"].dtype == items.dtype, f"{name}: ids changed their type"
    assert table.select("user_id", "item_id").is_duplicated().sum() == 0, f"{name}: a pair stands twice"
    assert table["score"].is_finite().all(), f"{name}: a score is not finite"
    assert table["user_id"].unique().sort().equals(users), f"{name}: its users are not those of train"
    assert table["item_id"].is_in(items.implode()).all(), f"{name}: an item is not in train"
    dense = table.with_columns(pl.int_range(1, pl.len() + 1).over("user_id").alias("place"))
    assert (dense["place"] == dense["rank"]).all(), f"{name}: ranks are not dense from 1, best first"
    falling = table.with_columns(pl.col("score").diff().over("user_id").alias("step"))
    assert (falling["step"].fill_null(0) <= 0).all(), f"{name}: scores rise within a list"
    per_user = table.group_by("user_id").len()
    heard = pairs.group_by("user_id").len(name="heard")
    room = per_user.join(heard, on="user_id").with_columns(
        room=pl.min_horizontal(pl.lit(k), len(items) - (pl.col("heard") if filter_seen else 0))
    )
    assert (room["len"] == room["room"]).all(), f"{name}: a list is shorter than it could be"
    if filter_seen:
        assert len(table.join(pairs, on=["user_id", "item_id"], how="semi")) == 0, f"{name}: a seen track is in it"


def _check_fresh(table: pl.DataFrame, users: pl.Series, items: pl.Series) -> None:
    assert table.columns == ["user_id", "item_id", "score", "rank"]
    assert (table["user_id"].dtype, table["item_id"].dtype) == (users.dtype, items.dtype)
    assert table.select("user_id", "item_id").is_duplicated().sum() == 0
    assert table["user_id"].is_in(users.implode()).all()
    assert not table["item_id"].is_in(items.implode()).any(), "fresh: an item was played in train"
    assert ((table["score"] > 0) & (table["score"] < 1.0001)).all()
    ordered = table.select(
        "rank", pl.col("score").diff().over("user_id"), pl.int_range(1, pl.len() + 1).over("user_id").alias("place")
    )
    assert (ordered["score"].fill_null(0) <= 0).all()
    assert (ordered["rank"] == ordered["place"]).all()


def _check_similar(table: pl.DataFrame, items: pl.Series) -> None:
    assert table.columns == ["item_id_1", "item_id_2", "score", "rank"]
    assert (table["item_id_1"] != table["item_id_2"]).all(), "similar: an item is similar to itself"
    assert table["item_id_1"].unique().sort().equals(items), "similar: not every item seen in train is there"
    assert table["score"].is_finite().all()
    assert table.select("item_id_1", "item_id_2").is_duplicated().sum() == 0
    dense = table.with_columns(pl.int_range(1, pl.len() + 1).over("item_id_1").alias("place"))
    assert (dense["place"] == dense["rank"]).all(), "similar: ranks are not dense from 1"


def _check_popular(table: pl.DataFrame, train: pl.DataFrame) -> None:
    assert table.columns == ["rank", "item_id", "plays", "users", "name", "genres", "artists", "albums"]
    assert (table["rank"] == np.arange(1, len(table) + 1)).all()
    assert (table["plays"].diff().fill_null(0) <= 0).all()
    listeners = train.group_by("item_id").agg(pl.col("user_id").n_unique().alias("n"))
    counted = table.join(listeners, on="item_id")
    assert (counted["users"] == counted["n"]).all(), "top_popular: users are miscounted"


def _check_genres(table: pl.DataFrame, genres: bool) -> None:
    assert table.columns == ["genre_id", "name", "items_count", "score"]
    assert (len(table) > 0) == genres
    assert table["genre_id"].is_unique().all()
    assert table["name"].is_unique().all()
    assert (table["items_count"].diff().fill_null(0) <= 0).all(), "genres: not the most frequent first"
    assert not genres or np.isclose(table["score"].to_numpy().sum(), 1, rtol=1e-9), "genres: scores are not shares"


def _check_models(models: Path, pairs: pl.DataFrame) -> None:
    for path in models.glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                assert arrays[name].dtype != np.dtype(object), f"{path.name}/{name} is pickled"
                assert arrays[name].dtype.kind != "f" or np.isfinite(arrays[name]).all(), f"{path.name}/{name}"
    with np.load(models / "als_model.npz", allow_pickle=False) as als:
        assert als["user_factors"].shape[0] == pairs["user_id"].n_unique()
        assert int(als["known_items"].sum()) == pairs["item_id"].n_unique()
        assert als["user_factors"].shape[1] == als["item_factors"].shape[1]
        for name, column in (("users", "user_id"), ("items", "item_id")):
            ids = pl.read_parquet(models / f"{name}.parquet")
            assert ids.columns == ["row", column]
            assert ids["row"].to_list() == list(range(len(als[f"known_{name}"])))
            rows = ids.filter(pl.Series(als[f"known_{name}"]))
            heard = pairs[column].unique().sort()
            assert rows[column].to_list() == heard.to_list(), f"{name}.parquet: rows are not those of the arrays"
            assert rows[column].dtype == heard.dtype
    trees = catboost.CatBoost().load_model(str(models / "cb_model.cbm"))
    assert trees.tree_count_ > 0


def _check_digests(run: Path, files: dict[str, Any]) -> None:
    there = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()} - {"manifest.json"}
    assert set(files) == there, "manifest.json does not list the files that are there"
    for name, entry in files.items():
        data = (run / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}, f"{name}: another digest"


def read_config(run: Path) -> dict[str, Any]:
    """The resolved configuration; reading it back gives the same file."""
    text = (run / "config.toml").read_text()
    assert to_toml(load_config(run / "config.toml")) == text, "config.toml does not read back to itself"
    return tomllib.loads(text)


def _check_json(tree: Any, where: str) -> None:
    if isinstance(tree, dict):
        for key, value in tree.items():
            _check_json(value, f"{where}/{key}")
    elif isinstance(tree, list):
        for place, value in enumerate(tree):
            _check_json(value, f"{where}/{place}")
    elif isinstance(tree, float):
        assert np.isfinite(tree), f"{where} is not finite"
