"""The ALS source over a small data set: lists, scores, new users, similar items, save and load."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.sources.als import ALS, ALSModel, Confidence

HISTORIES = [[0, 1, 2], [0, 1, 2, 2], [], [4, 5, 6], [4, 5, 1], [6, 5, 4], [2, 0]]
N_ITEMS = 9  # 3, 7 and 8 are unseen


def log_of(histories: list[list[int]]) -> Log:
    stop = np.cumsum([len(h) for h in histories]).astype(np.int64)
    start = np.concatenate(([0], stop[:-1])).astype(np.int64)
    item = np.array([i for h in histories for i in h], dtype=np.int32)
    return Log(start, stop, item, None, None, N_ITEMS)


def some_data() -> Dataset:
    users = Vocabulary(pl.Series(range(len(HISTORIES))))
    return Dataset(users, Catalogue(Vocabulary(pl.Series(range(N_ITEMS)))), log_of(HISTORIES), 0)


@pytest.fixture(scope="module")
def model() -> ALSModel:
    return ALS(factors=2, regularization=0.1, alpha=3.0, iterations=20, confidence="plays").fit(
        some_data(), np.random.default_rng(0)
    )


def new_users(histories: list[list[int]], filter_seen: bool = True) -> Block:
    data = some_data()
    own = Dataset(data.users, data.catalogue, log_of(histories), 0)
    block = own.block(0, len(histories), filter_seen)
    return Block(np.full(len(histories), -1, np.int32), block.log, block.pairs, 0, filter_seen)


def test_lists_hold_unheard_items_that_somebody_played(model: ALSModel) -> None:
    lists = model.recommend(some_data().block(0, len(HISTORIES), True), 10)
    for user, history in enumerate(HISTORIES):
        found = lists.item[lists.indptr[user] : lists.indptr[user + 1]].tolist()
        assert sorted(found) == (sorted({0, 1, 2, 4, 5, 6} - set(history)) if history else [])
    assert lists.item[lists.indptr[6]] == 1  # who heard 2 and 0 gets what others heard along with them


def test_a_candidate_scores_what_its_list_says(model: ALSModel) -> None:
    block = some_data().block(0, len(HISTORIES), False)
    lists = model.recommend(block, 6)
    np.testing.assert_array_equal(model.score(block, lists), lists.score)
    strange = Lists(np.array([0, 0, 0, 2, 4, 4, 4, 4]), np.array([0, 1, 3, 4], np.int32), np.zeros(4, np.float32))
    assert np.isnan(model.score(block, strange)).tolist() == [True, True, True, False]


def test_a_new_user_is_solved_from_the_history_alone(model: ALSModel) -> None:
    block = new_users([[2, 1], [], [8], [0, 1, 2]])
    vectors, known = model.vectors(block)
    assert known.tolist() == [True, False, False, True]
    np.testing.assert_allclose(vectors[3], model.user_factors[0], atol=0.02)
    lists = model.recommend(block, 2)
    assert np.diff(lists.indptr).tolist() == [2, 0, 0, 2]
    assert lists.item[0] == 0
    assert not np.isin(lists.item[:2], [2, 1]).any()


def test_similar_items_are_played_by_the_same_users(model: ALSModel) -> None:
    lists = model.similar(np.array([0, 6], dtype=np.int32), 2)
    assert set(lists.item[:2].tolist()) == {1, 2}
    assert set(lists.item[2:].tolist()) == {4, 5}
    known = np.array([0, 1, 2, 4, 5, 6], dtype=np.int32)
    one_by_one, together = model.similar(known, 2), model.similar_to_all(2)
    assert np.diff(together.indptr).tolist() == [2, 2, 2, 0, 2, 2, 2, 0, 0]
    np.testing.assert_array_equal(together.item, one_by_one.item)
    approximate, recall = model.similar_approximate(2, np.random.default_rng(0))
    np.testing.assert_array_equal(approximate.item, one_by_one.item)
    assert recall == 1.0


def test_saved_and_loaded_is_the_same(model: ALSModel) -> None:
    block = some_data().block(0, len(HISTORIES), True)
    again = ALSModel.load(model.save())
    one, other = model.recommend(block, 4), again.recommend(block, 4)
    np.testing.assert_array_equal(one.item, other.item)
    np.testing.assert_array_equal(one.score, other.score)
    assert all(array.dtype != object for array in model.save().values())
    assert again.confidence == "plays"


def test_confidence_of_repeats() -> None:
    data = some_data()
    kinds: tuple[Confidence, ...] = ("plays", "log", "one")
    recipes = {c: ALS(factors=3, iterations=2, regularization=0.1, alpha=2.0, confidence=c) for c in kinds}
    fits = {c: recipe.fit(data, np.random.default_rng(1)) for c, recipe in recipes.items()}
    # item 2 counts 2, log2(3) and 1 for the user who heard it twice
    strength = [float(fits[c].user_factors[1] @ fits[c].item_factors[2]) for c in reversed(kinds)]
    assert strength == sorted(strength)
    assert strength[0] < strength[2]


def test_a_warm_start_begins_where_the_earlier_model_stopped(model: ALSModel) -> None:
    recipe = ALS(factors=2, regularization=0.1, alpha=3.0, iterations=9, more_iterations=2, confidence="plays")
    again = recipe.fit(some_data(), np.random.default_rng(5), fitted={"als": model})
    assert len(again.losses) == 2
    assert again.losses[0] <= model.losses[-1] * (1 + 1e-6)
    about = recipe.fit(some_data(), np.random.default_rng(5), fitted={"als": model.beginning()})
    assert about.losses[0] <= model.losses[-1] * (1 + 1e-3)


@pytest.mark.parametrize("again", [False, True])
def test_where_all_confidences_are_one_the_optimum_itself_is_found(again: bool) -> None:
    data = some_data()
    recipe = ALS(factors=2, regularization=0.1, alpha=1.0, iterations=60, more_iterations=60, confidence="one")
    model = recipe.fit(data, np.random.default_rng(1))
    if again:
        start = np.zeros((N_ITEMS, 2), np.float32)
        start[:, 0] = np.arange(N_ITEMS)  # the second direction is left open
        model = recipe.fit(data, np.random.default_rng(1), fitted={"als": replace(model, item_factors=start)})
    played = np.zeros((len(HISTORIES), N_ITEMS))
    for user, history in enumerate(HISTORIES):
        played[user, history] = 1
    u, s, vt = np.linalg.svd(played)
    np.testing.assert_allclose(model.user_factors @ model.item_factors.T, u[:, :2] * (s[:2] - 0.1) @ vt[:2], atol=1e-3)
    block = new_users([HISTORIES[0]])
    np.testing.assert_allclose(model.vectors(block)[0][0], model.user_factors[0], atol=1e-3)
    assert len(model.losses) < 60  # it stops where a pass gains nothing
