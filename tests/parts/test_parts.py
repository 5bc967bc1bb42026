"""A run whose users are in parts knows, learns, lists and measures the same as one that has them all."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.parts.in_process import InProcess, in_shards
from tests.quick import CUT, Log, quick_config, tiny_log

from tonearm.config import Config, stage_rng
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log as EventLog
from tonearm.data.log import Pairs
from tonearm.data.truth import truth
from tonearm.evaluation.measure import Measure
from tonearm.kernels.als.fit import fold_in
from tonearm.loading.load import Loaded, load_events
from tonearm.loading.tables import as_source
from tonearm.parts import lists, measured, sources
from tonearm.parts.counted import Counted, label_window
from tonearm.parts.shard import Shard
from tonearm.parts.work import add_to, pack, unpack
from tonearm.pipeline import make_lists
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.recommender import Recommender
from tonearm.ranking.training import WHOLE
from tonearm.report import profile
from tonearm.sources import fit_sources
from tonearm.sources.als import ALSModel, values
from tonearm.sources.base import Source
from tonearm.sources.history import drawn
from tonearm.sources.spectral import SpectralModel
from tonearm.split import NoWindow, SplitOptions, inner_split
from tonearm.terminal.progress import no_progress

__all__ = ["tiny_log"]

LEFT_OUT = ("user_knn",)


@pytest.fixture(scope="module")
def loaded(tiny_log: Log) -> Loaded:
    return load_events(as_source(tiny_log.events, "events"), as_source(tiny_log.items, "items"), CUT)


@pytest.fixture
def parts(loaded: Loaded, tmp_path: Path) -> InProcess:
    """The tiny log in three parts."""
    (tmp_path / "machine").mkdir()
    return InProcess(in_shards(loaded, 3), tmp_path / "machine")


@pytest.fixture(params=["filter_seen=true", "filter_seen=false"])
def config(request: pytest.FixtureRequest) -> Config:
    return quick_config(request.param)


def counted(parts: InProcess, loaded: Loaded, config: Config) -> Counted:
    train = loaded.train
    weight = None if train.log.weight is None else train.log.weight[:0]
    none = np.empty(0, np.int64)
    nobody = EventLog(none, none, none.astype(np.int32), none.astype(np.int32), weight, train.n_items)
    return Counted.on(parts, train.catalogue, nobody, train.users.ids.clear(), train.now, config)


def recipes(config: Config) -> dict[str, Any]:
    return {name: recipe for name, recipe in config.recipes().items() if name not in LEFT_OUT}


def without_users(fitted: list[Source]) -> list[Source]:
    """The same sources, ALS without vectors of users, so that both sides fold these in."""
    return [
        replace(source, user_factors=source.user_factors[:0].copy(), known_users=source.known_users[:0].copy())
        if isinstance(source, ALSModel)
        else source
        for source in fitted
    ]


def test_items_are_counted_alike(parts: InProcess, loaded: Loaded) -> None:
    config, train = quick_config(), loaded.train
    mine = counted(parts, loaded, config)
    assert mine.n_users == train.n_users
    assert mine.n_events == train.log.n_events
    for name in ("events", "listeners", "plays", "plays_now", "popularity_order"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(train, name), err_msg=name)
        assert getattr(mine, name).dtype == getattr(train, name).dtype
    np.testing.assert_array_equal(mine.plays_within((7, 30)), train.plays_within((7, 30)))
    np.testing.assert_allclose(mine.decayed_plays(7.0), train.decayed_plays(7.0), rtol=1e-12)
    for a, b in zip(mine.item_times(), train.item_times(), strict=True):
        np.testing.assert_array_equal(a[train.plays > 0], b[train.plays > 0])


@pytest.mark.parametrize("options", [SplitOptions(), SplitOptions(label_share=0.5), SplitOptions(label_days=20)])
def test_the_label_window_is_the_same(parts: InProcess, loaded: Loaded, options: SplitOptions) -> None:
    train = loaded.train
    first = label_window(parts, train.now, options)
    split = inner_split(train, options, np.random.default_rng(0))
    assert first == split.cutoff
    assert label_window(parts, first, options) == inner_split(split.history, options, np.random.default_rng(0)).cutoff


def test_the_first_moment_is_history_even_if_the_window_is_short(tmp_path: Path) -> None:
    times = [1] * 9 + [5, 90_000]
    log = EventLog(np.array([0]), np.array([11]), np.arange(11, dtype=np.int32), np.array(times, np.int32), None, 11)
    shard = Shard(0, pl.Series([7]), log, log.rows(0, 0), pl.Series([], dtype=pl.Int64), log.rows(0, 0), 0)
    parts = InProcess([shard], tmp_path)
    assert label_window(parts, 100_000, SplitOptions(label_share=0.5)) == 5
    assert label_window(parts, 100_000, SplitOptions(label_share=0.05)) == 90_000
    with pytest.raises(NoWindow):
        label_window(parts, 2, SplitOptions())


def test_sources_learn_the_same(parts: InProcess, loaded: Loaded) -> None:
    """Co-occurrence, EASE and all counts to the bit; ALS to within 1% of its objective."""
    config, train = quick_config(), loaded.train
    mine = sources.fit(parts, counted(parts, loaded, config), config, recipes(config), {})
    theirs = fit_sources(train, recipes(config), config.seed)
    assert [source.name for source in mine] == [source.name for source in theirs]
    for a, b in zip(mine, theirs, strict=True):
        if isinstance(a, ALSModel) and isinstance(b, ALSModel):
            assert objective(a.item_factors, b, train) == pytest.approx(objective(b.item_factors, b, train), rel=0.01)
            continue
        if isinstance(a, SpectralModel) and isinstance(b, SpectralModel):
            assert a.source.shape == b.source.shape
            np.testing.assert_allclose(a.source @ a.target.T, b.source @ b.target.T, atol=2e-3)
            continue
        there = b.save()
        for name, array in a.save().items():
            np.testing.assert_array_equal(array, there[name], err_msg=f"{a.name} {name}")


def test_spectral_draws_its_users_in_each_part(
    parts: InProcess, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others than on one machine; the filter is that of one machine where it draws these."""
    train, most = loaded.train, int(0.8 * loaded.train.listeners.sum())
    config = quick_config(f"spectral.max_pairs={most}", "spectral.factors=4")
    recipe = {"spectral": config.spectral}
    (mine,) = sources.fit(parts, counted(parts, loaded, config), config, recipe, {})
    ids = pl.concat([shard.users.filter(pl.Series(drawn(len(shard.users), 0.8))) for shard in parts.shards])
    monkeypatch.setattr("tonearm.sources.spectral.drawn", lambda *_: train.users.ids.is_in(ids.implode()).to_numpy())
    (theirs,) = fit_sources(train, recipe, config.seed)
    assert isinstance(mine, SpectralModel)
    assert isinstance(theirs, SpectralModel)
    assert mine.left_out == theirs.left_out != ()
    a, b = mine.source @ mine.target.T, theirs.source @ theirs.target.T
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.999


