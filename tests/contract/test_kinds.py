"""Kinds of feedback: what counts as a play, what teaches the ranker, what keeps a track out of lists."""

import json
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from tests.quick import CUT, Log, quick_config, run_quick

import tonearm
from tonearm.data.truth import truth
from tonearm.errors import ConfigError, DataError
from tonearm.loading.check import check, render
from tonearm.loading.load import Loaded, load_events
from tonearm.ranking.candidates import of_users
from tonearm.ranking.features import Features
from tonearm.ranking.training import label_blocks, sample_negatives
from tonearm.sources import fit_sources
from tonearm.split import inner_split

KINDS = ("play", "like", "skip", "dislike")


@pytest.fixture(scope="module")
def with_kinds(tiny_log: Log) -> pl.DataFrame:
    """Two events in ten are skips, one a like; every listener dislikes one of the most played tracks."""
    rng = np.random.default_rng(11)
    kinds = rng.choice(["play", "Skip", "like"], len(tiny_log.events), p=[0.7, 0.2, 0.1])
    events = tiny_log.events.with_columns(kind=pl.Series(kinds))
    best = events["item_id"].value_counts(sort=True)["item_id"][:5].to_list()
    users = events["user_id"].unique().sort()
    disliked = pl.DataFrame(
        {
            "user_id": users,
            "item_id": [best[n % 5] for n in range(len(users))],
            "started_at": [datetime(2022, 3, 1) + timedelta(minutes=n) for n in range(len(users))],
            "kind": "dislike",
        },
        schema_overrides={"user_id": events["user_id"].dtype, "item_id": events["item_id"].dtype},
    ).with_columns(pl.col("started_at").cast(events["started_at"].dtype))
    return pl.concat([events, disliked])


def loaded(folder: Path, events: pl.DataFrame, items: pl.DataFrame, *overrides: str) -> Loaded:
    for name, table in (("events", events), ("items", items)):
        table.write_parquet(folder / f"{name}.parquet")
    paths = [str(folder / f"{name}.parquet") for name in ("events", "items")]
    return load_events(paths[0], paths[1], CUT, quick_config(*overrides).data)


def test_plays_are_weighed_and_skips_are_none(tmp_path: Path, with_kinds: pl.DataFrame, tiny_log: Log) -> None:
    train = loaded(tmp_path, with_kinds, tiny_log.items, "data.kinds.like=3").train
    past = with_kinds.filter(pl.col("started_at") < CUT).with_columns(pl.col("kind").str.to_lowercase())
    plays = past.filter(pl.col("kind").is_in(["play", "like"])).unique()
    assert train.log.n_events == len(plays)
    weight = pl.when(pl.col("kind") == "like").then(3).otherwise(1)
    expected = dict(plays.group_by("item_id").agg(weight.sum().alias("n")).rows())
    ids = train.catalogue.items.ids.to_list()
    assert {item: n for item, n in zip(ids, train.plays.tolist(), strict=True) if n} == expected
    against = train.against
    assert against is not None
    known = past.filter(pl.col("user_id").is_in(train.users.ids.implode()) & ~pl.col("kind").is_in(["play", "like"]))
    assert against.n_events == len(known)
    assert float(against.weights.sum()) == len(known.filter(pl.col("kind") == "dislike"))
    assert against.span[1] < train.now


