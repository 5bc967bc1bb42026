"""What holds of explanations for any history and any ranker: parts sum to the whole, and sentences are true."""

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.quick import table_of

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.times import DAY
from tonearm.data.vocabulary import Vocabulary
from tonearm.explanation.facts import gather_facts
from tonearm.explanation.parts import explain_row
from tonearm.explanation.sentence import because
from tonearm.ranking.ranker import Ranker, RankerModel
from tonearm.sources.als import ALS, Confidence
from tonearm.sources.ease import EASE
from tonearm.sources.item_item import ItemItem
from tonearm.sources.spectral import Spectral
from tonearm.sources.user_knn import UserKNN
from tonearm.types import Float32s, Int64s

N_ITEMS, NOW = 9, 60 * DAY
histories = st.lists(
    st.lists(st.tuples(st.integers(0, N_ITEMS - 1), st.integers(0, 59)), min_size=1, max_size=12),
    min_size=3,
    max_size=7,
)


def dataset(rows: list[list[tuple[int, int]]], artists: list[int] | None = None) -> Dataset:
    """rows: each user's (item, day); artists: one of each item"""
    rows = [sorted(row, key=lambda event: event[1]) for row in rows]
    stop = np.cumsum([len(row) for row in rows]).astype(np.int64)
    item = np.array([i for row in rows for i, _ in row], np.int32)
    time = np.array([day * DAY for row in rows for _, day in row], np.int32)
    log = Log(np.concatenate(([0], stop[:-1])).astype(np.int64), stop, item, time, None, N_ITEMS)
    tags = None
    if artists is not None:
        labels = Vocabulary.of(pl.Series([f"artist {a}" for a in artists]))
        index = labels.encode(pl.Series([f"artist {a}" for a in artists]))
        tags = Tags(np.arange(N_ITEMS + 1, dtype=np.int64), index, labels)
    catalogue = Catalogue(Vocabulary(pl.Series(range(N_ITEMS))), artists=tags)
    return Dataset(Vocabulary(pl.Series(range(len(rows)))), catalogue, log, NOW)


def every_item(n_users: int) -> Lists:
    item = np.tile(np.arange(N_ITEMS, dtype=np.int32), n_users)
    return Lists(np.arange(n_users + 1, dtype=np.int64) * N_ITEMS, item, np.zeros(len(item), np.float32))


@settings(max_examples=40, deadline=None)
@given(
    rows=histories,
    confidence=st.sampled_from(["plays", "log", "one"]),
    regularization=st.sampled_from([0.1, 3.0]),
    alpha=st.sampled_from([1.0, 20.0]),
    recency=st.sampled_from([0.0, 2.0]),
)
def test_als_contributions_are_the_normal_equations_and_sum_to_the_score(
    rows: list[list[tuple[int, int]]], confidence: Confidence, regularization: float, alpha: float, recency: float
) -> None:
    data = dataset(rows)
    recipe = ALS(3, regularization, alpha, iterations=4, confidence=confidence, recency=recency)
    model = recipe.fit(data, np.random.default_rng(0))
    y = model.item_factors.astype(np.float64)
    for user in range(data.n_users):
        block = data.block(user, user + 1, True)
        new = data.block_of(np.array([user], np.int32), True)
        new = type(new)(np.array([-1], np.int32), new.log, new.pairs, new.now, True)
        scores = model.score(new, every_item(1))
        plays = block.pairs.plays.astype(np.float64)
        r = {"plays": plays, "log": np.log2(1 + plays), "one": np.ones(len(plays))}[confidence]
        c = np.ones(N_ITEMS)
        assert block.pairs.last is not None
        later = (block.pairs.last[None, :] > block.pairs.last[:, None]).sum(axis=1)
        c[block.pairs.item] = alpha * r / (1 + later / recency if recency else 1)
        inverse = np.linalg.inv(y.T @ (c[:, None] * y) + regularization * np.eye(3))
        for item in np.flatnonzero(data.plays > 0):
            found = model.contributions(block, int(item))
            assert found is not None
            by_hand = [y[item] @ inverse @ y[j] * c[j] for j in block.pairs.item]
            np.testing.assert_allclose(found, by_hand, rtol=1e-5, atol=1e-7)
            assert found.sum() == pytest.approx(float(scores[item]), abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(rows=histories, recency=st.sampled_from([0.0, 2.0]))
def test_contributions_of_sums_over_the_history_sum_to_the_score(
    rows: list[list[tuple[int, int]]], recency: float
) -> None:
    data, rng = dataset(rows), np.random.default_rng(0)
    recipes = (
        ItemItem(recency=recency),
        EASE(regularization=2, recency=recency),
        Spectral(recency=recency),
        UserKNN(neighbours=2, recency=recency),
    )
    for model in (recipe.fit(data, rng) for recipe in recipes):
        scores = model.score(data.block(0, data.n_users, True), every_item(data.n_users)).reshape(-1, N_ITEMS)
        for user in range(data.n_users):
            for item in range(N_ITEMS):
                found = model.contributions(data.block(user, user + 1, True), item)
                assert found is not None
                assert found.sum() == pytest.approx(float(scores[user, item]), abs=1e-4)


def fitted(mix: float, loss: str) -> RankerModel:
    rng = np.random.default_rng(4)
    indptr: Int64s = np.arange(0, 201, 8).astype(np.int64)
    features = rng.standard_normal((200, 4)).astype(np.float32)
    features[::7, 2] = np.nan
    label = ((features[:, 3] > 0.8) | (np.arange(200) % 8 == 2)).astype(np.float32)
    table = table_of(("a_score", "a_z", "b_score", "b_z"), features, label, indptr)
    recipe = Ranker(iterations=30, depth=3, learning_rate=0.3, folds=3, loss=loss)  # type: ignore[arg-type]
    model = recipe.fit(table, np.random.default_rng(1), 1)
    return RankerModel(model.names, model.z, model.trees, model.blend, mix, {})


MODELS = [fitted(0.0, "logloss"), fitted(0.5, "querysoftmax"), fitted(1.0, "yetirank")]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 30), which=st.integers(0, 2))
def test_the_rankers_parts_sum_to_its_score(seed: int, n: int, which: int) -> None:
    model, rng = MODELS[which], np.random.default_rng(seed)
    features: Float32s = rng.standard_normal((n, 4)).astype(np.float32)
    features[rng.random((n, 4)) < 0.1] = np.nan
    features[:, model.z] = np.nan_to_num(features[:, model.z])
    score = model.score(np.array([0, n], np.int64), features, 1)
    row = int(rng.integers(n))
    found = explain_row(model, features, score, row)
    assert model.trees is not None
    raw = float(model.trees.predict(features[row : row + 1])[0])
    assert found.expected + sum(feature.shap for feature in found.features) == pytest.approx(raw, rel=1e-9, abs=1e-9)
    assert found.trees == pytest.approx(raw, rel=1e-12)
    assert sorted(feature.name for feature in found.features) == sorted(model.names)
    assert sum(part.weight * part.z for part in found.blend_parts) == pytest.approx(found.blend, abs=1e-5)
    expected = {0.0: found.blend, 1.0: found.trees}.get(
        model.mix, model.mix * found.trees_z + (1 - model.mix) * found.blend_z
    )
    assert found.score == pytest.approx(expected, rel=1e-5, abs=1e-5)