def test_als_draws_its_first_users_in_each_part(parts: InProcess, loaded: Loaded) -> None:
    """Others than on one machine; the last passes over all come to nearly the same objective."""
    train, most = loaded.train, int(loaded.train.listeners.sum()) // 3
    config = quick_config(f"als.max_pairs={most}", "als.more_iterations=3")
    recipe = {"als": config.als}
    (mine,) = sources.fit(parts, counted(parts, loaded, config), config, recipe, {})
    (theirs,) = fit_sources(train, recipe, config.seed)
    assert isinstance(mine, ALSModel)
    assert isinstance(theirs, ALSModel)
    assert len(mine.losses) == len(theirs.losses) == 3
    assert objective(mine.item_factors, theirs, train) == pytest.approx(
        objective(theirs.item_factors, theirs, train), rel=0.01
    )


def objective(y: Any, model: ALSModel, data: Dataset) -> float:
    """Of ALS with labels' rows, users being solved exactly for the items."""
    pairs = data.labelled_pairs
    value = values(pairs, model.confidence, model.recency)
    assert value is not None
    common = y.T.astype(np.float64) @ y + model.regularization * np.eye(y.shape[1])
    x = fold_in(pairs.indptr, pairs.item, value, model.alpha, y, common)
    row = np.repeat(np.arange(pairs.n_users), np.diff(pairs.indptr))
    score = np.einsum("nf,nf->n", x[row].astype(np.float64), y[pairs.item].astype(np.float64))
    c = model.alpha * value.astype(np.float64)
    every = np.trace((x.T.astype(np.float64) @ x) @ (y.T.astype(np.float64) @ y))
    norms = model.regularization * (float((x.astype(np.float64) ** 2).sum()) + float((y.astype(np.float64) ** 2).sum()))
    return float((c * (1 - score) ** 2 - score**2).sum() + every + norms)


