"""What must hold of metrics whatever the lists and the truth."""

from dataclasses import dataclass
from random import Random

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tonearm.data.catalogue import Catalogue
from tonearm.data.lists import Lists
from tonearm.data.log import Log, Pairs
from tonearm.data.truth import truth
from tonearm.data.vocabulary import Vocabulary
from tonearm.evaluation.funnel import FunnelMeter
from tonearm.evaluation.meters import ListMeter, describe_items
from tonearm.types import Int64s

N_ITEMS, KS = 12, (1, 3, 7)
Rows = list[list[int]]
# The first example compiles the kernels.
unhurried = settings(deadline=None, max_examples=60)
lists_of_items = st.lists(st.integers(0, N_ITEMS - 2), unique=True, max_size=9)
events = st.lists(st.integers(0, N_ITEMS - 2), max_size=8)


@dataclass(frozen=True)
class Case:
    """For each user: train events, test events, and their list. The last item is nobody's."""

    train: Rows
    test: Rows
    ranked: Rows


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n = draw(st.integers(1, 9))
    return Case(*(draw(st.lists(values, min_size=n, max_size=n)) for values in (events, events, lists_of_items)))


def bounds(rows: Rows) -> Int64s:
    return np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)


def log_of(rows: Rows) -> Log:
    indptr = bounds(rows)
    return Log(indptr[:-1], indptr[1:], np.array([i for row in rows for i in row], np.int32), None, None, N_ITEMS)


def lists_of(rows: Rows) -> Lists:
    item = np.array([i for row in rows for i in row], np.int32)
    return Lists(bounds(rows), item, np.zeros(len(item), np.float32))


def measured(case: Case, block: int = 100) -> ListMeter:
    train = log_of(case.train)
    catalogue = Catalogue(Vocabulary(pl.Series(range(N_ITEMS))))
    meter = ListMeter(truth(train, log_of(case.test)), describe_items(train.item_counts()[0], catalogue), KS)
    for lo in range(0, len(case.train), block):
        users = np.arange(lo, min(lo + block, len(case.train)), dtype=np.int32)
        meter.add(users, lists_of(case.ranked[lo : lo + block]), Pairs.of(train.users(users)))
    return meter


@given(cases())
@unhurried
def test_metrics_lie_between_zero_and_one(case: Case) -> None:
    meter = measured(case)
    assert ((meter.values >= 0) & (meter.values <= 1 + 1e-6)).all()
    for name, value in meter.summary().items():
        if value is not None and name.split("@")[0] not in (
            "surprisal",
            "popularity",
            "history_popularity",
            "popularity_bias",
        ):
            assert name.endswith("users") or 0 <= value <= 1 + 1e-12
        assert value is None or np.isfinite(value)


@given(cases(), st.integers(1, 4))
@unhurried
def test_the_size_of_blocks_changes_nothing(case: Case, block: int) -> None:
    one, other = measured(case), measured(case, block)
    assert one.summary() == other.summary()
    assert one.slices() == other.slices()
    assert one.values.tolist() == other.values.tolist()


@given(cases(), st.randoms(use_true_random=False))
@unhurried
def test_the_order_of_users_changes_no_mean(case: Case, random: Random) -> None:
    order = list(range(len(case.train)))
    random.shuffle(order)
    other = Case(*([rows[u] for u in order] for rows in (case.train, case.test, case.ranked)))
    for (name, one), (_, two) in zip(measured(case).summary().items(), measured(other).summary().items(), strict=True):
        assert (one is None) == (two is None), name
        assert one is None or two is None or abs(one - two) < 1e-9, name


@given(cases())
@unhurried
def test_recall_and_hits_grow_with_k(case: Case) -> None:
    meter = measured(case)
    for family in ("recall", "hit_rate", "mrr", "map"):
        columns = [meter.values[:, meter.columns.index(f"{family}@{k}")] for k in KS]
        assert (np.diff(columns, axis=0) >= 0).all()


@given(cases())
@unhurried
def test_an_irrelevant_item_at_the_end_changes_precision_alone(case: Case) -> None:
    longer = Case(case.train, case.test, [[*row, N_ITEMS - 1] for row in case.ranked])
    one, other = measured(case), measured(longer)
    for c, name in enumerate(one.columns):
        if name.startswith("precision"):
            assert (other.values[:, c] <= one.values[:, c]).all()
        else:
            assert other.values[:, c].tolist() == one.values[:, c].tolist()


@given(cases())
@unhurried
def test_the_truth_itself_is_a_perfect_list(case: Case) -> None:
    answers = truth(log_of(case.train), log_of(case.test))
    perfect: Rows = [[] for _ in case.train]
    for u, lo, hi in zip(answers.users, answers.indptr[:-1], answers.indptr[1:], strict=True):
        perfect[u] = answers.item[lo:hi].tolist()
    meter = measured(Case(case.train, case.test, perfect))
    for family in ("precision", "ndcg", "hit_rate", "mrr"):
        np.testing.assert_allclose(meter.values[:, meter.columns.index(f"{family}@3")], 1, rtol=1e-6)


@given(cases(), st.data())
@unhurried
def test_the_funnel_adds_up(case: Case, data: st.DataObject) -> None:
    answers = truth(log_of(case.train), log_of(case.test))
    candidates = data.draw(st.lists(lists_of_items, min_size=len(case.train), max_size=len(case.train)))
    union = lists_of(candidates)
    flags = data.draw(st.lists(st.integers(1, 7), min_size=len(union.item), max_size=len(union.item)))
    meter = FunnelMeter(answers, ["a", "b", "c"], k=3)
    half = len(case.train) // 2
    cut = int(union.indptr[half])
    for lo, hi, some in ((0, half, flags[:cut]), (half, len(case.train), flags[cut:])):
        users = np.arange(lo, hi, dtype=np.int32)
        meter.add(users, lists_of(candidates[lo:hi]), np.array(some, np.uint32), lists_of(case.ranked[lo:hi]))
    found = meter.summary(np.random.default_rng(0))
    if found["possible_hits"] == 0:
        assert found["limits"] is None
        return
    shares = [found["share_hit"], found["share_lost_by_retrieval"], found["share_lost_by_ranking"]]
    assert min(shares) >= 0
    assert abs(sum(shares) - 1) < 1e-12
    assert found["union"]["hits"] <= sum(source["hits"] for source in found["sources"].values())
    assert (
        found["buried"] + found["final"]["hits"] - found["final"]["hits_no_source_proposed"] == found["union"]["hits"]
    )
    for source in found["sources"].values():
        assert source["unique_hits"] <= source["hits"] == source["final_hits"] + source["buried"]
        assert source["ceiling"] <= found["union"]["ceiling"] + 1e-12
