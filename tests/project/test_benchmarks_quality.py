"""The benchmark of quality: what it makes lists, differences and choices of settings by."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse

import figures
from quality import in_short, row_of_run, side_by_side
from quality_ablation import GROUPS, own_list, without_source
from quality_more import listed, main
from quality_peers import Peer, best, combinations, ease_scores, first_plays, search
from quality_sets import Window, difference, inputs, measure, ndcg_of, padded, read_lists, rows_of
from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.truth import Truth
from tonearm.data.vocabulary import Vocabulary
from tonearm.ranking.candidates import Candidates


def make_log(histories: list[list[int]], n_items: int) -> Log:
    stop = np.cumsum([len(history) for history in histories]).astype(np.int64)
    item = np.array([item for history in histories for item in history], np.int32)
    return Log(np.concatenate(([0], stop[:-1])).astype(np.int64), stop, item, None, None, n_items)


def make_truth(users: list[int], items: list[list[int]]) -> Truth:
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in items]))).astype(np.int64)
    flat = np.array([item for row in items for item in row], np.int32)
    return Truth(np.array(users, np.int32), indptr, flat, np.ones(len(users), np.int64), True, {})


@pytest.fixture
def window() -> Window:
    """Users u0 to u3, of whom u1 and u3 are evaluated; items 10 to 14."""
    catalogue = Catalogue(Vocabulary(pl.Series([10, 11, 12, 13, 14])))
    users = Vocabulary(pl.Series(["u0", "u1", "u2", "u3"]))
    train = Dataset(users, catalogue, make_log([[0], [0, 1], [2], [4]], 5), 0)
    return Window(train, make_truth([1, 3], [[2, 3], [0]]))


def test_lists_of_a_file_stand_in_the_order_of_the_truth_and_unknown_items_keep_their_place(
    window: Window, tmp_path: Path
) -> None:
    rows = [("u3", 10, 2), ("u3", 99, 1), ("u0", 11, 1), ("u1", 12, 1), ("nobody", 12, 1), ("u3", 11, 21)]
    path = tmp_path / "lists.parquet"
    pl.DataFrame(rows, schema=["user_id", "item_id", "rank"], orient="row").write_parquet(path)
    lists = read_lists(path, window)
    assert lists.indptr.tolist() == [0, 1, 3]
    assert lists.item.tolist() == [2, -1, 0]
    values = ndcg_of(measure(window.truth, rows_of(window.truth, lists)))
    # u1 has 1 of 2 at the top, u3 its only one in second place
    np.testing.assert_allclose(values, [1 / (1 + 1 / np.log2(3)), 1 / np.log2(3)], rtol=1e-6)


def test_rows_of_gives_the_lists_of_the_users_asked_for(window: Window) -> None:
    lists = Lists(np.array([0, 2, 3]), np.array([4, 2, 0], np.int32), np.zeros(3, np.float32))
    second = rows_of(window.truth, lists)(np.array([3], np.int32))
    assert second.indptr.tolist() == [0, 1]
    assert second.item.tolist() == [0]


def test_padded_leaves_out_what_is_no_entry() -> None:
    ids = np.array([[2, 0, -1], [1, 2, 0]])
    scores = np.array([[3.0, 2.0, 1.0], [5.0, -np.inf, np.finfo(np.float32).min]], np.float32)
    lists = padded(ids, scores, np.array([7, 8, 9], np.int32))
    assert lists.indptr.tolist() == [0, 2, 3]
    assert lists.item.tolist() == [9, 7, 8]


def test_a_difference_is_paired() -> None:
    other = np.random.default_rng(0).random(500).astype(np.float32)
    found = difference(other + np.float32(0.01), other)
    assert found["difference"] == pytest.approx(0.01, abs=1e-5)
    # every user gains the same, so that no resample says anything else
    assert found["low"] == pytest.approx(0.01, abs=1e-5)
    assert found["high"] == pytest.approx(0.01, abs=1e-5)
    apart = difference(np.roll(other, 1), other)
    assert apart["low"] < 0 < apart["high"]


@pytest.mark.parametrize("shape", [(9, 5), (5, 9)])
def test_ease_equals_the_least_squares_of_each_item(shape: tuple[int, int]) -> None:
    x = scipy.sparse.csr_matrix((np.random.default_rng(1).random(shape) < 0.4).astype(np.float32))
    dense = x.toarray().astype(np.float64)
    expected = np.zeros(shape)
    for item in range(shape[1]):
        others = np.delete(dense, item, axis=1)
        gram = others.T @ others + 2.0 * np.eye(shape[1] - 1)
        expected[:, item] = others @ np.linalg.solve(gram, others.T @ dense[:, item])
    users = np.array([3, 0], np.int32)
    np.testing.assert_allclose(ease_scores(x, 2.0)(users), expected[users], atol=1e-5)


def test_best_items_are_unseen_and_ties_go_to_the_lower_item() -> None:
    scores = np.array([[1.0, 3.0, 2.0, 2.0], [0.0, 1.0, 0.0, 5.0]], np.float32)
    seen = scipy.sparse.csr_matrix(np.array([[0, 1, 0, 0], [0, 0, 0, 1]], np.float32))
    lists = best(scores, seen, np.array([2, 3, 5, 8], np.int32))
    assert lists.indptr.tolist() == [0, 3, 6]
    assert lists.item.tolist() == [5, 8, 2, 3, 2, 5]


def test_a_search_goes_on_from_the_best_of_each_round() -> None:
    tried: list[dict[str, Any]] = []

    def score(params: dict[str, Any]) -> float:
        tried.append(params)
        return -float(abs(params["a"] - 2) + abs(params["b"] - 30) + abs(params["c"] - 9))

    def never(*_: Any) -> Any:
        raise AssertionError("a search does not fit by itself")

    peer = Peer(never, {"a": 1, "b": 10, "c": 5}, ({"a": (1, 2), "b": (10, 30)}, {"c": (1, 5, 8)}))
    params, trials = search(peer, score)
    assert params == {"a": 2, "b": 30, "c": 8}
    assert len(trials) == len(tried) == 6, "what was tried is not tried again"
    assert list(combinations({"a": (1, 2)}, {"a": 0, "b": 3})) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]


def test_without_a_source_go_its_scores_and_what_only_it_found() -> None:
    lists = Lists(np.array([0, 3, 4]), np.array([1, 4, 6, 2], np.int32), np.zeros(4, np.float32))
    ranks = np.array([[1, 0, 2], [0, 1, 0], [2, 2, 1], [0, 3, 0]], np.int16)
    scores = np.arange(12, dtype=np.float32).reshape(4, 3)
    left = without_source(Candidates(lists, ranks, scores), 1)
    assert left.lists.indptr.tolist() == [0, 2, 2]
    assert left.lists.item.tolist() == [1, 6]
    assert left.ranks.tolist() == [[1, 2], [2, 1]]
    assert left.scores.tolist() == [[0, 2], [6, 8]]


def test_the_list_of_a_source_alone_is_in_the_order_of_its_ranks() -> None:
    lists = Lists(np.array([0, 3, 3, 5]), np.array([1, 4, 6, 0, 2], np.int32), np.zeros(5, np.float32))
    ranks = np.array([[2, 1], [21, 2], [1, 0], [0, 1], [20, 0]], np.int16)
    alone = own_list(Candidates(lists, ranks, np.arange(10, dtype=np.float32).reshape(5, 2)), 0)
    assert alone.indptr.tolist() == [0, 2, 2, 3]
    assert alone.item.tolist() == [6, 1, 2]
    assert alone.score.tolist() == [4, 0, 8]


def test_some_users_of_a_truth() -> None:
    some = make_truth([1, 4, 6], [[2, 3], [0], [5, 7]]).of_rows(np.array([0, 2]))
    assert some.users.tolist() == [1, 6]
    assert some.indptr.tolist() == [0, 2, 4]
    assert some.item.tolist() == [2, 3, 5, 7]


def test_a_feature_is_in_one_group_or_is_a_standardised_score() -> None:
    names = "als_score als_z item_plays_7d item_trend_90d item_age"
    names += " item_recency user_tracks user_recent_share artist_recency album_items"
    groups = {name: [label for label, inside in GROUPS.items() if inside(name)] for name in names.split()}
    assert groups.pop("als_z") == []
    assert {name: len(found) for name, found in groups.items()} == dict.fromkeys(groups, 1)


def test_sets_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    effect = {"difference": 0.01, "low": -0.002, "high": 0.02}
    more = {"seconds": 9.6, "mb": 1234.5, "seeds": 3}
    named = {"label": "x", "name": "als", "ndcg": 0.09} | effect
    a = {"users": 1200, "rows": [{"label": "all", "ndcg": 0.1}, named]} | more
    b = {"users": 7, "rows": [{"label": "all", "ndcg": 0.25}]} | more
    figures.tell(*side_by_side({"a": a, "b": b}))
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "|  | a, 1,200 users | b, 7 users |"
    assert lines[:3] == ["|---|---|---|", "| all | .1000 | .2500 |", "| x | +.0100 [-.0020, +.0200] als |  |"]
    assert lines[-1] == "| MB | 1,234 | 1,234 |"


def test_a_set_in_short_has_the_best_of_the_others() -> None:
    effect = {"difference": 0.01, "low": -0.002, "high": 0.02}
    stages = [{"seconds": 1.5, "peak_mb": 900}, {"seconds": 2.0, "peak_mb": 700}]
    values = {"recommendations": 0.3, "ease": 0.28, "als": 0.2}
    metrics = {
        "lists": {name: {"recall@20": 2 * v, "ndcg@20": v} for name, v in values.items()},
        "population": {"evaluated_users": 12},
        "funnel": {"limits": "both"},
        "comparisons": [{"against": n, "metric": "ndcg@20"} | effect for n in ("als", "ease")],
    }
    row = row_of_run("a", metrics, stages)
    kept = {"value": 0.01, "low": -0.002, "high": 0.02}
    assert row == ["a", 12, [0.6, 0.3], "ease", [0.56, 0.28], kept, "both", 3.5, 900]
    peers = [{"name": name, "ndcg": ndcg} | effect for name, ndcg in (("iALS", 0.2), ("EASE", 0.25))]
    assert in_short(row, peers, [])[3:7] == ["ease .2800", kept, "EASE .2500, +.0100 [-.0020, +.0200]", None]


def test_first_plays_of_each_pair(window: Window) -> None:
    log = Log(np.array([1, 3]), np.array([3, 6]), np.array([9, 2, 1, 0, 4, 0], np.int32), None, None, 10)
    timed = replace(window.train, log=replace(log, time=np.array([0, 5, 6, 3, 4, 8], np.int32)))
    assert first_plays(timed).rows() == [(0, 1, 6), (0, 2, 5), (1, 0, 3), (1, 4, 4)]
    assert first_plays(replace(window.train, log=log))["time"].to_list() == [0, 0, 0, 0]


def test_public_sets_become_splits_that_the_benchmark_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clones, out = tmp_path / "clones", tmp_path / "out"
    files = {
        "CIKM2020-S3Rec/data/Beauty.txt": "".join(f"{user} 1 {user + 1} 90\n" for user in range(1, 41)),
        "CIKM2020-S3Rec/data/Beauty_item2attributes.json": '{"1": [7, 8], "90": [8]}',
        "citeulike-a/users.dat": "2 0 1\n1 1\n" * 20,
        "citeulike-a/item-tag.dat": "2 5 6\n0\n",
        "ml-100k/u.data": "1\t1\t5\t891388799\n2\t1\t3\t891388800\n",  # a second before April 1998, and April
        "ml-100k/u.genre": "unknown|0\nDrama|1\n\n",
        "ml-100k/u.item": "1|A film (1995)|01-Jan-1995||address|0|1\n",
    }
    for name, text in files.items():
        (clones / name).parent.mkdir(parents=True, exist_ok=True)
        (clones / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["quality_more.py", str(clones), str(out), "--synth", "tiny"])
    main()
    assert "lastfm2k is left out: there is no" in capsys.readouterr().err
    given = inputs(out)
    assert list(given) == ["beauty", "citeulike", "ml100k", "ml100k-dated", "synth-tiny"]
    parts = [pl.read_parquet(out / "beauty" / f"{part}.parquet") for part in ("train", "test")]
    assert 5 < len(parts[1]) < 50
    whole = listed(files["CIKM2020-S3Rec/data/Beauty.txt"].splitlines())
    assert pl.concat(parts).sort("user_id", "item_id").equals(whole.sort("user_id", "item_id"))
    genres = dict(pl.read_parquet(str(given["beauty"].items)).iter_rows())
    assert (genres[1], genres[2], genres[90]) == (["7", "8"], [], ["8"])
    assert dict(pl.read_parquet(str(given["citeulike"].items)).iter_rows()) == {0: ["5", "6"], 1: []}
    dated = [
        pl.read_parquet(out / "ml100k-dated" / f"{part}.parquet")["user_id"].to_list() for part in ("train", "test")
    ]
    assert dated == [[1], [2]]
    assert dict(pl.read_parquet(str(given["ml100k-dated"].items)).iter_rows()) == {1: ["Drama"]}
    before, after = (
        pl.read_parquet(out / "synth-tiny" / f"{part}.parquet")["started_at"].to_list() for part in ("train", "test")
    )
    assert max(before) < datetime(2022, 12, 16) <= min(after)
    assert {"item_id", "genres", "artists", "albums"} <= set(pl.read_parquet(str(given["synth-tiny"].items)).columns)
