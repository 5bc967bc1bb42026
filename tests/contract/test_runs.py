"""Every kind of input gives a run directory that keeps the whole contract."""

import json
from pathlib import Path

import polars as pl
import pytest
from tests.contract.run_contract import check_final, check_run
from tests.quick import CUT, Log, run_inputs, run_quick

from tonearm.pipeline import Inputs
from tonearm.runs.lists import key_of

K = 20


def test_a_timed_log_with_repeats(tiny_log: Log, tiny_run: Path) -> None:
    pairs = tiny_log.train.select("user_id", "item_id")
    assert pairs.is_duplicated().any()
    check_run(tiny_run, tiny_log.train, k=K)


def test_all_features_stand_beside_the_final_list(tiny_run: Path) -> None:
    final = pl.read_parquet(tiny_run / "recommendations.parquet")
    wanted = {"popular_score", "als_z", "item_item_score", "user_tracks", "item_plays_30d", "artist_plays"}
    assert wanted <= set(final.columns)
    assert final.columns[4:7] == ["als_score", "content_score", "tracks_played_by_user"]
    features = final.columns[4:]
    assert not any(final[name].is_nan().any() for name in features if final[name].dtype.is_float())
    # the scores beside the list are those of the sources' own lists
    for name, file in (("als_score", "personal_als"), ("content_score", "content_recommendations")):
        own = pl.read_parquet(tiny_run / f"{file}.parquet")
        both = final.join(own, on=["user_id", "item_id"], suffix="_own")
        assert len(both) > 300
        assert ((both[name] - both["score_own"]).abs() <= 1e-5 * both["score_own"].abs()).all()


def test_the_funnel_follows_every_source_under_its_own_name(tiny_run: Path) -> None:
    """Of as many candidates as a list holds, the best recall is the list's own."""
    metrics = json.loads((tiny_run / "metrics.json").read_text(encoding="utf-8"))
    ceilings = {name: source["ceiling"] for name, source in metrics["funnel"]["sources"].items()}
    recalls = {name: metrics["lists"][key_of(name)][f"recall@{K}"] for name in ceilings}
    assert len(set(recalls.values())) > 5
    assert ceilings == pytest.approx(recalls)


def test_tracks_that_nobody_has_played_are_offered_apart(tiny_log: Log, tiny_run: Path) -> None:
    fresh = pl.read_parquet(tiny_run / "fresh_recommendations.parquet")
    assert fresh["user_id"].n_unique() > 0.9 * tiny_log.train["user_id"].n_unique()
    assert 5 < max(fresh["rank"].to_list()) <= 10
    described = fresh.join(tiny_log.items, on="item_id", how="left")
    assert (described["genres"].list.len() > 0).all()


def test_the_few_columns_of_the_contract_by_default(tiny_log: Log, tmp_path: Path) -> None:
    run = run_quick(tmp_path / "few", tiny_log.events, tiny_log.items, "als.iterations=1", "output.fresh=0")
    check_run(run, tiny_log.train, k=K)
    check_final(run, few=True)
    assert not (run / "fresh_recommendations.parquet").exists()


def test_a_ready_made_split_without_time(tiny_log: Log, tmp_path: Path) -> None:
    train, test, items = (str(tmp_path / f"{name}.parquet") for name in ("train", "test", "items"))
    tiny_log.train.drop("started_at").write_parquet(train)
    tiny_log.test.drop("started_at").write_parquet(test)
    tiny_log.items.write_parquet(items)
    run_inputs(Inputs(train=train, test=test, items=items), tmp_path / "run", 'output.features="all"')
    check_run(tmp_path / "run", tiny_log.train, k=K)
    final = pl.read_parquet(tmp_path / "run" / "recommendations.parquet")
    assert not any("recency" in name or name.endswith("d") for name in final.columns[7:]), "a feature of time"


def test_string_ids(tiny_log: Log, tmp_path: Path) -> None:
    ids = [pl.format("u-{}", "user_id").alias("user_id"), pl.format("é{}", "item_id").alias("item_id")]
    events, items = tiny_log.events.with_columns(ids), tiny_log.items.with_columns(ids[1])
    check_run(run_quick(tmp_path / "named", events, items), events.filter(tiny_log.events["started_at"] < CUT), k=K)


def test_a_catalogue_without_genres(tiny_log: Log, tmp_path: Path) -> None:
    run = run_quick(tmp_path / "bare", tiny_log.events, tiny_log.items.drop("genres", "albums"))
    check_run(run, tiny_log.train, k=K, genres=False)
    popular = pl.read_parquet(run / "top_popular.parquet")
    assert popular["name"].null_count() == 0
    assert popular["genres"].list.len().sum() == 0


def test_no_catalogue_at_all(tiny_log: Log, tmp_path: Path) -> None:
    run = run_quick(tmp_path / "none", tiny_log.events, None)
    check_run(run, tiny_log.train, k=K, genres=False)
    assert pl.read_parquet(run / "top_popular.parquet")["name"].null_count() == 100


def test_seen_tracks_left_in(tiny_log: Log, tmp_path: Path) -> None:
    run = run_quick(tmp_path / "seen", tiny_log.events, tiny_log.items, "filter_seen=false", 'output.features="all"')
    check_run(run, tiny_log.train, k=K, filter_seen=False)
    final = pl.read_parquet(run / "recommendations.parquet")
    seen = final.join(tiny_log.train, on=["user_id", "item_id"], how="semi")
    assert len(seen) > 0
    assert (seen["own_plays"] > 0).all()
    assert (run / "models" / "again_model.npz").is_file()
    assert (seen["again_score"] > 0).all()
    metrics = json.loads((run / "metrics.json").read_text())
    names = set(metrics["lists"])
    assert names > {"again", "own_frequent", "own_recent", "recommendations"}
    rules = [c["against"] for c in metrics["comparisons"] if c["metric"] == "recall@5"]
    assert {"own_frequent", "own_recent"} < set(rules)
    for part in ("repeat", "discovery"):
        assert set(metrics["parts"][part]["lists"]) == set(metrics["parts"][part]["intervals"]) == names
        assert {c["against"] for c in metrics["parts"][part]["comparisons"]} == names - {"recommendations"}
    assert metrics["parts"]["repeat"]["lists"]["own_frequent"]["recall@20"] > 0.1
    sizes = [metrics["parts"][part]["population"]["truth_items"] for part in ("repeat", "discovery")]
    assert min(sizes) > 20
    assert sum(sizes) == metrics["population"]["truth_items"]


def test_without_repeats_nothing_of_them_is_made(tiny_run: Path) -> None:
    metrics = json.loads((tiny_run / "metrics.json").read_text())
    assert metrics["parts"] is None
    assert not {"again", "own_frequent", "own_recent"} & set(metrics["lists"])
    assert not (tiny_run / "models" / "again_model.npz").exists()
    assert not any(
        name.startswith(("own_", "again_")) for name in pl.read_parquet(tiny_run / "recommendations.parquet").columns
    )


def test_more_asked_for_than_there_is(tiny_log: Log, tmp_path: Path) -> None:
    few = tiny_log.items["item_id"].head(40).implode()
    events = tiny_log.events.filter(pl.col("item_id").is_in(few))
    run = run_quick(tmp_path / "short", events, tiny_log.items, "output.k=70", "output.similar=90")
    train = events.filter(pl.col("started_at") < CUT)
    check_run(run, train, k=70)
    similar = pl.read_parquet(run / "similar.parquet").group_by("item_id_1").len()
    assert (similar["len"] == train["item_id"].n_unique() - 1).all()
