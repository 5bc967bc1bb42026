"""Points 2 and 7: a weight counts wherever plays count, sums neither stop nor overflow."""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.times import DAY
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import ConfigError, DataError
from tonearm.evaluation.meters import describe_items
from tonearm.kernels.als.csr import Csr
from tonearm.kernels.best.lists import window_counts
from tonearm.kernels.features import tag_affinity
from tonearm.kernels.item_item import cooccurrence
from tonearm.loading.load import load_all
from tonearm.ranking.features import Features
from tonearm.report.profile import genre_profile, histogram, popularity_profile
from tonearm.runs import write
from tonearm.shaping.options import Shape
from tonearm.sources.ease import EASE
from tonearm.sources.popularity import Popularity, Recent
from tonearm.sources.trend import trend_ratio
from tonearm.types import AnyArray

RNG = np.random.default_rng(1)
FULL = 1 << 24  # adding 1 to it in float32 changes nothing

# (item, day, weight) by user, in order of time; item 4 is never played
EVENTS: list[list[tuple[int, int, float]]] = [
    [(0, 10, 2), (1, 94, 7), (0, 96, 3)],
    [(2, 40, 1), (2, 75, 1), (0, 99, 1)],
    [],
    [(3, 95, 12), (1, 98, 1)],
]


def data_of(repeated: bool, scale: float = 1) -> Dataset:
    """The events with their weights; or, which is to count for the same, each as often as its weight says."""
    rows = [[e for e in own for _ in range(int(e[2]) if repeated else 1)] for own in EVENTS]
    stop = np.cumsum([len(own) for own in rows]).astype(np.int64)
    flat = [event for own in rows for event in own]
    log = Log(
        np.concatenate(([0], stop[:-1])).astype(np.int64),
        stop,
        np.array([i for i, _, _ in flat], np.int32),
        np.array([day * DAY for _, day, _ in flat], np.int32),
        None if repeated else np.array([w * scale for _, _, w in flat], np.float32),
        5,
    )
    genres = Tags(
        np.array([0, 1, 2, 4, 4, 5]), np.array([0, 1, 0, 1, 1], np.int32), Vocabulary.of(pl.Series(["a", "b"]))
    )
    catalogue = Catalogue(Vocabulary(pl.Series(range(5))), genres=genres)
    return Dataset(Vocabulary(pl.Series(range(4))), catalogue, log, 100 * DAY)


COUNTED: dict[str, Callable[[Dataset], AnyArray]] = {
    "plays": lambda data: data.plays,
    "plays of the last days": lambda data: data.plays_now,
    "popular": lambda data: Popularity().fit(data, RNG).value,
    "order of popular": lambda data: Popularity().fit(data, RNG).order,
    "recent": lambda data: Recent().fit(data, RNG).value,
    "trend": lambda data: trend_ratio(data, 7, 5),
    "features of items": lambda data: Features.fit(data, [], False).item,
    "popularity of items": lambda data: Features.fit(data, [], False).popularity,
    "surprisal": lambda data: describe_items(data.plays, data.catalogue).information,
    "bands": lambda data: describe_items(data.plays, data.catalogue).band,
    "little played": lambda data: Shape(explore_share=0.5, explore_plays=8)._rare(data),
}


@pytest.mark.parametrize("counted", COUNTED.values(), ids=COUNTED)
def test_point_2_a_weight_counts_like_as_many_plays(counted: Callable[[Dataset], AnyArray]) -> None:
    weighted, repeated = counted(data_of(repeated=False)), counted(data_of(repeated=True))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6)
    assert weighted.dtype == repeated.dtype


def test_point_2_profile_charts_count_weight() -> None:
    weighted, repeated = data_of(repeated=False), data_of(repeated=True)
    assert popularity_profile(weighted.plays) == popularity_profile(repeated.plays)
    assert popularity_profile(weighted.plays)["curve"][0] == {"rank": 1, "plays": 12}
    assert genre_profile(weighted) == genre_profile(repeated)
    halved = data_of(repeated=False, scale=0.5)
    assert popularity_profile(halved.plays)["plays"] == 14
    assert popularity_profile(halved.plays)["curve"][1]["plays"] == 4
    assert histogram(halved.plays[halved.plays > 0], "items") == [
        {"from": 1, "to": 1, "items": 1},
        {"from": 2, "to": 4, "items": 2},
        {"from": 5, "to": 6, "items": 1},
    ]


def test_point_2_surprisal_of_plays_below_one_goes_by_their_share() -> None:
    plays = np.array([0.25, 0.5, 0, 0.25])
    items = describe_items(plays, Catalogue(Vocabulary(pl.Series(range(4)))))
    assert items.information.tolist() == [2, 1, 0, 2]