def test_als_goes_on_from_an_earlier_model(parts: InProcess, loaded: Loaded) -> None:
    config = quick_config("als.iterations=6", "als.more_iterations=2")
    data, recipe = counted(parts, loaded, config), {"als": config.als}
    first = fit_sources(loaded.train, recipe, config.seed)[0]
    assert isinstance(first, ALSModel)
    more = sources.fit(parts, data, config, recipe, {"als": first.beginning()})[0]
    assert isinstance(more, ALSModel)
    assert len(more.losses) == 2
    assert objective(more.item_factors, first, loaded.train) <= objective(first.item_factors, first, loaded.train)


def test_long_histories_are_cut_alike(parts: InProcess, loaded: Loaded) -> None:
    config = quick_config("item_item.fit_work=20000", "item_item.work=3e5", "ease.fit_work=20000", "ease.coverage=0")
    some = {name: recipe for name, recipe in recipes(config).items() if name in ("item_item", "ease")}
    mine = sources.fit(parts, counted(parts, loaded, config), config, some, {})
    theirs = fit_sources(loaded.train, some, config.seed)
    for a, b in zip(mine, theirs, strict=True):
        assert [row.what for row in a.left_out] == [row.what for row in b.left_out]  # type: ignore[attr-defined]
        there = b.save()
        for name, array in a.save().items():
            np.testing.assert_array_equal(array, there[name], err_msg=f"{a.name} {name}")


def test_the_ranker_learns_from_the_same_users(
    parts: InProcess, loaded: Loaded, config: Config, tmp_path: Path
) -> None:
    train, until = loaded.train, loaded.train.now
    split = inner_split(train, config.split, np.random.default_rng(0))
    assert split.cutoff is not None
    data = counted(parts, loaded, config).until(parts, split.cutoff, config)
    fitted = without_users(fit_sources(split.history, recipes(config), config.seed))
    table, n = lists.training_table(parts, data, until, fitted, config, tmp_path / "models" / "history", WHOLE)
    answers = truth(split.history.log, split.labels, config.filter_seen)
    rng = stage_rng(config.seed, "training table")
    whole = config.ranker.training_table(split.history, answers, fitted, config.search, rng)
    assert n == len(answers)
    assert table.names == whole.names
    np.testing.assert_array_equal(table.wanted, whole.wanted)
    np.testing.assert_array_equal(table.indptr, whole.indptr)
    np.testing.assert_array_equal(table.label, whole.label)
    np.testing.assert_allclose(table.features, whole.features, rtol=1e-5, atol=1e-6)
    assert len(np.unique(table.user)) == len(np.unique(whole.user))


def test_only_so_many_users_are_drawn_for_the_ranker(parts: InProcess, loaded: Loaded, tmp_path: Path) -> None:
    config = quick_config("ranker.users=10", "ranker.negatives=3")
    split = inner_split(loaded.train, config.split, np.random.default_rng(0))
    assert split.cutoff is not None
    data = counted(parts, loaded, config).until(parts, split.cutoff, config)
    fitted = without_users(fit_sources(split.history, {"popular": config.popularity, "als": config.als}, config.seed))
    table, n = lists.training_table(parts, data, loaded.train.now, fitted, config, tmp_path / "models" / "some", 4)
    assert n > 10
    assert len(table.user) == 10
    assert int(table.whole.sum()) == 4


