"""What every candidate source owes the pipeline, whatever it is made of."""

import io
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tonearm.config import Config, load_config
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Pairs
from tonearm.loading.load import load_all
from tonearm.sources import MODELS, Source, fit_sources
from tonearm.sources.popularity import PopularityModel
from tonearm.types import AnyArray, Bools, Int32s, Int64s

NAMES = tuple(Config(filter_seen=False).recipes())
SETTINGS = ("als.factors=6", "als.iterations=3", "filter_seen=false")
RECIPES = load_config(overrides=SETTINGS).recipes()
GENRES = ("rock", "pop", "jazz", "folk", "rap")
MANY = 10_000


def make_tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    """29 users, 41 items heard of a catalogue of 47, repeats, skewed; items 107, 117, ... are never heard."""
    rng = np.random.default_rng(5)
    items = np.arange(100, 147)
    heard = items[items % 10 != 7][:41]
    chance = rng.gamma(0.6, 1.0, len(heard))
    lengths = rng.integers(1, 22, 29)
    users = np.repeat(np.arange(29) * 3 + 2, lengths)
    picks = rng.choice(heard, len(users), p=chance / chance.sum())
    start = datetime(2021, 3, 1)
    times = [start + timedelta(hours=int(h)) for h in rng.integers(0, 2_000, len(users))]
    events = pl.DataFrame({"user_id": users, "item_id": picks, "started_at": times})
    genres = [[str(g) for g in rng.choice(GENRES, rng.integers(0, 4), replace=False)] for _ in items]
    artists = [[f"artist {a}"] for a in rng.integers(0, 12, len(items))]
    vectors = [None if i % 6 == 0 else v.tolist() for i, v in zip(items, rng.normal(size=(len(items), 5)), strict=True)]
    table = {"item_id": items, "name": [f"track {i}" for i in items], "genres": genres, "artists": artists}
    table["vector"] = vectors
    return events, pl.DataFrame(table)


def load_tables(folder: Path, events: pl.DataFrame, items: pl.DataFrame) -> Dataset:
    events.write_parquet(folder / "events.parquet")
    items.write_parquet(folder / "items.parquet")
    return load_all(str(folder / "events.parquet"), str(folder / "items.parquet")).train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_tables(tmp_path_factory.mktemp("sources"), *make_tables())


@pytest.fixture(scope="module", params=NAMES)
def source(request: pytest.FixtureRequest, data: Dataset) -> Source:
    return fit(request.param, data)


def fit(name: str, data: Dataset, seed: int = 3) -> Source:
    return next(source for source in fit_sources(data, RECIPES, seed) if source.name == name)


def everyone(data: Dataset, filter_seen: bool = True) -> Block:
    return data.block(0, data.n_users, filter_seen)


def stranger(block: Block) -> Block:
    """The same histories, of users whom the source does not know."""
    return replace(block, users=np.full(len(block), -1, np.int32))


def nobody(data: Dataset, filter_seen: bool = True) -> Block:
    """One unknown user without a history."""
    none = np.zeros(1, np.int64)
    log = replace(data.log, start=none, stop=none)
    return Block(np.full(1, -1, np.int32), log, Pairs.of(log), data.now, filter_seen)


def tie_key(source: Source, data: Dataset) -> Int64s:
    """What decides between equal scores: the index, or first popularity where the source says so."""
    place = np.arange(data.n_items)
    if source.name == "content":
        place[data.popularity_order] = np.arange(len(data.popularity_order))
    return place


def check_lists(lists: Lists, source: Source, data: Dataset, block: Block, k: int) -> None:
    assert len(lists) == len(block)
    assert lists.indptr.dtype == np.int64
    assert lists.item.dtype == np.int32
    assert lists.score.dtype == np.float32
    assert lists.indptr[0] == 0
    assert lists.indptr[-1] == len(lists.item) == len(lists.score)
    lengths = np.diff(lists.indptr)
    assert (lengths >= 0).all()
    assert (lengths <= k).all()
    assert np.isfinite(lists.score).all()
    assert (data.plays[lists.item] > 0).all(), "an item without an event is recommended"
    key = tie_key(source, data)
    for row in range(len(lists)):
        part = slice(int(lists.indptr[row]), int(lists.indptr[row + 1]))
        item, score = lists.item[part], lists.score[part]
        assert len(set(item.tolist())) == len(item), "an item stands twice"
        order = np.lexsort((key[item], -score))
        np.testing.assert_array_equal(order, np.arange(len(item)), "not best first, or ties out of order")
        if block.filter_seen:
            assert not np.isin(item, block.pairs.item[block.pairs.row(row)]).any(), "a seen item is recommended"


