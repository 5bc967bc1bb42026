"""Accuracy against ranx, an independent implementation, wherever the definitions agree.

They differ in one: ranx divides precision by k, we by the number of items recommended (at most k), so precision is
compared on lists that are at least as long as k.
"""

import numpy as np
import polars as pl
import pytest
from ranx import Qrels, Run
from ranx import evaluate as by_ranx

from tonearm.data.catalogue import Catalogue
from tonearm.data.lists import Lists
from tonearm.data.log import Log, Pairs
from tonearm.data.truth import Truth, truth
from tonearm.data.vocabulary import Vocabulary
from tonearm.evaluation.meters import ListMeter, describe_items

N_USERS, N_ITEMS, KS = 300, 180, (1, 5, 10, 20, 60)

# Compiling the kernels of ranx takes half a minute, once, and warns.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:unsafe cast")]


def log_of(rng: np.random.Generator, least: int, most: int) -> Log:
    """Random events, as many for each user as the two numbers allow."""
    sizes = rng.integers(least, most, N_USERS)
    bounds = np.concatenate(([0], sizes.cumsum())).astype(np.int64)
    return Log(bounds[:-1], bounds[1:], rng.integers(0, N_ITEMS, bounds[-1]).astype(np.int32), None, None, N_ITEMS)


def measured(shortest: int) -> tuple[Truth, ListMeter, Lists]:
    """Random histories, test items and lists of at least so many items."""
    rng = np.random.default_rng(17)
    train, test = log_of(rng, 1, 15), log_of(rng, 0, 30)
    sizes = rng.integers(shortest, 70, N_USERS)
    item = np.concatenate([rng.permutation(N_ITEMS)[:size] for size in sizes]).astype(np.int32)
    lists = Lists(np.concatenate(([0], sizes.cumsum())).astype(np.int64), item, np.zeros(len(item), np.float32))
    answers = truth(train, test)
    catalogue = Catalogue(Vocabulary(pl.Series(range(N_ITEMS))))
    meter = ListMeter(answers, describe_items(train.item_counts()[0], catalogue), KS)
    meter.add(np.arange(N_USERS, dtype=np.int32), lists, Pairs.of(train))
    return answers, meter, lists


def ranx_scores(answers: Truth, lists: Lists, metrics: list[str]) -> dict[str, dict[str, float]]:
    """Each metric of each user by ranx."""
    wanted = zip(answers.users, answers.indptr[:-1], answers.indptr[1:], strict=True)
    qrels = Qrels({str(u): {str(i): 1 for i in answers.item[lo:hi]} for u, lo, hi in wanted})
    ranked = {u: lists.item[lists.indptr[u] : lists.indptr[u + 1]] for u in answers.users}
    run = Run({str(u): {str(i): 1 / place for place, i in enumerate(items, 1)} for u, items in ranked.items()})
    by_ranx(qrels, run, metrics)
    return {metric: dict(run.scores[metric]) for metric in metrics}


@pytest.mark.parametrize(
    ("shortest", "families"),
    [
        (1, ("recall", "ndcg", "hit_rate", "mrr", "map")),
        (60, ("precision", "recall", "ndcg", "hit_rate", "mrr", "map")),
    ],
)
def test_accuracy_is_that_of_ranx(shortest: int, families: tuple[str, ...]) -> None:
    answers, meter, lists = measured(shortest)
    names = [f"{family}@{k}" for family in families for k in KS]
    expected, found = ranx_scores(answers, lists, names), meter.summary()
    assert len(answers) > 250
    for name in names:
        of_users = np.array([expected[name][str(u)] for u in answers.users])
        assert 0 < of_users.mean() < 1
        assert found[name] == pytest.approx(of_users.mean(), rel=1e-9)
        # What each user scored is kept in single precision, for the bootstrap alone.
        np.testing.assert_allclose(meter.values[:, meter.columns.index(name)], of_users, rtol=1e-6)