def test_lists_and_figures_are_the_same(parts: InProcess, loaded: Loaded, config: Config, tmp_path: Path) -> None:
    """Every row of the final list to the bit; every figure, interval, slice and part to rounding."""
    train, data = loaded.train, counted(parts, loaded, config)
    fitted = without_users(fit_sources(train, recipes(config), config.seed))
    names = Recommender.of(
        train, fitted, RankerModel.of_sources(("als_z",), "none"), None, config.search, 20
    ).features.names
    ranker = RankerModel.of_sources(names, "nothing was learnt")
    here = Recommender.of(train, fitted, ranker, None, config.search, config.output.k)
    measure, made = Measure(train, loaded.measured_by, here, config), []
    make_lists(
        train,
        here,
        config,
        [measure.add, lambda block, m: made.append((block.users[m.lists.row], m.lists))],
        no_progress,
    )
    wanted = measure.metrics("the catalogue")

    there = Recommender.of(data, fitted, ranker, None, config.search, config.output.k)
    lists.write_models(tmp_path / "models" / "all", data, there, config)
    _, edges = profile.time_edges(*train.log.span)
    task = lists.ListTask(tmp_path / "models" / "all", 10_000, edges)
    final: list[pl.DataFrame] = []
    sums: dict[str, Any] = {}
    for _, rows in parts._do(task):
        for one in rows:
            if isinstance(one, tuple):
                final += [one[1]] if one[0] == "recommendations.parquet" else []
            else:
                add_to(sums, {name: np.atleast_1d(array) for name, array in one.items()})
    table = pl.concat(final)
    assert table["user_id"].equals(train.users.decode(np.concatenate([users for users, _ in made])).alias("user_id"))
    items = train.catalogue.items.decode(np.concatenate([own.item for _, own in made]))
    assert table["item_id"].equals(items.alias("item_id"))
    np.testing.assert_array_equal(table["score"], np.concatenate([own.score for _, own in made]))
    unknown = loaded.measured_by.unknown_events
    found = measured.metrics(sums, lists.nobody(data), there, config, unknown, "the catalogue")
    assert list(differing(wanted, found)) == []