def same(a: Lists, b: Lists) -> None:
    np.testing.assert_array_equal(a.indptr, b.indptr)
    np.testing.assert_array_equal(a.item, b.item)
    np.testing.assert_array_equal(a.score, b.score)


def all_items(block: Block) -> Lists:
    """Every item as a candidate of every user."""
    b, n = len(block), block.n_items
    item: Int32s = np.tile(np.arange(n, dtype=np.int32), b)
    return Lists(np.arange(b + 1, dtype=np.int64) * n, item, np.zeros(b * n, np.float32))


@pytest.mark.parametrize("filter_seen", [True, False])
@pytest.mark.parametrize("k", [1, 7, MANY])
def test_lists_are_well_formed(source: Source, data: Dataset, k: int, filter_seen: bool) -> None:
    block = everyone(data, filter_seen)
    lists = source.recommend(block, k)
    check_lists(lists, source, data, block, k)
    # there is nothing to hear again where heard items may not come back
    assert (len(lists.item) > 0) == (source.name != "again" or not filter_seen)


@pytest.mark.parametrize("filter_seen", [True, False])
def test_the_list_is_the_best_of_its_own_scores(source: Source, data: Dataset, filter_seen: bool) -> None:
    block, k = everyone(data, filter_seen), 9
    lists = source.recommend(block, k)
    score = source.score(block, all_items(block)).reshape(len(block), -1)
    assert score.dtype == np.float32
    allowed: Bools = np.repeat((data.plays > 0)[None], len(block), axis=0)
    if filter_seen:
        allowed[np.repeat(np.arange(len(block)), np.diff(block.pairs.indptr)), block.pairs.item] = False
    unknown = -np.inf if source.name.startswith("vectors") else 0  # a cosine may be below that of what has no vector
    for row in range(len(block)):
        own = lists.score[lists.row == row]
        best = np.sort(np.nan_to_num(score[row, allowed[row]], nan=unknown))[::-1]
        np.testing.assert_allclose(own, best[: len(own)], rtol=1e-5, atol=1e-7)
        if len(own) < k:
            # only what the source knows nothing of may be missing
            assert (best[len(own) :] == unknown).all()


def test_score_of_a_recommended_item_is_the_score_in_the_list(source: Source, data: Dataset) -> None:
    block = everyone(data, filter_seen=source.name != "again")
    lists = source.recommend(block, 12)
    assert len(lists.item) > 50
    forgotten = replace(lists, score=np.zeros_like(lists.score))
    np.testing.assert_allclose(source.score(block, forgotten), lists.score, rtol=1e-5)


def test_a_head_of_a_longer_list_is_the_shorter_one(source: Source, data: Dataset) -> None:
    block = everyone(data, filter_seen=source.name != "again")
    same(source.recommend(block, 17).head(6), source.recommend(block, 6))


def test_blocks_of_any_size_give_the_same(source: Source, data: Dataset) -> None:
    seen = source.name != "again"
    whole = source.recommend(everyone(data, seen), 8)
    for size in (1, 10):
        parts = [
            source.recommend(data.block(lo, min(lo + size, data.n_users), seen), 8)
            for lo in range(0, data.n_users, size)
        ]
        same(Lists.concat(parts), whole)
    backwards = np.arange(data.n_users, dtype=np.int32)[::-1].copy()
    turned = source.recommend(data.block_of(backwards, seen), 8)
    for row, user in enumerate(backwards):
        np.testing.assert_array_equal(turned.item[turned.row == row], whole.item[whole.row == user])


