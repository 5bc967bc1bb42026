"""What services and benchmarks give out, as events and items: one function for each, and the table of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

import polars as pl

from tonearm.errors import DataError
from tonearm.loading.files import local_path
from tonearm.runs.directory import new_directory
from tonearm.synth.prepare import ROW_GROUP
from tonearm.terminal.words import counted

MUSIC = ("name", "artists", "albums")


@dataclass(frozen=True)
class Tables:
    """What one source holds.

    events: user_id, item_id, started_at and weight as far as known, and what is known of the item
    items: item_id and what is known of it; None where the events tell
    """

    events: pl.LazyFrame
    items: pl.LazyFrame | None = None


@dataclass(frozen=True)
class Export:
    """One kind of export.

    read: a folder or a file, and the name of the person where the files tell none
    holds: what should be there, in words
    left_out: the rows that are left out, in words
    cut: seconds that end train and begin test, where a benchmark has published them
    """

    read: Callable[[Path, str], Tables]
    holds: str
    left_out: str
    cut: tuple[int, int] | None = None


def prepare(kind: str, sources: Sequence[Path], out: Path) -> str:
    """Write events.parquet and items.parquet, and train.parquet and test.parquet where a split is published.

    kind: a key of `EXPORTS`
    sources: folders, files or zip archives; each is of one person where it names none, who is called as it is
    out: appears whole or not at all

    Returns: what was written and left out, in a sentence.

    Raises:
        DataError: a source is missing, or not what the kind's files are.
        OutputError: `out` exists or cannot be written.
    """
    export = EXPORTS[kind]
    with new_directory(out, empty=True) as folder, TemporaryDirectory(prefix="tonearm-") as scratch:
        read = [_read(export, local_path(str(source)), Path(scratch) / str(n)) for n, source in enumerate(sources)]
        try:
            total = _write(read, export, folder)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unread(sources[0], export, error) from error
        written, known = (pl.scan_parquet(folder / name) for name in ("events.parquet", "items.parquet"))
        kept, people = written.select(pl.len(), pl.col("user_id").n_unique()).collect().row(0)
        items = known.select(pl.len()).collect().item()
        if not kept:
            raise DataError(f"{sources[0]}: no event is left. Give {export.holds}.")
    said = f"{counted(kept, 'event')} of {counted(people, 'user')} and {counted(items, 'item')}"
    lost = f"; {total - kept:,} of {counted(total, 'row')} left out ({export.left_out})" if total > kept else ""
    return f"{said}{lost}."


def _write(read: Sequence[Tables], export: Export, folder: Path) -> int:
    """Write the tables of all sources; returns how many rows they had."""
    events = pl.concat([tables.events for tables in read], how="diagonal_relaxed")
    columns = [c for c in ("user_id", "item_id", "started_at", "weight") if c in events.collect_schema()]
    whole = pl.all_horizontal(pl.col(columns).is_not_null())
    path = folder / "events.parquet"
    events.filter(whole).select(columns).sink_parquet(path, row_group_size=ROW_GROUP)
    items = pl.concat([t.items if t.items is not None else _items(t.events) for t in read], how="diagonal_relaxed")
    found = items.filter(pl.col("item_id").is_not_null()).collect(engine="streaming")
    found.unique("item_id", keep="first", maintain_order=True).sort("item_id").write_parquet(folder / "items.parquet")
    if export.cut is not None:
        end, start = (pl.from_epoch(pl.lit(at), "s") for at in export.cut)
        time, written = pl.col("started_at"), pl.scan_parquet(path)
        for name, rows in (("train", written.filter(time < end)), ("test", written.filter(time >= start))):
            rows.sink_parquet(folder / f"{name}.parquet", row_group_size=ROW_GROUP)
    return int(events.select(pl.len()).collect(engine="streaming").item())


def lastfm(source: Path, person: str) -> Tables:
    """A person's scrobbles as CSV (uts, artist, album, track), or the sets of 1,000 and of 360,000 listeners."""
    file = _found(source, "*.csv", "userid-timestamp-*.tsv", "usersha1-*.tsv")[0]
    head = "".join(pl.scan_lines(file).head(1).collect()["line"])
    if "uts" in head:
        rows = pl.scan_csv(file, infer_schema=False)
        time = pl.from_epoch(pl.col("uts").cast(pl.Int64, strict=False), "s")
        return Tables(_plays(rows, pl.lit(person), time, pl.col("artist"), pl.col("track"), pl.col("album")))
    names = {5: ["user", "time", "mbid", "artist", "track_mbid", "track"], 3: ["user", "mbid", "artist", "plays"]}
    columns = names.get(head.count("\t"))
    if columns is None:
        raise DataError(f"{file}: neither uts among its columns, nor the tabs of a published set. Give {LASTFM}.")
    rows = pl.scan_csv(file, separator="\t", has_header=False, quote_char=None, new_columns=columns, infer_schema=False)
    if "time" in columns:
        time = pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ms")
        return Tables(_plays(rows, pl.col("user"), time, pl.col("artist"), pl.col("track")))
    plays = pl.col("plays").cast(pl.Float32).alias("weight")
    name = pl.col("artist")
    return Tables(rows.select(pl.col("user").alias("user_id"), name.alias("item_id"), name.alias("name"), plays))


