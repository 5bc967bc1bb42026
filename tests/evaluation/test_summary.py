"""From meters or files to metrics.json: what it holds, what it says, and what it refuses."""

import io
import json
import math
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from tonearm.data.catalogue import Catalogue
from tonearm.data.lists import Lists
from tonearm.data.log import Log, Pairs
from tonearm.data.truth import truth
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.evaluation.funnel import FunnelMeter
from tonearm.evaluation.meters import ListMeter, cold_users, describe_items
from tonearm.evaluation.summary import evaluate_files, summarise, warnings
from tonearm.evaluation.words import best_source, lines, sentence, shown, table
from tonearm.loading.load import load_ready_made
from tonearm.sources.left_out import LeftOut, as_rows

N_USERS, N_ITEMS = 200, 40
Columns: TypeAlias = dict[str, list[Any]]


def log_of(item: np.ndarray[tuple[int, int], np.dtype[np.int32]]) -> Log:
    """The same number of events for everybody, (n_users, n) items."""
    start = np.arange(len(item), dtype=np.int64) * item.shape[1]
    return Log(start, start + item.shape[1], item.ravel(), None, None, N_ITEMS)


def everything(share_found: float = 0.6, n_cold: int = 0) -> dict[str, Any]:
    """Metrics of three lists: `good` finds the first test item of many users at rank 1, `bad` of a few."""
    rng = np.random.default_rng(0)
    own = np.stack([rng.permutation(N_ITEMS) for _ in range(N_USERS)]).astype(np.int32)
    train, test = log_of(own[:, :5]), log_of(own[:, 5:7])
    answers = truth(train, test)
    items = describe_items(train.item_counts()[0], Catalogue(Vocabulary(pl.Series(range(N_ITEMS)))))
    users = np.arange(N_USERS, dtype=np.int32)
    meters = {}
    for name, share in (("bad", 0.1), ("recommendations", share_found)):
        ranked = own[:, 15:25].copy()
        found = rng.random(N_USERS) < share
        ranked[found, 0] = own[found, 5]
        lists = Lists(np.arange(N_USERS + 1) * 10, ranked.ravel(), np.zeros(ranked.size, np.float32))
        meters[name] = ListMeter(answers, items, ks=(1, 5))
        meters[name].add(users, lists, Pairs.of(train))
    funnel = FunnelMeter(answers, ["one", "other"], k=5)
    funnel.add(users, lists, np.ones((ranked.size, 2), np.bool_), lists)
    cold = cold_users(log_of(own[:n_cold, :1]), train.item_counts()[0], np.arange(5, dtype=np.int32), k=5)
    return summarise(answers, meters, np.random.default_rng(1), funnel=funnel, cold=cold, resamples=200)


def test_metrics_are_plain_json_with_every_part() -> None:
    metrics = everything()
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    expected = (
        "definitions filter_seen ks focus final catalogue population lists intervals comparisons parts cold slices "
        "funnel notes"
    )
    assert set(metrics) == {*expected.split(), "warnings"}
    assert set(metrics["intervals"]) == set(metrics["lists"]) == {"bad", "recommendations"}
    assert metrics["cold"]["note"] in metrics["notes"]
    assert metrics["population"]["evaluated_users"] == N_USERS


def test_intervals_hold_their_mean_and_comparisons_their_difference() -> None:
    metrics = everything()
    for name, intervals in metrics["intervals"].items():
        for metric, (low, high) in intervals.items():
            assert low <= metrics["lists"][name][metric] <= high
    assert len(metrics["comparisons"]) == 6 * 2
    for c in metrics["comparisons"]:
        lists = metrics["lists"]
        assert c["difference"] == lists["recommendations"][c["metric"]] - lists["bad"][c["metric"]]
        assert 0 < c["low"] < c["difference"] < c["high"]
        assert c["significant"]
        assert c["share_better"] == 1


