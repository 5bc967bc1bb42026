"""`tonearm explain` and `tonearm.explain`: every way into a list and out of it, in words and as JSON."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.e2e.command import tonearm as command
from tests.quick import CUT, Log, run_quick

import tonearm
from tonearm.runs.read import Run
from tonearm.runs.restore import Restored
from tonearm.terminal.words import counted

UNHEARD, LATE, NEW_USER = 900_001, 900_002, 900_003


@pytest.fixture(scope="module")
def run(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny log with a track that nobody played, one that is played after the cut only, and a user of that time."""
    kept = tiny_log.items.columns
    unheard = tiny_log.items.head(1).with_columns(pl.lit(UNHEARD, tiny_log.items["item_id"].dtype).alias("item_id"))
    user, item = tiny_log.train["user_id"][0], tiny_log.train["item_id"][0]
    late = [(user, LATE, CUT + timedelta(days=1)), (NEW_USER, item, CUT + timedelta(days=2))]
    more = pl.DataFrame(late, schema=tiny_log.events.select("user_id", "item_id", "started_at").schema, orient="row")
    events = pl.concat([tiny_log.events, more], how="diagonal")
    folder = tmp_path_factory.mktemp("explain") / "whole"
    return run_quick(folder, events, pl.concat([tiny_log.items, unheard.select(kept)]))


@pytest.fixture(scope="module")
def restored(run: Path) -> Restored:
    return tonearm.restore(run)


@pytest.fixture(scope="module")
def final(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "recommendations.parquet")


def explain(restored: Restored, user: int | str, item: int | str) -> tonearm.Explanation:
    return tonearm.explain(user, item, restored)


def test_what_is_in_the_list(restored: Restored, final: pl.DataFrame) -> None:
    for row in final.sample(25, seed=1).iter_rows(named=True):
        e = explain(restored, row["user_id"], row["item_id"])
        assert (e.user, e.item, e.rank) == (row["user_id"], row["item_id"], row["rank"])
        assert e.because is not None
        assert e.because.startswith("Because ")
        assert e.why_not is None
        assert e.ranking is not None
        assert e.ranking.place == row["rank"]
        assert e.ranking.score == row["score"]
        assert any(part.found for part in e.sources)
        als = next(part for part in e.sources if part.name == "als")
        assert als.score == pytest.approx(row["als_score"], abs=1e-6)
        assert als.rest is not None
        assert sum(als.history["value"]) + als.rest == pytest.approx(als.score, abs=1e-9)
        for part in e.sources:
            assert not part.found or (part.rank is not None and part.rank <= 20)
            if not part.history.is_empty() and part.name != "als":
                assert part.rest == pytest.approx(0, abs=1e-4)


def test_the_rank_in_a_source_is_the_one_in_its_list(run: Path, restored: Restored) -> None:
    own = pl.read_parquet(run / "personal_als.parquet")
    for row in own.sample(8, seed=2).iter_rows(named=True):
        part = next(p for p in explain(restored, row["user_id"], row["item_id"]).sources if p.name == "als")
        assert (part.found, part.rank) == (True, row["rank"])
        assert part.score == row["score"]


def test_the_rank_beyond_a_source_is_the_one_in_an_endless_list(restored: Restored, final: pl.DataFrame) -> None:
    data = restored.data
    beyond = 0
    for user in final["user_id"].unique(maintain_order=True)[:4]:
        u = data.users.place(user)
        assert u is not None
        block = restored.block(u)
        endless = [source.recommend(block, data.n_items).item.tolist() for source in restored.sources]
        for item in np.random.default_rng(u).choice(np.flatnonzero(data.plays > 0), 12, replace=False).tolist():
            parts = explain(restored, user, data.catalogue.items.ids[item]).sources
            ranks = [items.index(item) + 1 if item in items else None for items in endless]
            assert [part.rank for part in parts] == ranks
            beyond += sum(part.rank is not None and not part.found for part in parts)
    assert beyond > 50


def test_already_heard(restored: Restored, tiny_log: Log) -> None:
    user, item = tiny_log.train.select("user_id", "item_id").row(5)
    heard = tiny_log.train.filter(user_id=user, item_id=item)
    e = explain(restored, user, item)
    last = heard["started_at"].max()
    assert e.because is None
    assert e.why_not == (
        f"Already heard ({counted(len(heard), 'play')}, last on {str(last)[:10]}), "
        "and filter_seen leaves out what was heard."
    )
    assert all(part.rank is None for part in e.sources)


def test_ranked_below_the_list(restored: Restored, final: pl.DataFrame) -> None:
    user = final["user_id"][0]
    u = restored.data.users.place(user)
    assert u is not None
    block = restored.block(u)
    every = restored.recommender.ranked(block).lists
    assert len(every.item) > 22
    for place in (21, 22, len(every.item)):
        item = restored.data.catalogue.items.ids[int(every.item[place - 1])]
        e = explain(restored, user, item)
        assert e.why_not == (
            f"The ranker puts it at place {place} of {len(every.item)} candidates, and the list ends at 20."
        )
        assert e.rank is None