def test_an_unknown_user_is_served_from_the_history_alone(source: Source, data: Dataset) -> None:
    seen = source.name != "again"
    block = stranger(everyone(data, seen))
    lists = source.recommend(block, 8)
    check_lists(lists, source, data, block, 8)
    assert (np.diff(lists.indptr) > 0).all()
    np.testing.assert_allclose(source.score(block, lists), lists.score, rtol=1e-5)
    known = source.recommend(everyone(data, seen), 8)
    if source.name == "als":
        # folded in exactly, while training takes steps: alike, not equal
        shared = [
            len(np.intersect1d(lists.item[lists.row == row], known.item[known.row == row])) for row in range(len(block))
        ]
        assert np.mean(shared) > 4
    else:
        same(lists, known)


def test_an_unknown_user_with_only_unheard_items(source: Source, data: Dataset) -> None:
    unheard = np.flatnonzero(data.plays == 0)[:2].astype(np.int32)
    assert len(unheard) == 2
    log = replace(
        data.log,
        start=np.zeros(1, np.int64),
        stop=np.array([2]),
        item=unheard,
        time=np.array([data.now - 90, data.now - 60], np.int32),
    )
    for filter_seen in (True, False):
        block = Block(np.full(1, -1, np.int32), log, Pairs.of(log), data.now, filter_seen)
        lists = source.recommend(block, 5)
        check_lists(lists, source, data, block, 5)


@pytest.mark.parametrize("filter_seen", [True, False])
def test_an_empty_history(source: Source, data: Dataset, filter_seen: bool) -> None:
    block = nobody(data, filter_seen)
    lists = source.recommend(block, 6)
    check_lists(lists, source, data, block, 6)
    if source.name == "popular":
        assert lists.item.tolist() == data.popularity_order[:6].tolist()
    elif isinstance(source, PopularityModel):
        assert len(lists.item) == 6
    elif source.name != "content":
        assert len(lists.item) == 0
    score = source.score(block, all_items(block))
    assert score.shape == (data.n_items,)
    assert not np.isinf(score).any()