def test_cold_users_join_the_population() -> None:
    metrics = everything(n_cold=3)
    assert (metrics["cold"]["users"], metrics["population"]["cold_test_users"]) == (3, 3)
    assert metrics["population"]["test_users"] == N_USERS + 3
    assert any(line.startswith("cold users: 3,") for line in lines(metrics, verbose=True))


def test_same_seed_same_metrics() -> None:
    assert everything() == everything()


def test_slices_set_the_lists_side_by_side() -> None:
    light = everything()["slices"]["activity"][0]
    assert (light["slice"], light["users"], set(light["lists"])) == ("light", N_USERS, {"bad", "recommendations"})
    assert light["lists"]["recommendations"]["recall@5"] > light["lists"]["bad"]["recall@5"] > 0


def test_the_table_says_it_all() -> None:
    metrics = everything()
    console = Console(width=200, file=io.StringIO())
    console.print(shown(metrics, 200, verbose=True))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    words = ["recommendations beats bad by +.", "limits the result", "no cold users", "200 users evaluated", "truth: "]
    assert [word for word in words if word not in text] == []


def printed(metrics: dict[str, Any], width: int = 80, verbose: bool = False) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(shown(metrics, width, verbose))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_point_19_definitions_wait_until_they_are_asked_for() -> None:
    """Point 19: eleven lines of definitions stood between the table and the report's address."""
    metrics = everything(n_cold=3)
    short, long = printed(metrics), printed(metrics, verbose=True)
    for words in ("beats bad by", "limits the result", "200 users evaluated"):
        assert words in " ".join(short.split())
    for words in ("intervals:", "truth:", "cold users: 3", "macro average"):
        assert words not in short
        assert words in long


def test_point_19_the_table_takes_the_width_of_the_window() -> None:
    """Point 19: a wide window showed no more than a narrow one."""
    metrics = everything()
    narrow, wide = (printed(metrics, width) for width in (80, 160))
    assert "novelty" not in narrow
    assert "novelty" in wide
    for text, width in ((narrow, 80), (wide, 160)):
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text


def test_point_19_the_best_source_and_the_popular_list_are_told_and_no_other() -> None:
    """Point 19: the verdict was one comparison of nine."""
    metrics = everything()
    ndcg = f"ndcg@{metrics['focus']}"
    values = {"top_popular": 0.1, "bad": 0.2, "worse": 0.05}
    metrics["lists"] |= {name: metrics["lists"]["bad"] | {ndcg: value} for name, value in values.items()}
    one = next(c for c in metrics["comparisons"] if c["metric"] == ndcg)
    metrics["comparisons"] = [one | {"against": name} for name in values]
    assert best_source(metrics) == "bad"
    said = [line for line in lines(metrics) if ndcg in line]
    assert [name for name in values if any(name in line for line in said)] == ["top_popular", "bad"]
    assert len([line for line in lines(metrics, verbose=True) if ndcg in line]) == 3


def test_point_9_the_terminal_says_what_was_left_out() -> None:
    """Point 9: what was left out stands on the first screen, without being asked for."""
    part = LeftOut("source ease is off", 0.5, "it is", "it costs", "ease.items=3")
    found = lines(everything() | {"left_out": as_rows([part])})
    assert [line for line in found if line.startswith("left out: source ease is off (50.0%), as it is")] != []


def test_sentences_by_outcome() -> None:
    comparison = {
        "list": "final",
        "against": "als",
        "metric": "ndcg@10",
        "difference": 0.0021,
        "low": 0.0016,
        "high": 0.0026,
    }
    assert sentence(comparison) == "final beats als by +.0021 ndcg@10 [+.0016, +.0026]"
    worse = comparison | {"difference": -0.01, "low": -0.02, "high": -0.001}
    assert sentence(worse) == "final loses to als by -.0100 ndcg@10 [-.0200, -.0010]"
    assert "cannot be told from" in sentence(comparison | {"low": -0.1})