def test_the_same_log_of_plays_alone_gives_the_same_train(
    tmp_path: Path, with_kinds: pl.DataFrame, tiny_log: Log
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    weights = {"play": 1.0, "like": 2.0}
    plays = with_kinds.filter(pl.col("kind").is_in(["play", "like"])).with_columns(
        weight=pl.col("kind").replace_strict(weights, return_dtype=pl.Float64)
    )
    one = loaded(tmp_path / "one", with_kinds, tiny_log.items).train.log
    other = loaded(tmp_path / "other", plays.drop("kind"), tiny_log.items).train.log
    for name in ("start", "stop", "item", "time", "weight"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_disliked_track_is_in_no_list_of_its_user(tmp_path: Path, with_kinds: pl.DataFrame, tiny_log: Log) -> None:
    disliked = set(with_kinds.filter(pl.col("kind") == "dislike").select("user_id", "item_id").rows())
    for name, overrides in (("fresh", ()), ("again", ("filter_seen=false",))):
        run = run_quick(tmp_path / name, with_kinds, tiny_log.items, *overrides, 'output.features="all"')
        for file in ("recommendations", "personal_als", "content_recommendations"):
            listed = pl.read_parquet(run / f"{file}.parquet")
            assert not disliked & set(listed.select("user_id", "item_id").rows()), file
        assert {"own_skips", "item_skip_share"} <= set(pl.read_parquet(run / "recommendations.parquet").columns)
        # a restored model says the same, and does so of a listener who has played on
        model, user = tonearm.load(run), listed["user_id"][0]
        wanted = pl.read_parquet(run / "recommendations.parquet").filter(pl.col("user_id") == user)["item_id"]
        assert model.recommend([user])["item_id"].to_list() == wanted.to_list()
        more = pl.DataFrame({"user_id": [user], "item_id": [wanted[0]], "started_at": [datetime(2023, 1, 1)]})
        later = model.recommend([user], history=more)
        assert not disliked & set(later.select("user_id", "item_id").rows())
    kept = run_quick(tmp_path / "kept", with_kinds, tiny_log.items, "data.kinds.dislike=0")
    lists = pl.read_parquet(kept / "recommendations.parquet")
    assert disliked & set(lists.select("user_id", "item_id").rows())


def test_skips_of_the_window_are_drawn_first_and_those_before_it_are_counted(
    tmp_path: Path, with_kinds: pl.DataFrame, tiny_log: Log
) -> None:
    train, config = loaded(tmp_path, with_kinds, tiny_log.items).train, quick_config()
    split = inner_split(train, config.split, np.random.default_rng(0))
    assert split.cutoff is not None
    assert split.against is not None
    assert split.against.span[0] >= split.cutoff
    assert split.history.against is not None
    assert split.history.against.span[1] < split.cutoff
    answers = truth(split.history.log, split.labels)
    sources = fit_sources(split.history, {"popular": config.popularity}, 0)
    features = Features.fit(split.history, ["popular"], True)
    found = list(of_users(split.history, answers.users, sources, config.search))
    against = split.against.users(answers.users)
    nobody = np.zeros(len(answers), np.bool_)
    table = label_blocks(features, found, answers, nobody, 2, np.random.default_rng(0), against)
    block, candidates = found[0]
    at = features.names.index("own_skips")
    refused = 0
    for n, user in enumerate(answers.users):
        own = slice(against.start[n], against.stop[n])
        skipped = set(against.item[own].tolist())
        rows = slice(table.indptr[n], table.indptr[n + 1])
        assert table.refused is not None
        listed = candidates.lists.item[candidates.lists.indptr[n] : candidates.lists.indptr[n + 1]]
        played = set(answers.item[answers.indptr[n] : answers.indptr[n + 1]].tolist())
        if not played & set(listed.tolist()):
            continue
        expected = min(2, len((skipped & set(listed.tolist())) - played))
        assert int((table.refused[rows] & (table.label[rows] == 0)).sum()) == expected
        refused += expected
        before = split.history.against
        past = before.item[before.start[user] : before.stop[user]].tolist()
        counts = features.compute(block, candidates)[candidates.lists.row == n, at]
        assert counts.tolist() == [past.count(item) for item in listed.tolist()]
    assert refused > 2


def test_without_refusals_the_draw_is_as_it_was() -> None:
    indptr, label = np.array([0, 30, 60]), np.zeros(60, np.float32)
    label[[3, 40]] = 1
    negatives = np.array([5, 5])
    plain = sample_negatives(indptr, label, negatives, np.random.default_rng(4))
    none = sample_negatives(indptr, label, negatives, np.random.default_rng(4), np.zeros(60, np.bool_))
    np.testing.assert_array_equal(plain[1], none[1])
    first = np.zeros(60, np.bool_)
    first[[10, 11, 50]] = True
    kept = sample_negatives(indptr, label, negatives, np.random.default_rng(4), first)[1]
    assert {3, 10, 11, 40, 50} <= set(kept.tolist())
    assert len(kept) == 12


def test_kinds_are_counted_and_unknown_ones_refused(tmp_path: Path, with_kinds: pl.DataFrame) -> None:
    places = {"events": str(tmp_path / "events.parquet")}
    with_kinds.write_parquet(places["events"])
    found = check(places, None, None, quick_config())
    assert found.errors == []
    lowered = with_kinds["kind"].str.to_lowercase()
    assert found.found.logs["events"].kinds == {
        kind: int((lowered == kind).sum()) for kind in ("play", "skip", "like")
    } | {"dislike": with_kinds["user_id"].n_unique()}
    console = Console(width=120, record=True, file=StringIO())
    console.print(render(found))
    assert "rows of kind skip" in console.export_text()
    odd = with_kinds.with_columns(kind=pl.when(pl.int_range(pl.len()) == 4).then(pl.lit("share")).otherwise("kind"))
    odd.write_parquet(places["events"])
    (error,) = check(places, None, None, quick_config()).errors
    assert error.startswith(f"{places['events']}: 1 of ")
    assert "are of kind 'share' (first: row 5), and data.kinds has play, like, skip, dislike." in error
    assert check(places, None, None, quick_config("data.kinds.share=0.5")).errors == []
    odd.with_columns(kind=pl.int_range(pl.len())).write_parquet(places["events"])
    assert "kind must be a string" in check(places, None, None, quick_config()).errors[0]
    with pytest.raises(ConfigError, match=r"no kind counts above 0"):
        quick_config("data.kinds={ play = 0, like = 0 }")
    nothing = with_kinds.filter(pl.col("kind") == "dislike")
    nothing.write_parquet(places["events"])
    with pytest.raises(DataError, match=r"none of \d+ rows is left by the rules of \[data\]"):
        load_events(places["events"], None, CUT)


def test_a_log_without_kinds_knows_nothing_of_them(tiny_run: Path) -> None:
    assert tonearm.load(tiny_run).data.against is None
    manifest = json.loads((tiny_run / "manifest.json").read_text())
    assert manifest["found"]["logs"]["events"]["kinds"] == {}
    assert "own_skips" not in pl.read_parquet(tiny_run / "recommendations.parquet").columns
