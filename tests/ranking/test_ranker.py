"""The ranker: a planted rule is learnt, shares are chosen on users apart, and every step by hand."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from tests.quick import table_of

from tonearm.ranking.blend import blended, fit_blend, ndcgs
from tonearm.ranking.ranker import USUAL, Ranker, RankerModel, best_mix, mixed
from tonearm.ranking.training import TrainingTable, join_tables
from tonearm.types import Float32s, Float64s

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
    return table_of(NAMES, features, label, indptr)


def said_by(model: RankerModel, features: Float32s) -> Float64s:
    """What a ranker's trees say."""
    assert model.trees is not None
    return model.trees.predict(features, 1)


@pytest.fixture(scope="module")
def fitted() -> RankerModel:
    return QUICK.fit(planted(60, seed=1), np.random.default_rng(3), threads=1)


def test_a_planted_rule_is_learnt(fitted: RankerModel) -> None:
    new = planted(50, seed=2)
    found = ndcgs(new.indptr, fitted.score(new.indptr, new.features, 1), new.label, new.wanted).mean()
    blend = ndcgs(new.indptr, new.features[:, new.z] @ fitted.blend, new.label, new.wanted).mean()
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
    assert said["sources_alone"]["a"] == ndcgs(table.indptr, table.features[:, 1], table.label, table.wanted).mean()
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
        or not np.array_equal(said_by(other, new.features), said_by(fitted, new.features))
    )


def test_a_ranker_scores_the_same_when_it_comes_back(fitted: RankerModel, tmp_path: Path) -> None:
    assert fitted.trees is not None
    path = tmp_path / "models" / "cb_model.cbm"
    fitted.trees.save(path)
    again, new = RankerModel.load(path.read_bytes(), fitted.save(), fitted.validation), planted(20, seed=5)
    np.testing.assert_array_equal(again.score(new.indptr, new.features, 1), fitted.score(new.indptr, new.features, 1))
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


def test_every_part_of_many_users_is_held_out_until_one_is_enough() -> None:
    table = planted(30, seed=1)
    model = replace(QUICK, repeats=4, many=30, single=31).fit(table, np.random.default_rng(0), 1)
    assert len(model.validation["trees"]) == 3
    assert model.validation["held_out_users"] == 30
    np.testing.assert_array_equal(model.blend, fit_blend(table, table.found, by_order=True))


def test_one_part_of_very_many_users_is_held_out_and_kept_from_the_blend() -> None:
    table = planted(30, seed=1)
    options = replace(QUICK, many=30, single=30)
    model = options.fit(table, np.random.default_rng(0), 1)
    assert len(model.validation["trees"]) == 1
    assert model.validation["held_out_users"] == 10
    held = table.parts(3, np.random.default_rng(0), one=True) == 0
    np.testing.assert_array_equal(model.blend, fit_blend(table, ~held, by_order=True))
    # nothing of what the held-out users did reaches the blend
    rows = table.of_rows(held)[:, None]
    features = np.where(rows & (np.arange(4) == 1), -table.features, table.features)
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
    grow = Ranker.grow

    def spy(self: Ranker, drawn: TrainingTable, *rest: Any) -> Any:
        seen.append(drawn)
        return grow(self, drawn, *rest)

    monkeypatch.setattr(Ranker, "grow", spy)
    model = replace(QUICK, repeats=2, negatives=3).fit(table, np.random.default_rng(3), threads=1)
    assert len(seen) == 6
    for drawn in seen:
        assert drawn.label.sum() == table.label.sum()
        assert (np.add.reduceat(1 - drawn.label, drawn.indptr[:-1]) == 3).all()
    first, second = ({id(drawn) for drawn in seen[lo : lo + 3]} for lo in (0, 3))
    assert len(first) == len(second) == 1
    assert not np.array_equal(seen[0].features, seen[3].features)
    assert model.validation["rows"] == table.label.sum() + 3 * 60
    # all candidates are there to compare shares by
    everything = ndcgs(table.indptr, table.features[:, 1], table.label, table.wanted)
    assert model.validation["sources_alone"]["a"] == everything.mean()


def test_a_handful_of_candidates_is_enough() -> None:
    table = planted(3, seed=1)
    for seed in range(8):
        assert replace(QUICK, repeats=4).fit(table, np.random.default_rng(seed), 1).validation["held_out_users"] == 3


def test_less_is_luck_where_parts_are_drawn_anew() -> None:
    table, new = planted(40, seed=1), planted(40, seed=2)

    def spread(repeats: int) -> float:
        options = replace(QUICK, repeats=repeats, iterations=15)
        models = [options.fit(table, np.random.default_rng(seed), 1) for seed in range(5)]
        scores = [said_by(model, new.features) for model in models]
        return float(np.std(scores, axis=0).mean())

    assert spread(6) < 0.6 * spread(1)


def test_progress_counts_the_parts() -> None:
    told: list[tuple[str, int, int]] = []
    QUICK.fit(planted(9, 1), np.random.default_rng(0), 1, progress=lambda *now: told.append(now))
    assert told == [("trees", done, 3) for done in range(4)]