def test_nobody_to_evaluate_gives_null_and_words() -> None:
    own = np.arange(6, dtype=np.int32).reshape(2, 3)
    train, nothing = log_of(own), log_of(own[:, :0])
    answers = truth(train, nothing)
    items = describe_items(train.item_counts()[0], Catalogue(Vocabulary(pl.Series(range(N_ITEMS)))))
    meters = {name: ListMeter(answers, items) for name in ("als", "recommendations")}
    metrics = summarise(answers, meters, np.random.default_rng(0), funnel=FunnelMeter(answers, ["als"]))
    json.dumps(metrics, allow_nan=False)
    assert metrics["lists"]["als"]["ndcg@10"] is None
    assert metrics["intervals"]["als"]["ndcg@10"] is None
    assert metrics["comparisons"] == []
    assert metrics["notes"][0].startswith("no user is evaluated")
    assert "als: nobody got a list" in metrics["notes"]
    assert lines(metrics)


def plausible() -> dict[str, Any]:
    values = {"precision@5": 0.02, "novelty@20": 1.0, "ndcg@20": 0.05}
    return {
        "ks": [5, 20],
        "focus": 20,
        "final": "recommendations",
        "filter_seen": True,
        "lists": {"als": dict(values), "recommendations": dict(values)},
        "comparisons": [],
        "funnel": None,
    }


def test_a_plausible_result_warns_of_nothing() -> None:
    assert warnings(plausible()) == []


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        ("ndcg@20", 0.5, "10 times that of the best source, als"),
        ("precision@5", 0.51, "also in train"),
        ("novelty@20", 0.98, "2.00% of its top 20 were already heard"),
        ("ndcg@20", 0, "not one hit"),
    ],
)
def test_implausible_results_name_their_likeliest_cause(metric: str, value: float, words: str) -> None:
    metrics = plausible()
    metrics["lists"]["recommendations"][metric] = value
    (warning,) = warnings(metrics)
    assert words in warning
    assert "ikeliest" in warning


def test_a_final_list_below_its_best_source_is_pointed_out() -> None:
    metrics = plausible()
    metrics["comparisons"] = [
        {"metric": "ndcg@20", "against": "als", "difference": -0.01, "low": -0.02, "high": -0.001}
    ]
    assert warnings(metrics)[0].startswith("recommendations is significantly below als by ndcg@20 (-.0100)")


def test_hits_that_no_source_proposed_are_pointed_out() -> None:
    metrics = plausible() | {"funnel": {"final": {"hits_no_source_proposed": 7}}}
    assert warnings(metrics)[0].startswith("7 hits of the final list were proposed by no source")


# Files. Users ann, bob, cy and dee; bob has no list, cy no truth that counts, dee no train.
LISTS: Columns = {
    "user_id": ["ann", "ann", "ann", "cy", "dee"],
    "track_id": [7, 5, 9, 7, 5],
    "rank": [2, 1, 3, 1, 1],
}
TRUTH: Columns = {"user_id": ["ann", "ann", "ann", "bob", "cy", "dee"], "item_id": [7, 3, 7, 5, 3, 5]}
TRAIN: Columns = {"user_id": ["ann", "ann", "bob", "cy", "cy"], "item_id": [3, 5, 7, 3, 5]}


def write(folder: Path, **tables: Columns) -> dict[str, Path]:
    paths = {name: folder / f"{name}.parquet" for name in tables}
    for name, columns in tables.items():
        pl.DataFrame(columns).write_parquet(paths[name])
    return paths


def test_files_without_train(tmp_path: Path) -> None:
    paths = write(tmp_path, lists=LISTS, truth=TRUTH)
    metrics = evaluate_files(paths["lists"], paths["truth"], ks=(1, 2), resamples=50)
    json.dumps(metrics, allow_nan=False)
    values = metrics["lists"]["lists"]
    # Truth: ann 3 and 7, bob 5, cy 3, dee 5. Lists: ann 5 7 9, cy 7, dee 5.
    assert values["recall@2"] == pytest.approx((1 / 2 + 0 + 0 + 1) / 4)
    assert values["ndcg@2"] == pytest.approx((1 / math.log2(3) / (1 + 1 / math.log2(3)) + 1) / 4)
    assert values["novelty@1"] is None
    assert values["coverage"] is None
    assert metrics["population"] == {"test_users": 4, "evaluated_users": 4, "test_events": 6, "truth_items": 5}
    assert any(note.startswith("no train file") for note in metrics["notes"])
    assert table(metrics).row_count == 1


