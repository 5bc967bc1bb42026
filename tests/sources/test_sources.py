"""The item-item family, user-kNN, the spectral filter and the trend against their formulas, written out densely."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.times import DAY
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import ConfigError
from tonearm.kernels import item_item as kernels
from tonearm.ranking.candidates import gather
from tonearm.sources import Recipe, Source, fit_sources, left_out
from tonearm.sources.als import ALS
from tonearm.sources.ease import EASE
from tonearm.sources.history import drawn, drawn_share, longest_history, recency_weights, sampled
from tonearm.sources.item_item import ItemItem, ItemItemModel, affordable
from tonearm.sources.popularity import Popularity
from tonearm.sources.spectral import Spectral
from tonearm.sources.trend import Trend, trend_ratio
from tonearm.sources.user_knn import UserKNN
from tonearm.types import Float64s, Int64s

NOW = 50 * DAY
N_USERS, N_ITEMS = 23, 14


def some_data(n_users: int = N_USERS, timed: bool = True) -> Dataset:
    """Item 5 is never heard and user 2 never hears; some pairs repeat."""
    rng = np.random.default_rng(n_users)
    rows = [np.sort(rng.choice(50 * DAY, rng.integers(1, 12))) for _ in range(n_users)]
    rows[2] = rows[2][:0]
    items = [np.delete(np.arange(N_ITEMS), 5)[(13 * rng.beta(1, 2, len(row))).astype(int)] for row in rows]
    stop = np.cumsum([len(row) for row in rows]).astype(np.int64)
    start = np.concatenate(([0], stop[:-1])).astype(np.int64)
    time = np.concatenate(rows).astype(np.int32)
    log = Log(start, stop, np.concatenate(items).astype(np.int32), time if timed else None, None, N_ITEMS)
    ids = Vocabulary(pl.Series(range(N_ITEMS)))
    return Dataset(Vocabulary(pl.Series(range(n_users))), Catalogue(ids), log, NOW if timed else 0)


def of_histories(histories: list[Int64s], n_items: int) -> Dataset:
    """Users who played the items of one history each, all at the same moment."""
    stop = np.cumsum([len(history) for history in histories]).astype(np.int64)
    items = np.concatenate([np.sort(history) for history in histories]).astype(np.int32)
    start = np.concatenate(([0], stop[:-1])).astype(np.int64)
    log = Log(start, stop, items, np.zeros(len(items), np.int32), None, n_items)
    return Dataset(Vocabulary(pl.Series(range(len(stop)))), Catalogue(Vocabulary(pl.Series(range(n_items)))), log, NOW)


def dense(data: Dataset, values: Float64s | None = None) -> Float64s:
    matrix = np.zeros((data.n_users, data.n_items))
    row = np.repeat(np.arange(data.n_users), np.diff(data.pairs.indptr))
    matrix[row, data.pairs.item] = 1 if values is None else values
    return matrix


def dense_weights(model: ItemItemModel) -> Float64s:
    """Row: source item, column: target item."""
    matrix = np.zeros((N_ITEMS, N_ITEMS))
    for item in range(N_ITEMS):
        own = slice(int(model.indptr[item]), int(model.indptr[item + 1]))
        at = model.place[own]
        matrix[item, model.targets[at]] = model.weight[own] * model.scale[at]
    return matrix


@pytest.mark.parametrize("n_users", [N_USERS, 9])
def test_ease_is_the_least_squares_solution(n_users: int) -> None:
    data = some_data(n_users)
    model = EASE(regularization=3.0).fit(data, np.random.default_rng(0))
    heard = np.flatnonzero(data.plays > 0)
    x = dense(data)[:, heard]
    p = np.linalg.inv(x.T @ x + 3 * np.eye(len(heard)))
    expected = np.zeros((N_ITEMS, N_ITEMS))
    expected[np.ix_(heard, heard)] = np.eye(len(heard)) - p / np.diag(p)
    np.testing.assert_allclose(dense_weights(model), expected, atol=2e-5)
    assert np.abs(expected).max() > 0.05


def test_ease_keeps_the_most_heard_items_and_the_largest_weights() -> None:
    data = some_data()
    few = dense_weights(EASE(regularization=3.0, items=6, coverage=0).fit(data, np.random.default_rng(0)))
    most = np.sort(np.argsort(-data.listeners, kind="stable")[:6])
    assert np.flatnonzero(np.abs(few).sum(axis=0) > 0).tolist() == most.tolist()


@pytest.mark.parametrize("given", [True, False])
def test_ease_of_a_wide_catalogue_regresses_each_item_on_its_nearest(given: bool) -> None:
    data = some_data()
    options = EASE(items=4, coverage=0.9, neighbours=3, neighbour_regularization=2.0)
    near = ItemItem().fit(data, np.random.default_rng(0))
    found = dense_weights(options.fit(data, np.random.default_rng(0), fitted={"item_item": near} if given else {}))
    similarity, x = dense_weights(near), dense(data)
    expected = np.zeros((N_ITEMS, N_ITEMS))
    for i in np.flatnonzero(data.listeners):
        best = [int(j) for j in np.argsort(-similarity[:, i], kind="stable")[:3] if similarity[j, i] > 0]
        own = x[:, best]
        expected[best, i] = np.linalg.solve(own.T @ own + 2 * np.eye(len(best)), own.T @ x[:, i])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (np.abs(expected) > 0.05).sum() > 2 * N_ITEMS
    # where scoring takes too long, the least heard items are left out
    every = options.fit(data, np.random.default_rng(0), fitted={"item_item": near})
    cost = np.cumsum([data.listeners[expected[:, i] != 0].sum() for i in near.targets])
    some = dataclasses.replace(options, work=float(cost[4])).fit(
        data, np.random.default_rng(0), fitted={"item_item": near}
    )
    assert some.targets.tolist() == every.targets[:5].tolist()
    np.testing.assert_array_equal(dense_weights(some)[:, some.targets], dense_weights(every)[:, some.targets])
    # and where a log is too long to count all neighbours' listeners, the closed form stays
    longest = 8.0 * 3 * int(data.listeners.sum())
    for fit_work, n_targets in ((longest, len(every.targets)), (longest - 1, 4)):
        either = dataclasses.replace(options, fit_work=fit_work).fit(
            data, np.random.default_rng(0), fitted={"item_item": near}
        )
        assert len(either.targets) == n_targets


@pytest.mark.parametrize("recipe", [ItemItem, EASE])
def test_scoring_all_histories_stays_within_the_work(recipe: type[ItemItem] | type[EASE]) -> None:
    rng = np.random.default_rng(0)
    data = of_histories([rng.choice(200, 50, replace=False) for _ in range(400)], 200)

    def weights(work: float) -> Float64s:
        model = recipe(work=work).fit(data, rng)
        steps = int((np.diff(model.indptr) * data.listeners).sum())
        assert steps <= work
        out = np.zeros((200, 200))
        out[np.repeat(np.arange(200), np.diff(model.indptr)), model.targets[model.place]] = model.weight
        return out

    whole, part = weights(1e9), weights(1e6)
    kept = (part != 0).sum(axis=0)
    assert (kept == kept[0]).all()
    assert 30 < kept[0] < 100
    best = -np.sort(-np.abs(whole), axis=0)[: kept[0]]
    np.testing.assert_array_equal(-np.sort(-np.abs(part), axis=0)[: kept[0]], best)
    assert affordable(np.full(100, 10**9), 1e6) == 20


@pytest.mark.parametrize(("user", "source", "target", "shrink"), [(0, 0.5, 0.5, 0), (1, 1, 0.4, 0), (0.5, 0.5, 0.3, 2)])
def test_item_item_is_the_normalised_co_occurrence(user: float, source: float, target: float, shrink: float) -> None:
    data = some_data()
    recipe = ItemItem(user_power=user, source_power=source, target_power=target, shrink=shrink)
    r = dense(data)
    degree, heard = r.sum(axis=1), np.maximum(r.sum(axis=0), 1e-30)
    c = r.T @ (r / np.where(degree > 0, degree, 1)[:, None] ** user)
    expected = c / (shrink + np.where(c > 0, heard[:, None] ** source * heard[None, :] ** target, 1))
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(
        dense_weights(recipe.fit(data, np.random.default_rng(0))), expected, rtol=2e-4, atol=1e-6
    )


def test_item_item_drops_the_smallest_similarities_to_stay_in_its_budget() -> None:
    data = some_data()
    whole = dense_weights(ItemItem().fit(data, np.random.default_rng(0)))
    part = dense_weights(ItemItem(entries=3 * 13).fit(data, np.random.default_rng(0)))
    for target in range(N_ITEMS):
        kept = np.flatnonzero(part[:, target])
        assert len(kept) == min(3, np.count_nonzero(whole[:, target]))
        assert part[kept, target].sum() == pytest.approx(np.sort(whole[:, target])[::-1][:3].sum())


def test_scores_weigh_a_history_by_recency() -> None:
    data = some_data()
    model = ItemItem(recency=4.0).fit(data, np.random.default_rng(0))
    block = data.block(0, data.n_users, True)
    scores = dense(data, recency_weights(data.pairs, 4.0).astype(np.float64)) @ dense_weights(model)
    lists = model.recommend(block, 5)
    for user in range(data.n_users):
        own = slice(int(lists.indptr[user]), int(lists.indptr[user + 1]))
        np.testing.assert_allclose(lists.score[own], scores[user, lists.item[own]], rtol=1e-4)
        unheard = np.setdiff1d(np.flatnonzero(scores[user] > 0), data.pairs.item[data.pairs.row(user)])
        assert len(lists.item[own]) == min(5, len(unheard))
    np.testing.assert_array_equal(model.score(block, lists), lists.score)


def test_recency_counts_what_was_heard_later() -> None:
    data = some_data()
    weights, pairs = recency_weights(data.pairs, 4.0), data.pairs
    assert pairs.last is not None
    for user in range(data.n_users):
        last = pairs.last[pairs.row(user)]
        later = (last[None, :] > last[:, None]).sum(axis=1)
        np.testing.assert_allclose(weights[pairs.row(user)], 1 / (1 + later / 4), rtol=1e-6)
    assert (recency_weights(pairs, 0) == 1).all()
    assert (recency_weights(some_data(timed=False).pairs, 4) == 1).all()


def test_trend_scales_by_recent_over_all_plays() -> None:
    data = some_data()
    base = EASE(regularization=3.0).fit(data, np.random.default_rng(0))
    model = Trend(half_life=4.0, prior=2.0).fit(data, np.random.default_rng(0), fitted={"ease": base})
    assert data.log.time is not None
    recent, plays = np.zeros(N_ITEMS), np.zeros(N_ITEMS)
    np.add.at(recent, data.log.item, 0.5 ** ((NOW - data.log.time) / DAY / 4))
    np.add.at(plays, data.log.item, 1)
    ratio = (recent + 2 * recent.sum() / plays.sum()) / (plays + 2)
    np.testing.assert_allclose(trend_ratio(data, 4.0, 2.0), ratio, rtol=1e-5)
    np.testing.assert_allclose(dense_weights(model), dense_weights(base) * ratio[None, :], rtol=1e-4, atol=1e-7)
    with pytest.raises(ConfigError, match="names no item-item source"):
        Trend(of="item_item").fit(data, np.random.default_rng(0), fitted={"ease": base})


def test_models_searched_together_give_what_each_gives_alone() -> None:
    data = some_data()
    recipes: dict[str, Recipe[Source]] = {
        "popular": Popularity(),
        "item_item": ItemItem(),
        "ease": EASE(regularization=3.0),
        "trend": Trend(),
    }
    sources = fit_sources(data, recipes, seed=0)
    shared = [source.weight for source in sources if isinstance(source, ItemItemModel)]
    assert shared[1] is shared[2]
    block = data.block(0, data.n_users, True)
    candidates, own = gather(block, sources, 4)
    for column, (source, lists) in enumerate(zip(sources, own, strict=True)):
        alone = source.recommend(block, 4)
        for found, expected in zip(
            (lists.indptr, lists.item, lists.score), (alone.indptr, alone.item, alone.score), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(candidates.scores[:, column], source.score(block, candidates.lists))
    assert len(np.unique(candidates.scores[:, 3])) > 10


@pytest.mark.parametrize(("smoothing", "sharpness", "share"), [(0.0, 0.0, 1.0), (1.0, 0.25, 1.0), (1.0, 0.25, 0.4)])
def test_spectral_is_the_low_pass_filter(smoothing: float, sharpness: float, share: float) -> None:
    """Of a log that is too long, the vectors are those of some of its users."""
    rng = np.random.default_rng(4)
    popular = 1 / np.arange(1, 100)
    played = [rng.choice(99, rng.integers(1, 30), replace=False, p=popular / popular.sum()) for _ in range(200)]
    data = of_histories([played[0][:0], *played], 100)  # nobody has heard item 99
    pairs = int(data.listeners.sum())
    recipe = Spectral(factors=5, smoothing=smoothing, sharpness=sharpness, passes=30, max_pairs=int(share * pairs))
    model = recipe.fit(data, np.random.default_rng(0))
    r, some = dense(data), drawn(data.n_users, drawn_share(data.n_users, pairs, recipe.max_pairs))
    assert some.sum() == pytest.approx(share * data.n_users, abs=2)
    d_u, d_i = (np.maximum(n, 1) + smoothing * n[n > 0].mean() for n in (r[some].sum(axis=1), r.sum(axis=0)))
    _, sigma, v = np.linalg.svd(r[some] / np.sqrt(d_u)[:, None] / np.sqrt(d_i)[None, :])
    weight = (sigma[:5] / sigma[0]) ** (2 * sharpness)
    expected = (r / np.sqrt(d_i)) @ (v[:5].T * weight) @ v[:5] * np.sqrt(d_i)
    np.testing.assert_allclose(r @ model.source @ model.target.T, expected, atol=1e-4)
    assert not model.target[99].any()
    assert np.diff(model.recommend(data.block(1, data.n_users, True), 3).indptr).tolist() == [3] * (data.n_users - 1)
    if share < 1:
        assert f"--set spectral.max_pairs={pairs}" in model.left_out[0].sentence
        assert model.left_out[0].share == pytest.approx(1 - share, abs=0.01)
    else:
        assert model.left_out == ()


def test_users_are_drawn_evenly() -> None:
    """Every stretch of the users, and every few of them, holds its share; some are drawn however long the log is."""
    some = drawn(100_000, drawn_share(100_000, 1_000_000, 300_000))
    for n in (100_000, 1000, 50):
        each = some[:100_000].reshape(-1, n).sum(axis=1)
        assert each.min() >= 0.3 * n - 3
        assert each.max() <= 0.3 * n + 3
    assert [some[place::7].mean() for place in range(7)] == pytest.approx([0.3] * 7, abs=0.001)
    assert drawn(1000, drawn_share(1000, 10**9, 1)).sum() >= 60
    assert drawn(9, drawn_share(9, 10**9, 1)).all()


def test_als_of_a_long_log_begins_with_some_users() -> None:
    """Three passes over all come much of the way from three that began at random to ten; all users have a vector."""
    rng = np.random.default_rng(6)
    taste = 0.9 * rng.dirichlet(np.full(60, 0.1), 8) + 0.1 / 60
    data = of_histories([rng.choice(60, 12, replace=False, p=taste[u % 8]) for u in range(600)], 60)
    whole = ALS(factors=8, regularization=1.0, iterations=10)
    begun = dataclasses.replace(whole, max_pairs=int(data.listeners.sum()) // 4)
    short = dataclasses.replace(whole, iterations=begun.more_iterations)
    models = [recipe.fit(data, np.random.default_rng(0)) for recipe in (whole, begun, short)]
    best, mine, worse = (model.losses[-1] for model in models)
    assert len(models[1].losses) == begun.more_iterations
    assert best < mine < (best + worse) / 2
    assert models[1].known_users.all()
    assert np.abs(models[1].user_factors).sum(axis=1).min() > 0


def test_spectral_weighs_a_history_by_recency() -> None:
    data = some_data()
    block = data.block(0, data.n_users, True)
    model = Spectral(recency=2.0).fit(data, np.random.default_rng(0))
    assert data.pairs.last is not None
    later = [
        (data.pairs.last[data.pairs.row(user)][None, :] > data.pairs.last[data.pairs.row(user)][:, None]).sum(axis=1)
        for user in range(data.n_users)
    ]
    weighed = dense(data, 1 / (1 + np.concatenate(later) / 2))
    np.testing.assert_allclose(model.vectors(block), weighed @ model.source, rtol=1e-5, atol=1e-7)
    assert not np.allclose(weighed, dense(data))


def test_spectral_keeps_no_more_vectors_than_the_data_can_tell() -> None:
    rng = np.random.default_rng(5)
    data = of_histories([rng.choice(64, 8, replace=False) for _ in range(100)], 64)
    assert Spectral().fit(data, rng).source.shape == (64, 4)
    assert Spectral(entries=64 * 3).fit(data, rng).source.shape == (64, 3)
    same = of_histories([np.arange(32) for _ in range(100)], 32)
    assert Spectral().fit(same, rng).source.shape == (32, 1)  # of rank 1


def labelled(data: Dataset) -> Dataset:
    """The same with three genres of two to five of the heard items each, of which one item has two."""
    of_item = {0: [0], 1: [0, 1], 2: [1], 3: [1], 4: [2], 6: [2], 7: [2], 8: [1], 9: [1]}
    sizes = [len(of_item.get(item, [])) for item in range(N_ITEMS)]
    tags = Tags(
        np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        np.concatenate([of_item.get(item, []) for item in range(N_ITEMS)]).astype(np.int32),
        Vocabulary(pl.Series(["a", "b", "c"])),
    )
    return dataclasses.replace(data, catalogue=Catalogue(data.catalogue.items, genres=tags))


def with_listeners(data: Dataset) -> Dataset:
    """The same with a user more for each genre, who played all that have it at one moment."""
    sizes, items = data.catalogue.label_rows(data.listeners > 0)
    log = data.log
    assert log.time is not None
    stop = np.concatenate((log.stop, log.stop[-1] + np.cumsum(sizes)))
    start = np.concatenate((log.start, stop[-len(sizes) - 1 : -1]))
    time = np.concatenate((log.time, np.zeros(len(items), np.int32)))
    more = Log(start, stop, np.concatenate((log.item, items)), time, None, N_ITEMS)
    return Dataset(Vocabulary(pl.Series(range(len(stop)))), Catalogue(data.catalogue.items), more, NOW)


@pytest.mark.parametrize("recipe", [ItemItem(), EASE(regularization=3.0), EASE(items=4, coverage=0.9, neighbours=3)])
def test_side_information_counts_as_listeners(recipe: ItemItem | EASE) -> None:
    data = labelled(some_data())
    said, explicit = (
        recipe.fit(data, np.random.default_rng(0)),
        recipe.fit(with_listeners(data), np.random.default_rng(0)),
    )
    np.testing.assert_allclose(dense_weights(said), dense_weights(explicit), rtol=1e-5, atol=1e-6)
    without = dataclasses.replace(recipe, side_information=False).fit(data, np.random.default_rng(0))
    plain = recipe.fit(some_data(), np.random.default_rng(0))
    np.testing.assert_array_equal(dense_weights(without), dense_weights(plain))
    assert np.abs(dense_weights(said) - dense_weights(plain)).max() > 0.01


def test_side_information_counts_as_listeners_of_als() -> None:
    data = labelled(some_data())
    said, explicit = (ALS(factors=4).fit(d, np.random.default_rng(0)) for d in (data, with_listeners(data)))
    assert len(said.user_factors) == len(said.known_users) == data.n_users
    np.testing.assert_array_equal(said.item_factors, explicit.item_factors)
    np.testing.assert_array_equal(said.user_factors, explicit.user_factors[: data.n_users])
    np.testing.assert_array_equal(said.known_users, np.diff(data.pairs.indptr) > 0)
    plain = ALS(factors=4, side_information=False).fit(data, np.random.default_rng(0))
    np.testing.assert_array_equal(
        plain.item_factors, ALS(factors=4).fit(some_data(), np.random.default_rng(0)).item_factors
    )
    assert np.abs(said.item_factors - plain.item_factors).max() > 0.01


def test_spectral_sees_side_information_too() -> None:
    rng = np.random.default_rng(6)
    data = of_histories([rng.choice(64, 8, replace=False) for _ in range(100)], 64)
    tags = Tags(np.arange(65), np.repeat(np.arange(8, dtype=np.int32), 8), Vocabulary(pl.Series(range(8))))
    data = dataclasses.replace(data, catalogue=Catalogue(data.catalogue.items, albums=tags))
    near = {}
    for given in (True, False):
        model = Spectral(smoothing=0, side_information=given).fit(data, np.random.default_rng(0))
        similar = model.source @ model.target.T
        same = np.arange(64)[:, None] // 8 == np.arange(64) // 8
        near[given] = similar[same].mean() - similar[~same].mean()
    assert near[True] > 2 * abs(near[False])


@pytest.mark.parametrize("work", [50.0, 300.0, 700.0, 1e9])
def test_the_longest_history_that_the_work_allows(work: float) -> None:
    lengths = np.array([3, 0, 400, 90, 90, 2000], np.int64)
    found = longest_history(lengths, work * 100)
    assert (np.minimum(lengths, found) ** 2).sum() <= work * 100 or found == 50
    assert found == 2000 or found == 50 or (np.minimum(lengths, found + 1) ** 2).sum() > work * 100


@pytest.mark.parametrize("timed", [True, False])
def test_histories_are_cut_to_their_latest_items(timed: bool) -> None:
    pairs = some_data(timed=timed).pairs
    last = pairs.last if pairs.last is not None else np.empty(0, np.int32)
    indptr, item = kernels.cut_histories(pairs.indptr, pairs.item, last, 4)
    for user in range(pairs.n_users):
        own = pairs.row(user)
        kept = item[indptr[user] : indptr[user + 1]]
        assert len(kept) == min(4, len(pairs.item[own]))
        assert (np.diff(kept) > 0).all()
        assert np.isin(kept, pairs.item[own]).all()
        if pairs.last is not None:
            order = np.lexsort((pairs.item[own], -pairs.last[own]))[:4]
            assert kept.tolist() == np.sort(pairs.item[own][order]).tolist()


def test_item_item_sees_only_what_the_cut_left() -> None:
    rng = np.random.default_rng(1)
    lengths = np.array([80, 90, 3, 200, 70])
    items = np.concatenate([np.sort(rng.choice(300, n, replace=False)) for n in lengths]).astype(np.int32)
    stop = np.cumsum(lengths).astype(np.int64)
    time = rng.integers(0, DAY, len(items)).astype(np.int32)
    log = Log(stop - lengths, stop, items, time, None, 300)
    data = Dataset(Vocabulary(pl.Series(range(5))), Catalogue(Vocabulary(pl.Series(range(300)))), log, DAY)
    cut = sampled(data.pairs, 1.0)
    assert np.diff(cut.indptr).max() == 50
    small = Log(cut.indptr[:-1], cut.indptr[1:], cut.index, np.zeros(len(cut.index), np.int32), None, 300)
    expected = ItemItem().fit(dataclasses.replace(data, log=small), rng)
    found = ItemItem(fit_work=1.0).fit(data, rng)
    assert found.indptr.tolist() == expected.indptr.tolist()
    for own in map(slice, found.indptr[:-1], found.indptr[1:]):
        both = (dict(zip(m.targets[m.place[own]], m.weight[own], strict=True)) for m in (found, expected))
        assert next(both) == next(both)


def test_ease_sees_only_what_the_cut_left() -> None:
    ids = Vocabulary(pl.Series(range(300)))
    lengths = np.full(N_USERS, 60)
    items = np.concatenate([np.sort(np.random.default_rng(u).choice(300, 60, replace=False)) for u in range(N_USERS)])
    stop = np.cumsum(lengths).astype(np.int64)
    log = Log(stop - lengths, stop, items.astype(np.int32), np.zeros(len(items), np.int32), None, 300)
    data = Dataset(Vocabulary(pl.Series(range(N_USERS))), Catalogue(ids), log, NOW)
    cut = sampled(data.pairs, 1.0)
    x = np.zeros((N_USERS, 300))
    x[np.repeat(np.arange(N_USERS), 50), cut.index] = 1
    p = np.linalg.inv(x.T @ x + 3 * np.eye(300))
    expected = -p / np.diag(p)
    np.fill_diagonal(expected, 0)
    found = EASE(regularization=3.0, fit_work=1.0).fit(data, np.random.default_rng(0))
    dense_ = np.zeros((300, 300))
    dense_[np.repeat(np.arange(300), np.diff(found.indptr)), found.targets[found.place]] = found.weight
    np.testing.assert_allclose(dense_, expected, atol=2e-5)


@pytest.mark.parametrize(("neighbours", "recency"), [(1, 0.0), (4, 2.0), (100, 2.0)])
def test_user_knn_sums_the_histories_of_the_nearest(neighbours: int, recency: float) -> None:
    data = some_data()
    recipe = UserKNN(neighbours=neighbours, item_power=0.4, target_power=0.2, recency=recency)
    model = recipe.fit(data, np.random.default_rng(0))
    weighed = dense(data, recency_weights(data.pairs, recency).astype(np.float64))
    listeners = np.maximum(data.listeners, 1)
    x = weighed * listeners**-0.4
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    similarity = x @ x.T
    np.fill_diagonal(similarity, 0)
    expected = np.zeros((N_USERS, N_ITEMS))
    for user in range(N_USERS):
        near = np.argsort(-similarity[user], kind="stable")[:neighbours]
        expected[user] = similarity[user, near] @ (weighed[near] * listeners**-0.2)
    block = data.block(0, data.n_users, True)
    indptr, item = np.arange(N_USERS + 1) * N_ITEMS, np.tile(np.arange(N_ITEMS, dtype=np.int32), N_USERS)
    found = model.score(block, Lists(indptr, item, np.zeros(len(item), np.float32))).reshape(N_USERS, N_ITEMS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    lists = model.recommend(block, 3)
    for user in range(N_USERS):
        own = slice(int(lists.indptr[user]), int(lists.indptr[user + 1]))
        unheard = np.where((dense(data)[user] > 0) | (found[user] <= 0), -1, found[user])
        assert lists.item[own].tolist() == [i for i in np.argsort(-unheard, kind="stable")[:3] if unheard[i] > 0]
        np.testing.assert_array_equal(lists.score[own], found[user][lists.item[own]])


def test_a_stranger_with_a_users_history_has_the_neighbours_of_that_user() -> None:
    data = some_data()
    model = UserKNN(neighbours=1).fit(data, np.random.default_rng(0))
    blocks = [data.block(user, user + 1, True) for user in (4, 5)]
    for block in blocks:
        new = dataclasses.replace(block, users=np.array([-1], np.int32))
        again, known = model.nearest(new), model.nearest(block)
        assert again.item.tolist() == known.item.tolist()
        assert block.users[0] not in known.item
        np.testing.assert_array_equal(again.score, known.score)


def test_user_knn_is_left_out_where_it_costs_too_much() -> None:
    data = some_data()
    cost = float((data.listeners.astype(float) ** 2).sum())
    found = left_out(data, {"user_knn": UserKNN(work=cost - 1)})["user_knn"]
    assert found.option.startswith("user_knn.work=")
    assert "more than user_knn.work" in found.why
    assert not left_out(data, {"user_knn": UserKNN(work=cost)})


def test_point_9_sources_say_what_they_cut_off() -> None:
    """Point 9: histories were cut for co-counts, and items left out of EASE, in silence."""
    rng = np.random.default_rng(3)
    data = of_histories([rng.choice(120, 110 if u < 4 else 20, replace=False) for u in range(40)], 120)
    lengths = np.diff(data.pairs.indptr)
    work = 50.0**2 * 4 + 36 * 400
    whole = ItemItem(side_information=False).fit(data, rng)
    cut = ItemItem(side_information=False, fit_work=work).fit(data, rng)
    assert whole.left_out == ()
    (part,) = cut.left_out
    assert part.share == pytest.approx(1 - np.minimum(lengths, 50).sum() / lengths.sum())
    pairs = 1 - (np.minimum(lengths, 50).astype(float) ** 2).sum() / (lengths.astype(float) ** 2).sum()
    assert f"{pairs:.1%} of these pairs of items are not counted" in part.sentence
    assert "--set item_item.fit_work=" in part.sentence
    again = ItemItem(side_information=False, fit_work=float(part.option.split("=")[1])).fit(data, rng)
    assert again.left_out == ()


def test_point_9_ease_says_which_items_it_is_not_about() -> None:
    """Point 9: EASE over 5,000 of 988,858 items was said nowhere."""
    data = some_data()
    heard = int((data.listeners > 0).sum())
    model = EASE(items=heard - 2, coverage=0, side_information=False).fit(data, np.random.default_rng(0))
    (part,) = model.left_out
    assert part.share == pytest.approx(2 / heard)
    others = np.sort(data.listeners[data.listeners > 0])[:2].sum() / data.listeners.sum()
    assert f"with {others:.1%} of all user-item pairs" in part.sentence
    assert f"--set ease.items={heard}" in part.sentence
    assert EASE(items=heard, coverage=0).fit(data, np.random.default_rng(0)).left_out == ()
