"""Item vectors: how they are read, what they find, and what stays as it is without them."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.quick import Log, quick_config, run_quick

import tonearm
from tonearm.config import load_config
from tonearm.data.dataset import Dataset
from tonearm.errors import DataError
from tonearm.loading.check import check
from tonearm.loading.load import load_all
from tonearm.loading.vectors import open_vectors
from tonearm.sources import fit_sources
from tonearm.sources.vectors import VectorsModel

D = 6
RECIPES = {name: recipe for name, recipe in load_config().recipes().items() if name.startswith("vectors")}


def some_vectors(items: pl.DataFrame, missing: int = 7) -> pl.DataFrame:
    """One for all but every seventh item; those of one genre lie together."""
    rng = np.random.default_rng(5)
    genres = sorted({genre for row in items["genres"] for genre in row})
    middle = {genre: rng.normal(size=D) for genre in genres}
    rows = [
        None
        if n % missing == 0
        else (sum((middle[genre] for genre in row), np.zeros(D)) + rng.normal(size=D) / 4).tolist()
        for n, row in enumerate(items["genres"])
    ]
    return items.select("item_id").with_columns(vector=pl.Series(rows, dtype=pl.List(pl.Float64)))


def dataset(tmp_path: Path, log: Log, vectors: pl.DataFrame) -> Dataset:
    for name, table in (("events", log.train), ("items", log.items), ("vectors", vectors)):
        table.write_parquet(tmp_path / f"{name}.parquet")
    config = load_config(overrides=[f"data.vectors={tmp_path / 'vectors.parquet'}"])
    return load_all(str(tmp_path / "events.parquet"), str(tmp_path / "items.parquet"), config.data).train


def test_scores_are_cosines_with_the_mean_and_with_the_last(tmp_path: Path, tiny_log: Log) -> None:
    data = dataset(tmp_path, tiny_log, some_vectors(tiny_log.items))
    given = data.catalogue.vectors
    assert given is not None
    whole, last = (source for source in fit_sources(data, RECIPES, 0) if isinstance(source, VectorsModel))
    block = data.block(0, 40, True)
    unit = given / np.maximum(np.linalg.norm(given, axis=1), 1e-30)[:, None]
    has = np.linalg.norm(given, axis=1) > 0
    lists = whole.recommend(block, 9)
    assert (whole.name, last.name) == ("vectors", "vectors_last")
    for row in range(len(block)):
        own = slice(block.pairs.indptr[row], block.pairs.indptr[row + 1])
        items, plays = block.pairs.item[own], block.pairs.plays[own]
        assert block.pairs.last is not None
        mean = np.log1p(plays) @ unit[items]
        if not has[items].any():
            assert lists.indptr[row] == lists.indptr[row + 1]
            continue
        cosine = unit @ mean / np.linalg.norm(mean)
        listed = [i for i in np.flatnonzero(has & (data.plays > 0)) if i not in items]
        best = sorted(listed, key=lambda i: -cosine[i])[:9]
        assert lists.item[lists.indptr[row] : lists.indptr[row + 1]].tolist() == best
        when = block.pairs.last[own]
        late = sorted((n for n in range(len(items)) if has[items[n]]), key=lambda n: (-when[n], items[n]))[:5]
        of_last = unit[items[late]].sum(axis=0)
        found = last.recommend(block.row(row), 9)
        np.testing.assert_allclose(
            found.score, np.sort((unit @ of_last / np.linalg.norm(of_last))[listed])[::-1][:9], 1e-4
        )


def test_a_run_with_vectors_has_their_lists_features_and_unplayed_tracks(tmp_path: Path, tiny_log: Log) -> None:
    vectors = some_vectors(tiny_log.items)
    few = tiny_log.items["item_id"].sort()[::9]  # nobody has played these
    events = tiny_log.events.filter(~pl.col("item_id").is_in(few.implode()))
    with_column = tiny_log.items.join(vectors, on="item_id")
    run = run_quick(tmp_path / "with", events, with_column, 'output.features="all"')
    listed = pl.read_parquet(run / "recommendations.parquet")
    assert {"vectors_score", "vectors_z", "vectors_last_score"} <= set(listed.columns)
    sources = json.loads((run / "manifest.json").read_text())["sources"]
    assert list(sources)[-2:] == ["vectors", "vectors_last"]
    fresh = pl.read_parquet(run / "fresh_recommendations.parquet")
    model = tonearm.load(run)
    whole = next(source for source in model.recommender.fitted if isinstance(source, VectorsModel))
    expected = whole.of_unplayed(model.data)
    assert expected is not None
    best = expected.recommend_fresh(model.data.block(0, 1, True), 10)
    user = model.data.users.ids[0]
    assert (
        fresh.filter(pl.col("user_id") == user)["item_id"].to_list()
        == model.data.catalogue.items.decode(best.item).to_list()
    )
    unplayed = fresh["item_id"][0]
    kin = model.similar([unplayed], k=4)
    assert kin["item_id_1"].unique().to_list() == [unplayed]
    given = dict(vectors.rows())
    cosines = {
        item: float(
            np.dot(given[item], given[unplayed]) / np.linalg.norm(given[item]) / np.linalg.norm(given[unplayed])
        )
        for item in events.filter(pl.col("started_at") < pl.datetime(2022, 12, 16))["item_id"].unique()
        if given[item] is not None
    }
    assert kin["item_id_2"].to_list() == sorted(cosines, key=lambda item: -cosines[item])[:4]
    apart = run_quick(tmp_path / "file", events, tiny_log.items, f"data.vectors={_written(tmp_path, vectors)}")
    for name in ("recommendations", "fresh_recommendations", "similar"):
        ours, theirs = (pl.read_parquet(one / f"{name}.parquet") for one in (run, apart))
        assert ours.select(theirs.columns).equals(theirs), name


def _written(folder: Path, table: pl.DataFrame) -> Path:
    table.sample(fraction=1, shuffle=True, seed=1).write_parquet(folder / "apart.parquet")
    return folder / "apart.parquet"


def test_without_vectors_nothing_speaks_of_them(tiny_run: Path) -> None:
    metrics = json.loads((tiny_run / "metrics.json").read_text())
    assert "vectors" not in json.dumps(metrics)
    assert not [name for name in pl.read_parquet(tiny_run / "recommendations.parquet").columns if "vectors" in name]
    assert not list((tiny_run / "models").glob("vectors*"))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[1.0, 2], [3.0], [4.0, 5]], "1 of 3 rows have a vector of another length than 2 (first: row 2)"),
        ([[1.0, 2], [3.0, None], [4.0, 5]], "1 of 3 rows have a vector with what is no finite number (first: row 2)"),
        ([[1.0, 2], [3.0, float("inf")], None], "1 of 3 rows have a vector with what is no finite number"),
        ([1.0, 2.0, 3.0], "vector is of type Float64, and must be a list of numbers"),
        (["1 2", "3 x", "4 5"], "1 of 3 rows have a vector with what is no finite number (first: row 2)"),
    ],
)
def test_vectors_that_will_not_do_are_refused(tmp_path: Path, column: list[object], message: str) -> None:
    path = tmp_path / "vectors.parquet"
    pl.DataFrame({"item_id": [7, 8, 9], "vector": pl.Series(column)}).write_parquet(path)
    with pytest.raises(DataError) as error:
        open_vectors(str(path))
    assert str(error.value).startswith(f"{path}: {message}")


def test_text_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "vectors.csv"
    path.write_text('item_id,emb\n7,"[0.5, 2]"\n8,1.5;3\n9,\n', encoding="utf-8")
    found = open_vectors(str(path), {"vector": "emb"})
    assert found is not None
    assert found.values.tolist() == [[0.5, 2], [1.5, 3]]
    assert found.ids.to_list() == [7, 8]


def test_what_is_wrong_is_said_by_check(tmp_path: Path, tiny_log: Log) -> None:
    vectors = some_vectors(tiny_log.items)
    places = {}
    for name, table in (
        ("events", tiny_log.events),
        ("items", tiny_log.items.join(vectors, on="item_id")),
        ("vectors", vectors),
        ("strangers", vectors.with_columns(pl.col("item_id") + 10_000_000)),
        ("bare", tiny_log.items),
    ):
        places[name] = str(tmp_path / f"{name}.parquet")
        table.write_parquet(places[name])
    both = check({"events": places["events"]}, places["items"], None, quick_config(f"data.vectors={places['vectors']}"))
    assert both.errors == [
        f"{places['vectors']}: the catalogue has vectors too. Leave out data.vectors, or its column vector."
    ]
    none = check(
        {"events": places["events"]}, places["bare"], None, quick_config(f"data.vectors={places['strangers']}")
    )
    assert "none of its" in none.errors[0]
    fine = check({"events": places["events"]}, places["items"], None, quick_config())
    assert fine.errors == []
    assert fine.found.vectors is not None
    assert (fine.found.vectors.numbers, fine.found.vectors.items) == (D, vectors["vector"].count())
