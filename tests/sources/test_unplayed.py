"""Tracks that nobody has played, by content."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.sources.content import Content, unplayed_order

GENRES = [["rock"], ["jazz"], ["rock"], ["rock", "jazz"], ["rock"], [], ["folk"], ["jazz"]]
ARTISTS = [["a"], ["b"], ["c"], ["d"], ["b", "d"], ["b"], ["a"], ["a"]]
PLAYED = [[0, 0, 1], [1], [5]]
"""Items 2, 3, 4, 6 and 7 are new; artist a has 2 plays, b has 3."""


def tags_of(rows: list[list[str]]) -> Tags:
    labels = sorted({label for row in rows for label in row})
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    index = np.array([labels.index(label) for row in rows for label in row], np.int32)
    return Tags(indptr, index, Vocabulary(pl.Series(labels, dtype=pl.String)))


def some_data(artists: list[list[str]] | None = ARTISTS, played: list[list[int]] = PLAYED) -> Dataset:
    stop = np.cumsum([len(row) for row in played]).astype(np.int64)
    item = np.array([one for row in played for one in row], np.int32)
    log = Log(np.concatenate(([0], stop[:-1])), stop, item, None, None, len(GENRES))
    items = Vocabulary(pl.Series(range(len(GENRES))))
    catalogue = Catalogue(items, genres=tags_of(GENRES), artists=None if artists is None else tags_of(artists))
    return Dataset(Vocabulary(pl.Series(range(len(played)))), catalogue, log, 0)


@pytest.mark.parametrize(("artists", "order"), [(ARTISTS, [4, 6, 7, 2, 3]), (None, [2, 3, 4, 6, 7])])
def test_new_items_of_the_most_played_artists_come_first(artists: list[list[str]] | None, order: list[int]) -> None:
    assert unplayed_order(some_data(artists)).tolist() == order


def test_a_list_holds_new_items_of_genres_that_the_user_plays() -> None:
    data = some_data()
    content = Content().fit(data, np.random.default_rng(0))
    model = content.of_unplayed(data)
    assert model is not None
    lists = model.recommend_fresh(data.block(0, 3, True), 3)
    # log(1 + 2) of rock against log(1 + 1) of jazz; the third user plays what has no genre
    profile = np.log([3, 2]) / np.linalg.norm(np.log([3, 2]))
    assert lists.indptr.tolist() == [0, 3, 5, 5]
    assert lists.item.tolist() == [3, 4, 2, 7, 3]
    first = [profile.sum() / np.sqrt(2), profile[0], profile[0]]
    np.testing.assert_allclose(lists.score, [*first, 1, 1 / np.sqrt(2)], rtol=1e-6)
    # the lists of played items are as before
    assert set(content.recommend(data.block(0, 3, False), 8).item.tolist()) == {0, 1, 5}


@pytest.mark.parametrize("played", [lambda items: [items], lambda items: [items[:5] + items[6:]]])
def test_without_a_new_item_that_has_a_genre_there_is_nothing(played: Callable[[list[int]], list[list[int]]]) -> None:
    data = some_data(played=played(list(range(8))))
    assert Content().fit(data, np.random.default_rng(0)).of_unplayed(data) is None
