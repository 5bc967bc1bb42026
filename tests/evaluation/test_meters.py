"""Metrics against an example worked by hand, and every kernel against a slow, readable twin.

The example: items A to F are 0 to 5; plays in train are A 3, B 2, C 1, D 1.

    user  train    test        truth    list
    0     A B B    B C C D F   C D      D E C
    1     A C      B           B        D B
    2     A        A           -        A B
    3     D        A B C       A B C    -
    4     -        A F         cold

B and A were already heard by users 0 and 2; F is not in train.
"""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from tests.kernels.twins import slow_accuracy, slow_beyond, slow_collect_truth

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.lists import Lists
from tonearm.data.log import Log, Pairs
from tonearm.data.truth import truth
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import ConfigError
from tonearm.evaluation.funnel import FunnelMeter, pack
from tonearm.evaluation.meters import (
    ListMeter,
    activity_levels,
    check_ks,
    cold_users,
    describe_items,
    gini,
    group_sizes,
)
from tonearm.kernels import metrics as kernels
from tonearm.types import Int32s, Int64s

A, B, C, D, E, F = range(6)
LOG2_3 = math.log2(3)
DISCOUNT = np.array([1 / math.log2(rank + 1) for rank in range(1, 21)])


def ragged(rows: Sequence[Sequence[int]]) -> tuple[Int64s, Int32s]:
    """CSR of some rows."""
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    return indptr, np.array([value for row in rows for value in row], np.int32)


def log_of(rows: Sequence[Sequence[int]], n_items: int) -> Log:
    indptr, item = ragged(rows)
    return Log(indptr[:-1], indptr[1:], item, None, None, n_items)


def lists_of(rows: Sequence[Sequence[int]]) -> Lists:
    indptr, item = ragged(rows)
    return Lists(indptr, item, np.zeros(len(item), np.float32))


TRAIN = log_of([[A, B, B], [A, C], [A], [D], []], 6)
TEST = log_of([[B, C, C, D, F], [B], [A], [A, B, C], [A, F]], 6)
LISTS = lists_of([[D, E, C], [D, B], [A, B], [], []])
GENRES = Tags(*ragged([[2], [2, 1], [1], [0], [], []]), Vocabulary(pl.Series(["jazz", "pop", "rock"])))
CATALOGUE = Catalogue(Vocabulary(pl.Series(list("ABCDEF"))), genres=GENRES)
USERS = np.arange(5, dtype=np.int32)


def measured(catalogue: Catalogue = CATALOGUE) -> ListMeter:
    meter = ListMeter(truth(TRAIN, TEST), describe_items(TRAIN.item_counts()[0], catalogue), ks=(3, 1, 2))
    meter.add(USERS, LISTS, Pairs.of(TRAIN))
    return meter


def test_truth_leaves_out_what_cannot_be_recommended_and_counts_it() -> None:
    found = truth(TRAIN, TEST)
    assert found.users.tolist() == [0, 1, 3]
    assert found.indptr.tolist() == [0, 2, 3, 6]
    assert found.item.tolist() == [C, D, B, A, B, C]
    assert found.history.tolist() == [3, 2, 1]
    assert found.population == {
        "train_users": 4,
        "test_users": 5,
        "warm_test_users": 4,
        "cold_test_users": 1,
        "warm_test_users_without_truth": 1,
        "evaluated_users": 3,
        "test_events": 12,
        "warm_test_items": 9,
        "warm_test_items_not_in_train": 1,
        "warm_test_items_already_heard": 2,
        "truth_items": 6,
    }
    assert found.rows_of(np.array([3, 2, 0], np.int32)).tolist() == [2, -1, 0]


def test_truth_keeps_heard_items_where_seen_ones_may_be_recommended() -> None:
    found = truth(TRAIN, TEST, filter_seen=False)
    assert found.users.tolist() == [0, 1, 2, 3]
    assert found.item.tolist() == [B, C, D, B, A, A, B, C]
    assert found.population["warm_test_items_already_heard"] == 0