def test_scoring_nothing(source: Source, data: Dataset) -> None:
    block = everyone(data)
    none = Lists(np.zeros(len(block) + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    assert source.score(block, none).shape == (0,)
    assert len(source.recommend(data.block(0, 0, True), 5)) == 0


def test_an_item_without_events_scores_nothing(source: Source, data: Dataset) -> None:
    block = everyone(data)
    score = source.score(block, all_items(block)).reshape(len(block), -1)
    unheard = score[:, data.plays == 0]
    if source.name in ("content", "vectors", "vectors_last"):
        # what a new item is like is known, though nobody has played it
        assert np.nanmax(unheard) > 0
    else:
        assert np.nan_to_num(unheard).max() == 0


def test_fit_is_deterministic(source: Source, data: Dataset) -> None:
    again = fit(source.name, data).save()
    before = source.save()
    assert list(again) == list(before)
    for name, array in before.items():
        assert again[name].tobytes() == array.tobytes(), name


def test_a_model_is_saved_as_plain_arrays(source: Source) -> None:
    arrays = source.save()
    assert arrays
    for name, array in arrays.items():
        assert isinstance(array, np.ndarray), name
        assert array.dtype != np.dtype(object), name
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as read:
        back: dict[str, AnyArray] = {name: read[name] for name in read.files}
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


def test_a_loaded_model_is_the_saved_one(source: Source, data: Dataset) -> None:
    loaded = MODELS[source.name].load(source.save())
    block = everyone(data)
    assert loaded.name == source.name
    again, before = loaded.save(), source.save()
    assert {name: array.tobytes() for name, array in again.items()} == {
        name: array.tobytes() for name, array in before.items()
    }
    same(loaded.recommend(block, 7), source.recommend(block, 7))
    np.testing.assert_array_equal(loaded.score(block, all_items(block)), source.score(block, all_items(block)))
    new = stranger(block)
    np.testing.assert_array_equal(loaded.score(new, all_items(new)), source.score(new, all_items(new)))


@pytest.mark.parametrize("filter_seen", [True, False])
def test_what_has_a_positive_score_is_in_an_endless_list(source: Source, data: Dataset, filter_seen: bool) -> None:
    block = everyone(data, filter_seen)
    scores = source.score(block, all_items(block)).reshape(len(block), data.n_items)
    lists = source.recommend(block, MANY)
    for row in range(len(block)):
        left = (scores[row] > 0) & (data.plays > 0)
        left[block.seen[1][block.seen[0][row] : block.seen[0][row + 1]]] = False
        assert np.isin(np.flatnonzero(left), lists.item[lists.row == row]).all()
    assert (scores > 0).any()


@pytest.mark.parametrize("kind", ["own", "stranger", "empty"])
def test_contributions_of_the_history_sum_to_the_score(source: Source, data: Dataset, kind: str) -> None:
    some = 0
    for user in range(0, data.n_users, 3):
        own = data.block(user, user + 1, True)
        # ALS decomposes the solution from the history, which is the score of a user who is folded in
        block = (
            nobody(data) if kind == "empty" else stranger(own) if kind == "stranger" or source.name == "als" else own
        )
        scores = source.score(block, all_items(block))
        for item in range(data.n_items):
            values = source.contributions(block, item)
            if source.name in ("popular", "recent"):
                assert values is None
                continue
            assert values is not None
            assert values.shape == block.pairs.item.shape
            assert values.sum() == pytest.approx(float(np.nan_to_num(scores[item])), abs=1e-4)
            some += int((np.abs(values) > 1e-3).sum())
    assert some > 50 or kind == "empty" or source.name in ("popular", "recent", "trend")


@pytest.mark.parametrize("name", NAMES)
def test_unheard_items_of_the_catalogue_change_nothing(name: str, data: Dataset, tmp_path: Path) -> None:
    events, items = make_tables()
    more = pl.DataFrame(
        {
            "item_id": [3, 104_000, 9],
            "name": "new",
            "genres": [["rock"], ["pop"], ["folk"]],
            "artists": [["x"]] * 3,
            "vector": [[1.0, 2, 3, 4, 5], None, [-1.0, 0, 0, 0, 2]],
        }
    )
    wider = load_tables(tmp_path, events, pl.concat([more, items]))
    assert wider.n_items == data.n_items + 3
    seen = name != "again"
    narrow_lists = fit(name, data).recommend(everyone(data, seen), 10)
    wide_lists = fit(name, wider).recommend(everyone(wider, seen), 10)
    np.testing.assert_array_equal(narrow_lists.indptr, wide_lists.indptr)
    assert decoded(data, narrow_lists) == decoded(wider, wide_lists)
    np.testing.assert_allclose(narrow_lists.score, wide_lists.score, rtol=1e-5)


@pytest.mark.parametrize("filter_seen", [True, False])
def test_among_some_items_the_best_of_them_fill_the_list_as_far_as_they_go(
    source: Source, data: Dataset, filter_seen: bool
) -> None:
    """Point 13: the search is among what may be recommended, so no slot of k goes to what may not."""
    block = everyone(data, filter_seen)
    allowed: Bools = np.arange(data.n_items) % 3 == 0
    before = [array.tobytes() for array in source.save().values()]
    whole, some = source.recommend(block, MANY), source.among(allowed)
    for k in (4, MANY):
        lists = some.recommend(block, k)
        # brute force: the endless list over everything, without what is not allowed
        kept = allowed[whole.item]
        indptr = np.concatenate(([0], np.cumsum(kept)))[whole.indptr].astype(np.int64)
        same(lists, Lists(indptr, whole.item[kept], whole.score[kept]).head(k))
    np.testing.assert_array_equal(some.score(block, all_items(block)), source.score(block, all_items(block)))
    assert [array.tobytes() for array in some.save().values()] == before
    nothing = source.among(np.zeros(data.n_items, np.bool_)).recommend(block, 5)
    assert np.diff(nothing.indptr).tolist() == [0] * len(block)


def test_recommend_alters_nothing_it_is_given(source: Source, data: Dataset) -> None:
    block = everyone(data, filter_seen=source.name != "again")
    item, plays = block.pairs.item.copy(), block.pairs.plays.copy()
    before = [array.tobytes() for array in source.save().values()]
    source.score(block, source.recommend(block, 5))
    np.testing.assert_array_equal(block.pairs.item, item)
    np.testing.assert_array_equal(block.pairs.plays, plays)
    assert [array.tobytes() for array in source.save().values()] == before


def decoded(data: Dataset, lists: Lists) -> list[int]:
    ids: list[int] = data.catalogue.items.decode(lists.item).to_list()
    return ids
