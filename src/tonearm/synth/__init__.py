"""A listening log with planted taste: `generate` makes one, from 200 listeners to the size of the reference log."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source
from rich.progress import track

from tonearm.errors import ConfigError
from tonearm.kernels import synth as kernels
from tonearm.loading.files import local_path
from tonearm.runs.directory import new_directory
from tonearm.synth.catalogue import Catalogue, make_catalogue, period_of_day, period_weights
from tonearm.synth.listeners import Listeners, daily_shares, day_rates, make_listeners
from tonearm.synth.names import genre_ids, list_column, name_table
from tonearm.synth.prepare import ROW_GROUP, items_table
from tonearm.synth.preset import PRESETS, TEST_DAY, Preset
from tonearm.synth.twin import describe
from tonearm.terminal.printing import console
from tonearm.types import AnyArray, Float64s, Int32s, Int64s

__all__ = ["PRESETS", "Preset", "describe", "generate"]

_BLOCK_PLAYS = 2_000_000  # listens made at a time
_SAMPLE_PLAYS = 4_000_000  # listens made to see what taste and repeats do to popularity
_CORRECTIONS = 2
_BINS = 40


def generate(preset: str | Preset, out: Path | str, seed: int = 0, raw: bool = False) -> None:
    """Write a synthetic log of 2022 into the new folder `out`: `events.parquet` and `items.parquet`.

    events: `user_id` int32, `item_id` int32, `started_at` (datetime, or date where the preset has no clock), ascending
    by user, then time. items: `item_id`, `name`, `genres`, `artists`, `albums`, as `prepare.items_table` makes
    them. raw: the three files of the Yandex dump instead, `tracks.parquet`, `catalog_names.parquet` and
    `interactions.parquet`, which `prepare.yandex` turns into the very same tables. The same preset and seed give the
    same bytes. The folder appears whole or not at all; memory does not grow with the number of listens.

    Raises: ConfigError for an unknown preset; OutputError where `out` exists or cannot be written.
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise ConfigError(f"synth has no preset '{preset}'. Choose one of {', '.join(PRESETS)}.")
        preset = PRESETS[preset]
    with new_directory(local_path(str(out)), empty=True) as folder:
        world = _make_world(preset, seed)
        rng = np.random.default_rng([seed, 3])
        tracks, catalog = _raw_catalogue(world, rng)
        if raw:
            tracks.write_parquet(folder / "tracks.parquet", row_group_size=ROW_GROUP)
            catalog.write_parquet(folder / "catalog_names.parquet", row_group_size=ROW_GROUP)
        else:
            items_table(tracks, catalog).write_parquet(folder / "items.parquet", row_group_size=ROW_GROUP)
        del tracks, catalog
        name = "interactions.parquet" if raw else "events.parquet"
        _sink(_raw_blocks(world) if raw else _event_blocks(world), folder / name)


@dataclass(frozen=True)
class _World:
    preset: Preset
    seed: int
    catalogue: Catalogue
    listeners: Listeners
    user_ids: Int32s  # (n_users,)
    days: Float64s  # (n_days + 1,)
    cumulative: Float64s  # (n_periods + 1, n_items + 1)


def _make_world(preset: Preset, seed: int) -> _World:
    """All that is fixed before anybody listens; popularity corrected until a sample of listeners meets it."""
    catalogue = make_catalogue(preset, np.random.default_rng([seed, 0]))
    rng = np.random.default_rng([seed, 1])
    listeners = make_listeners(preset, rng)
    user_ids = np.cumsum(rng.integers(1, preset.id_gap + 1, preset.users)) - 1
    daily = daily_shares(preset)
    days = day_rates(listeners, daily)

    def world(weight: Float64s) -> _World:
        sums = period_weights(catalogue, weight, daily, np.random.default_rng([seed, 2]))
        return _World(preset, seed, catalogue, listeners, user_ids.astype(np.int32), days, sums)

    # Listeners come in random order, so the first ones are a sample.
    sample = np.arange(max(1, int(np.searchsorted(np.cumsum(listeners.plays), _SAMPLE_PLAYS))))
    order = np.argsort(catalogue.listens, kind="stable")
    bin_of = np.empty(order.size, np.int64)
    mass = np.cumsum(catalogue.listens[order]) / catalogue.listens.sum()
    # Bins of equal listens, not of equal tracks: what is heard most bends most.
    bin_of[order] = np.minimum((mass * _BINS).astype(np.int64), _BINS - 1)
    wanted = np.bincount(bin_of, catalogue.listens, _BINS)
    weight = catalogue.listens.copy()
    for _ in range(_CORRECTIONS):
        heard, _seconds, _offsets = _listen(world(weight), sample)
        got = np.bincount(bin_of[heard], minlength=_BINS)
        factor = (wanted / wanted.sum()) / np.maximum(got / got.sum(), 1e-9)
        weight *= factor[bin_of]
    return world(weight)


