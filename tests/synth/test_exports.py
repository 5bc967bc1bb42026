"""Exports of services and benchmarks, each on a small one made to the published format."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import polars as pl
import pytest
from tests.e2e.command import tonearm

from tonearm.errors import DataError
from tonearm.loading.load import load_all, load_ready_made
from tonearm.synth.exports import EXPORTS, prepare

Rows = list[dict[str, Any]]


def out(folder: Path) -> tuple[Rows, Rows]:
    """The rows of events and items."""
    return tuple(pl.read_parquet(folder / f"{name}.parquet").to_dicts() for name in ("events", "items"))  # type: ignore[return-value]


def lines(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


SCROBBLES = '''uts,utc_time,artist,artist_mbid,album,album_mbid,track,track_mbid
"1609459260","01 Jan 2021, 00:01","Earth, Wind & Fire","","I Am","","Boogie ""Wonderland""",""
"1609459500","01 Jan 2021, 00:05","ABBA","mb-1","","","SOS","mb-2"
"1609545660","02 Jan 2021, 00:01","ABBA","mb-1","","","SOS",""
"","","ABBA","","","","Waterloo",""
'''


def test_scrobbles_of_two_people(tmp_path: Path) -> None:
    for person in ("ann", "bob"):
        (tmp_path / f"{person}.csv").write_text(SCROBBLES, encoding="utf-8")
    said = prepare("lastfm", [tmp_path / "ann.csv", tmp_path / "bob.csv"], tmp_path / "out")
    assert said == "6 events of 2 users and 3 items; 2 of 8 rows left out (no time, artist or track)."
    events, items = out(tmp_path / "out")
    first = {"user_id": "ann", "item_id": 'Earth, Wind & Fire – Boogie "Wonderland"'}
    assert events[0] == {**first, "started_at": datetime(2021, 1, 1, 0, 1)}
    assert [row["user_id"] for row in events] == ["ann"] * 3 + ["bob"] * 3
    assert items[0] == {"item_id": "ABBA – SOS", "name": "SOS", "artists": ["ABBA"], "albums": []}
    assert items[2]["albums"] == ["I Am"]


def test_lastfm_of_a_thousand_listeners(tmp_path: Path) -> None:
    """userid, timestamp, artist's id, artist, track's id, track; tabs, no quotes, no head."""
    rows = (
        "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\t\tFuck Me Im Famous\n"
        'user_000001\t2009-05-04T13:54:10Z\ta7f7df4a\t坂本龍一\t\t"Composition 0919\n'
        "user_000002\t2009-05-04T13:52:04Z\ta7f7df4a\t坂本龍一\tmb\tMc2\n"
    )
    (tmp_path / "userid-timestamp-artid-artname-traid-traname.tsv").write_text(rows, encoding="utf-8")
    prepare("lastfm", [tmp_path], tmp_path / "out")
    events, items = out(tmp_path / "out")
    assert events[1] == {
        "user_id": "user_000001",
        "item_id": '坂本龍一 – "Composition 0919',
        "started_at": datetime(2009, 5, 4, 13, 54, 10),
    }
    assert [item["name"] for item in items] == ["Fuck Me Im Famous", '"Composition 0919', "Mc2"]


def test_lastfm_of_360_000_listeners(tmp_path: Path) -> None:
    """user, artist's id, artist, plays; the artists are the items."""
    rows = "00000c28\t3bd73256\tbetty blowtorch\t2137\n00000c28\tf2fb0ff0\tdie Ärzte\t1099\n00001411\t\tdie Ärzte\t3\n"
    (tmp_path / "usersha1-artmbid-artname-plays.tsv").write_text(rows, encoding="utf-8")
    prepare("lastfm", [tmp_path], tmp_path / "out")
    events, items = out(tmp_path / "out")
    assert events[0] == {"user_id": "00000c28", "item_id": "betty blowtorch", "weight": 2137.0}
    assert [item["name"] for item in items] == ["betty blowtorch", "die Ärzte"]


def listen(at: float, track: str, mapping: Mapping[str, Any] | None, **more: Any) -> dict[str, Any]:
    about = {"track_name": track, "artist_name": "A & B", "release_name": "R", "recording_msid": f"ms-{track}"}
    told = {"track_metadata": {**about, "additional_info": {"tracknumber": 3}, "mbid_mapping": mapping}}
    return {"listened_at": at, "inserted_at": at + 9, **told, **more}


def test_listenbrainz(tmp_path: Path) -> None:
    mapping = {
        "recording_mbid": "mb-1",
        "recording_name": "One",
        "artist_mbids": ["x", "y"],
        "artists": [
            {"artist_credit_name": "A", "join_phrase": " & ", "artist_mbid": "x"},
            {"artist_credit_name": "B", "join_phrase": "", "artist_mbid": "y"},
        ],
        "caa_id": 7,
    }
    with ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("user.json", '{"user_id": 1, "username": "ann"}\n')
        archive.writestr("feedback.jsonl", '{"recording_mbid": "mb-1", "score": 1}\n')
        archive.writestr("listens/2021/1.jsonl", lines([listen(1609459260.0, "one", mapping)]))
        archive.writestr("listens/2021/2.jsonl", lines([listen(1612137660.0, "two", None)]))
    prepare("listenbrainz", [tmp_path / "export.zip"], tmp_path / "out")
    events, items = out(tmp_path / "out")
    assert events == [
        {"user_id": "ann", "item_id": "mb-1", "started_at": datetime(2021, 1, 1, 0, 1)},
        {"user_id": "ann", "item_id": "ms-two", "started_at": datetime(2021, 2, 1, 0, 1)},
    ]
    assert items == [
        {"item_id": "mb-1", "name": "one", "artists": ["A", "B"], "albums": ["R"]},
        {"item_id": "ms-two", "name": "two", "artists": ["A & B"], "albums": ["R"]},
    ]
    dump = [listen(0, "one", None, user_name=name, timestamp=1609459260) for name in ("bob", "eve")]
    (tmp_path / "1.listens").write_text(lines([{k: v for k, v in row.items() if k != "listened_at"} for row in dump]))
    prepare("listenbrainz", [tmp_path / "1.listens"], tmp_path / "dump")
    assert [row["user_id"] for row in out(tmp_path / "dump")[0]] == ["bob", "eve"]


def stream(at: str, ms: int, track: str | None, uri: str | None) -> dict[str, Any]:
    return {
        "ts": at,
        "platform": "ios",
        "ms_played": ms,
        "master_metadata_track_name": track,
        "master_metadata_album_artist_name": track and "ABBA",
        "master_metadata_album_album_name": track and "Gold",
        "spotify_track_uri": uri,
        "episode_name": None if track else "An hour of talk",
        "skipped": None,
        "offline_timestamp": 1609459200,
    }


def test_spotify(tmp_path: Path) -> None:
    folder = tmp_path / "ann" / "Spotify Extended Streaming History"
    folder.mkdir(parents=True)
    played = [
        stream("2021-01-01T00:05:00Z", 180_000, "SOS", "spotify:track:1"),
        stream("2021-01-01T00:06:00Z", 29_999, "Waterloo", "spotify:track:2"),
        stream("2021-01-01T01:06:00Z", 3_600_000, None, None),
    ]
    (folder / "Streaming_History_Audio_2021_0.json").write_text(json.dumps(played), encoding="utf-8")
    (folder / "Streaming_History_Video_2021.json").write_text(json.dumps(played), encoding="utf-8")
    said = prepare("spotify", [tmp_path / "ann"], tmp_path / "out")
    assert said == "1 event of 1 user and 1 item; 2 of 3 rows left out (played for less than 30 seconds, or no song)."
    events, items = out(tmp_path / "out")
    assert events == [{"user_id": "ann", "item_id": "spotify:track:1", "started_at": datetime(2021, 1, 1, 0, 2)}]
    assert items == [{"item_id": "spotify:track:1", "name": "SOS", "artists": ["ABBA"], "albums": ["Gold"]}]


def test_spotify_account_data(tmp_path: Path) -> None:
    rows = [{"endTime": "2021-01-01 00:05", "artistName": "ABBA", "trackName": "SOS", "msPlayed": 60_000}]
    (tmp_path / "StreamingHistory_music_0.json").write_text(json.dumps(rows), encoding="utf-8")
    prepare("spotify", [tmp_path], tmp_path / "out")
    [event] = out(tmp_path / "out")[0]
    assert (event["item_id"], event["started_at"]) == ("ABBA – SOS", datetime(2021, 1, 1, 0, 4))


@pytest.mark.parametrize("form", ["csv", "dat"])
def test_movielens(tmp_path: Path, form: str) -> None:
    ratings = [(1, 31, 2.5, 1260759144), (1, 1029, 4.0, 1260759179), (2, 31, 5.0, 1260759182)]
    films = [(31, "Dangerous Minds (1995)", "Drama"), (1029, "Les Misérables, A::B", "(no genres listed)")]
    films = films if form == "csv" else [films[0], (1029, "Les Misérables (1995)", "Drama|War")]
    if form == "csv":
        pl.DataFrame(ratings, ["userId", "movieId", "rating", "timestamp"], orient="row").write_csv(
            tmp_path / "ratings.csv"
        )
        pl.DataFrame(films, ["movieId", "title", "genres"], orient="row").write_csv(tmp_path / "movies.csv")
    else:
        for name, rows in (("ratings", ratings), ("movies", films)):
            text = "".join("::".join(map(str, row)) + "\n" for row in rows)
            (tmp_path / f"{name}.dat").write_bytes(text.encode("latin-1"))
    said = prepare("movielens", [tmp_path], tmp_path / "out")
    assert said == "2 events of 2 users and 2 items; 1 of 3 rows left out (rated below 4)."
    events, items = out(tmp_path / "out")
    assert events[0] == {"user_id": 1, "item_id": 1029, "started_at": datetime(2009, 12, 14, 2, 52, 59)}
    assert items[0] == {"item_id": 31, "name": "Dangerous Minds (1995)", "genres": ["Drama"]}
    assert items[1]["genres"] == ([] if form == "csv" else ["Drama", "War"])
    paths = [str(tmp_path / "out" / f"{name}.parquet") for name in ("events", "items")]
    assert load_all(paths[0], paths[1]).train.n_users == 2


def test_yambda(tmp_path: Path) -> None:
    """Half a track counts; train ends 30 minutes before the last day, which is test."""
    times = [100, 25_911_799, 25_911_800, 25_913_599, 25_913_600, 25_999_995, 200, 300]
    listens = {
        "uid": [10, 10, 20, 20, 10, 20, 20, 20],
        "timestamp": times,
        "item_id": [1, 2, 3, 1, 2, 9, 1, 1],
        "is_organic": [1] * 8,
        "played_ratio_pct": [50, 100, 100, 100, 120, 60, 90, 49],
        "track_length_seconds": [180] * 8,
    }
    kinds = {"uid": pl.UInt32, "timestamp": pl.UInt32, "item_id": pl.UInt32, "played_ratio_pct": pl.UInt16}
    pl.DataFrame(listens, schema_overrides=kinds).write_parquet(tmp_path / "listens.parquet")
    for label in ("artist", "album"):
        mapping = {f"{label}_id": [7, 5, 6], "item_id": [1, 1, 2]}
        pl.DataFrame(mapping).write_parquet(tmp_path / f"{label}_item_mapping.parquet")
    said = prepare("yambda", [tmp_path], tmp_path / "out")
    assert said == "7 events of 2 users and 4 items; 1 of 8 rows left out (less than half of the track heard)."
    seconds = pl.col("started_at").dt.epoch("s")
    split = [
        pl.read_parquet(tmp_path / "out" / f"{name}.parquet").select(seconds)["started_at"]
        for name in ("train", "test")
    ]
    assert [part.to_list() for part in split] == [[100, 25_911_799, 200], [25_913_600, 25_999_995]]
    assert out(tmp_path / "out")[1][0] == {"item_id": 1, "artists": ["5", "7"], "albums": ["5", "7"]}
    paths = [str(tmp_path / "out" / f"{name}.parquet") for name in ("train", "test", "items")]
    loaded = load_ready_made(paths[0], paths[1], paths[2])
    assert loaded.test is not None
    assert (loaded.train.log.n_events, loaded.test.log.n_events) == (3, 2)


@pytest.mark.parametrize("kind", EXPORTS)
def test_what_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    for name in ("nowhere", "empty", "broken.zip", "other.csv"):
        with pytest.raises(DataError, match=rf"{name}: .* Give|{name}: cannot be unpacked|{name}: neither uts"):
            prepare(kind, [tmp_path / name], tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ann.csv").write_text(SCROBBLES, encoding="utf-8")
    done = tonearm(capsys, "prepare", "lastfm", tmp_path / "ann.csv", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "3 events of 1 user and 3 items" in done.out
    refused = tonearm(capsys, "prepare", "spotify", "--out", tmp_path / "other")
    assert refused.code == 2
    assert "needs a folder, a file or a zip archive" in refused.err
