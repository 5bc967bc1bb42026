"""Every column of the feature matrix by hand, on four users and five items; and nothing from the future."""

from collections.abc import Sequence
from dataclasses import replace

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
from tonearm.ranking.candidates import Candidates
from tonearm.ranking.feature_names import feature_title
from tonearm.ranking.features import Features, Scratch, feature_names
from tonearm.types import Float32s

NOW = 100 * DAY
NAN = float("nan")

# (item, day) by user; item 4 is never heard, user 3 never hears
PLAYS: list[list[tuple[int, float]]] = [
    [(0, 10), (0, 95), (1, 99.5)],
    [(2, 50), (0, 93)],
    [(2, 20), (3, 70)],
    [],
]
ARTISTS = [["A"], ["B", "A"], ["B"], ["C"], ["A"]]
ITEM: dict[str, Sequence[float]] = {
    "item_plays_7d": np.log1p([2, 1, 0, 0, 0]).tolist(),
    "item_trend_7d": [3 / 13, 2 / 11, 1 / 12, 1 / 11, 1 / 10],
    "item_plays_30d": np.log1p([2, 1, 0, 1, 0]).tolist(),
    "item_trend_30d": [3 / 13, 2 / 11, 1 / 12, 2 / 11, 1 / 10],
    "item_plays_90d": np.log1p([3, 1, 2, 1, 0]).tolist(),
    "item_trend_90d": [4 / 13, 2 / 11, 3 / 12, 2 / 11, 1 / 10],
    "item_age": [90, 0.5, 80, 30, NAN],
    "item_recency": [-5, -0.5, -50, -30, NAN],
}
USER: dict[str, Sequence[float]] = {
    "user_tracks": np.log1p([2, 2, 2, 0]).tolist(),
    "user_plays_per_track": [1.5, 1, 1, 0],
    "user_popularity": [np.log(4 * 2) / 2, np.log(4 * 3) / 2, np.log(3 * 2) / 2, 0],
    "user_tenure": [90, 50, 80, NAN],
    "user_recency": [-0.5, -7, -30, NAN],
    "user_recent_share": [1, 0.5, 0.5, 0],
}


OWN = ["own_seen", "own_plays", "own_recency", "own_days", "own_day_share", "own_gap", "own_due"]


def log_of(plays: list[list[tuple[int, float]]], timed: bool = True) -> Log:
    stop = np.cumsum([len(own) for own in plays]).astype(np.int64)
    item = np.array([i for own in plays for i, _ in own], dtype=np.int32)
    time = np.array([day * DAY for own in plays for _, day in own], dtype=np.int32)
    return Log(np.concatenate(([0], stop[:-1])).astype(np.int64), stop, item, time if timed else None, None, 5)


def tags_of(labels: list[list[str]]) -> Tags:
    known = Vocabulary.of(pl.Series([label for own in labels for label in own], dtype=pl.String))
    index = [known.encode(pl.Series(own, dtype=pl.String)) for own in labels]
    return Tags(np.cumsum([0, *map(len, labels)]).astype(np.int64), np.concatenate(index), known)


def dataset(log: Log) -> Dataset:
    catalogue = Catalogue(
        Vocabulary(pl.Series(range(5))),
        genres=tags_of([["x"]] * 5),
        artists=tags_of(ARTISTS),
        albums=tags_of([["a"], ["b"], [], ["d"], ["e"]]),
    )
    return Dataset(Vocabulary(pl.Series(range(log.n_users))), catalogue, log, NOW if log.time is not None else 0)


def all_candidates(n_users: int) -> Candidates:
    """Every item for every user but the last, who has item 2 only; what two sources say of them."""
    indptr = np.array([0, *(np.arange(1, n_users) * 5), (n_users - 1) * 5 + 1])
    item = np.append(np.tile(np.arange(5), n_users - 1), 2).astype(np.int32)
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((len(item), 2)).astype(np.float32)
    scores[:5] = np.array([[1, NAN], [3, 8], [1, NAN], [NAN, NAN], [3, 6]])
    ranks = rng.integers(0, 3, (len(item), 2)).astype(np.int16)
    ranks[:5] = [[2, 0], [0, 1], [0, 0], [0, 0], [1, 2]]
    return Candidates(Lists(indptr, item, np.zeros(len(item), np.float32)), ranks, scores)


def columns(data: Dataset, filter_seen: bool = True) -> dict[str, Float32s]:
    features = Features.fit(data, ["popular", "als"], filter_seen)
    matrix = features.compute(data.block(0, data.n_users, filter_seen), all_candidates(data.n_users))
    assert matrix.dtype == np.float32
    return dict(zip(features.names, matrix.T, strict=True))


