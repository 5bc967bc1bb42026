"""The ranker: a planted rule is learnt, shares are chosen on users apart, and every step by hand."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import catboost
import numpy as np
import pytest

from tonearm.errors import DataError
from tonearm.ranker import (
    USUAL,
    Ranker,
    RankerModel,
    TrainingTable,
    best_mix,
    blended,
    fit_blend,
    join_tables,
    label_candidates,
    mixed,
    ndcgs,
    sample_negatives,
)
from tonearm.types import Float32s, Int64s

NAMES = ("a_score", "a_z", "b_z", "secret")
QUICK = Ranker(iterations=40, depth=2, learning_rate=0.3, patience=10, folds=3, repeats=1)


def planted(n_users: int, seed: int, secret: float = 1.0) -> TrainingTable:
    """Six to nine candidates a user, one or two of them played: those with the greatest secret; a_z knows a little."""
    rng = np.random.default_rng(seed)
    indptr = np.cumsum([0, *rng.integers(6, 10, n_users)]).astype(np.int64)
    features = rng.standard_normal((indptr[-1], 4)).astype(np.float32)
    label = np.zeros(indptr[-1], np.float32)
    for lo, hi in pairwise(indptr):
        label[lo + np.argsort(-features[lo:hi, 3])[: rng.integers(1, 3)]] = 1
    features[:, 1] += 0.7 * label
    features[:, 3] *= secret
    return TrainingTable(NAMES, np.array([1, 2]), features, label, indptr)


@pytest.fixture(scope="module")
def fitted() -> RankerModel:
    return QUICK.fit(planted(60, seed=1), np.random.default_rng(3), threads=1)


def test_a_planted_rule_is_learnt(fitted: RankerModel) -> None:
    new = planted(50, seed=2)
    found = ndcgs(new.indptr, fitted.score(new.indptr, new.features, 1), new.label).mean()
    blend = ndcgs(new.indptr, new.features[:, new.z] @ fitted.blend, new.label).mean()
    assert found > 0.9 > blend + 0.1
    assert fitted.mix >= 0.75
    importances = fitted.importances()
    assert next(iter(importances)) == "secret"
    assert set(importances) == set(NAMES)
    assert sum(importances.values()) == pytest.approx(100)
    assert list(importances.values()) == sorted(importances.values(), reverse=True)


def test_without_a_rule_beyond_the_sources_the_blend_takes_part() -> None:
    model = QUICK.fit(planted(60, seed=1, secret=0), np.random.default_rng(3), threads=1)
    assert model.mix < 1
    assert model.blend[0] > model.blend[1] >= 0


def test_what_the_validation_says(fitted: RankerModel) -> None:
    said, table = fitted.validation, planted(60, seed=1)
    assert (said["users"], said["held_out_users"]) == (60, 60)
    assert (said["rows"], said["positives"]) == (len(table.label), int(table.label.sum()))
    assert said["share_of_trees"] == fitted.mix
    assert said["by_share_of_trees"][str(fitted.mix)] == max(said["by_share_of_trees"].values())
    assert said["sources_alone"]["a"] == ndcgs(table.indptr, table.features[:, 1], table.label).mean()
    assert said["blend"] == {"a": float(fitted.blend[0]), "b": float(fitted.blend[1])}
    assert len(said["trees"]) == 3
    assert all(1 <= n <= 40 for n in said["trees"])


def test_the_same_seed_gives_the_same_ranker(fitted: RankerModel) -> None:
    table = planted(60, seed=1)
    again, other = (QUICK.fit(table, np.random.default_rng(seed), threads=1) for seed in (3, 4))
    new = planted(20, seed=5)
    np.testing.assert_array_equal(again.score(new.indptr, new.features, 1), fitted.score(new.indptr, new.features, 1))
    assert again.validation == fitted.validation
    assert (
        other.validation["trees"] != fitted.validation["trees"]
        or other.mix != fitted.mix
        or not np.array_equal(other.trees.predict(new.features), fitted.trees.predict(new.features))
    )


def test_saved_trees_score_the_same(fitted: RankerModel, tmp_path: Path) -> None:
    fitted.save_trees(tmp_path / "models" / "cb_model.cbm")
    trees = catboost.CatBoost().load_model(str(tmp_path / "models" / "cb_model.cbm"))
    new = planted(20, seed=5)
    np.testing.assert_array_equal(
        replace(fitted, trees=trees).score(new.indptr, new.features, 1), fitted.score(new.indptr, new.features, 1)
    )
    assert len(fitted.score(np.zeros(3, np.int64), new.features[:0])) == 0


@pytest.mark.parametrize("loss", ["logloss", "yetirank", "querysoftmax", "pairlogit"])
def test_every_loss_learns(loss: Literal["logloss", "yetirank", "querysoftmax", "pairlogit"]) -> None:
    model = replace(QUICK, loss=loss, iterations=20, folds=2).fit(planted(30, seed=1), np.random.default_rng(0), 1)
    assert model.validation["loss"] == loss
    assert model.validation["by_share_of_trees"]["0.75"] > model.validation["by_share_of_trees"]["0.0"] + 0.05


@pytest.mark.parametrize(("many", "later", "alone"), [(10, True, True), (10, False, False), (1000, True, False)])
def test_trees_may_stand_alone_where_many_users_of_a_later_time_say_so(many: int, later: bool, alone: bool) -> None:
    model = replace(QUICK, many=many).fit(planted(60, seed=1), np.random.default_rng(0), 1, later=later)
    assert ("1.0" in model.validation["by_share_of_trees"]) == alone


def test_many_users_are_held_out_once_and_kept_from_the_blend() -> None:
    table = planted(30, seed=1)
    options = replace(QUICK, many=30)
    model = options.fit(table, np.random.default_rng(0), 1)
    assert len(model.validation["trees"]) == 1
    assert model.validation["held_out_users"] == 10
    held = np.repeat(np.random.default_rng(0).permutation(np.arange(30) % 3) == 0, np.diff(table.indptr))
    np.testing.assert_array_equal(model.blend, fit_blend(table, ~held, by_order=True))
    # nothing of what the held-out users did reaches the blend
    features = np.where(held[:, None] & (np.arange(4) == 1), -table.features, table.features)
    changed = options.fit(replace(table, features=features), np.random.default_rng(0), 1)
    np.testing.assert_array_equal(changed.blend, model.blend)
    assert changed.validation["sources_alone"]["a"] < model.validation["sources_alone"]["a"]


@pytest.mark.parametrize(("many", "times"), [(1000, 4), (150, 2), (100, 1), (61, 1)])
def test_parts_of_few_users_are_drawn_anew(many: int, times: int) -> None:
    table = planted(60, seed=1)
    model = replace(QUICK, repeats=4, many=many).fit(table, np.random.default_rng(3), threads=1)
    assert len(model.validation["trees"]) == 3 * times
    assert model.validation["held_out_users"] == 60


def test_negatives_of_few_users_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    table, seen = planted(60, seed=1), []
    train = Ranker._train

    def spy(self: Ranker, drawn: TrainingTable, *rest: Any) -> Any:
        seen.append(drawn)
        return train(self, drawn, *rest)

    monkeypatch.setattr(Ranker, "_train", spy)
    model = replace(QUICK, repeats=2, negatives=3).fit(table, np.random.default_rng(3), threads=1)
    assert len(seen) == 6
    for drawn in seen:
        assert drawn.label.sum() == table.label.sum()
        assert (np.add.reduceat(1 - drawn.label, drawn.indptr[:-1]) == 3).all()
    first, second = ({id(drawn) for drawn in seen[lo : lo + 3]} for lo in (0, 3))
    assert len(first) == len(second) == 1
    assert not np.array_equal(seen[0].features, seen[3].features)
    # all candidates are there to compare shares by
    assert model.validation["rows"] == len(table.label)


@pytest.mark.parametrize(("users", "times"), [(0, 4), (30, 4), (250, 4), (400, 2), (999, 1), (1000, 1), (5000, 1)])
def test_a_table_of_few_users_holds_negatives_for_every_draw(users: int, times: int) -> None:
    assert replace(QUICK, repeats=4, many=1000, negatives=30).negatives_of(users) == 30 * times


def test_a_handful_of_candidates_is_enough() -> None:
    table = planted(3, seed=1)
    for seed in range(8):
        assert replace(QUICK, repeats=4).fit(table, np.random.default_rng(seed), 1).validation["held_out_users"] == 3


def test_less_is_luck_where_parts_are_drawn_anew() -> None:
    table, new = planted(40, seed=1), planted(40, seed=2)

    def spread(repeats: int) -> float:
        options = replace(QUICK, repeats=repeats, iterations=15)
        scores = [options.fit(table, np.random.default_rng(seed), 1).trees.predict(new.features) for seed in range(5)]
        return float(np.std(scores, axis=0).mean())

    assert spread(6) < 0.6 * spread(1)


def test_progress_counts_the_parts() -> None:
    told: list[tuple[str, int, int]] = []
    QUICK.fit(planted(9, 1), np.random.default_rng(0), 1, progress=lambda *now: told.append(now))
    assert told == [("trees", done, 3) for done in range(4)]


def test_too_little_to_learn_from() -> None:
    with pytest.raises(DataError, match=r"two users or more .* but there are 1\. Lengthen the window"):
        QUICK.fit(planted(1, seed=1), np.random.default_rng(0), 1)
    table = planted(4, seed=1)
    with pytest.raises(DataError, match=r"cannot learn from \d+ candidates, \d+ of which were played"):
        QUICK.fit(replace(table, label=np.ones_like(table.label)), np.random.default_rng(0), 1)


def choose(trees: list[float], blend: list[float], label: list[int]) -> RankerModel:
    """A model of one source over users of three candidates each, with the best share for given held-out scores."""
    indptr = np.arange(0, len(label) + 1, 3)
    table = TrainingTable(
        ("a_z",), np.array([0]), np.array(blend, np.float32)[:, None], np.array(label, np.float32), indptr
    )
    model = RankerModel(("a_z",), table.z, None, np.ones(1, np.float32), 1.0, {})
    return model.with_best_mix(table, np.array(trees, np.float32), QUICK, [5])


def test_the_share_of_the_trees_is_the_best_on_held_out_users() -> None:
    right, wrong = [3.0, 1, 2], [1.0, 3, 2]
    played = [1, 0, 0]
    assert choose(right * 2, wrong * 2, played * 2).mix == USUAL
    # trees do not stand alone, though here they would be right by a hair
    assert choose([3, 2.9, 0] * 2, [0, 3, 2.9] * 2, played * 2).mix == USUAL
    # where the blend is right by a hair, any share of trees that are wrong by far is too much
    assert choose([0, 3, 2.9] * 2, [3, 2.9, 0] * 2, played * 2).mix == 0
    assert choose(right * 2, right * 2, played * 2).mix == USUAL  # where all are equal
    # the second user was not held out, and has no say
    nan = float("nan")
    model = choose([*right, nan, nan, nan], [*wrong, *right], played * 2)
    assert (model.mix, model.validation["held_out_users"]) == (USUAL, 1)
    # each is right about one user and nearly so about the other: together they are right about both
    half = choose([3, 2.9, 0, 3, 0, 2.9], [3, 0, 2.9, 3, 2.9, 0], [1, 0, 0, 1, 0, 0])
    assert half.validation["by_share_of_trees"]["0.5"] == 1


def test_a_gain_within_a_standard_error_leaves_the_usual_share() -> None:
    trees = np.zeros(100)
    luck = np.where(np.arange(100) % 2 > 0, 1.0, -0.9)  # mean .05, standard error .095
    clear = np.where(np.arange(100) % 2 > 0, 1.0, -0.7)
    assert best_mix({0.5: trees + luck, USUAL: trees}) == USUAL
    assert best_mix({0.5: trees + clear, USUAL: trees}) == 0.5
    assert best_mix({0.0: trees + 0.2, 0.5: trees + clear, USUAL: trees}) == 0


def test_mixed_by_hand() -> None:
    indptr = np.array([0, 3, 5])
    trees, blend = np.array([1, 2, 3, 5, 5], np.float32), np.array([0, 10, 5, -1, 1], np.float32)
    np.testing.assert_array_equal(mixed(indptr, trees, blend, 1), trees)
    np.testing.assert_array_equal(mixed(indptr, trees, blend, 0), blend)
    np.testing.assert_array_equal(mixed(indptr, None, blend, 0), blend)
    z = 1.5**0.5
    expected = [0.25 * -z + 0.75 * -z, 0.75 * z, 0.25 * z, -0.75, 0.75]
    np.testing.assert_allclose(mixed(indptr, trees, blend, 0.25), expected, rtol=1e-6, atol=1e-7)


def test_ndcg_by_hand() -> None:
    indptr = np.array([0, 4, 6, 9])
    score = np.array([4, 3, 2, 1, 5, 5, 1, 1, 2], np.float32)
    label = np.array([0, 1, 0, 1, 0, 1, 1, 1, 1], np.float32)
    gain = 1 / np.log2(np.arange(2, 9))  # of ranks 1, 2, ...
    first = (gain[1] + gain[3]) / (gain[0] + gain[1])
    # a tie goes to the first place
    np.testing.assert_allclose(ndcgs(indptr, score, label), [first, gain[1], 1])
    at_two = [gain[1] / (gain[0] + gain[1]), gain[1], 1]
    np.testing.assert_allclose(ndcgs(indptr, score, label, k=2), at_two)


def blend_loss(table: TrainingTable, rows: list[int], w: Float32s) -> float:
    """The mean over users of −mean over their positives of log softmax, plus a thousandth of w · w."""
    total = 0.0
    for user in rows:
        span = slice(table.indptr[user], table.indptr[user + 1])
        s = table.features[span][:, table.z].astype(np.float64) @ w
        log_share = s - np.log(np.exp(s).sum())
        total -= log_share[table.label[span] > 0].mean()
    return total / len(rows) + 1e-3 * float(w @ w)


def test_the_blend_is_the_best_of_all_that_are_not_negative() -> None:
    table = planted(25, seed=7)
    table.features[:, 2] -= table.label  # b knows it the wrong way round
    keep = np.repeat(np.arange(25) % 3 > 0, np.diff(table.indptr))
    rows = [u for u in range(25) if u % 3 > 0]
    w = fit_blend(table, keep, by_order=False)
    assert w.dtype == np.float32
    assert w[0] > 0
    assert w[1] == 0
    least = blend_loss(table, rows, w)
    for step in ([0.02, 0], [-0.02, 0], [0, 0.02], [0.02, 0.02]):
        assert blend_loss(table, rows, w + np.array(step, np.float32)) > least


def test_a_blend_by_order_is_no_worse_than_the_likeliest_or_any_source() -> None:
    rng = np.random.default_rng(3)
    n, width = 200, 30
    indptr = np.arange(n + 1) * width
    label = np.zeros((n, width), np.float32)
    label[:, :2] = 1
    # a puts one played item far ahead and the other last: unlikely on the whole, and well ordered; b knows a little
    a = rng.normal(size=(n, width)) + np.where(np.arange(width) == 0, 3, np.where(np.arange(width) == 1, -6, 0))
    b = rng.normal(size=(n, width)) + 0.5 * label
    z = np.stack([a, b], axis=2).reshape(-1, 2).astype(np.float32)
    table = TrainingTable(("a_z", "b_z"), np.array([0, 1]), z, label.ravel(), indptr)
    every = np.ones(n * width, bool)

    def worth(w: Float32s) -> float:
        return float(ndcgs(indptr, blended(z, w), table.label, k=50).mean())

    likeliest, ordered = (fit_blend(table, every, by_order) for by_order in (False, True))
    assert ordered.sum() == pytest.approx(1)
    assert (ordered >= 0).all()
    assert worth(ordered) > worth(likeliest) + 0.05
    for source in np.eye(2, dtype=np.float32):
        assert worth(ordered) >= worth(source) - 1e-3


def test_labels_are_the_candidates_that_were_played() -> None:
    indptr, item = np.array([0, 3, 3, 5]), np.array([1, 4, 7, 0, 4], np.int32)
    truth_indptr, truth = np.array([0, 2, 3, 5]), np.array([4, 9, 1, 0, 7], np.int32)
    assert label_candidates(indptr, item, truth_indptr, truth).tolist() == [0, 1, 0, 1, 0]
    assert label_candidates(indptr, item, np.zeros(4, np.int64), truth[:0]).tolist() == [0] * 5
    nothing = np.zeros(4, np.int64)
    assert label_candidates(nothing, item[:0], truth_indptr, truth).tolist() == []


@pytest.mark.parametrize("negatives", [1, 3, 100])
def test_every_positive_is_kept_and_some_negatives(negatives: int) -> None:
    rng = np.random.default_rng(negatives)
    indptr = np.cumsum([0, 8, 0, 5, 12, 1, 1])
    label = (rng.random(27) < 0.3).astype(np.float32)
    label[8:13] = 0  # nothing played: left out
    label[25:] = [1, 0]
    kept_indptr, kept = sample_negatives(indptr, label, negatives, rng)
    assert (np.diff(kept) > 0).all()
    row = 0
    for lo, hi in pairwise(indptr):
        if label[lo:hi].sum() == 0:
            assert not ((kept >= lo) & (kept < hi)).any()
            continue
        own = kept[kept_indptr[row] : kept_indptr[row + 1]]
        assert ((own >= lo) & (own < hi)).all()
        assert label[own].sum() == label[lo:hi].sum()
        assert (label[own] == 0).sum() == min(negatives, (label[lo:hi] == 0).sum())
        row += 1
    assert row == len(kept_indptr) - 1


def test_negatives_are_drawn_evenly_and_alike_for_any_block() -> None:
    indptr, label = np.array([0, 5]), np.array([0, 1, 0, 0, 0], np.float32)
    rng = np.random.default_rng(0)
    times = np.zeros(5)
    for _ in range(400):
        times[sample_negatives(indptr, label, 2, rng)[1]] += 1
    assert times[1] == 400
    np.testing.assert_allclose(times[[0, 2, 3, 4]], 200, atol=50)
    # two users at once, or one after the other
    twice = sample_negatives(np.array([0, 5, 10]), np.tile(label, 2), 2, np.random.default_rng(1))[1]
    rng = np.random.default_rng(1)
    parts = [sample_negatives(indptr, label, 2, rng)[1] + lo for lo in (0, 5)]
    np.testing.assert_array_equal(twice, np.concatenate(parts))


def rows_of(table: TrainingTable) -> list[list[list[float]]]:
    whole = np.column_stack([table.features, table.label])
    return [whole[lo:hi].tolist() for lo, hi in pairwise(table.indptr)]


def test_joined_tables_are_one_after_the_other() -> None:
    one, other = planted(3, 1), planted(2, 2)
    nothing = TrainingTable(NAMES, one.z, one.features[:0], one.label[:0], np.zeros(1, np.int64))
    joined = join_tables([nothing, one, nothing, other])
    assert rows_of(joined) == rows_of(one) + rows_of(other)
    assert (joined.names, joined.z.tolist()) == (NAMES, [1, 2])


def test_pools_are_grouped_by_user() -> None:
    table = planted(4, 1)
    keep = np.repeat([True, False, True, True], np.diff(table.indptr))
    pool = table.pool(keep)
    lengths: Int64s = np.diff(table.indptr)[[0, 2, 3]]
    assert pool.num_row() == lengths.sum()
    assert len(set(pool.get_group_id_hash())) == 3
    assert pool.get_feature_names() == list(NAMES)