def test_truth_is_the_same_from_a_log_and_from_pairs() -> None:
    one, other = truth(TRAIN, TEST), truth(Pairs.of(TRAIN), TEST)
    assert one.item.tolist() == other.item.tolist()
    assert one.population == other.population
    assert other.history.tolist() == [2, 2, 1]


def test_truth_of_nobody_is_empty() -> None:
    found = truth(TRAIN, log_of([[], [], [], [], []], 6))
    assert (len(found), len(found.item), found.population["test_users"]) == (0, 0, 0)
    assert found.rows_of(USERS).tolist() == [-1] * 5


def test_accuracy_by_hand() -> None:
    values = measured().summary()
    assert values["precision@1"] == pytest.approx(1 / 3)
    assert values["precision@3"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert values["recall@2"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert values["recall@3"] == pytest.approx((1 + 1 + 0) / 3)
    assert values["ndcg@2"] == pytest.approx((1 / (1 + 1 / LOG2_3) + 1 / LOG2_3 + 0) / 3)
    assert values["ndcg@3"] == pytest.approx(((1 + 1 / 2) / (1 + 1 / LOG2_3) + 1 / LOG2_3 + 0) / 3)
    assert values["hit_rate@1"] == pytest.approx(1 / 3)
    assert values["hit_rate@2"] == pytest.approx(2 / 3)
    assert values["mrr@1"] == pytest.approx(1 / 3)
    assert values["mrr@3"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert values["map@3"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2 + 0) / 3)


def test_beyond_accuracy_by_hand() -> None:
    values = measured().summary()
    assert values["novelty@1"] == pytest.approx(2 / 3)
    assert values["novelty@2"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert values["surprisal@1"] == pytest.approx((2 * math.log2(7) + math.log2(7 / 3)) / 3)
    assert values["popularity@1"] == pytest.approx((1 + 1 + 3) / 3)
    assert values["history_popularity"] == pytest.approx((2.5 + 2 + 3) / 3)
    assert values["popularity_bias@1"] == pytest.approx(-1 / 3)
    assert values["diversity@1"] is None
    assert values["diversity@2"] == pytest.approx((1 + 1 - 1 / math.sqrt(2)) / 2)
    assert values["coverage"] == pytest.approx(5 / 6)
    assert values["coverage@1"] == pytest.approx(2 / 6)
    assert values["gini@1"] == pytest.approx(13 / 18)
    assert (values["listed_users"], values["evaluated_listed_users"]) == (3, 2)


def test_the_very_first_item_of_the_first_history_is_no_novelty() -> None:
    meter = ListMeter(truth(TRAIN, TEST), describe_items(TRAIN.item_counts()[0], CATALOGUE), ks=(1,))
    meter.add(USERS, lists_of([[A], [], [], [], []]), Pairs.of(TRAIN))
    assert meter.summary()["novelty@1"] == 0


def test_some_rows_of_a_truth_are_theirs_alone() -> None:
    whole = truth(TRAIN, TEST)
    some = whole.of_rows(np.array([1]))
    assert some.users.tolist() == whole.users[1:2].tolist()
    assert some.item.tolist() == whole.item[whole.indptr[1] : whole.indptr[2]].tolist()
    assert len(some.item) > 0


def test_without_genres_diversity_is_null_and_there_are_no_genre_slices() -> None:
    meter = measured(Catalogue(CATALOGUE.items))
    assert meter.summary()["diversity@3"] is None
    assert meter.slices()["genre"] == []


def test_slices_by_hand() -> None:
    slices = measured().slices()
    assert [(s["slice"], s["users"], s["history_from"], s["history_to"]) for s in slices["activity"]] == [
        ("light", 1, 1, 1),
        ("medium", 1, 2, 2),
        ("heavy", 1, 3, 3),
    ]
    assert [s["recall@3"] for s in slices["activity"]] == [0, 1, 1]
    head, torso, tail = slices["popularity"]
    assert (head["users"], head["truth_items"], head["recall@3"]) == (2, 3, 0.5)
    assert (torso["users"], torso["truth_items"], torso["recall@3"], torso["ndcg@3"]) == (2, 2, 0.5, 0.25)
    assert (tail["users"], tail["truth_items"], tail["recall@3"], tail["ndcg@3"]) == (1, 1, 1, 1)
    # First genres: rock (A and B, 5 plays), then jazz (D) and pop (C) with one each.
    assert [s["slice"] for s in slices["genre"]] == ["rock", "jazz", "pop"]
    assert [s["recall@3"] for s in slices["genre"]] == [0.5, 1, 0.5]


def test_activity_levels_keep_equal_histories_together() -> None:
    assert activity_levels(np.array([5, 1, 1, 1, 9, 7])).tolist() == [1, 0, 0, 0, 2, 2]
    assert activity_levels(np.array([4, 4])).tolist() == [0, 0]
    assert activity_levels(np.empty(0, np.int64)).tolist() == []


def test_cold_users_by_hand() -> None:
    cold = log_of([[A, F, A], [F], [B, C, D], []], 6)
    plays = TRAIN.item_counts()[0]
    assert cold_users(cold, plays, np.array([A, C, B, D], np.int32), k=3) == {
        "users": 3,
        "events": 7,
        "users_with_truth": 2,
        "users_with_hit": 2,
        "k": 3,
        "share_with_hit": 1.0,
        "mean_hits": 1.5,
        "recall": pytest.approx((1 + 2 / 3) / 2),
        "share_of_cold_users_without_hit": pytest.approx(1 / 3),
        "mean_hits_of_cold_users_with_hit": 1.5,
        "note": None,
    }


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        ([], "no cold users"),
        ([[], []], "no cold users"),
        ([[F]], "none of the cold users (1) heard an item that exists in train"),
    ],
)
def test_no_cold_users_is_null_and_words(rows: list[list[int]], note: str) -> None:
    found = cold_users(log_of(rows, 6), TRAIN.item_counts()[0], np.array([A], np.int32), k=5)
    assert (found["share_with_hit"], found["mean_hits"], found["note"]) == (None, None, note)


def test_funnel_by_hand() -> None:
    meter = FunnelMeter(truth(TRAIN, TEST), ["x", "y"], k=2)
    union = lists_of([[C, D, E], [D], [], [A], []])
    member = np.array([[1, 1], [0, 1], [1, 0], [1, 0], [1, 0]], np.bool_)
    meter.add(USERS, union, member, LISTS)
    found = meter.summary(np.random.default_rng(0))
    x, y = found["sources"]["x"], found["sources"]["y"]
    assert (found["users"], found["truth_items"]) == (3, 6)
    assert (x["hits"], x["unique_hits"], x["final_hits"], x["buried"]) == (2, 1, 0, 2)
    assert (y["hits"], y["unique_hits"], y["final_hits"], y["buried"]) == (2, 1, 1, 1)
    assert x["ceiling"] == pytest.approx((1 / 2 + 0 + 1 / 3) / 3)
    assert (x["ceiling_micro"], x["overlap"], x["overlap_with"]) == (2 / 6, 1 / 4, {"y": 1 / 4})
    assert (y["candidates_per_user"], y["overlap"], y["overlap_with"]) == (2 / 3, 1 / 2, {"x": 1 / 2})
    assert found["union"] == {
        "candidates_per_user": 5 / 3,
        "ceiling": pytest.approx((1 + 0 + 1 / 3) / 3),
        "ceiling_micro": 3 / 6,
        "hits": 3,
    }
    assert (found["final"]["hits"], found["final"]["hits_no_source_proposed"]) == (2, 1)
    assert (found["buried"], found["buried_share"]) == (2, 2 / 3)
    # Possible at 2: two, one and two; of these user 3 was offered only one.
    assert (found["possible_hits"], found["limits"]) == (5, "both"), "three users tell no difference of .2"
    assert found["retrieval_less_ranking"] == pytest.approx(-0.2)
    assert (found["share_hit"], found["share_lost_by_ranking"], found["share_lost_by_retrieval"]) == (0.4, 0.4, 0.2)


def test_funnel_takes_bits_and_bools_alike() -> None:
    member = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], np.bool_)
    assert pack(member).tolist() == [5, 2, 0]