def test_files_with_train(tmp_path: Path) -> None:
    paths = write(tmp_path, lists=LISTS, truth=TRUTH, train=TRAIN)
    metrics = evaluate_files(paths["lists"], paths["truth"], paths["train"], ks=(1, 2), resamples=50)
    # Truth: ann 7 (3 is heard), bob 5; cy's 3 is heard, dee is cold.
    assert metrics["population"]["evaluated_users"] == 2
    assert metrics["population"]["cold_test_users"] == 1
    assert metrics["lists"]["lists"]["recall@2"] == pytest.approx((1 + 0) / 2)
    assert metrics["lists"]["lists"]["coverage@1"] == pytest.approx(2 / 3), "of 3, 5 and 7, the items of train"
    seen = evaluate_files(paths["lists"], paths["truth"], paths["train"], ks=(1, 2), filter_seen=False, resamples=50)
    assert seen["population"]["evaluated_users"] == 3
    assert seen["lists"]["lists"]["recall@2"] == pytest.approx((1 / 2 + 0 + 0) / 3)


def test_lists_by_score_rank_as_lists_by_rank(tmp_path: Path) -> None:
    scored = {"user_id": LISTS["user_id"], "item_id": LISTS["track_id"], "score": [0.5, 0.9, 0.1, 2, 1]}
    paths = write(tmp_path, lists=LISTS, scored=scored, truth=TRUTH)
    one = evaluate_files(paths["lists"], paths["truth"], resamples=50)
    two = evaluate_files(str(paths["scored"]), str(paths["truth"]), resamples=50)
    assert one["lists"]["lists"] == two["lists"]["scored"]


BAD: list[tuple[Columns, Columns, str]] = [
    ({"user_id": ["ann"], "rank": [1]}, TRUTH, "no column item_id. It has user_id, rank"),
    ({"user_id": ["ann"], "item_id": [7]}, TRUTH, "neither rank nor score"),
    ({"user_id": ["ann"], "item_id": [7], "rank": ["first"]}, TRUTH, "1 of 1 rows have a rank that is not a number"),
    ({"user_id": ["ann"], "item_id": [7.5], "rank": [1]}, TRUTH, "item_id is of type Float64"),
    (
        {"user_id": ["ann", None], "item_id": [7, 5], "rank": [1, 1]},
        TRUTH,
        r"1 of 2 rows have no user_id \(first: row 2\)",
    ),
    ({"user_id": ["ann"], "item_id": [7], "score": [math.nan]}, TRUTH, "1 of 1 rows have no rank or score"),
    (
        {"user_id": ["ann", "bob", "bob"], "item_id": [7, 5, 5], "rank": [1, 1, 2]},
        TRUTH,
        r"1 of 3 rows repeat an item in a list \(first: user bob, item 5\)",
    ),
    ({"user_id": [1], "item_id": [7], "rank": [1]}, TRUTH, "user_id is Int64 in .* and String in .*truth.parquet"),
    ({"user_id": ["eve"], "item_id": [7], "rank": [1]}, TRUTH, "no user_id in common"),
    ({"user_id": ["ann"], "item_id": [70], "rank": [1]}, TRUTH, "no item_id in common"),
    (LISTS, {"user_id": ["ann"]}, "truth.parquet: no column item_id"),
]


