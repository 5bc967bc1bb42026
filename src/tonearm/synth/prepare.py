"""Public dumps into the two tables that Tonearm reads."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from tonearm.errors import DataError
from tonearm.loading.files import local_path
from tonearm.runs.directory import new_directory

_TRACKS: Mapping[str, str] = {
    "track_id": "an integer",
    "albums": "a list of integers",
    "artists": "a list of integers",
    "genres": "a list of integers",
}
_CATALOG: Mapping[str, str] = {"id": "an integer", "type": "a string", "name": "a string"}
_INTERACTIONS: Mapping[str, str] = {
    "user_id": "an integer",
    "track_id": "an integer",
    "started_at": "a date or datetime",
}
ROW_GROUP = 1 << 20


def yandex(tracks: Path, catalog: Path, interactions: Path, out: Path) -> None:
    """Turn the raw Yandex Music course dump into `events.parquet`, `items.parquet` and `genres.parquet`.

    events: `user_id` int32, `item_id` int32, `started_at`; rows and their order as in the dump, other columns left
    out. items: `item_id`, `name`, `genres`, `artists`, `albums`, ascending ids, see `items_table` for the naming
    rule. genres: `genre_id`, `name`, `items_count`, `score`, as a run on these items numbers and orders them, genres
    that no track carries after the others, and `catalog_id`, the dump's id. The interactions are streamed, so memory
    does not grow with them. The folder `out` appears whole or not at all.

    Raises: DataError for a missing or unreadable file, a missing column or one of the wrong type;
    OutputError where `out` exists or cannot be written.
    """
    track_rows = _scan(tracks, _TRACKS)
    catalog_rows = _scan(catalog, _CATALOG)
    events = _scan(interactions, _INTERACTIONS).select(
        pl.col("user_id").cast(pl.Int32), pl.col("track_id").cast(pl.Int32).alias("item_id"), "started_at"
    )
    with new_directory(out, empty=True) as folder:
        names = catalog_rows.select("id", "type", "name").collect()
        track_table = track_rows.select(*_TRACKS).collect()
        items = items_table(track_table, names)
        items.write_parquet(folder / "items.parquet", row_group_size=ROW_GROUP)
        _genres_table(items, names).write_parquet(folder / "genres.parquet")
        del track_table, names, items
        try:
            events.sink_parquet(folder / "events.parquet", row_group_size=ROW_GROUP)
        except pl.exceptions.InvalidOperationError as error:
            raise DataError(
                f"{interactions}: an id does not fit into 32 bits ({error}). Renumber user_id and track_id."
            ) from error


def items_table(tracks: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """Tracks with names in place of catalogue ids, one row per track, ascending `item_id`.

    A list entry must stand for one artist, album or genre. So an id becomes its name where no other id of its type
    bears that name, `name #id` where the name is shared, and `#id` where the catalogue has no name for it. The
    name of the track itself is as in the catalogue, shared or not, null where absent.

    tracks: `track_id`, and `albums`, `artists`, `genres` as lists of ids. catalog: `id`, `type`, `name`.
    """
    names = catalog.filter(pl.col("name").is_not_null()).unique(["type", "id"], keep="first", maintain_order=True)
    table = tracks.select(pl.col("track_id").cast(pl.Int32).alias("item_id"), "genres", "artists", "albums")
    titles = names.filter(pl.col("type") == "track").select(
        pl.col("id").cast(pl.Int32, strict=False).alias("item_id"), "name"
    )
    table = table.join(titles, on="item_id", how="left").sort("item_id")
    columns = {kind: _named(table[f"{kind}s"], names, kind) for kind in ("genre", "artist", "album")}
    return table.select("item_id", "name", *(values.alias(f"{kind}s") for kind, values in columns.items()))


def _labels(names: pl.DataFrame, kind: str) -> pl.DataFrame:
    """id and label of every name of one kind; the id is part of a label that others would share."""
    known = names.filter((pl.col("type") == kind) & pl.col("name").is_not_null())
    of_kind = known.select(pl.col("id").cast(pl.Int64), "name").unique("id", keep="first", maintain_order=True)
    label = pl.when(pl.len().over("name") > 1).then(pl.format("{} #{}", "name", "id")).otherwise("name")
    return of_kind.select("id", label.alias("label"))


def _named(lists: pl.Series, names: pl.DataFrame, kind: str) -> pl.Series:
    """Lists of ids of one kind as lists of unambiguous names; nulls become empty lists."""
    labels = _labels(names, kind)
    flat = (
        pl.DataFrame({"row": pl.int_range(len(lists), eager=True), "id": lists.cast(pl.List(pl.Int64))})
        .explode("id", empty_as_null=False, keep_nulls=False)
        .join(labels, on="id", how="left", maintain_order="left")
    )
    grouped = flat.group_by("row", maintain_order=True).agg(
        pl.col("label").fill_null(pl.format("#{}", "id")).alias("names")
    )
    rows = pl.DataFrame({"row": pl.int_range(len(lists), eager=True)})
    return (
        rows.join(grouped, on="row", how="left", maintain_order="left")["names"]
        .fill_null(pl.Series([[]], dtype=pl.List(pl.String)))
        .cast(pl.List(pl.String))
    )


def _genres_table(items: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """The genres as a run on these items counts and numbers them, and after those in use the others of the dump."""
    labels = _labels(catalog, "genre").select(pl.col("id").alias("catalog_id"), pl.col("label").alias("name"))
    counts = (
        items.select(pl.col("genres").list.unique())
        .explode("genres", empty_as_null=False, keep_nulls=False)
        .group_by(pl.col("genres").alias("name"))
        .agg(pl.len().cast(pl.Int64).alias("items_count"))
    )
    table = counts.join(labels, on="name", how="full", coalesce=True).with_columns(
        pl.col("items_count").fill_null(0),
        pl.col("catalog_id").fill_null(pl.col("name").str.strip_prefix("#").cast(pl.Int64, strict=False)),
    )
    total = max(int(table["items_count"].sum()), 1)
    return (
        table.sort(pl.col("items_count") == 0, "name")
        .with_row_index("genre_id")
        .select(
            pl.col("genre_id").cast(pl.Int32),
            "name",
            "items_count",
            (pl.col("items_count") / total).alias("score"),
            "catalog_id",
        )
        .sort("items_count", "name", descending=[True, False])
    )


def _scan(path: Path, columns: Mapping[str, str]) -> pl.LazyFrame:
    """Open a parquet file lazily and make sure that it has the columns, each of its kind."""
    path = local_path(str(path))
    if not (path.is_file() or path.is_dir()):
        what = "is a pipe or a device" if path.exists() else "no such file"
        raise DataError(f"{path}: {what}. Give the path of the parquet file from the dump.")
    try:
        table = pl.scan_parquet(path)
        schema = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet ({str(error).splitlines()[0]}).") from error
    missing = [name for name in columns if name not in schema]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, missing))}; the file has {', '.join(map(repr, schema))}. "
            "Check that --tracks, --catalog and --interactions are not swapped."
        )
    for name, kind in columns.items():
        if not _is_kind(schema[name], kind):
            raise DataError(f"{path}: column '{name}' is {schema[name]}, {kind} is needed. Convert it first.")
    return table


def _is_kind(dtype: pl.DataType, kind: str) -> bool:
    if kind == "an integer":
        return dtype.is_integer()
    if kind == "a string":
        return dtype in (pl.String, pl.Categorical)
    if kind == "a date or datetime":
        return dtype == pl.Date or dtype == pl.Datetime
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    return isinstance(inner, pl.DataType) and (inner.is_integer() or inner == pl.Null)