def test_the_columns_and_their_order() -> None:
    of_sources = ["popular_score", "popular_z", "als_score", "als_z"]
    artist = ["artist_plays", "artist_items", "artist_recency"]
    data = dataset(log_of(PLAYS))
    assert list(columns(data)) == [*of_sources, *ITEM, *USER, *artist]
    with_repeats = ["item_plays_per_user", *ITEM, *USER, *artist, *OWN]
    assert list(columns(data, filter_seen=False)) == [*of_sources, *with_repeats]


def test_what_the_sources_say() -> None:
    found = columns(dataset(log_of(PLAYS)))
    np.testing.assert_array_equal(found["popular_score"][:5], [1, 3, 1, NAN, 3])
    np.testing.assert_array_equal(found["als_score"][:5], [NAN, 8, NAN, NAN, 6])
    # an unknown score counts as the least: 1, 3, 1, 1, 3 and 6, 8, 6, 6, 6
    np.testing.assert_allclose(found["popular_z"][:5], np.array([-0.8, 1.2, -0.8, -0.8, 1.2]) / 0.96**0.5, rtol=1e-6)
    np.testing.assert_allclose(found["als_z"][:5], [-0.5, 2, -0.5, -0.5, -0.5], rtol=1e-6)
    assert found["popular_z"][-1] == found["als_z"][-1] == 0  # a single candidate


@pytest.mark.parametrize("name", ITEM)
def test_item_columns(name: str) -> None:
    found = columns(dataset(log_of(PLAYS)))[name]
    for user in range(3):
        np.testing.assert_allclose(found[user * 5 : user * 5 + 5], ITEM[name], rtol=1e-6)
    np.testing.assert_allclose(found[15], ITEM[name][2], rtol=1e-6)


def test_plays_per_user_matter_where_repeats_do() -> None:
    found = columns(dataset(log_of(PLAYS)), filter_seen=False)["item_plays_per_user"]
    assert found[:5].tolist() == [1.5, 1, 1, 1, 0]


@pytest.mark.parametrize("name", USER)
def test_user_columns(name: str) -> None:
    found = columns(dataset(log_of(PLAYS)))[name]
    np.testing.assert_allclose(found, np.repeat(USER[name], [5, 5, 5, 1]), rtol=1e-6)


def test_an_artists_other_tracks_speak_for_a_candidate() -> None:
    found = columns(dataset(log_of(PLAYS)), filter_seen=False)
    # user 0 played item 0 (by A) twice and item 1 (by A and B) once; a candidate's own plays say nothing of it
    assert found["artist_plays"][:5].tolist() == [1, 2, 1, 0, 3]
    assert found["artist_items"][:5].tolist() == [1, 1, 1, 0, 2]
    np.testing.assert_allclose(found["artist_recency"][:5], [-0.5, -5, -0.5, NAN, -0.5])
    # user 1 played item 0 (by A) and item 2 (by B)
    assert found["artist_plays"][5:10].tolist() == [0, 1, 0, 0, 1]
    np.testing.assert_allclose(found["artist_recency"][5:10], [NAN, -7, NAN, NAN, -7])
    assert found["artist_items"][15] == 0
    assert np.isnan(found["artist_recency"][15])


def test_own_plays_where_heard_tracks_may_come_back() -> None:
    found = columns(dataset(log_of(PLAYS)), filter_seen=False)
    assert found["own_plays"].tolist() == [2, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0]
    assert found["own_seen"].tolist() == (found["own_plays"] > 0).tolist()
    np.testing.assert_allclose(found["own_recency"][:10], [-5, -0.5, NAN, NAN, NAN, -7, NAN, -50, NAN, NAN])


def test_how_often_and_when_a_track_comes_back() -> None:
    plays: list[list[tuple[int, float]]] = [
        [(1, 3.2), (0, 10.1), (0, 10.9), (0, 12), (1, 20), (0, 40), (0, 43.9)],
        [],
        [(2, 99)],
        [(2, 30), (0, 30), (2, 95)],
    ]
    found = columns(dataset(log_of(plays)), filter_seen=False)
    # user 0 played item 0 on days 10 (twice), 12, 40 and 43, item 1 on days 3 and 20: on six days in all
    assert found["own_days"][:3].tolist() == [4, 2, 0]
    np.testing.assert_allclose(found["own_day_share"][:3], [4 / 6, 2 / 6, 0])
    np.testing.assert_allclose(found["own_gap"][:3], [33 / 3, 17, NAN])
    np.testing.assert_allclose(found["own_due"][:3], [56.1 / 3, 80 / 17, NAN], rtol=1e-5)
    # one day has no gap
    np.testing.assert_array_equal([found[name][12] for name in OWN], [1, 1, -1, 1, 1, NAN, NAN])
    # the last user's only candidate
    np.testing.assert_allclose([found[name][15] for name in OWN], [1, 2, -5, 2, 1, 65, 5 / 65], rtol=1e-5)