@pytest.mark.parametrize(("lists", "answers", "message"), BAD)
def test_bad_files_get_one_clear_message(tmp_path: Path, lists: Columns, answers: Columns, message: str) -> None:
    paths = write(tmp_path, lists=lists, truth=answers)
    with pytest.raises(DataError, match=message):
        evaluate_files(paths["lists"], paths["truth"])


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    paths = write(tmp_path, truth=TRUTH)
    empty = tmp_path / "empty.parquet"
    pl.DataFrame(LISTS).head(0).write_parquet(empty)
    with pytest.raises(DataError, match="no rows"):
        evaluate_files(empty, paths["truth"])


SMALL: dict[str, Columns] = {
    "train": {"user_id": [1, 1, 2, 2], "item_id": [1, 2, 1, 3]},
    "test": {"user_id": [1, 8, 9], "item_id": [3, 9, 9]},
    "lists": {"user_id": [1, 1, 2, 7], "item_id": [3, 9, 2, 1], "rank": [1, 2, 1, 1]},
    "popular": {"rank": [1, 2, 3], "item_id": [1, 3, 2]},
    "catalogue": {"item_id": [1, 2, 3, 4, 5]},
}


def test_point_3_cold_users_of_unknown_items_are_counted(tmp_path: Path) -> None:
    """Items that neither train nor catalogue knows vanished before users were counted: no cold users instead of two."""
    paths = write(tmp_path, **SMALL)
    metrics = evaluate_files(paths["lists"], paths["test"], paths["train"], resamples=20)
    counts = metrics["population"]
    assert (counts["cold_test_users"], counts["test_users"], counts["test_events"]) == (2, 3, 3)
    assert (counts["train_users"], counts["test_events_of_unknown_items"]) == (2, 2)
    assert (metrics["cold"]["users"], metrics["cold"]["share_of_cold_users_without_hit"]) == (2, 1)
    assert metrics["cold"]["mean_hits_of_cold_users_with_hit"] is None
    said = lines(metrics)
    assert "none of the cold users (2) heard an item that exists in train" in said
    assert "100.0% of all cold users (2) find none in the popular list of 2" in said
    loaded = load_ready_made(str(paths["train"]), str(paths["test"]), None)
    assert loaded.test is not None
    assert loaded.found.test is not None
    assert (loaded.found.test.cold_users, loaded.found.test.events) == (2, 3)
    of_run = cold_users(loaded.test.cold, loaded.train.plays, loaded.train.popularity_order, 2)
    assert of_run == metrics["cold"]


def test_point_4_coverage_says_whose_items_it_is_of(tmp_path: Path) -> None:
    """`evaluate` and `run` gave the same lists two coverages, as only one of them knew the catalogue."""
    paths = write(tmp_path, **SMALL)
    files = paths["lists"], paths["test"], paths["train"]
    without, given = evaluate_files(*files, resamples=20), evaluate_files(*files, paths["catalogue"], resamples=20)
    # Lists of train users hold 3, 9 and 2; nothing but the list knows 9, and user 7 is not in train.
    assert (without["lists"]["lists"]["coverage"], given["lists"]["lists"]["coverage"]) == (2 / 3, 2 / 5)
    words = "coverage and gini are of 5 items, those of catalogue.parquet and of train.parquet"
    assert words in given["notes"]
    assert "5 items (those of catalogue.parquet" in given["definitions"]["coverage"]
    assert any("3 items, those of train.parquet, as no catalogue was given" in note for note in without["notes"])
    assert any(note.endswith("missing: no catalogue was given") for note in without["notes"])
    assert any(note.endswith("missing: no item has a genre") for note in given["notes"])
    assert without["lists"]["lists"]["listed_users"] == 2
    assert "1 of 3 users of the lists are not in train; their lists are left out" in without["notes"]
    assert "1 of 4 items of the lists are known from nowhere else; coverage passes them over" in without["notes"]
    bare = evaluate_files(paths["lists"], paths["test"], items=paths["catalogue"], resamples=20)
    assert bare["catalogue"] == {"items": 6, "of": "those of catalogue.parquet and of test.parquet"}
    assert bare["lists"]["lists"]["coverage"] == 4 / 6
    assert evaluate_files(paths["lists"], paths["test"], resamples=20)["catalogue"] is None


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([11, 12, 1], r"the ranks of 1 of 2 lists are not 1, 2, 3 and so on \(first: user 1 has 11, 12\)"),
        ([1, 3, 1], "user 1 has 1, 3"),
        ([0, 1, 1], "user 1 has 0, 1"),
        ([1, 1, 1], "user 1 has 1, 1"),
    ],
)
def test_point_4_gaps_in_rank_are_an_error(tmp_path: Path, ranks: list[int], words: str) -> None:
    """Ranks 11 to 20 given alone were scored as ranks 1 to 10."""
    lists: Columns = {"user_id": [1, 1, 2], "item_id": [3, 2, 2], "rank": ranks}
    paths = write(tmp_path, **(SMALL | {"lists": lists, "popular": {"rank": ranks, "item_id": [1, 2, 3]}}))
    with pytest.raises(DataError, match=words):
        evaluate_files(paths["lists"], paths["test"], paths["train"])
    with pytest.raises(DataError, match="1 of 1 lists are not 1, 2, 3"):
        evaluate_files(paths["popular"], paths["test"], paths["train"])


