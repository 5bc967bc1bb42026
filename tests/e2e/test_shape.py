"""A run whose final list is shaped: what it writes, measures and says."""

import json
from pathlib import Path

import polars as pl
import pytest
from tests.quick import Log, run_quick

from tonearm import verdict
from tonearm.report import results
from tonearm.shape import SPOKEN

RULES = ("shape.per_artist=1", 'shape.only="music"', 'shape.versions="unheard"', "shape.diversity=0.2")


def test_a_run_measures_the_list_before_and_after_and_every_rule(tiny_log: Log, tiny_run: Path, tmp_path: Path) -> None:
    folder = run_quick(tmp_path / "shaped", tiny_log.events, tiny_log.items, 'output.features="all"', *RULES)
    before = json.loads((tiny_run / "metrics.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["lists"]["recommendations_unshaped"] == before["lists"]["recommendations"]
    assert metrics["lists"]["recommendations"] != before["lists"]["recommendations"]
    assert metrics["funnel"] == before["funnel"]
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
    assert shape["filled_by_popular"] == lists["score"].null_count() > 0
    both = lists.join(plain, on=["user_id", "item_id"], how="inner")
    for feature in ("score", "als_score", "popular_z", "item_plays_7d"):
        assert both[feature].equals(both[f"{feature}_right"]), feature
    spoken = tiny_log.items.filter(pl.col("genres").list.eval(pl.element().is_in(sorted(SPOKEN))).list.any())
    assert len(lists.join(spoken, on="item_id", how="semi")) == 0 < shape["rules"]["only"]["removed"]
    # one line a rule in the terminal and in the report
    lines = verdict.rule_lines(metrics)
    assert [line.split(":")[0] for line in lines[:5]] == [
        *(f"shape {rule}" for rule in shape["rules"]),
        "shape all rules",
    ]
    assert set(lines) <= set(verdict.lines(metrics)) & set(results.lists(metrics).points)


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
