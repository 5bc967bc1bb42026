"""The files of a run: columns, types, order, and nulls where nothing is known."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.quick import table_of

from tonearm.config import OutputOptions
from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.ranking.ranker import Ranker
from tonearm.runs import directory, write
from tonearm.sources.als import ALS
from tonearm.sources.base import Source
from tonearm.sources.popularity import Popularity
from tonearm.terminal.progress import no_progress

HISTORIES = [[0, 1, 1], [0, 2], [], [1, 2, 2, 4], [0, 4]]
USERS = ["u1", "u3", "u5", "u7", "u9"]
ITEMS = [10, 20, 30, 40, 50, 60]  # 40 and 60 are never heard
GENRES = [["pop"], ["rap", "pop"], [], ["jazz"], ["rap"], ["jazz"]]


def tags_of(rows: list[list[str]]) -> Tags:
    labels = Vocabulary.of(pl.Series([label for row in rows for label in row], dtype=pl.String))
    index = np.concatenate([labels.encode(pl.Series(row, dtype=pl.String)) for row in rows])
    return Tags(np.cumsum([0, *map(len, rows)]).astype(np.int64), index, labels)


@pytest.fixture
def data() -> Dataset:
    stop = np.cumsum([len(h) for h in HISTORIES]).astype(np.int64)
    item = np.array([i for h in HISTORIES for i in h], dtype=np.int32)
    log = Log(np.concatenate(([0], stop[:-1])).astype(np.int64), stop, item, None, None, 6)
    catalogue = Catalogue(
        Vocabulary(pl.Series(ITEMS, dtype=pl.Int32)),
        name=pl.Series(["ten", "twenty", None, "forty", "fifty", "sixty"]),
        genres=tags_of(GENRES),
    )
    return Dataset(Vocabulary(pl.Series(USERS)), catalogue, log, 0)


def some_lists() -> Lists:
    return Lists(np.array([0, 2, 2, 3]), np.array([4, 0, 2], np.int32), np.array([0.5, 0.25, 3], np.float32))


def test_lists_are_written_with_the_callers_ids(data: Dataset, tmp_path: Path) -> None:
    block = data.block_of(np.array([3, 2, 0], np.int32), True)
    with write.ListWriter(tmp_path / "l.parquet", data) as writer:
        writer.append(writer.table(block, some_lists()))
        writer.append(writer.table(block, some_lists()))
    table = pl.read_parquet(tmp_path / "l.parquet")
    expected = pl.DataFrame(
        {"user_id": ["u7", "u7", "u1"], "item_id": [50, 10, 30], "score": [0.5, 0.25, 3], "rank": [1, 2, 1]},
        schema={"user_id": pl.String, "item_id": pl.Int32, "score": pl.Float32, "rank": pl.Int32},
    )
    assert table.equals(pl.concat([expected, expected]))
    assert table.schema == expected.schema
    assert writer.rows == 6


def test_final_columns(data: Dataset) -> None:
    block = data.block_of(np.array([3, 2, 0], np.int32), True)
    features = np.array([[3, 6, 9], [1, np.nan, 7], [2, 5, 8]], np.float32)
    place = np.array([1, 2, 0])  # the row of each entry
    known = dict(zip(("als_score", "popular_rank", "content_score"), features.T, strict=True))
    few = pl.DataFrame(write.final_columns(block, some_lists(), known, place, "few"))
    assert few.to_dict(as_series=False) == {
        "als_score": [1, 2, 3],
        "content_score": [7, 8, 9],
        "tracks_played_by_user": [3, 3, 2],  # of u7, u7 and u1
    }
    every = write.final_columns(block, some_lists(), known, place, "all")
    assert list(every) == ["als_score", "content_score", "tracks_played_by_user", "popular_rank"]
    assert every["popular_rank"].to_list() == [None, 5, 6]
    without = write.final_columns(block, some_lists(), {"als_score": features[:, 0]}, place, "few")
    assert without["content_score"].to_list() == [None] * 3
    assert without["content_score"].dtype == pl.Float32
    filled = write.final_columns(block, some_lists(), known, np.array([1, -1, 0]), "few")
    assert filled["als_score"].to_list() == [1, None, 3]  # what was no candidate has no features


def test_similar_items_of_all_that_were_heard(data: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sources: list[Source] = [Popularity().fit(data, rng), ALS(factors=3, iterations=3).fit(data, rng)]
    told: list[tuple[str, int, int]] = []
    options = OutputOptions(similar=2)
    facts = write.write_similar(tmp_path, data, sources, options, rng, lambda *now: told.append(now))
    assert facts == {"items": 4, "by": "blend", "exact": True, "recall": 1.0}
    table = pl.read_parquet(tmp_path / "similar.parquet")
    assert {name for name, _, _ in told} == {"similar items"}
    assert dict(table.schema) == {"item_id_1": pl.Int32, "item_id_2": pl.Int32, "score": pl.Float32, "rank": pl.Int32}
    assert table["item_id_1"].to_list() == [10, 10, 20, 20, 30, 30, 50, 50]
    assert table["rank"].to_list() == [1, 2] * 4
    assert table["item_id_2"].is_in([10, 20, 30, 50]).all()
    assert (table["item_id_1"] != table["item_id_2"]).all()
    assert (table["score"].diff().to_numpy()[1::2] <= 0).all()
    # four items fall into two clusters, both of which are looked into
    facts = write.write_similar(tmp_path, data, sources, OutputOptions(similar=2, similar_exact=3), rng, no_progress)
    assert facts == {"items": 4, "by": "blend", "exact": False, "recall": 1.0}
    assert pl.read_parquet(tmp_path / "similar.parquet")["item_id_2"].equals(table["item_id_2"])


def test_similar_items_by_als_are_the_cosines_of_its_vectors(data: Dataset, tmp_path: Path) -> None:
    als = ALS(factors=3, iterations=3).fit(data, np.random.default_rng(0))
    sources: list[Source] = [Popularity().fit(data, np.random.default_rng(0)), als]
    options = OutputOptions(similar=2, similar_by="als")
    facts = write.write_similar(tmp_path, data, sources, options, np.random.default_rng(0), no_progress)
    assert facts["by"] == "als"
    table, expected = pl.read_parquet(tmp_path / "similar.parquet"), als.similar_to_all(2)
    assert table["item_id_2"].equals(data.catalogue.items.decode(expected.item).alias("item_id_2"))
    assert table["score"].to_list() == expected.score.tolist()


def test_the_popular_table(data: Dataset, tmp_path: Path) -> None:
    write.write_catalogue(tmp_path, data, data.popularity_order[:3])
    table = pl.read_parquet(tmp_path / "top_popular.parquet")
    assert table.to_dict(as_series=False) == {
        "rank": [1, 2, 3],
        "item_id": [10, 20, 30],
        "plays": [3, 3, 3],
        "users": [3, 2, 2],
        "name": ["ten", "twenty", None],
        "genres": [["pop"], ["rap", "pop"], []],
        "artists": [[], [], []],
        "albums": [[], [], []],
    }
    assert pl.read_parquet(tmp_path / "genres.parquet").equals(write.genre_table(data))


def test_genres_by_frequency_then_name(data: Dataset) -> None:
    assert write.genre_table(data).to_dict(as_series=False) == {
        "genre_id": [0, 1, 2],
        "name": ["jazz", "pop", "rap"],
        "items_count": [2, 2, 2],
        "score": [1 / 3] * 3,
    }
    more = Catalogue(data.catalogue.items, genres=tags_of([["rap"], *GENRES[1:]]))
    table = write.genre_table(Dataset(data.users, more, data.log, 0))
    assert table["name"].to_list() == ["rap", "jazz", "pop"]
    assert table["genre_id"].to_list() == [2, 0, 1]
    assert table["score"].to_list() == [3 / 6, 2 / 6, 1 / 6]
    none = write.genre_table(Dataset(data.users, Catalogue(data.catalogue.items), data.log, 0))
    assert len(none) == 0
    assert none.schema == table.schema


def test_models_are_data_and_never_pickles(data: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sources: list[Source] = [Popularity().fit(data, rng), ALS(factors=3, iterations=3).fit(data, rng)]
    features = rng.standard_normal((24, 2)).astype(np.float32)
    label = (np.arange(24) % 4 == 1).astype(np.float32)
    table = table_of(("als_z", "x"), features, label, np.arange(0, 25, 4))
    ranker = Ranker(iterations=3, folds=2).fit(table, rng, 1)
    write.write_models(tmp_path, data, sources, ranker, {})
    assert {"popular_model.npz", "als_model.npz", "cb_model.cbm", "ranker.json"} <= {
        path.name for path in (tmp_path / "models").iterdir()
    }
    saved = directory.load_arrays(tmp_path / "models" / "als_model.npz")
    assert saved["item_factors"].shape == (6, 3)
    said = json.loads((tmp_path / "models" / "ranker.json").read_text())
    assert (said["names"], said["z"], said["mix"]) == (["als_z", "x"], [0], ranker.mix)
    np.testing.assert_array_equal(np.array(said["blend"], np.float32), ranker.blend)


def test_what_the_manifest_says_of_sources(data: Dataset) -> None:
    rng = np.random.default_rng(0)
    loss = write.facts(ALS(factors=3, iterations=4).fit(data, rng))["loss"]
    assert len(loss) == 4
    assert all(isinstance(value, float) for value in loss)
    assert write.facts(Popularity().fit(data, rng)) == {}