@settings(max_examples=150, deadline=None)
@given(
    rows=histories,
    artists=st.lists(st.integers(0, 4), min_size=N_ITEMS, max_size=N_ITEMS),
    item=st.integers(0, N_ITEMS - 1),
)
def test_every_number_in_the_sentence_is_true(rows: list[list[tuple[int, int]]], artists: list[int], item: int) -> None:
    data = dataset(rows, artists)
    mine = rows[0]
    near = sorted({i for i, _ in mine} - {item})
    facts = gather_facts(data, data.block(0, 1, True), item)
    said = because(facts, lambda i: f"item {i}", near)
    others = [{i for i, _ in row} for row in rows[1:]]
    fans = [row for row in others if item in row]
    heard = [day for i, day in mine if i == item]
    if heard:
        times = " once" if len(heard) == 1 else f" {len(heard)} times"
        assert said.startswith(f"Because you played it{times}, last on ")
    elif by := re.match(r"Because you played (\d+) tracks? by artist (\d)(.*)\.", said):
        same = {i for i, _ in mine if artists[i] == artists[item] and i != item}
        assert int(by[1]) == len(same) > 0
        assert int(by[2]) == artists[item]
        lately = {i for i, day in mine if i in same and day >= 30}
        share = len(lately) / len(same)
        assert ("all of them" in by[3]) == (share == 1 and len(same) > 1)
        assert ("last 30 days" in by[3]) == (share > 0.5)
    elif both := re.match(r"Because you played (.+), as did (.+) of the (\d+) others? who played this\.", said):
        items = [int(i) for i in re.findall(r"item (\d)", both[1])]
        assert set(items) <= set(near)
        assert [int(n) for n in both[2].split(" and ")] == [sum(i in row for row in fans) for i in items]
        assert int(both[3]) == len(fans)
    elif number := re.match(r"Because it is number (\d+) among the most played tracks( of the last 7 days)?\.", said):
        days = [(i, day) for row in rows for i, day in row if not number[2] or day >= 53]
        counts = np.bincount([i for i, _ in days], minlength=N_ITEMS)
        assert counts[item] > 0
        assert int(number[1]) == 1 + int((counts > counts[item]).sum())
    else:
        last = re.match(r"Because (\d+) other listeners? played it; your history and theirs share no track\.", said)
        assert last is not None
        assert int(last[1]) == len(fans)
        assert not any(set(near) & row for row in fans)