def windows_of(n_users: int, seed: int) -> TrainingTable:
    """Two windows of the same users, shuffled, in each of which other candidates were played."""
    tables = [planted(n_users, seed + window) for window in range(2)]
    users = [np.random.default_rng(window).permutation(n_users).astype(np.int32) for window in range(2)]
    return join_tables([replace(table, user=user) for table, user in zip(tables, users, strict=True)])


@pytest.mark.parametrize("single", [1, 1000])
def test_all_windows_of_a_user_are_on_one_side_of_a_fold(single: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point 5: folds were of (user, window), so that trees had seen users whom they were judged by."""
    table, sides = windows_of(30, seed=1), []
    grow = Ranker.grow

    def spy(self: Ranker, drawn: TrainingTable, fit: Any, held: Any, *rest: Any) -> Any:
        user = drawn.of_rows(drawn.user)
        sides.append((set(user[fit].tolist()), set(user[held].tolist())))
        return grow(self, drawn, fit, held, *rest)

    monkeypatch.setattr(Ranker, "grow", spy)
    model = replace(QUICK, single=single).fit(table, np.random.default_rng(0), 1)
    assert len(sides) == (1 if single == 1 else 3)
    for learnt, held in sides:
        assert len(held) == 10
        assert learnt | held == set(range(30))
        assert not learnt & held
    # a user of two windows is one user
    assert model.validation["users"] == 30
    assert model.validation["held_out_users"] == (10 if single == 1 else 30)


def test_shares_are_judged_by_all_candidates_of_a_user() -> None:
    """Point 5: among few drawn negatives a source looked six times as good as in truth."""
    rng = np.random.default_rng(5)
    n, width = 200, 300
    label = np.zeros((n, width), np.float32)
    label[:, :2] = 1
    features = rng.standard_normal((n * width, 4)).astype(np.float32)
    features[:, 1] += 1.5 * label.ravel()
    table = table_of(NAMES, features, label.ravel(), np.arange(n + 1) * width)
    truth = ndcgs(table.indptr, features[:, 1], table.label, table.wanted).mean()
    drawn = table.drawn(10, rng)
    sampled = ndcgs(drawn.indptr, drawn.features[:, 1], drawn.label, drawn.wanted).mean()
    said = replace(QUICK, negatives=10, iterations=5).fit(table, rng, 1).validation
    assert sampled > 2 * truth
    assert said["sources_alone"]["a"] == pytest.approx(truth)
    assert said["rows"] == n * 12


def test_the_ideal_counts_played_items_that_no_source_proposed() -> None:
    """Point 5: the ideal was of the found labels, so that two of two found and two of ten found were both perfect."""
    table = planted(60, seed=1)
    short = QUICK.fit(table, np.random.default_rng(3), 1).validation
    more = QUICK.fit(replace(table, wanted=table.wanted + 8), np.random.default_rng(3), 1).validation
    ideal = np.concatenate(([0.0], np.cumsum(1 / np.log2(np.arange(2, 22)))))
    by_user = ndcgs(table.indptr, table.features[:, 1], table.label, table.wanted)
    expected = (by_user * ideal[table.wanted] / ideal[table.wanted + 8]).mean()
    assert more["sources_alone"]["a"] == pytest.approx(expected)
    assert more["sources_alone"]["a"] < short["sources_alone"]["a"]
    assert more["trees"] == short["trees"]


def test_users_of_whom_nothing_was_found_count_as_zero() -> None:
    table = planted(40, seed=1)
    label = np.where(table.of_rows(np.arange(40) % 4 == 0), 0, table.label).astype(np.float32)
    every = replace(table, label=label)
    nothing = every.thinned(5, np.random.default_rng(0))
    assert (np.diff(nothing.indptr) == 0).tolist() == (np.arange(40) % 4 == 0).tolist()
    said = QUICK.fit(nothing, np.random.default_rng(0), 1).validation
    assert (said["users"], said["held_out_users"], said["held_out_users_without_a_found_label"]) == (30, 40, 10)
    alone = ndcgs(every.indptr, every.features[:, 1], every.label, every.wanted)
    assert said["sources_alone"]["a"] == pytest.approx(alone.sum() / 40)


def test_users_whose_candidates_are_not_all_there_judge_nothing() -> None:
    table = replace(planted(60, seed=1), whole=np.arange(60) < 25).thinned(2, np.random.default_rng(0))
    assert (np.diff(table.indptr)[25:] <= 4).all()
    for single, judged in ((1000, 25), (1, 20)):
        model = replace(QUICK, single=single).fit(table, np.random.default_rng(0), 1)
        assert model.validation["held_out_users"] == judged
        assert model.validation["users"] == 60


def test_trees_that_ended_at_their_limit_are_told() -> None:
    """Point 10: 300 trees were all there were, though held-out users still gained by more; nothing said so."""
    table = planted(60, seed=1)
    short = replace(QUICK, iterations=3).fit(table, np.random.default_rng(3), 1)
    assert short.validation["ended_at_limit"] == 3
    assert short.notes == [
        "3 of the ranker's 3 models were still learning when they reached ranker.iterations = 3 trees: raise it"
    ]
    assert replace(short, mix=0.0).notes == []
    long = replace(QUICK, iterations=2000, patience=5).fit(table, np.random.default_rng(3), 1)
    assert long.validation["ended_at_limit"] == 0
    assert max(long.validation["trees"]) < 1995
    assert long.notes == []


def fallen_back(table: TrainingTable) -> RankerModel:
    """The model of what gives no trees: it scores, saves, loads and explains all the same."""
    model = QUICK.fit(table, np.random.default_rng(0), 1)
    new = planted(20, seed=5)
    assert (model.trees, model.mix, model.importances()) == (None, 0.0, {})
    score = model.score(new.indptr, new.features, 1)
    np.testing.assert_array_equal(score, blended(new.features[:, new.z], model.blend))
    assert len(np.unique(score)) > 100
    again = RankerModel.load(None, model.save(), model.validation)
    np.testing.assert_array_equal(again.score(new.indptr, new.features, 1), score)
    assert not model.contributions(new.features).any()
    assert [note.split(":")[0] for note in model.notes] == [model.validation["fallback"].split(":")[0]]
    return model


@pytest.mark.parametrize(("n_users", "who"), [(0, "no user"), (1, "only one user")])
def test_too_few_users_to_learn_from_leave_the_sources_alike(n_users: int, who: str) -> None:
    """Point 12: the run failed, with options that did not help."""
    table = planted(2, seed=1)
    label = table.label * table.of_rows(np.arange(2) < n_users)
    model = fallen_back(replace(table, label=label.astype(np.float32)))
    assert model.blend.tolist() == [0.5, 0.5]
    assert model.validation["fallback"] == (
        f"no ranker was learnt, as {who} played a candidate in the label window: lists are in the order of the "
        "sources' scores, each counting the same"
    )


def test_where_all_was_played_the_sources_count_alike() -> None:
    """Point 12: CatBoost's own words ended the run."""
    table = planted(4, seed=1)
    model = fallen_back(replace(table, label=np.ones_like(table.label)))
    assert "as every candidate of the label window was played" in model.validation["fallback"]
    assert model.blend.tolist() == [0.5, 0.5]


def test_where_nothing_tells_candidates_apart_the_sources_count_alike() -> None:
    """Point 12: CatBoost's own words ended the run."""
    table = planted(4, seed=1)
    features = np.ones_like(table.features)
    features[:, 3] = np.nan
    model = fallen_back(replace(table, features=features))
    assert "as nothing tells the played candidates of the label window from the others" in model.validation["fallback"]
    assert model.blend.tolist() == [0.5, 0.5]


def choose(trees: list[float], blend: list[float], label: list[int], judged: list[bool] | None = None) -> RankerModel:
    """A model of one source over users of three candidates each, with the best share for given held-out scores."""
    indptr = np.arange(0, len(label) + 1, 3)
    table = table_of(("a_z",), np.array(blend, np.float32)[:, None], np.array(label, np.float32), indptr)
    model = RankerModel(("a_z",), table.z, None, np.ones(1, np.float32), 1.0, {})
    some = np.array(judged if judged is not None else [True] * (len(label) // 3))
    return model.with_best_mix(table, some, np.array(trees, np.float32))


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
    model = choose([*right, nan, nan, nan], [*wrong, *right], played * 2, [True, False])
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
    indptr = np.array([0, 4, 6, 9, 9])
    score = np.array([4, 3, 2, 1, 5, 5, 1, 1, 2], np.float32)
    label = np.array([0, 1, 0, 1, 0, 1, 1, 1, 1], np.float32)
    wanted = np.array([2, 1, 3, 4])
    gain = 1 / np.log2(np.arange(2, 9))  # of ranks 1, 2, ...
    first = (gain[1] + gain[3]) / (gain[0] + gain[1])
    # a tie goes to the first place; a row without candidates has none of what is wanted
    np.testing.assert_allclose(ndcgs(indptr, score, label, wanted), [first, gain[1], 1, 0])
    at_two = [gain[1] / (gain[0] + gain[1]), gain[1], 1, 0]
    np.testing.assert_allclose(ndcgs(indptr, score, label, wanted, k=2), at_two)
    # one more is wanted than there is
    np.testing.assert_allclose(ndcgs(indptr, score, label, wanted + 1)[1], gain[1] / (gain[0] + gain[1]))


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
    keep = np.arange(25) % 3 > 0
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
    table = table_of(("a_z", "b_z"), z, label.ravel(), indptr)
    every = np.ones(n, bool)

    def worth(w: Float32s) -> float:
        return float(ndcgs(indptr, blended(z, w), table.label, table.wanted, k=50).mean())

    likeliest, ordered = (fit_blend(table, every, by_order) for by_order in (False, True))
    assert ordered.sum() == pytest.approx(1)
    assert (ordered >= 0).all()
    assert worth(ordered) > worth(likeliest) + 0.05
    for source in np.eye(2, dtype=np.float32):
        assert worth(ordered) >= worth(source) - 1e-3
