"""Every figure of a run and of `evaluate` on its files against plain arithmetic written from docs/use/metrics.md."""

import json
import math
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pytest
from tests.quick import Log, run_inputs, tiny_log

from tonearm.evaluation.summary import evaluate_files
from tonearm.pipeline import Inputs

__all__ = ["tiny_log"]

KS = (5, 20)
Users: TypeAlias = dict[int, list[int]]


def by_user(rows: pl.DataFrame) -> Users:
    found: Users = defaultdict(list)
    for user, item in rows.select("user_id", "item_id").iter_rows():
        found[user].append(item)
    return dict(found)


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def population(train: Users, test: Users, filter_seen: bool) -> tuple[Users, dict[str, int]]:
    """The truth of each evaluated user, and the counts."""
    known = {item for items in train.values() for item in items}
    warm = {u: set(items) for u, items in test.items() if u in train}
    heard = {u: {i for i in items if i in train[u]} if filter_seen else set() for u, items in warm.items()}
    truth = {u: sorted(i for i in items if i in known and i not in heard[u]) for u, items in warm.items()}
    return {u: items for u, items in truth.items() if items}, {
        "train_users": len(train),
        "test_users": len(test),
        "warm_test_users": len(warm),
        "cold_test_users": len(test) - len(warm),
        "warm_test_users_without_truth": sum(not items for items in truth.values()),
        "evaluated_users": sum(bool(items) for items in truth.values()),
        "test_events": sum(map(len, test.values())),
        "test_events_of_unknown_items": -1,
        "warm_test_items": sum(map(len, warm.values())),
        "warm_test_items_not_in_train": sum(i not in known for items in warm.values() for i in items),
        "warm_test_items_already_heard": sum(map(len, heard.values())),
        "truth_items": sum(map(len, truth.values())),
    }


def accuracy(ranked: list[int], truth: list[int], k: int) -> dict[str, float]:
    top = ranked[:k]
    hits = [item in truth for item in top]
    gains = [1 / math.log2(rank + 1) for rank in range(1, k + 1)]
    precisions = [sum(hits[:r]) / r for r in range(1, len(top) + 1)]
    return {
        "precision": sum(hits) / len(top) if top else 0,
        "recall": sum(hits) / len(truth),
        "ndcg": sum(g for g, hit in zip(gains, hits, strict=False) if hit) / sum(gains[: min(k, len(truth))]),
        "hit_rate": float(any(hits)),
        "mrr": next((1 / rank for rank, hit in enumerate(hits, 1) if hit), 0),
        "map": sum(p for p, hit in zip(precisions, hits, strict=True) if hit) / len(truth),
    }


def gini(lists: Users, k: int, catalogue: list[int]) -> float:
    shown = Counter(item for ranked in lists.values() for item in ranked[:k])
    counts = [shown[item] for item in catalogue]
    n, total = len(counts), sum(counts)
    spread = Counter(counts)
    return sum(m * o * abs(a - b) for a, m in spread.items() for b, o in spread.items()) / (2 * n * total)


def diversity(ranked: list[int], genres: dict[int, set[str]]) -> float | None:
    tagged = [genres[item] for item in ranked if genres.get(item)]
    pairs = [len(a & b) / math.sqrt(len(a) * len(b)) for a, b in combinations(tagged, 2)]
    return 1 - sum(pairs) / len(pairs) if pairs else None


def beyond(lists: Users, train: Users, genres: dict[int, set[str]], catalogue: list[int]) -> dict[str, Any]:
    """Coverage to popularity bias of the lists of train users."""
    plays = Counter(item for items in train.values() for item in items)
    total = sum(plays.values())
    heard = mean([sum(plays[i] for i in set(train[u])) / len(set(train[u])) for u in lists])
    assert heard is not None
    found: dict[str, Any] = {"history_popularity": heard, "listed_users": len(lists)}
    longest = max(map(len, lists.values()))
    for name, k in (("", longest), *((f"@{k}", k) for k in KS)):
        tops = {u: ranked[:k] for u, ranked in lists.items()}
        found[f"coverage{name}"] = len({i for top in tops.values() for i in top} & {*catalogue}) / len(catalogue)
        found[f"gini{name}"] = gini(lists, k, catalogue)
        if not name:
            continue
        played = mean([sum(plays[i] for i in top) / len(top) for top in tops.values()])
        assert played is not None
        found[f"novelty{name}"] = mean([sum(i not in train[u] for i in top) / len(top) for u, top in tops.items()])
        found[f"surprisal{name}"] = mean(
            [sum(-math.log2(max(plays[i], 1) / total) for i in top) / len(top) for top in tops.values()]
        )
        found[f"popularity{name}"] = played
        found[f"popularity_bias{name}"] = played / heard - 1
        each = [diversity(top, genres) for top in tops.values()]
        found[f"diversity{name}"] = mean([value for value in each if value is not None])
    return found


def expected(lists: Users, truth: Users) -> dict[str, float | None]:
    rows = [{f"{m}@{k}": v for k in KS for m, v in accuracy(lists.get(u, []), t, k).items()} for u, t in truth.items()]
    return {name: mean([row[name] for row in rows]) for name in rows[0]}