def test_proposed_by_no_source(restored: Restored, final: pl.DataFrame) -> None:
    user = final["user_id"][0]
    u = restored.data.users.place(user)
    assert u is not None
    block = restored.block(u)
    candidates = restored.recommender.ranked(block).candidates
    data = restored.data
    known = {*candidates.lists.item.tolist(), *block.pairs.item.tolist()}
    item = next(i for i in range(data.n_items) if i not in known and data.plays[i] > 0)
    e = explain(restored, user, data.catalogue.items.ids[item])
    assert e.why_not is not None
    assert e.why_not.startswith("No source proposes it among its first 20. Its ranks, were the lists longer: popular ")
    assert e.ranking is None
    # its rank by popularity, among what the user has not heard
    unheard = [i for i in data.popularity_order.tolist() if i not in set(block.pairs.item.tolist())]
    assert e.sources[0].rank == unheard.index(item) + 1
    assert not any(part.found for part in e.sources)


def test_tracks_that_train_does_not_know(restored: Restored, final: pl.DataFrame) -> None:
    user = final["user_id"][0]
    assert explain(restored, user, UNHEARD).why_not == (
        "Nobody played it before the cut, and no source proposes what nobody has played. "
        "Of the tracks without plays it is number 1 for them, by its genres."
    )
    # somebody plays none of its genres
    assert restored.folder is not None
    fresh = pl.read_parquet(restored.folder / "fresh_recommendations.parquet")
    told = fresh.filter(pl.col("item_id") == UNHEARD)["user_id"].to_list()
    other = next(one for one in final["user_id"].unique().sort() if one not in told)
    assert explain(restored, other, UNHEARD).why_not == (
        "Nobody played it before the cut, and no source proposes what nobody has played."
    )
    assert explain(restored, user, LATE).why_not == "It is not in the catalogue, and nobody played it before the cut."


def test_a_cold_user(restored: Restored) -> None:
    assert restored.folder is not None
    top = Run.open(restored.folder).popular()["item_id"].to_list()
    e = explain(restored, NEW_USER, top[2])
    start = "You are new, with nothing played before the cut, so you get the popular list"
    assert (e.rank, e.because, e.why_not) == (3, f"{start}; this is number 3 in it.", None)
    rare = restored.data.catalogue.items.ids[int(restored.data.popularity_order[-1])]
    place = len(restored.data.popularity_order)
    assert explain(restored, NEW_USER, rare).why_not == (
        f"{start}, which ends at 100; this track would be number {place:,}."
    )
    assert explain(restored, NEW_USER, UNHEARD).why_not == f"{start}; nobody had played this track."


def test_seen_tracks_left_in(tiny_log: Log, tmp_path: Path) -> None:
    out = run_quick(tmp_path / "seen", tiny_log.events, tiny_log.items, "filter_seen=false")
    final = pl.read_parquet(out / "recommendations.parquet")
    row = final.join(tiny_log.train, on=["user_id", "item_id"], how="semi").row(0, named=True)
    e = tonearm.explain(row["user_id"], row["item_id"], out)
    assert e.rank == row["rank"]
    assert e.because is not None
    assert e.because.startswith("Because you played it ")
    assert all(part.rank is not None for part in e.sources if part.found)


def test_the_command_in_eighty_columns(run: Path, final: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    user, item = final.select("user_id", "item_id").row(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.e2e.command.WIDTH", "80")
        answer = command(capsys, "explain", user, item, "--run", run)
    assert answer.code == 0
    assert answer.err == ""
    assert max(len(line) for line in answer.out.splitlines()) <= 80
    sentence = tonearm.explain(user, item, run).because
    assert sentence is not None
    assert " ".join(sentence.split()) in " ".join(answer.out.split())
    for words in ("Place 3 in the final list", "What the sources make of it", "The ranker: place 3 of"):
        assert words in answer.out, words


def test_the_command_as_json(run: Path, final: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    user, item = final.select("user_id", "item_id").row(2)
    answer = command(capsys, "explain", user, item, "--run", run, "--json")
    assert answer.code == 0
    said: dict[str, Any] = json.loads(answer.out)
    e = tonearm.explain(str(user), str(item), run)
    assert (said["user"], said["item"], said["rank"], said["because"]) == (user, item, 3, e.because)
    assert [part["name"] for part in said["sources"]] == [part.name for part in e.sources]
    named = {entry["item_id"] for entry in said["names"]}
    for part in said["sources"]:
        assert {entry["item"] for entry in part["history"]} <= named
    ranking = said["ranking"]
    total = ranking["expected"] + sum(feature["shap"] for feature in ranking["features"])
    assert total == pytest.approx(ranking["trees"], rel=1e-9)
    cold = command(capsys, "explain", NEW_USER, item, "--run", run, "--json")
    assert cold.code == 0
    assert "you get the popular list" in cold.out


def test_ids_that_nobody_knows(run: Path, final: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    user, item = final.select("user_id", "item_id").row(2)
    for who, what, words in (
        (10**9, item, "train has no user 1000000000"),
        ("nobody", item, "train has no user nobody. Ids are whole numbers"),
        (user, 10**9, "train has no item 1000000000"),
        (user, "nothing", "train has no item nothing"),
    ):
        answer = command(capsys, "explain", who, what, "--run", run)
        assert answer.code == 2
        assert words in answer.err
        assert len(answer.err.strip().splitlines()) == 1
        assert answer.out == ""
    missing = command(capsys, "explain", user, item, "--run", run / "models")
    assert missing.code == 2
    assert "is not a finished run" in missing.err
