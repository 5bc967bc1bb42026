"""Similar items by vectors and by common listeners, against the formula written out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.sources import similar
from tonearm.sources.als import ALS, ALSModel
from tonearm.sources.base import Source
from tonearm.sources.item_item import ItemItem, ItemItemModel
from tonearm.sources.similar import Similar
from tonearm.terminal.progress import no_progress
from tonearm.types import Float64s

N_USERS, N_ITEMS, SUPPORT = 60, 23, 4.0
BY: tuple[similar.By, similar.By] = ("als", "blend")
HEARD = np.delete(np.arange(20, dtype=np.int32), 5)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Item 5 is never heard; one user alone hears 21 and 22, along with 0 and 1; all but 22 are by one of three."""
    rng = np.random.default_rng(3)
    histories = [rng.choice(np.delete(np.arange(21), 5), rng.integers(2, 8), replace=False) for _ in range(N_USERS - 1)]
    histories.append(np.array([0, 1, 21, 22]))
    stop = np.cumsum([len(history) for history in histories]).astype(np.int64)
    item = np.concatenate([np.sort(history) for history in histories]).astype(np.int32)
    log = Log(np.concatenate(([0], stop[:-1])).astype(np.int64), stop, item, None, None, N_ITEMS)
    artists = Tags(
        np.concatenate((np.arange(22), [22, 22])).astype(np.int64),
        (np.arange(22) % 3).astype(np.int32),
        Vocabulary(pl.Series(["a", "b", "c"])),
    )
    catalogue = Catalogue(Vocabulary(pl.Series(range(N_ITEMS))), artists=artists)
    return Dataset(Vocabulary(pl.Series(range(N_USERS))), catalogue, log, 0)


@pytest.fixture(scope="module")
def sources(data: Dataset) -> list[Source]:
    rng = np.random.default_rng(0)
    return [ALS(factors=4, iterations=4).fit(data, rng), ItemItem().fit(data, rng)]


def of(sources: Sequence[Source], data: Dataset, by: similar.By = "blend", per_artist: int = 0) -> Similar:
    return Similar.of(sources, data, by, SUPPORT, per_artist)


def cosines(als: ALSModel) -> Float64s:
    unit = als.item_factors.astype(np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1), 1e-30)[:, None]
    product: Float64s = unit @ unit.T
    return product


def weights_of(model: ItemItemModel) -> Float64s:
    """What a play of j (column) adds to i (row)."""
    dense = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        for place in range(model.indptr[j], model.indptr[j + 1]):
            dense[model.targets[model.place[place]], j] = model.weight[place]
    return dense


def by_formula(sources: Sequence[Source], data: Dataset, depth: int, listed: Sequence[int]) -> list[list[int]]:
    """All candidates of each item, best first."""
    als, item_item = sources[0], sources[1]
    assert isinstance(als, ALSModel)
    assert isinstance(item_item, ItemItemModel)
    trust = data.listeners / (data.listeners + SUPPORT)
    a, c = cosines(als) * trust, weights_of(item_item) * trust
    found: list[list[int]] = []
    for i in range(N_ITEMS):
        if data.listeners[i] == 0:
            found.append([])
            continue
        others = [j for j in listed if j != i and data.listeners[j]]
        by_a = sorted(others, key=lambda j: (-a[i, j], j))[:depth]
        by_c = sorted((j for j in others if c[i, j] > 0), key=lambda j: (-c[i, j], j))[:depth]
        most_a = max((a[i, j] for j in {*by_a, *by_c}), default=0)
        most_c = max((c[i, j] for j in by_c), default=0)
        score = {
            j: (a[i, j] / most_a if most_a > 0 else 0) / 2 + (c[i, j] / most_c if j in by_c else 0) / 2
            for j in {*by_a, *by_c}
        }
        found.append(sorted(score, key=lambda j: (-score[j], j)))
    return found


def rows_of(lists: Lists) -> list[list[int]]:
    return [lists.item[lists.indptr[i] : lists.indptr[i + 1]].tolist() for i in range(len(lists))]


