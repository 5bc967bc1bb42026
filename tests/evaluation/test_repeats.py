"""Repeats and discoveries apart, the source of repeats, and the rules that a list with repeats must beat."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.times import DAY
from tonearm.data.truth import truth
from tonearm.data.vocabulary import Vocabulary
from tonearm.evaluation.meters import AccuracyMeter
from tonearm.evaluation.repeats import own_rules, parts_of
from tonearm.sources.again import Again

N_ITEMS = 7
NOW = 100 * DAY
# (item, day) of each user; item 6 is never heard in train
TRAIN: list[list[tuple[int, int]]] = [
    [(3, 10), (3, 11), (3, 12), (1, 60), (5, 90), (1, 95), (0, 95)],
    [],
    [(2, 20)],
    [(4, 50), (5, 50), (3, 70)],
]
TEST = [[(1, 101), (2, 102), (1, 103), (6, 104)], [(1, 105)], [(2, 106)], [(0, 107), (5, 108), (1, 109)]]


def log_of(rows: list[list[tuple[int, int]]]) -> Log:
    stop = np.cumsum([len(row) for row in rows]).astype(np.int64)
    item = np.array([i for row in rows for i, _ in row], np.int32)
    time = np.array([day * DAY for row in rows for _, day in row], np.int32)
    return Log(np.concatenate(([0], stop[:-1])).astype(np.int64), stop, item, time, None, N_ITEMS)


def dataset(log: Log) -> Dataset:
    ids = Vocabulary(pl.Series(range(N_ITEMS)))
    return Dataset(Vocabulary(pl.Series(range(log.n_users))), Catalogue(ids), log, NOW if log.time is not None else 0)


def test_the_truth_is_cut_in_what_was_heard_and_what_was_not() -> None:
    train = dataset(log_of(TRAIN))
    whole = truth(train.log, log_of(TEST), filter_seen=False)
    parts = parts_of(whole, train.pairs)
    assert (whole.users.tolist(), whole.item.tolist()) == ([0, 2, 3], [1, 2, 2, 0, 1, 5])
    repeat, discovery = parts["repeat"], parts["discovery"]
    assert (repeat.users.tolist(), repeat.indptr.tolist(), repeat.item.tolist()) == ([0, 2, 3], [0, 1, 2, 3], [1, 2, 5])
    assert (discovery.users.tolist(), discovery.indptr.tolist()) == ([0, 3], [0, 1, 3])
    assert discovery.item.tolist() == [2, 0, 1]
    assert discovery.population == {"evaluated_users": 2, "truth_items": 3}
    # what was not heard is the truth of a run without heard items
    plain = truth(train.log, log_of(TEST), filter_seen=True)
    for name in ("users", "indptr", "item", "history"):
        np.testing.assert_array_equal(getattr(discovery, name), getattr(plain, name))


def test_hits_of_the_parts_add_up_to_all_hits() -> None:
    train = dataset(log_of(TRAIN))
    whole = truth(train.log, log_of(TEST), filter_seen=False)
    lists = own_rules(train.block(0, 4, False), train.popularity_order, 4)["own_recent"]
    hits = {}
    for name, part in {"all": whole, **parts_of(whole, train.pairs)}.items():
        meter = AccuracyMeter(part, (4,))
        meter.count(np.arange(4, dtype=np.int32), lists)
        recall = meter.values[:, meter.columns.index("recall@4")]
        hits[name] = round(float(recall @ np.diff(part.indptr)))
    # user 0: 1, but not 2; user 2: 2; user 3: 5, and of {0, 1} the popular one that fills the list, 1
    assert hits == {"all": 4, "repeat": 3, "discovery": 1}


def test_simple_rules_by_hand() -> None:
    train = dataset(log_of(TRAIN))
    popular = train.popularity_order
    assert popular.tolist() == [3, 1, 5, 0, 2, 4]
    rules = own_rules(train.block(0, 4, False), popular, 6)
    rows = {n: [r.item[r.indptr[u] : r.indptr[u + 1]].tolist() for u in range(4)] for n, r in rules.items()}
    # item 0 was last played when 1 was, which has more plays; of items with one play the last one comes first
    assert rows["own_frequent"] == [[3, 1, 0, 5, 2, 4], popular.tolist(), [2, 3, 1, 5, 0, 4], [3, 4, 5, 1, 0, 2]]
    assert rows["own_recent"] == [[1, 0, 5, 3, 2, 4], popular.tolist(), [2, 3, 1, 5, 0, 4], [3, 4, 5, 1, 0, 2]]
    short = own_rules(train.block(0, 4, False), popular, 2)
    assert short["own_recent"].item.tolist() == [1, 0, 3, 1, 2, 3, 3, 4]
    untimed = dataset(replace(train.log, time=None))
    assert list(own_rules(untimed.block(0, 4, False), popular, 2)) == ["own_frequent"]


@pytest.mark.parametrize("timed", [True, False])
def test_again_is_the_users_own_items_by_faded_plays(timed: bool) -> None:
    data = dataset(log_of(TRAIN) if timed else replace(log_of(TRAIN), time=None))
    model = Again(decay=0.5).fit(data, np.random.default_rng(0))
    lists = model.recommend(data.block(0, 4, False), 3)
    expected = np.zeros((4, N_ITEMS))
    for user, row in enumerate(TRAIN):
        for item, day in row:
            expected[user, item] += (1 + (100 - day if timed else 0)) ** -0.5
    for user in range(4):
        part = slice(lists.indptr[user], lists.indptr[user + 1])
        best = np.argsort(-expected[user], kind="stable")[: min(3, int((expected[user] > 0).sum()))]
        assert lists.item[part].tolist() == best.tolist()
        np.testing.assert_allclose(lists.score[part], expected[user, best], rtol=1e-6)
    assert len(model.recommend(data.block(0, 4, True), 3).item) == 0


def test_what_is_played_often_and_what_was_played_lately_come_to_rank_by_decay() -> None:
    data = dataset(log_of([[(3, 10), (3, 11), (3, 12), (1, 99)]]))
    firsts = [
        int(Again(decay=decay).fit(data, np.random.default_rng(0)).recommend(data.block(0, 1, False), 1).item[0])
        for decay in (0.0, 1.0)
    ]
    assert firsts == [3, 1]