def listenbrainz(source: Path, person: str) -> Tables:
    """A person's export (user.json, listens/YEAR/MONTH.jsonl), or the listens of a public dump."""
    about = sorted(source.rglob("user.json")) if source.is_dir() else []
    if about:
        person = json.loads(about[0].read_text(encoding="utf-8"))["username"]
    files = [
        file for file in _found(source, "*.jsonl", "*.listens") if file.stem not in ("feedback", "pinned_recording")
    ]
    artist = pl.Struct({"artist_credit_name": pl.String})
    mapping = pl.Struct({"recording_mbid": pl.String, "artists": pl.List(artist)})
    names = dict.fromkeys(("track_name", "artist_name", "release_name", "recording_msid"), pl.String())
    rows = pl.scan_ndjson(
        files,
        schema={
            **{"listened_at": pl.Float64, "timestamp": pl.Float64, "user_name": pl.String, "recording_msid": pl.String},
            "track_metadata": pl.Struct({**names, "mbid_mapping": mapping}),
        },
    )
    track = pl.col("track_metadata").struct
    mapped = track.field("mbid_mapping").struct
    artists = mapped.field("artists").list.eval(pl.element().struct.field("artist_credit_name"))
    credited = pl.when(artists.list.len() > 0).then(artists).otherwise(_one(track.field("artist_name")))
    item = pl.coalesce(mapped.field("recording_mbid"), track.field("recording_msid"), "recording_msid")
    return Tables(
        rows.select(
            pl.coalesce("user_name", pl.lit(person)).alias("user_id"),
            item.alias("item_id"),
            pl.from_epoch(pl.coalesce("listened_at", "timestamp").cast(pl.Int64), "s").alias("started_at"),
            track.field("track_name").alias("name"),
            credited.alias("artists"),
            _one(track.field("release_name")).alias("albums"),
        )
    )


def spotify(source: Path, person: str) -> Tables:
    """A person's extended streaming history, or the shorter one of the account data; songs played for 30 seconds."""
    patterns = ("Streaming_History_Audio*.json", "endsong*.json", "StreamingHistory*.json")
    files = _found(source, *patterns)
    music = [f"master_metadata_{name}_name" for name in ("track", "album_artist", "album_album")]
    text = dict.fromkeys(["ts", *music, "spotify_track_uri", "endTime", "artistName", "trackName"], pl.String())
    schema = {**text, "ms_played": pl.Int64(), "msPlayed": pl.Int64()}
    tables = [pl.DataFrame(json.loads(file.read_text(encoding="utf-8")), schema=schema, strict=False) for file in files]
    rows = pl.concat(tables).lazy()
    end = pl.coalesce(
        pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ms", strict=False),
        pl.col("endTime").str.to_datetime("%Y-%m-%d %H:%M", time_unit="ms", strict=False),
    )
    played = pl.coalesce("ms_played", "msPlayed")
    song = pl.coalesce("master_metadata_track_name", "trackName")
    artist = pl.coalesce("master_metadata_album_artist_name", "artistName")
    heard = pl.when(played >= 30_000)
    plays = _plays(
        rows.with_columns(song=heard.then(song), uri=heard.then("spotify_track_uri")),
        pl.lit(person),
        end - pl.duration(milliseconds=played, time_unit="ms"),
        artist,
        pl.col("song"),
        pl.col("master_metadata_album_album_name"),
        pl.col("uri"),
    )
    return Tables(plays)


def movielens(source: Path, _: str) -> Tables:
    """The sets of GroupLens: ratings.csv and movies.csv, or ratings.dat and movies.dat; ratings of 4 and more."""
    ratings = _found(source, "ratings.csv", "ratings.dat")[0]
    if ratings.suffix == ".csv":
        rows = pl.scan_csv(ratings).rename({"userId": "user", "movieId": "item"})
        films = pl.scan_csv(ratings.with_name("movies.csv"), schema_overrides={"title": pl.String, "genres": pl.String})
        films = films.rename({"movieId": "item"})
    else:
        rows = _fields(pl.scan_lines(ratings), ("user", "item", "rating", "timestamp"))
        content = ratings.with_name("movies.dat").read_bytes()
        try:
            lines = content.decode("utf-8").splitlines()
        except UnicodeDecodeError:
            lines = content.decode("latin-1").splitlines()
        films = _fields(pl.LazyFrame({"line": lines}), ("item", "title", "genres"))
    liked = pl.when(pl.col("rating").cast(pl.Float64) >= 4)
    events = rows.select(
        pl.col("user").cast(pl.Int64).alias("user_id"),
        liked.then(pl.col("item").cast(pl.Int64)).alias("item_id"),
        pl.from_epoch(pl.col("timestamp").cast(pl.Int64), "s").alias("started_at"),
    )
    genres = pl.col("genres").str.split("|").list.eval(pl.element().filter(pl.element() != "(no genres listed)"))
    items = films.select(pl.col("item").cast(pl.Int64).alias("item_id"), pl.col("title").alias("name"), genres)
    return Tables(events, items)


