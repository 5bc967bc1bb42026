"""`prepare.yandex` on a dump small enough to work out by hand."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from tonearm.errors import DataError, OutputError
from tonearm.loading.load import load_all
from tonearm.runs.write import genre_table
from tonearm.synth import prepare

TRACKS = pl.DataFrame(
    {
        "track_id": [26, 9, 38],
        "albums": [[3, 2490], [3], None],
        "artists": [[16], [16, 17], [99]],
        "genres": [[13, 14], [], [14]],
    },
    schema_overrides={column: pl.List(pl.Int64) for column in ("albums", "artists", "genres")},
)
CATALOG = pl.DataFrame(
    [
        (26, "track", "Complimentary Me"),
        (9, "track", "Intro"),
        (3, "album", "Live"),
        (2490, "album", "Live"),
        (16, "artist", "Taller Children"),
        (17, "artist", "Live"),
        (13, "genre", "pop"),
        (14, "genre", "metal"),
        (26, "genre", "rap"),
    ],
    schema=["id", "type", "name"],
    orient="row",
)
INTERACTIONS = pl.DataFrame(
    {
        "user_id": [5, 0, 5],
        "track_id": [38, 9, 26],
        "track_seq": [1, 1, 2],
        "started_at": [date(2022, 7, 17), date(2022, 1, 1), date(2022, 12, 31)],
        "__index_level_0__": [0, 1, 2],
    },
    schema_overrides={"user_id": pl.Int32, "track_id": pl.Int32, "track_seq": pl.Int16},
)


def _run(
    folder: Path,
    tracks: pl.DataFrame = TRACKS,
    catalog: pl.DataFrame = CATALOG,
    interactions: pl.DataFrame = INTERACTIONS,
) -> Path:
    dump = folder / "dump"
    dump.mkdir()
    tracks.write_parquet(dump / "tracks.parquet")
    catalog.write_parquet(dump / "catalog.parquet")
    interactions.write_parquet(dump / "interactions.parquet")
    prepare.yandex(dump / "tracks.parquet", dump / "catalog.parquet", dump / "interactions.parquet", folder / "out")
    return folder / "out"


def test_names_replace_ids_and_stay_unambiguous(tmp_path: Path) -> None:
    items = pl.read_parquet(_run(tmp_path) / "items.parquet")
    assert items.to_dicts() == [
        {"item_id": 9, "name": "Intro", "genres": [], "artists": ["Taller Children", "Live"], "albums": ["Live #3"]},
        {
            "item_id": 26,
            "name": "Complimentary Me",
            "genres": ["pop", "metal"],
            "artists": ["Taller Children"],
            "albums": ["Live #3", "Live #2490"],
        },
        {"item_id": 38, "name": None, "genres": ["metal"], "artists": ["#99"], "albums": []},
    ]


def test_events_keep_rows_and_order(tmp_path: Path) -> None:
    events = pl.read_parquet(_run(tmp_path) / "events.parquet")
    assert dict(events.schema) == {"user_id": pl.Int32, "item_id": pl.Int32, "started_at": pl.Date}
    assert events.rows() == [(5, 38, date(2022, 7, 17)), (0, 9, date(2022, 1, 1)), (5, 26, date(2022, 12, 31))]


def test_genres_are_counted_with_those_that_no_track_has(tmp_path: Path) -> None:
    genres = pl.read_parquet(_run(tmp_path) / "genres.parquet")
    assert genres.columns == ["genre_id", "name", "items_count", "score", "catalog_id"]
    assert genres.rows() == [(0, "metal", 2, 2 / 3, 14), (1, "pop", 1, 1 / 3, 13), (2, "rap", 0, 0.0, 26)]


def test_point_17_genres_are_those_of_a_run(tmp_path: Path) -> None:
    """Point 17: `prepare yandex` and `run` gave genres.parquet different ids and columns."""
    out = _run(tmp_path)
    train = load_all(str(out / "events.parquet"), str(out / "items.parquet")).train
    of_run, prepared = genre_table(train), pl.read_parquet(out / "genres.parquet")
    assert of_run.rows() == prepared.filter(pl.col("items_count") > 0).select(of_run.columns).rows()
    assert dict(of_run.schema).items() <= dict(prepared.schema).items()


def test_genre_without_a_name_is_its_id(tmp_path: Path) -> None:
    out = _run(tmp_path, catalog=CATALOG.filter(pl.col("name") != "metal"))
    assert pl.read_parquet(out / "genres.parquet").rows() == [
        (0, "#14", 2, 2 / 3, 14),
        (1, "pop", 1, 1 / 3, 13),
        (2, "rap", 0, 0.0, 26),
    ]
    assert pl.read_parquet(out / "items.parquet")["genres"].to_list() == [[], ["pop", "#14"], ["#14"]]


def test_missing_file_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent.parquet"
    with pytest.raises(DataError, match=r"absent\.parquet: no such file"):
        prepare.yandex(absent, absent, absent, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    text = tmp_path / "tracks.parquet"
    text.write_text("track_id,albums\n1,2\n")
    with pytest.raises(DataError, match=r"tracks\.parquet: cannot be read as parquet"):
        prepare.yandex(text, text, text, tmp_path / "out")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"interactions\.parquet: no column 'user_id', 'started_at'; the file has"):
        _run(tmp_path, interactions=INTERACTIONS.drop("user_id", "started_at"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("started_at", ["2022-01-01"] * 3, "column 'started_at' is String, a date or datetime is needed"),
        ("user_id", ["a", "b", "c"], "column 'user_id' is String, an integer is needed"),
    ],
)
def test_wrong_types_are_named(tmp_path: Path, column: str, values: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _run(tmp_path, interactions=INTERACTIONS.with_columns(pl.Series(column, values)))


def test_lists_of_names_are_refused(tmp_path: Path) -> None:
    names = pl.Series("genres", [["pop"], [], ["metal"]])
    with pytest.raises(DataError, match=r"column 'genres' is List\(String\), a list of integers is needed"):
        _run(tmp_path, tracks=TRACKS.with_columns(names))


def test_id_beyond_32_bits_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    wide = INTERACTIONS.with_columns(pl.Series("user_id", [1, 2, 1 << 40]))
    with pytest.raises(DataError, match="an id does not fit into 32 bits"):
        _run(tmp_path, interactions=wide)
    assert [path.name for path in tmp_path.iterdir()] == ["dump"]


def test_existing_target_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="out: exists already"):
        _run(tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