def test_funnel_refuses_too_many_sources() -> None:
    with pytest.raises(ConfigError, match="at most 16 sources, got 17"):
        FunnelMeter(truth(TRAIN, TEST), [str(i) for i in range(17)])


@pytest.mark.parametrize("ks", [(), (0, 5)])
def test_impossible_ks_are_refused(ks: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="whole number from 1 up"):
        check_ks(ks)


def test_gini_between_equal_and_one() -> None:
    assert gini(np.array([2, 2, 2]), 3) == pytest.approx(0)
    assert gini(np.array([0, 9, 0, 0]), 4) == pytest.approx(3 / 4)
    assert gini(np.zeros(3, np.int64), 3) is None


def random_rows(rng: np.random.Generator, n: int, n_items: int, longest: int, least: int = 0) -> list[list[int]]:
    return [rng.permutation(n_items)[: rng.integers(least, longest + 1)].tolist() for _ in range(n)]


@pytest.mark.parametrize("filter_seen", [True, False])
def test_truth_agrees_with_its_twin(filter_seen: bool) -> None:
    rng = np.random.default_rng(5)
    train = [rng.integers(0, 30, rng.integers(0, 12)).tolist() for _ in range(40)]
    test = [rng.integers(0, 40, rng.integers(0, 9)).tolist() for _ in range(40)]
    known = {item for row in train for item in row}
    found = truth(log_of(train, 40), log_of(test, 40), filter_seen)
    expected = {u: slow_collect_truth(train[u], test[u], known, filter_seen) for u in range(40) if train[u]}
    expected = {u: items for u, items in expected.items() if items}
    assert found.users.tolist() == list(expected)
    assert [found.item[a:b].tolist() for a, b in zip(found.indptr[:-1], found.indptr[1:], strict=True)] == list(
        expected.values()
    )