@pytest.mark.parametrize("depth", [3, 30])
def test_a_list_is_that_of_the_formula(
    data: Dataset, sources: list[Source], depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "DEPTH", depth)
    monkeypatch.setattr(similar, "CHUNK", 40)  # several chunks
    expected = [row[:1] for row in by_formula(sources, data, depth, range(N_ITEMS))]
    lists, recall = of(sources, data).all(1, True, np.random.default_rng(0), no_progress)
    assert rows_of(lists) == expected
    assert recall == 1
    if depth == 30:
        whole = of(sources, data).all(N_ITEMS, True, np.random.default_rng(0), no_progress)[0]
        assert rows_of(whole) == by_formula(sources, data, 3 * N_ITEMS, range(N_ITEMS))
        assert [len(row) for row in rows_of(whole)] == [0 if i == 5 else 21 for i in range(N_ITEMS)]
        assert (whole.score <= 1).all()


def test_some_items_get_what_they_have_in_the_whole(data: Dataset, sources: list[Source]) -> None:
    asked = np.array([22, 0, 7], np.int32)
    whole = rows_of(of(sources, data).all(6, True, np.random.default_rng(0), no_progress)[0])
    assert rows_of(of(sources, data).some(asked, 6)) == [whole[i] for i in asked]
    nearly = of(sources, data).all(6, False, np.random.default_rng(0), no_progress)
    assert rows_of(nearly[0]) == whole  # with so few clusters all are looked into
    assert nearly[1] == 1


def test_a_neighbour_that_one_listener_knows_stands_behind(data: Dataset, sources: list[Source]) -> None:
    als = sources[0]
    assert isinstance(als, ALSModel)
    assert rows_of(of(sources, data, "als").some(HEARD, 21)) == rows_of(als.similar(HEARD, 21))
    plain, blended = (rows_of(of(sources, data, by).some(np.array([0], np.int32), 21))[0] for by in BY)
    assert blended.index(22) > plain.index(22)


def test_an_artist_stands_so_often_and_no_more(data: Dataset, sources: list[Source]) -> None:
    artists = data.catalogue.artists
    assert artists is not None
    for by in BY:
        free = rows_of(of(sources, data, by).some(HEARD, 21))
        capped = rows_of(of(sources, data, by, 2).some(HEARD, 21))
        for row, kept in zip(free, capped, strict=True):
            count: dict[str, int] = {}
            expected = []
            for item in row:
                own = artists.of(item)
                for artist in own:
                    count[artist] = count.get(artist, 0) + 1
                if all(count[artist] <= 2 for artist in own):
                    expected.append(item)
            assert kept == expected


def test_lists_hold_what_may_be_shown(data: Dataset, sources: list[Source]) -> None:
    allowed = np.arange(N_ITEMS) % 2 == 0
    some = [source.among(allowed) for source in sources]
    lists = of(some, data).all(3, True, np.random.default_rng(0), no_progress)[0]
    assert rows_of(lists) == [row[:3] for row in by_formula(sources, data, 30, range(0, N_ITEMS, 2))]


def test_without_item_item_the_vectors_tell_alone(data: Dataset, sources: list[Source]) -> None:
    found = rows_of(of(sources[:1], data).some(np.arange(5, dtype=np.int32), 4))
    als = sources[0]
    assert isinstance(als, ALSModel)
    near = cosines(als) * data.listeners / (data.listeners + SUPPORT)
    for i, row in enumerate(found):
        near[i, i] = -np.inf
        assert row == np.argsort(-near[i], kind="stable")[:4].tolist()
    unheard = replace(data, log=replace(data.log, stop=data.log.start))
    assert of(sources[:1], unheard).trust is not None  # nobody has heard anything, and nothing is divided by zero


def test_where_nothing_may_be_shown_every_row_is_empty(data: Dataset, sources: list[Source]) -> None:
    some = [source.among(np.zeros(N_ITEMS, np.bool_)) for source in sources]
    for by in BY:
        lists = of(some, data, by).all(3, True, np.random.default_rng(0), no_progress)[0]
        assert rows_of(lists) == [[]] * N_ITEMS
    assert rows_of(of(some[:1], data).some(HEARD, 3)) == [[]] * len(HEARD)
