"""The adapter of the trees: groups, means, shares of the features, and their way through a file."""

from pathlib import Path

import catboost
import numpy as np
import pytest
from tests.quick import table_of

from tonearm.ranking.training import TrainingTable
from tonearm.ranking.trees import NOTHING_TELLS, TreeOptions, Trees, pool

NAMES = ("noise", "a_z", "secret")
OPTIONS = TreeOptions(iterations=20, depth=2, learning_rate=0.3, patience=20)


def planted(lengths: list[int], seed: int = 1) -> TrainingTable:
    """Some candidates of each user; the secret alone tells which were played."""
    rng = np.random.default_rng(seed)
    indptr = np.cumsum([0, *lengths]).astype(np.int64)
    features = rng.standard_normal((indptr[-1], 3)).astype(np.float32)
    return table_of(NAMES, features, (features[:, 2] > 0.3).astype(np.float32), indptr)


def grown(seed: int) -> Trees:
    """Trees of two thirds of the users."""
    table = planted([5, 7, 6] * 20)
    held = table.of_rows(np.arange(60) % 3 == 0)
    trees = OPTIONS.grow(table, ~held, held, seed, 1)
    assert isinstance(trees, Trees)
    return trees


def test_pools_are_grouped_by_user() -> None:
    table = planted([3, 5, 2, 4])
    some = pool(table, np.repeat([True, False, True, True], [3, 5, 2, 4]))
    assert some.num_row() == 9
    assert len(set(some.get_group_id_hash())) == 3
    assert some.get_feature_names() == list(NAMES)


def test_the_secret_is_found_and_counts_most() -> None:
    trees, new = grown(1), planted([6] * 20, seed=2)
    said = trees.predict(new.features, 1)
    assert np.mean((said > 0) == (new.label > 0)) > 0.95
    assert next(iter(trees.importances())) == "secret"
    assert sum(trees.importances().values()) == pytest.approx(100)
    assert 1 <= trees.count <= 20


def test_contributions_sum_to_what_the_trees_say() -> None:
    trees, new = grown(1), planted([6] * 3, seed=2)
    shap = trees.contributions(new.features)
    assert shap.shape == (18, 4)
    np.testing.assert_allclose(shap.sum(axis=1), trees.predict(new.features, 1), rtol=1e-9)
    assert (np.abs(shap[:, 2]) > np.abs(shap[:, :2]).sum(axis=1)).all()


def test_the_mean_of_some_says_the_mean() -> None:
    several, new = [grown(seed) for seed in (1, 2, 3)], planted([6] * 3, seed=2)
    each = np.stack([trees.predict(new.features, 1) for trees in several])
    assert not np.array_equal(each[0], each[1])
    np.testing.assert_allclose(several[0].mean_with(several[1:]).predict(new.features, 1), each.mean(axis=0))


def test_equal_trees_give_equal_files_that_the_library_reads(tmp_path: Path) -> None:
    one, new = grown(1), planted([6] * 3, seed=2)
    for name, trees in (("one", one), ("two", grown(1))):
        trees.save(tmp_path / name / "trees.cbm")
    content = (tmp_path / "one" / "trees.cbm").read_bytes()
    assert content == (tmp_path / "two" / "trees.cbm").read_bytes()
    said = one.predict(new.features, 1)
    np.testing.assert_array_equal(Trees.load(NAMES, content).predict(new.features, 1), said)
    np.testing.assert_array_equal(catboost.CatBoost().load_model(blob=content).predict(new.features), said)


@pytest.mark.parametrize("several", [False, True])
def test_what_was_read_is_written_as_it_was(several: bool, tmp_path: Path) -> None:
    """A run that goes on from kept trees ends with the bytes of one that grew them; CatBoost orders them anew."""
    made = grown(1).mean_with([grown(2), grown(3)]) if several else grown(1)
    first, second = tmp_path / "first" / "trees.cbm", tmp_path / "second" / "trees.cbm"
    made.save(first)
    Trees.load(NAMES, first.read_bytes()).save(second)
    assert second.read_bytes() == first.read_bytes()


def test_why_none_can_be_grown() -> None:
    table = planted([4] * 9)
    held = table.of_rows(np.arange(9) % 3 == 0)
    table.features[:] = 1
    assert OPTIONS.grow(table, ~held, held, 1, 1) == NOTHING_TELLS
    table.features[:, 0] = np.arange(36)
    table.label[:] = 1
    assert OPTIONS.grow(table, ~held, held, 1, 1) == "every candidate of the label window was played"