def test_accuracy_agrees_with_its_twin() -> None:
    rng = np.random.default_rng(1)
    ranked, wanted = random_rows(rng, 50, 25, 14), [sorted(row) for row in random_rows(rng, 50, 25, 9, least=1)]
    row = np.arange(50)
    row[::7] = -1
    ks = np.array([1, 3, 8, 20])
    found = np.zeros((50, 24))
    kernels.accuracy(row, *ragged(ranked), *ragged(wanted), DISCOUNT, DISCOUNT.cumsum(), ks, found)
    for i in range(50):
        expected = np.array([slow_accuracy(ranked[i], set(wanted[i]), int(k)) for k in ks]).T.ravel()
        np.testing.assert_allclose(found[i], expected if row[i] >= 0 else 0 * expected, atol=1e-12)


def test_grouped_agrees_with_its_twin() -> None:
    rng = np.random.default_rng(2)
    ranked, wanted = random_rows(rng, 40, 25, 14), [sorted(row) for row in random_rows(rng, 40, 25, 12, least=1)]
    label = rng.integers(-1, 3, 25).astype(np.int32)
    found, sizes = np.zeros((40, 6)), np.zeros((40, 3), np.int64)
    lists = (*ragged(ranked), *ragged(wanted))
    kernels.grouped(np.arange(40), *lists, DISCOUNT, DISCOUNT.cumsum(), label, 6, sizes, found)
    for i in range(40):
        for g in range(3):
            inside = {item for item in wanted[i] if label[item] == g}
            expected = slow_accuracy(ranked[i], inside, 6) if inside else [0.0] * 6
            assert found[i, [g, 3 + g]] == pytest.approx([expected[1], expected[2]])


def test_group_sizes_count_users_and_items() -> None:
    users, items = group_sizes(truth(TRAIN, TEST), np.array([0, 0, 1, -1, 1, 1], np.int32), 2)
    assert (users.tolist(), items.tolist()) == ([2, 2], [3, 2])