def test_point_4_one_list_for_everybody(tmp_path: Path) -> None:
    """The popular list of a run has no user_id: each user's list is what they had not heard of it."""
    paths = write(tmp_path, **SMALL)
    files = paths["popular"], paths["test"], paths["train"]
    values = evaluate_files(*files, ks=(1, 2, 3), resamples=20)["lists"]["popular"]
    # User 1 had heard 1 and 2 and is left with 3, a hit; user 2 is left with 2.
    assert (values["precision@1"], values["novelty@1"], values["listed_users"], values["coverage@1"]) == (
        1,
        1,
        2,
        2 / 3,
    )
    kept = evaluate_files(*files, ks=(1, 2, 3), filter_seen=False, resamples=20)["lists"]["popular"]
    assert (kept["precision@1"], kept["precision@2"], kept["novelty@1"], kept["coverage"]) == (0, 0.5, 0, 1)
    alone = evaluate_files(paths["popular"], paths["test"], ks=(2,), resamples=20)
    assert alone["lists"]["popular"]["recall@2"] == pytest.approx(1 / 3)
    scored = write(tmp_path, scored={"item_id": [1, 3], "score": [2.0, 1.0]})["scored"]
    with pytest.raises(DataError, match=r"no column user_id.*one list for everybody"):
        evaluate_files(scored, paths["test"], paths["train"])


def test_point_4_train_as_truth_is_an_error(tmp_path: Path) -> None:
    """A truth that equals train measures nothing; both names of one file, or two files of the same rows."""
    paths = write(tmp_path, **SMALL)
    with pytest.raises(DataError, match="train and test hold the same 4 events"):
        evaluate_files(paths["lists"], paths["train"], paths["train"])


def test_point_10_no_metric_of_a_k_that_no_list_reaches(tmp_path: Path) -> None:
    """Lists of two items had figures at 5, 10, 20 and 100, which were those at 2."""
    paths = write(tmp_path, **SMALL)
    metrics = evaluate_files(paths["lists"], paths["test"], paths["train"], ks=(1, 2, 5, 20), resamples=20)
    assert (metrics["ks"], metrics["focus"]) == ([1, 2], 2)
    assert not [name for name in metrics["lists"]["lists"] if name.endswith(("@5", "@20"))]
    assert "nothing is measured at 5, 20: no list holds more than 2 items" in metrics["notes"]
    assert evaluate_files(paths["lists"], paths["test"], paths["train"], ks=(5,), resamples=20)["ks"] == [2]