def yambda(source: Path, _: str) -> Tables:
    """Yambda, flat: listens.parquet, and the mappings of artists and albums; listens of at least half a track."""
    rows = pl.scan_parquet(_found(source, "listens.parquet")[0])
    heard = pl.when(pl.col("played_ratio_pct") >= 50)
    events = rows.select(
        pl.col("uid").alias("user_id"),
        heard.then("item_id").alias("item_id"),
        pl.from_epoch(pl.col("timestamp").cast(pl.Int64), "s").alias("started_at"),
    )
    items = rows.select(pl.col("item_id").unique())
    for label in ("artist", "album"):
        for file in sorted(source.rglob(f"{label}_item_mapping.parquet")):
            named = pl.col(f"{label}_id").unique().sort().cast(pl.String).alias(f"{label}s")
            items = items.join(pl.scan_parquet(file).group_by("item_id").agg(named), on="item_id", how="left")
    return Tables(events, items)


LASTFM = "scrobbles as CSV with the columns uts, artist, album, track, or the .tsv of Last.fm 1K or 360K"

EXPORTS = {
    "lastfm": Export(lastfm, LASTFM, "no time, artist or track"),
    "listenbrainz": Export(
        listenbrainz, "the zip of a ListenBrainz export, or a folder of its .jsonl or .listens files", "no time or id"
    ),
    "spotify": Export(
        spotify,
        "the zip of a Spotify export, with Streaming_History_Audio_*.json or StreamingHistory*.json",
        "played for less than 30 seconds, or no song",
    ),
    "movielens": Export(movielens, "ratings.csv and movies.csv, or ratings.dat and movies.dat", "rated below 4"),
    "yambda": Export(
        yambda,
        "Yambda's flat listens.parquet, with artist_item_mapping.parquet and album_item_mapping.parquet beside",
        "less than half of the track heard",
        cut=(25_911_800, 25_913_600),
    ),
}


def _plays(
    rows: pl.LazyFrame,
    user: pl.Expr,
    time: pl.Expr,
    artist: pl.Expr,
    track: pl.Expr,
    album: pl.Expr | None = None,
    item: pl.Expr | None = None,
) -> pl.LazyFrame:
    """Plays of tracks, each called by its artist and title where it has no id of its own."""
    name = pl.when(artist.is_not_null() & track.is_not_null()).then(pl.format("{} – {}", artist, track))
    return rows.select(
        user.alias("user_id"),
        (name if item is None else pl.coalesce(item, name)).alias("item_id"),
        time.alias("started_at"),
        track.alias("name"),
        _one(artist).alias("artists"),
        _one(album if album is not None else pl.lit(None, pl.String)).alias("albums"),
    )


def _one(label: pl.Expr) -> pl.Expr:
    """A list of the label, empty where it is missing."""
    return (
        pl.when(label.is_null() | (label == ""))
        .then(pl.lit([], dtype=pl.List(pl.String)))
        .otherwise(pl.concat_list(label))
    )


def _items(plays: pl.LazyFrame) -> pl.LazyFrame:
    known = [name for name in MUSIC if name in plays.collect_schema()]
    return plays.group_by("item_id").agg(pl.col(known).first())


def _fields(lines: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """Lines with :: between the fields."""
    fields = pl.col("line").str.split_exact("::", len(names) - 1).struct.rename_fields(names)
    return lines.select(fields.alias("fields")).unnest("fields")


def _read(export: Export, source: Path, scratch: Path) -> Tables:
    if not source.exists():
        raise DataError(f"{source}: no such file or folder. Give {export.holds}.")
    person, place = source.stem, source
    if source.suffix == ".zip":
        try:
            ZipFile(source).extractall(scratch)
        except (BadZipFile, OSError) as error:
            raise DataError(f"{source}: cannot be unpacked ({error}). Fetch it anew.") from error
        place = scratch
    try:
        return export.read(place, person)
    except (pl.exceptions.PolarsError, OSError, ValueError, LookupError, TypeError) as error:
        raise _unread(source, export, error) from error


def _unread(source: Path, export: Export, error: Exception) -> DataError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(f"{source}: cannot be read ({reason}). Give {export.holds}.")


def _found(source: Path, *patterns: str) -> list[Path]:
    """The files of a folder by the first pattern that finds any; a file itself."""
    if source.is_file():
        return [source]
    for pattern in patterns:
        files = sorted(source.rglob(pattern))
        if files:
            return files
    raise FileNotFoundError(f"it holds no {' or '.join(patterns)}")