def test_beyond_agrees_with_its_twin() -> None:
    rng = np.random.default_rng(3)
    ranked, heard = random_rows(rng, 40, 25, 10), [sorted(row) for row in random_rows(rng, 40, 25, 9)]
    genres = random_rows(rng, 25, 6, 3)
    plays, information, ks = rng.random(25) * 9, rng.random(25), np.array([1, 4, 7])
    found = np.full((40, 13), np.nan)
    kernels.beyond(*ragged(ranked), *ragged(heard), plays, information, *ragged(genres), 6, ks, found)
    for i in range(40):
        expected = np.full((4, 3), np.nan)
        for c, k in enumerate(ks):
            top = ranked[i][:k]
            if top:
                expected[:, c] = slow_beyond(top, heard[i], plays, information, genres)
        of_history = np.mean(plays[heard[i]]) if ranked[i] and heard[i] else np.nan
        np.testing.assert_allclose(found[i], [*expected.ravel(), of_history], atol=1e-12)


def test_exposure_agrees_with_its_twin() -> None:
    rows = random_rows(np.random.default_rng(4), 30, 12, 9)
    found = np.zeros((3, 12), np.int32)
    kernels.count_exposure(*ragged(rows), np.array([2, 5]), found)
    expected = np.zeros((3, 12), np.int32)
    for row in rows:
        for place, item in enumerate(row):
            expected[0 if place < 2 else 1 if place < 5 else 2, item] += 1
    assert found.tolist() == expected.tolist()


def test_sums_pass_over_nan_and_do_not_depend_on_blocks() -> None:
    values = np.random.default_rng(6).random((50, 3))
    values[::4, 1] = np.nan
    whole, parts = (np.zeros(3), np.zeros(3, np.int64)), (np.zeros(3), np.zeros(3, np.int64))
    kernels.add_up(values, *whole)
    for lo in range(0, 50, 7):
        kernels.add_up(values[lo : lo + 7], *parts)
    np.testing.assert_allclose(whole[0], np.nansum(values, axis=0))
    assert whole[1].tolist() == [50, 37, 50]
    assert whole[0].tolist() == parts[0].tolist()


def test_funnel_kernels_agree_with_their_twin() -> None:
    rng = np.random.default_rng(7)
    wanted = [sorted(row) for row in random_rows(rng, 30, 20, 8, least=1)]
    union, final = random_rows(rng, 30, 20, 15), random_rows(rng, 30, 20, 9)
    member = [{item: int(rng.integers(1, 8)) for item in row} for row in union]
    row = np.where(np.arange(30) % 5 == 2, -1, np.arange(30))
    sizes = [len(wanted[i]) if row[i] >= 0 else 0 for i in range(30)]
    offset = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    bits = np.array([member[i][item] for i in range(30) for item in union[i]], np.uint32)
    found, hit = np.zeros(offset[-1], np.uint32), np.zeros(offset[-1], np.bool_)
    kernels.trace(row, *ragged(union), bits, *ragged(final), 4, *ragged(wanted), offset, found, hit)
    counts, recalls = np.zeros((2, 8), np.int64), np.zeros(5)
    possible, reachable = kernels.tally(offset, found, hit, 4, 3, counts, recalls)
    members = np.zeros(8, np.int64)
    kernels.count_members(row, ragged(union)[0], bits, members)

    expected, shares, wants, gets = np.zeros((2, 8), np.int64), np.zeros(5), 0, 0
    for i in np.flatnonzero(row >= 0):
        seen = [(item in final[i][:4], member[i].get(item, 0)) for item in wanted[i]]
        for is_hit, mask in seen:
            expected[int(is_hit), mask] += 1
        each = [sum(mask >> s & 1 for _, mask in seen) for s in range(3)]
        each += [sum(mask > 0 for _, mask in seen), sum(is_hit for is_hit, _ in seen)]
        shares += np.array(each) / len(seen)
        wants += min(4, len(seen))
        gets += min(4, sum(mask > 0 or is_hit for is_hit, mask in seen))
    assert counts.tolist() == expected.tolist()
    np.testing.assert_allclose(recalls, shares)
    assert (int(possible), int(reachable)) == (wants, gets)
    held = [m for i in range(30) if row[i] >= 0 for m in member[i].values()]
    assert members.tolist() == np.bincount(held, minlength=8).tolist()