def test_point_2_popular_lists_go_by_weight(save: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Item 1 in one row of weight 100, items 2 and 3 in two rows of weight 1."""
    moment = datetime(2021, 1, 2)
    rows = [(1, 1, moment, 100), (1, 2, moment, 1), (2, 2, moment, 1), (1, 3, moment, 1), (2, 3, moment, 1)]
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "started_at", "weight"], orient="row")
    for scale, dtype in ((1, pl.Int64), (0.5, pl.Float64)):
        loaded = load_all(save(table.with_columns(pl.col("weight") * scale)), None)
        folder = tmp_path_factory.mktemp("lists")
        write.write_catalogue(folder, loaded.train, loaded.train.popularity_order[:3])
        top = pl.read_parquet(folder / "top_popular.parquet")
        assert top["item_id"].to_list() == [1, 2, 3]
        assert top["plays"].to_list() == [100 * scale, 2 * scale, 2 * scale]
        assert top["plays"].dtype == dtype
        assert loaded.found.train is not None
        assert loaded.found.train.max_per_item == 2


def test_point_7_play_counts_go_on_beyond_two_to_the_24th() -> None:
    start, stop, item, time = np.array([0]), np.array([2]), np.zeros(2, np.int32), np.zeros(2, np.int32)
    weight = np.array([FULL, 1], np.float32)
    assert window_counts(start, stop, item, time, weight, np.array([0]), 1).tolist() == [[FULL + 1]]
    log = Log(start, stop, item, time, weight, 1)
    assert log.item_weights().tolist() == [FULL + 1]
    together = cooccurrence(
        np.array([0, 1]), np.zeros(1, np.int32), np.array([0, FULL + 2]), np.zeros(FULL + 2, np.int32)
    )
    assert together.tolist() == [[FULL + 2]]


def test_point_7_plays_of_a_tag_go_on_beyond_two_to_the_24th() -> None:
    plays = np.array([FULL, 1, 1], np.float32)
    history, tags = np.array([0, 3]), (np.array([0, 1, 2, 3, 4]), np.zeros(4, np.int32))
    item, none = np.arange(3, dtype=np.int32), np.empty(0, np.int32)
    found = tag_affinity(history, item, plays, none, 0, *tags, 1, np.array([0, 1]), np.array([3], np.int32))
    assert found[0, 0] == FULL + 2


def test_point_7_weights_too_large_to_be_summed_are_refused(save: Callable[..., str]) -> None:
    moment = datetime(2021, 1, 2)
    rows = [(1, 1, moment, 3e38), (1, 1, moment, 2e38), (2, 2, moment, 1.0)]
    path = save(pl.DataFrame(rows, schema=["user_id", "item_id", "started_at", "weight"], orient="row"))
    with pytest.raises(DataError, match=r"2 of 3 rows have a weight .* above 0 and at most 1e12 \(first: row 1\)"):
        load_all(path, None)


@pytest.mark.parametrize("n_users", [9, 3])
@pytest.mark.parametrize("regularization", [1e-6, 1e-3, 3.0])
def test_point_7_ease_of_items_with_the_same_listeners(n_users: int, regularization: float) -> None:
    """Items 0 and 1 are played by the same users; by least squares in 64 bits, over as many digits as it has."""
    x = (np.random.default_rng(n_users).random((n_users, 5)) < 0.5).astype(np.float64)
    x[:, 1] = x[:, 0] = np.arange(n_users) != 1
    indptr, index = np.concatenate(([0], x.sum(axis=1).cumsum())).astype(np.int64), np.nonzero(x)[1].astype(np.int32)
    found = EASE(regularization=regularization).weights(Csr(indptr, index, None, 5))
    for i in range(5):
        others = np.delete(np.arange(5), i)
        gram = x[:, others].T @ x[:, others] + regularization * np.eye(4)
        np.testing.assert_allclose(found[others, i], np.linalg.solve(gram, x[:, others].T @ x[:, i]), atol=1e-3)
    assert found[0, 1] == pytest.approx(found[1, 0], abs=1e-4)


@pytest.mark.parametrize("n_users", [9, 3])
def test_point_7_ease_says_where_its_regularization_is_too_small(n_users: int) -> None:
    every = Csr(np.arange(n_users + 1) * 5, np.tile(np.arange(5, dtype=np.int32), n_users), None, 5)
    with pytest.raises(ConfigError, match=r"ease.regularization = 1e-18 is too small.*Set it to \de-1\d or more.*500"):
        EASE(regularization=1e-18).weights(every)


def test_point_7_ease_of_neighbours_says_where_its_regularization_is_too_small() -> None:
    recipe = EASE(items=2, coverage=1, neighbours=3, neighbour_regularization=1e-18)
    with pytest.raises(ConfigError, match=r"ease.neighbour_regularization = 1e-18 is too small"):
        recipe.fit(data_of(repeated=False), RNG)