def differing(a: Any, b: Any, path: str = "") -> Iterator[str]:
    """Where two trees are not the same but for rounding."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            yield from differing(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from differing(one, other, f"{path}[{i}]")
    elif isinstance(a, float) and isinstance(b, float | int):
        if abs(a - b) > 1e-7 * max(1, abs(a)):
            yield f"{path}: {a} {b}"
    elif a != b:
        yield f"{path}: {a} {b}"


def test_users_drawn_together_have_nearly_the_same_intervals(parts: InProcess, loaded: Loaded, tmp_path: Path) -> None:
    """Above so many users the bootstrap draws groups of them: means stay, and intervals are about as wide."""
    config = quick_config("evaluation.resamples=1000")
    data = counted(parts, loaded, config)
    fitted = without_users(fit_sources(loaded.train, {"popular": config.popularity, "als": config.als}, config.seed))
    names = Recommender.of(
        loaded.train, fitted, RankerModel.of_sources(("als_z",), "none"), None, config.search, 20
    ).features.names
    recommender = Recommender.of(
        data, fitted, RankerModel.of_sources(names, "nothing"), None, config.search, config.output.k
    )
    lists.write_models(tmp_path / "models" / "grouped", data, recommender, config)
    _, edges = profile.time_edges(*loaded.train.log.span)
    found = []
    for units in (10_000, 12):
        sums: dict[str, Any] = {}
        for _, made in parts._do(lists.ListTask(tmp_path / "models" / "grouped", units, edges)):
            for one in made:
                if not isinstance(one, tuple):
                    add_to(sums, {key: np.atleast_1d(array) for key, array in one.items()})
        found.append(measured.metrics(sums, lists.nobody(data), recommender, config, 0, None))
    alone, grouped = (one["intervals"]["personal_als"]["recall@20"] for one in found)
    assert found[0]["lists"] == found[1]["lists"]
    assert found[0]["slices"] == found[1]["slices"]
    assert grouped != alone
    assert np.diff(grouped) == pytest.approx(np.diff(alone), rel=0.5)


def test_a_shard_is_built_as_a_log_is_loaded(tiny_log: Log, loaded: Loaded) -> None:
    """From rows in any order; repeats are dropped where they are to be."""
    events = pl.concat([tiny_log.events, tiny_log.events.head(5)]).sample(fraction=1, shuffle=True, seed=3)
    train, test = loaded.train, loaded.measured_by
    items = pl.concat([train.catalogue.items.ids, test.new_items])
    place = {item: i for i, item in enumerate(items.to_list())}
    item = np.array([place[item] for item in events["item_id"].to_list()], np.int32)
    time = events["started_at"].dt.epoch("s") - int((datetime(2000, 1, 1) - datetime(1970, 1, 1)).total_seconds())
    seconds, sizes = time.to_numpy().astype(np.int32), (train.n_items, test.log.n_items)
    shard = Shard.build(3, events["user_id"], item, seconds, np.empty(0, np.float32), train.now, True, sizes)
    assert shard.repeats >= 5
    shard = Shard.of(3, unpack(pack(shard.arrays())))
    assert shard.users.equals(train.users.ids.alias("users"))
    assert shard.cold_users.equals(test.cold_users.alias("cold_users"))
    for mine, theirs in ((shard.train, train.log), (shard.test, test.log), (shard.cold, test.cold)):
        np.testing.assert_array_equal(mine.packed().item, theirs.packed().item)
        np.testing.assert_array_equal(np.asarray(mine.packed().time), np.asarray(theirs.packed().time))
        np.testing.assert_array_equal(np.diff(mine.stop - mine.start), np.diff(theirs.stop - theirs.start))
        np.testing.assert_array_equal(Pairs.of(mine).plays, Pairs.of(theirs).plays)


def test_one_who_heard_everything_and_one_track_of_everybody(tiny_log: Log, tmp_path: Path) -> None:
    """What is skewed is learnt as anything else, and no stretch of targets takes all of the work."""
    events = tiny_log.events
    users, items = (events[name].unique().sort() for name in ("user_id", "item_id"))
    moment = pl.lit(datetime(2022, 6, 1)).cast(events.schema["started_at"])
    everything = pl.DataFrame({"user_id": users[:1].new_from_index(0, len(items)), "item_id": items})
    everybody = pl.DataFrame({"user_id": users, "item_id": items[:1].new_from_index(0, len(users))})
    more = pl.concat([everything, everybody]).with_columns(started_at=moment)
    skewed = load_events(as_source(pl.concat([events, more]), "events"), as_source(tiny_log.items, "items"), CUT)
    (tmp_path / "machine").mkdir()
    parts, config = InProcess(in_shards(skewed, 4), tmp_path / "machine"), quick_config()
    some = {name: recipe for name, recipe in recipes(config).items() if name in ("als", "item_item", "ease")}
    mine = sources.fit(parts, counted(parts, skewed, config), config, some, {})
    theirs = fit_sources(skewed.train, some, config.seed)
    assert isinstance(mine[0], ALSModel)
    assert isinstance(theirs[0], ALSModel)
    one, other = (objective(model.item_factors, theirs[0], skewed.train) for model in (mine[0], theirs[0]))
    assert one == pytest.approx(other, rel=0.01)
    for a, b in zip(mine[1:], theirs[1:], strict=True):
        there = b.save()
        for name, array in a.save().items():
            np.testing.assert_array_equal(array, there[name], err_msg=f"{a.name} {name}")