@pytest.mark.parametrize("filter_seen", [True, False])
def test_a_log_without_time_has_the_columns_that_need_none(filter_seen: bool) -> None:
    timed, untimed = (columns(dataset(log_of(PLAYS, timed)), filter_seen) for timed in (True, False))
    without = [
        name
        for name in timed
        if not any(w in name for w in ("7d", "30d", "90d", "age", "rec", "tenure", "day", "gap", "due"))
    ]
    assert list(untimed) == without
    for name in untimed:
        np.testing.assert_array_equal(untimed[name], timed[name])


@pytest.mark.parametrize("filter_seen", [True, False])
def test_events_at_or_after_now_change_nothing(filter_seen: bool) -> None:
    later: list[list[tuple[int, float]]] = [[(3, 100)], [(4, 100.5), (4, 101)], [(2, 100), (2, 400)], [(0, 100)]]
    longer = log_of([own + more for own, more in zip(PLAYS, later, strict=True)])
    cut = columns(dataset(longer.before(NOW)), filter_seen)
    for name, values in columns(dataset(log_of(PLAYS)), filter_seen).items():
        np.testing.assert_array_equal(cut[name], values, err_msg=name)
    # and the same events a moment earlier do change something
    assert not np.array_equal(columns(dataset(longer), filter_seen)["item_plays_7d"], cut["item_plays_7d"])


def test_a_block_of_some_users_has_the_rows_of_the_whole() -> None:
    data = dataset(log_of(PLAYS))
    features = Features.fit(data, ["popular", "als"], True)
    whole = all_candidates(4)
    part = Candidates(
        Lists(np.array([0, 5, 6]), whole.lists.item[10:], whole.lists.score[10:]), whole.ranks[10:], whole.scores[10:]
    )
    np.testing.assert_array_equal(
        features.compute(data.block(2, 4, True), part), features.compute(data.block(0, 4, True), whole)[10:]
    )


@pytest.mark.parametrize(
    "wanted",
    [
        ["als_score", "user_tracks"],
        ["artist_plays", "item_plays_7d", "popular_z"],
        ["own_due", "artist_items"],
        ["artist_recency"],
    ],
)
def test_only_the_features_that_are_asked_for(wanted: list[str]) -> None:
    """Point 18: a ranker of three features; columns keep their order and their values."""
    data = dataset(log_of(PLAYS))
    every = columns(data, filter_seen=False)
    features = Features.fit(data, ["popular", "als"], False, wanted)
    assert list(features.names) == [name for name in every if name in wanted]
    block, scratch = data.block(0, data.n_users, False), Scratch()
    matrix = features.compute(block, all_candidates(data.n_users), scratch)
    assert matrix.flags.f_contiguous
    for name, column in zip(features.names, matrix.T, strict=True):
        np.testing.assert_array_equal(column, every[name])


def test_features_that_the_data_do_not_have() -> None:
    untimed = dataset(log_of(PLAYS, False))
    assert Features.fit(untimed, ["als"], True, ["item_age", "als_z"]).names == ("als_z",)
    with pytest.raises(
        ConfigError, match=r"none of ranker\.features \(item_age, content_score\)\. Name one of als_score"
    ):
        Features.fit(untimed, ["als"], True, ["item_age", "content_score"])


def test_every_feature_has_a_name_before_there_are_data() -> None:
    whole = columns(replace(dataset(log_of(PLAYS)), against=log_of(PLAYS)), filter_seen=False)
    named = feature_names(["popular", "als"], filter_seen=False)
    assert [name for name in named if not name.startswith("album_")] == list(whole)  # here no album has two tracks


@pytest.mark.parametrize("seen", [True, False])
def test_point_20_every_feature_has_a_name_for_people(seen: bool) -> None:
    """Point 20: features stood under the names of their columns."""
    names = Features.fit(dataset(log_of(PLAYS)), ["popular", "als", "user_knn"], seen).names
    assert len(names) > 20
    titles = [feature_title(name) for name in names]
    assert [name for name, said in zip(names, titles, strict=True) if said == name] == []
    assert len(set(titles)) == len(titles)