def cold_figures(train: Users, test: Users, popular: list[int]) -> dict[str, Any]:
    known = {item for items in train.values() for item in items}
    cold = {u: set(items) for u, items in test.items() if u not in train}
    hits = {u: len(items & set(popular)) for u, items in cold.items()}
    served = {u: items & known for u, items in cold.items() if items & known}
    return {
        "users": len(cold),
        "users_with_truth": len(served),
        "users_with_hit": sum(n > 0 for n in hits.values()),
        "share_with_hit": mean([float(hits[u] > 0) for u in served]),
        "mean_hits": mean([hits[u] for u in served]),
        "recall": mean([hits[u] / len(items) for u, items in served.items()]),
        "share_of_cold_users_without_hit": mean([float(n == 0) for n in hits.values()]),
        "mean_hits_of_cold_users_with_hit": mean([n for n in hits.values() if n]),
    }


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if name in found:
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    assert set(wanted) - set(found) == set()


@pytest.fixture(params=["plain", "seen", "shaped"])
def made(request: pytest.FixtureRequest, tiny_log: Log, tmp_path: Path) -> tuple[Path, bool]:
    """A run as `make` does it, and whether heard items are left out."""
    options = {"plain": (), "seen": ("filter_seen=false",), "shaped": ("shape.per_artist=1",)}[request.param]
    return make(tiny_log, tmp_path, *options), request.param != "seen"


def make(tiny_log: Log, tmp_path: Path, *options: str) -> Path:
    """A run on sets of the tiny log, whose test also has items and users that nothing else knows."""
    warm = tiny_log.train["user_id"].unique().sort()
    moment = tiny_log.test["started_at"][0]
    more = [(int(warm[0]), 10**6), (int(warm[1]), 10**6), (int(warm[1]), 10**6 + 1), (10**7, 10**6), (10**7 + 1, 10**6)]
    unknown = pl.DataFrame([(u, i, moment) for u, i in more], schema=tiny_log.test.schema, orient="row")
    tiny_log.train.write_parquet(tmp_path / "train.parquet")
    pl.concat([tiny_log.test, unknown]).write_parquet(tmp_path / "test.parquet")
    tiny_log.items.write_parquet(tmp_path / "items.parquet")
    train, test, items = (str(tmp_path / f"{name}.parquet") for name in ("train", "test", "items"))
    inputs = Inputs(train=train, test=test, items=items)
    run_inputs(inputs, tmp_path / "run", "output.top_popular=100000", *options)
    return tmp_path


def test_points_3_and_4_run_and_evaluate_agree_with_the_definitions(made: tuple[Path, bool]) -> None:
    """Three lists, population and cold users: one word has one value, in the run, from its files, and on paper."""
    folder, filter_seen = made
    read = {name: pl.read_parquet(folder / f"{name}.parquet").unique() for name in ("train", "test", "items")}
    train, test = by_user(read["train"]), by_user(read["test"])
    catalogue = sorted({*read["items"]["item_id"], *read["train"]["item_id"]})
    genres = {row["item_id"]: {*(row["genres"] or [])} for row in read["items"].to_dicts()}
    truth, counts = population(train, test, filter_seen)
    counts["test_events_of_unknown_items"] = sum(i not in catalogue for items in test.values() for i in items)
    assert counts["test_events_of_unknown_items"] == 5
    assert counts["cold_test_users"] > 2
    ours = json.loads((folder / "run" / "metrics.json").read_text())
    popular = pl.read_parquet(folder / "run" / "top_popular.parquet").sort("rank")["item_id"].to_list()
    whole = {u: [i for i in popular if not (filter_seen and i in items)][:20] for u, items in train.items()}
    for name in ("top_popular", "personal_als", "recommendations"):
        file = folder / "run" / f"{name}.parquet"
        lists = whole if name == "top_popular" else by_user(pl.read_parquet(file).sort("user_id", "rank"))
        paths = (folder / f"{part}.parquet" for part in ("test", "train", "items"))
        theirs = evaluate_files(file, *paths, ks=KS, filter_seen=filter_seen, resamples=20)
        wanted = expected(lists, truth) | beyond(lists, train, genres, catalogue)
        wanted["evaluated_listed_users"] = sum(u in lists for u in truth)
        for metrics in (ours, theirs):
            same(metrics["lists"][name], wanted)
            assert set(metrics["lists"][name]) == set(wanted)
            assert metrics["population"] == counts
            assert metrics["catalogue"]["items"] == len(catalogue)
        same(theirs["cold"], cold_figures(train, test, popular[: theirs["cold"]["k"]]))
        for part, keep in (("repeat", True), ("discovery", False)) if not filter_seen else ():
            cut = {u: [i for i in items if (i in train[u]) == keep] for u, items in truth.items()}
            some = expected(lists, {u: items for u, items in cut.items() if items})
            same(ours["parts"][part]["lists"][name], some)
            same(theirs["parts"][part]["lists"][name], some)
    same(ours["cold"], cold_figures(train, test, popular[:20]))
    assert ours["cold"]["k"] == 20
