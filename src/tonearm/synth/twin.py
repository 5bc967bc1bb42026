"""How close a log comes to the reference log: its figures side by side."""

from pathlib import Path

import numpy as np
import polars as pl

from tonearm.errors import DataError
from tonearm.types import AnyArray, Int64s

_TEST_FROM = pl.date(2022, 12, 16)
_RANGES = 32  # of user ids, looked at one after the other for repeats

# The published facts of the Yandex Music dump; "third" is for a third of the rows kept.
REFERENCE: dict[str, float] = {
    "tracks": 1_000_000,
    "catalogue names": 1_812_471,
    "users": 1_373_221,
    "listens": 222_629_898,
    "listens that repeat a (user, track) pair": 0,
    "plays a user, median": 55,
    "plays a user, maximum": 16_637,
    "plays a track, mean (third)": 78,
    "plays a track, first quartile (third)": 3,
    "plays a track, median (third)": 7,
    "plays a track, third quartile (third)": 24,
    "plays a track, maximum (third)": 41_366,
    "genres in use": 137,
    "track-genre pairs": 1_610_000,
    "share of pairs, largest genre (pop)": 0.103,
    "share of pairs, second genre (rap)": 0.080,
    "share of pairs, third genre (allrock)": 0.074,
    "share of pairs, fourth genre (electronics)": 0.071,
    "share of pairs, fifth genre (metal)": 0.045,
    "months that grew, of February to November": 10,
    "listens before 2022-12-16": 208_600_000,
    "users on or after 2022-12-16": 783_525,
    "of them cold": 30_655,
}


def describe(folder: Path) -> pl.DataFrame:
    """Figures of a log made by `synth` (raw or not) beside those of the reference log: `figure`, `reference`, `twin`.

    A figure that the files do not hold is null ("catalogue names" without the raw files). The thirds are drawn
    binomially from the plays of each track with a fixed seed.

    Raises: DataError where `folder` holds neither events nor interactions.
    """
    raw = (folder / "interactions.parquet").exists()
    if not raw and not (folder / "events.parquet").exists():
        raise DataError(f"{folder}: neither events.parquet nor interactions.parquet. Give a folder made by synth.")
    if raw:
        events = pl.scan_parquet(folder / "interactions.parquet").rename({"track_id": "item_id"})
        genres = pl.read_parquet(folder / "tracks.parquet", columns=["genres"])["genres"]
    else:
        events = pl.scan_parquet(folder / "events.parquet")
        genres = pl.read_parquet(folder / "items.parquet", columns=["genres"])["genres"]
    found: dict[str, float] = {"tracks": len(genres)}
    if raw:
        names = pl.scan_parquet(folder / "catalog_names.parquet").select(pl.len())
        found["catalogue names"] = names.collect().item()
    found |= _user_figures(events) | _track_figures(events) | _genre_figures(genres) | _time_figures(events)
    figures = list(REFERENCE)
    return pl.DataFrame(
        {"figure": figures, "reference": list(REFERENCE.values()), "twin": [found.get(name) for name in figures]},
        schema={"figure": pl.String, "reference": pl.Float64, "twin": pl.Float64},
        strict=False,
    )


def _counts(events: pl.LazyFrame, by: str) -> Int64s:
    counts = events.group_by(by).agg(pl.len()).sort(by).collect(engine="streaming")["len"]
    return counts.to_numpy().astype(np.int64)


def _user_figures(events: pl.LazyFrame) -> dict[str, float]:
    plays = _counts(events, "user_id")
    largest = int(events.select(pl.col("user_id").max()).collect(engine="streaming").item())
    repeats = 0
    for low, high in zip(*_ranges(largest), strict=True):
        part = events.filter(pl.col("user_id").is_between(int(low), int(high), closed="left"))
        keys = part.select(pl.col("user_id").cast(pl.Int64) * (1 << 32) + pl.col("item_id")).collect()["user_id"]
        repeats += len(keys) - keys.n_unique()
    return {
        "users": plays.size,
        "listens": int(plays.sum()),
        "listens that repeat a (user, track) pair": repeats,
        "plays a user, median": float(np.median(plays)),
        "plays a user, maximum": int(plays.max()),
    }


def _ranges(largest: int) -> tuple[AnyArray, AnyArray]:
    cuts = np.unique(np.linspace(0, largest + 1, _RANGES + 1).astype(np.int64))
    return cuts[:-1], cuts[1:]


def _track_figures(events: pl.LazyFrame) -> dict[str, float]:
    third = np.random.default_rng(0).binomial(_counts(events, "item_id"), 1 / 3)
    third = third[third > 0]
    quartiles = np.quantile(third, [0.25, 0.5, 0.75])
    return {
        "plays a track, mean (third)": float(third.mean()),
        "plays a track, first quartile (third)": float(quartiles[0]),
        "plays a track, median (third)": float(quartiles[1]),
        "plays a track, third quartile (third)": float(quartiles[2]),
        "plays a track, maximum (third)": int(third.max()),
    }


def _genre_figures(genres: pl.Series) -> dict[str, float]:
    counts = genres.explode(empty_as_null=False, keep_nulls=False).value_counts(sort=True)["count"].to_numpy()
    shares = counts / counts.sum()
    names = [name for name in REFERENCE if name.startswith("share of pairs")]
    return {"genres in use": counts.size, "track-genre pairs": int(counts.sum())} | dict(
        zip(names, shares[: len(names)].tolist(), strict=False)
    )


def _time_figures(events: pl.LazyFrame) -> dict[str, float]:
    month = pl.col("started_at").dt.month()
    months = events.group_by(month.alias("month")).agg(pl.len()).sort("month").collect(engine="streaming")["len"]
    spans = events.group_by("user_id").agg(pl.col("started_at").min().alias("a"), pl.col("started_at").max().alias("b"))
    sums = (
        spans.select((pl.col("b") >= _TEST_FROM).sum(), (pl.col("a") >= _TEST_FROM).sum().alias("cold"))
        .collect(engine="streaming")
        .row(0)
    )
    before = events.filter(pl.col("started_at") < _TEST_FROM).select(pl.len()).collect(engine="streaming").item()
    return {
        "months that grew, of February to November": int((np.diff(months.to_numpy()[:11].astype(np.int64)) > 0).sum()),
        "listens before 2022-12-16": before,
        "users on or after 2022-12-16": sums[0],
        "of them cold": sums[1],
    }
