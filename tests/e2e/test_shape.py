"""A run whose final list is shaped: what it writes, measures and says."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.quick import CUT, Log, run_quick

from tonearm.evaluation import words
from tonearm.report import results
from tonearm.shaping.options import SPOKEN

RULES = ("shape.per_artist=1", 'shape.only="music"', 'shape.versions="unheard"', "shape.diversity=0.2")


def test_a_run_measures_the_list_before_and_after_and_every_rule(tiny_log: Log, tiny_run: Path, tmp_path: Path) -> None:
    folder = run_quick(tmp_path / "shaped", tiny_log.events, tiny_log.items, 'output.features="all"', *RULES)
    before = json.loads((tiny_run / "metrics.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["lists"]["recommendations_unshaped"] == before["lists"]["recommendations"]
    assert metrics["lists"]["recommendations"] != before["lists"]["recommendations"]
    assert metrics["funnel"]["final"] != before["funnel"]["final"], "the funnel follows what hard rules let pass"
    assert "shape" not in before
    shape = metrics["shape"]
    assert list(shape["rules"]) == ["only", "versions", "per_artist", "diversity"]
    k, change = 20, shape["all"]
    for name in ("ndcg@20", "coverage", "diversity@20"):
        after, unshaped = (metrics["lists"][n][name] for n in ("recommendations", "recommendations_unshaped"))
        assert change[name] == pytest.approx(after - unshaped, abs=1e-12)
    lists = pl.read_parquet(folder / "recommendations.parquet")
    plain = pl.read_parquet(tiny_run / "recommendations.parquet")
    assert (lists.group_by("user_id").len()["len"] == k).all()
    assert lists["user_id"].n_unique() == plain["user_id"].n_unique()
    kept = lists.join(plain, on=["user_id", "item_id"], how="semi")
    assert change["removed"] == len(plain) - len(kept)
    assert shape["filled_by_popular"] == lists["score"].null_count()
    both = lists.join(plain, on=["user_id", "item_id"], how="inner")
    for feature in ("als_score", "item_plays_7d"):
        assert both[feature].equals(both[f"{feature}_right"]), feature
    spoken = tiny_log.items.filter(pl.col("genres").list.eval(pl.element().is_in(sorted(SPOKEN))).list.any())
    assert len(lists.join(spoken, on="item_id", how="semi")) == 0 < shape["rules"]["only"]["removed"]
    # one line a rule in the terminal and in the report
    lines = words.rule_lines(metrics)
    assert [line.split(":")[0] for line in lines[:5]] == [
        *(f"shape {rule}" for rule in shape["rules"]),
        "shape all rules",
    ]
    assert set(lines) <= set(words.lines(metrics)) & set(results.lists(metrics).points)


def test_a_run_with_one_rule_measures_it_once(tiny_log: Log, tmp_path: Path) -> None:
    folder = run_quick(tmp_path / "one", tiny_log.events, tiny_log.items, 'shape.block_genres=["pop"]')
    shape = json.loads((folder / "metrics.json").read_text())["shape"]
    assert shape["rules"]["blocked"] == shape["all"]
    assert shape["rules"]["blocked"]["removed"] > 0
    lists = pl.read_parquet(folder / "recommendations.parquet").join(tiny_log.items, on="item_id")
    assert not lists["genres"].list.contains("pop").any()


def test_the_size_of_blocks_and_the_number_of_threads_change_no_shaped_list(tiny_log: Log, tmp_path: Path) -> None:
    rules = (*RULES, "shape.fresh_share=0.1", "shape.explore_share=0.5", "shape.explore_plays=15")
    one = run_quick(tmp_path / "one", tiny_log.events, tiny_log.items, *rules)
    other = run_quick(tmp_path / "other", tiny_log.events, tiny_log.items, *rules, "block=23", "threads=1")
    lists = [pl.read_parquet(folder / "recommendations.parquet") for folder in (one, other)]
    assert lists[0].equals(lists[1])
    costs = [json.loads((folder / "metrics.json").read_text())["shape"] for folder in (one, other)]
    assert costs[0]["rules"]["explore"]["removed"] == costs[1]["rules"]["explore"]["removed"] > 0


def planted(seed: int, n_items: int, n_users: int, few: int) -> tuple[pl.DataFrame, pl.DataFrame, list[int]]:
    """Listeners of two tastes of ten each, and a few items that alone are heard after the cut."""
    rng = np.random.default_rng(seed)
    taste, appeal = rng.integers(0, 10, n_items), rng.zipf(1.6, n_items).clip(max=200) + 2.0
    allowed = np.sort(rng.choice(np.argsort(-appeal)[: n_items // 2], few, replace=False))
    rows = []
    for user in range(n_users):
        likes = appeal * np.where(np.isin(taste, rng.choice(10, 2, replace=False)), 1, 0.02)
        heard = rng.choice(n_items, 30, replace=False, p=likes / likes.sum())
        later = rng.choice(allowed, 3, replace=False, p=likes[allowed] / likes[allowed].sum())
        days = np.concatenate((rng.uniform(1, 300, 30), -rng.uniform(1, 10, 3)))
        rows += [(user, int(i), CUT - timedelta(days=d)) for i, d in zip([*heard, *later], days, strict=True)]
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "started_at"], orient="row")
    items = pl.DataFrame({"item_id": range(n_items), "genres": [[f"taste {t}"] for t in taste]})
    return events, items, allowed.tolist()


def test_point_13_with_all_but_a_hundred_blocked_lists_are_the_best_of_the_hundred(tmp_path: Path) -> None:
    """Rules act before retrieval: no slot goes to popular filler, and no file of lists names what is not allowed."""
    events, items, allowed = planted(seed=1, n_items=3000, n_users=400, few=100)
    file = tmp_path / "allowed.parquet"
    pl.DataFrame({"item_id": allowed}).write_parquet(file)
    options = (f'shape.allow_file="{file}"', 'sources=["content", "item_item", "ease"]', "als.iterations=8")
    folder = run_quick(tmp_path / "few", events, items, *options, "ranker.iterations=40", "als.factors=16")
    metrics = json.loads((folder / "metrics.json").read_text())
    recall = {name: values["recall@5"] for name, values in metrics["lists"].items()}
    assert recall["recommendations"] >= recall["personal_als"] > 1.5 * recall["top_popular"] > 0
    assert recall["recommendations"] > 2 * recall["recommendations_unshaped"]
    assert metrics["shape"]["filled_by_popular"] == metrics["shape"]["short_lists"] == 0
    lists = pl.read_parquet(folder / "recommendations.parquet")
    popular = pl.read_parquet(folder / "top_popular.parquet")["item_id"].head(20)
    assert lists["item_id"].is_in(popular.implode()).sum() < 0.6 * len(lists), (
        "lists are the popular ones of the hundred"
    )
    for name in ("recommendations", "personal_als", "content_recommendations", "top_popular"):
        assert pl.read_parquet(folder / f"{name}.parquet")["item_id"].is_in(allowed).all(), name
    similar = pl.read_parquet(folder / "similar.parquet")
    assert similar["item_id_2"].is_in(allowed).all()
    heard = events.filter(pl.col("started_at") < CUT)["item_id"].unique()
    assert similar["item_id_1"].unique().sort().to_list() == heard.sort().to_list()