@pytest.mark.parametrize(("lost", "limits"), [(6, "both"), (300, "retrieval"), (-300, "ranking")])
def test_point_10_limits_only_when_an_interval_says_so(lost: int, limits: str) -> None:
    """42.4 against 42.1% was "retrieval limits"; the interval is of the share lost by one less that by the other."""
    n = 1000
    own = np.stack([np.arange(n) % 7, np.full(n, 9)], axis=1).astype(np.int32)
    train, test = log_of(own), log_of(np.full((n, 1), 8, np.int32))
    test = Log(test.start, test.stop, np.where(np.arange(n) < 2, 9, 8).astype(np.int32), None, None, N_ITEMS)
    # Item 8 is in train through one more user; of the other users' one hit each, some are proposed and buried.
    start = np.append(train.start, 2 * n).astype(np.int64)
    train = Log(
        start, start + np.append(np.full(n, 2), 1), np.append(train.item, [8]).astype(np.int32), None, None, N_ITEMS
    )
    test = Log(np.append(test.start, n), np.append(test.stop, n), test.item, None, None, N_ITEMS)
    answers = truth(train, test, filter_seen=False)
    rng = np.random.default_rng(3)
    buried = rng.permutation(n) < (n - lost) // 2
    indptr = np.concatenate(([0], np.cumsum(buried))).astype(np.int64)
    union = Lists(indptr, test.item[buried], np.zeros(int(buried.sum()), np.float32))
    meter = FunnelMeter(answers, ["one"], k=5)
    users = np.arange(n, dtype=np.int32)
    meter.add(users, union, np.ones((len(union.item), 1), np.bool_), Lists.empty(n))
    found = meter.summary(np.random.default_rng(0))
    each = np.where(buried, -1.0, 1.0)
    weights = np.random.default_rng(8).multinomial(n, np.full(n, 1 / n), 4000)
    low, high = np.quantile(weights @ each / n, [0.025, 0.975])
    assert found["limits"] == limits
    assert found["retrieval_less_ranking"] == pytest.approx(each.mean(), abs=1e-9)
    assert found["retrieval_less_ranking_interval"] == pytest.approx([low, high], abs=0.01)
    assert found["share_lost_by_retrieval"] - found["share_lost_by_ranking"] == pytest.approx(each.mean(), abs=1e-9)
    metrics = everything() | {"funnel": everything()["funnel"] | {"limits": limits}}
    words = {"both": "retrieval and ranking limit the result about equally: of"}.get(
        limits, f"{limits} limits the result: of"
    )
    assert any(line.startswith(words) for line in lines(metrics))


@pytest.mark.parametrize("repeats", [False, True])
def test_the_table_fits_a_narrow_terminal(repeats: bool) -> None:
    names = ["ndcg@20", "recall@20", "precision@5", "hit_rate@20", "coverage", "diversity@20"]
    won = {"list": "recommendations", "against": "own", "metric": "ndcg@20", "difference": 0.1, "low": 0.1, "high": 0.1}
    part = {
        "lists": {"personal_als": {"recall@20": 0.125}, "recommendations": {"recall@20": 0.5}},
        "comparisons": [won, won | {"against": "personal_als", "difference": 0.3}],
        "population": {"evaluated_users": 2},
    }
    metrics = {
        "ks": [5, 20],
        "focus": 20,
        "final": "recommendations",
        "parts": {"repeat": part, "discovery": part} if repeats else None,
        "lists": {"personal_als": dict.fromkeys(names, 0.25), "recommendations": dict.fromkeys(names, 1.0)},
        "comparisons": [],
        "funnel": None,
        "cold": None,
        "population": {"evaluated_users": 2, "truth_items": 3},
        "definitions": {"population": "warm", "truth": "test items", "interval": "bootstrap"},
        "notes": [],
        "warnings": [],
    }
    console = Console(width=80)
    with console.capture() as captured:
        console.print(shown(metrics))
    assert "…" not in captured.get()
    own = ("repeat", "discovery", ".1250", "repeat (2 users): recommendations beats own by +.1000") if repeats else ()
    for word in ("precision", *(own or ("hit_rate", "diversity")), ".2500", "1.0000"):
        assert word in captured.get()