def _listen(world: _World, users: Int64s) -> tuple[Int32s, Int32s, Int64s]:
    """Listens of some users: item indices and seconds since 2022-01-01, by user and time, and offsets (b + 1,)."""
    catalogue, listeners, preset = world.catalogue, world.listeners, world.preset
    plays = listeners.plays[users]
    offsets = np.concatenate([[0], np.cumsum(plays, dtype=np.int64)])
    items, seconds = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.int32)
    around = kernels.World(
        TEST_DAY,
        world.days,
        period_of_day(),
        world.cumulative,
        catalogue.scene_start,
        catalogue.artist_start,
        catalogue.scene_of,
        catalogue.artist_of,
        catalogue.release,
        np.array([preset.mainstream, preset.loyalty, preset.repeats]),
    )
    test_plays, first_day, last_day = (
        one[users] for one in (listeners.test_plays, listeners.first_day, listeners.last_day)
    )
    kernels.listen(world.seed, users, plays, test_plays, first_day, last_day, around, offsets, items, seconds)
    return items, seconds, offsets


def _blocks(world: _World) -> Iterator[tuple[Int32s, Int32s, AnyArray, Int64s]]:
    """User ids, item ids, times and places within the user's history, some million listens at a time."""
    total = np.cumsum(world.listeners.plays, dtype=np.int64)
    ends = np.searchsorted(total, np.arange(_BLOCK_PLAYS, total[-1], _BLOCK_PLAYS))
    cuts = np.unique(np.concatenate([[0], ends, [total.size]]))
    start = np.datetime64("2022-01-01", "ms")
    shown = console(error=True)
    for low, high in track(
        list(pairwise(cuts)), "listens", console=shown, transient=True, disable=not shown.is_terminal
    ):
        users = np.arange(low, high)
        items, seconds, offsets = _listen(world, users)
        times: AnyArray = start + seconds.astype("timedelta64[s]")
        if not world.preset.clock:
            times = times.astype("datetime64[D]")
        counts = np.diff(offsets)
        places = np.arange(items.size) - np.repeat(offsets[:-1], counts)
        yield np.repeat(world.user_ids[users], counts), world.catalogue.item_ids[items], times, places


def _event_blocks(world: _World) -> Iterator[pl.DataFrame]:
    for users, items, times, _places in _blocks(world):
        yield pl.DataFrame({"user_id": users, "item_id": items, "started_at": times})


def _raw_blocks(world: _World) -> Iterator[pl.DataFrame]:
    row = 0
    for users, items, times, places in _blocks(world):
        columns = {"user_id": users, "track_id": items, "track_seq": (places + 1).astype(np.int16)}
        index = np.arange(row, row + users.size)
        yield pl.DataFrame(columns | {"started_at": times, "__index_level_0__": index})
        row += users.size


def _sink(blocks: Iterator[pl.DataFrame], path: Path) -> None:
    """Write blocks into one parquet file as they come."""
    first = next(blocks)

    def source(
        _columns: list[str] | None, _predicate: pl.Expr | None, _rows: int | None, _batch: int | None
    ) -> Iterator[pl.DataFrame]:
        yield first
        yield from blocks

    scan: Callable[..., pl.LazyFrame] = register_io_source
    scan(source, schema=first.schema).sink_parquet(path, row_group_size=ROW_GROUP)


def _raw_catalogue(world: _World, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tracks with their lists of catalogue ids, and the names of all ids."""
    preset, catalogue = world.preset, world.catalogue
    artist_ids = np.cumsum(rng.integers(1, 20, preset.artists))
    album_second = catalogue.second_album
    artist_second = np.where(catalogue.second_artist >= 0, artist_ids[catalogue.second_artist], -1)
    genres = [
        np.where(catalogue.n_genres > place, genre_ids(preset)[catalogue.artist_genres[catalogue.artist_of, place]], -1)
        for place in range(3)
    ]
    tracks = pl.DataFrame(
        {
            "track_id": catalogue.item_ids.astype(np.int64),
            "albums": list_column(catalogue.album_of.astype(np.int64), album_second),
            "artists": list_column(artist_ids[catalogue.artist_of], artist_second),
            "genres": list_column(genres[0], genres[1], genres[2]),
        }
    ).sort("track_id")
    return tracks, name_table(preset, catalogue, artist_ids, rng)
