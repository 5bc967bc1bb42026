"""Metrics by the rules of a benchmark that has published them, so that figures can stand beside its tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from tonearm.errors import ConfigError, DataError
from tonearm.evaluation.lists_file import Listed, read_lists
from tonearm.loading.events import open_events
from tonearm.loading.inputs import Source, reading
from tonearm.types import Float64s


def yambda(
    lists: Source, truth: Source, train: Source, ks: Sequence[int], columns: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Lists measured by the rules of the Yambda benchmark.

    Users are those of truth that train knows; one without a list counts with none. Every item of a list that the user
    goes on to hear is a hit, also one that they had heard. T_u are the events of u in truth, repeats and items that
    train does not know among them.

    ndcg@k = Σ_u Σ_{hits at rank r ≤ k} 1/log2(r + 1)  /  Σ_u Σ_{r ≤ min(k, T_u)} 1/log2(r + 1)
    recall@k = mean over users of hits / T_u; precision@k = mean of hits / k
    coverage@k = distinct items over the first k of all lists / items of train

    lists, truth, train: as `evaluate`; columns: as data.columns

    Returns: {"rules": "yambda", "users": number, "metrics": {"ndcg@10": ...}}

    Raises:
        ConfigError: a k is above the length of the longest list.
        DataError: a table cannot be used, or train knows no user of truth.

    Source: Ploshkin et al. 2025, arXiv 2505.22238.
    """
    listed = read_lists(lists, columns)
    if max(ks) > listed.longest:
        raise ConfigError(f"k = {max(ks)} is above {listed.longest}, the length of the longest list. Leave it out.")
    known, asked = (open_events(source, columns) for source in (train, truth))
    with reading(known.input.address):
        users, items = (known.table.select(pl.col(name).unique()).collect() for name in ("user_id", "item_id"))
    with reading(asked.input.address):
        events = asked.table.select("user_id", "item_id").drop_nulls().collect(engine="streaming")
    if events["user_id"].dtype.is_integer() != users["user_id"].dtype.is_integer():
        raise DataError(f"{asked.input.address}: user_id is of another type than in train. Cast one of the two.")
    answers = events.with_columns(pl.col("user_id").cast(users["user_id"].dtype, strict=False))
    answers = answers.join(users, on="user_id", how="semi")
    sizes = answers.group_by("user_id").agg(pl.len().alias("events")).sort("user_id")
    if sizes.is_empty():
        raise DataError(f"{asked.input.address}: train knows none of its users, so nothing can be measured.")
    entries = _entries(listed, sizes["user_id"])
    kinds: dict[str, pl.DataType] = {"user_id": users["user_id"].dtype, "item_id": answers["item_id"].dtype}
    hits = (
        entries.with_columns(pl.col(name).cast(kind) for name, kind in kinds.items())
        .join(answers.unique(), on=["user_id", "item_id"], how="semi")
        .sort("user_id", "rank")
    )
    gains: Float64s = 1 / np.log2(np.arange(2, max(ks) + 2))
    ideal = np.concatenate(([0.0], gains.cumsum()))
    metrics: dict[str, float] = {}
    for k in ks:
        first = hits.filter(pl.col("rank") <= k)
        found = first.join(sizes, on="user_id", maintain_order="left").select((1 / pl.col("events")).sum()).item()
        best = ideal[np.minimum(sizes["events"].to_numpy(), k)].sum()
        metrics[f"ndcg@{k}"] = float(gains[first["rank"].to_numpy() - 1].sum() / best)
        metrics[f"recall@{k}"] = float(found / len(sizes))
        metrics[f"precision@{k}"] = len(first) / k / len(sizes)
        metrics[f"coverage@{k}"] = entries.filter(pl.col("rank") <= k)["item_id"].n_unique() / len(items)
    return {"rules": "yambda", "users": len(sizes), "metrics": metrics}


def told(found: Mapping[str, Any]) -> str:
    """What `yambda` returns, in a sentence without a full stop."""
    figures = ", ".join(f"{name} {value:.4f}" for name, value in found["metrics"].items() if "coverage" not in name)
    return f"by the rules of the {found['rules']} benchmark the final list has {figures}, over {found['users']:,} users"


def _entries(listed: Listed, users: pl.Series) -> pl.DataFrame:
    """user_id, item_id and rank of every entry; a list that is everybody's is each user's."""
    sizes = np.diff(listed.indptr)
    rank = np.arange(len(listed.item)) - np.repeat(listed.indptr[:-1], sizes) + 1
    entries = pl.DataFrame({"item_id": listed.items.decode(listed.item), "rank": rank})
    if listed.users is None:
        return users.to_frame("user_id").join(entries, how="cross")
    owner = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return entries.with_columns(user_id=listed.users.decode(owner))
