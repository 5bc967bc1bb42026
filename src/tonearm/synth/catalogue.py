"""The made-up catalogue: artists in scenes, albums, genres, release days and how popular each track is to be."""

from dataclasses import dataclass

import numpy as np

from tonearm.synth.preset import N_DAYS, N_PERIODS, Preset
from tonearm.types import AnyArray, Float64s, Int32s, Int64s

# Listens of a track at quantiles of all tracks, in the full reference log: chosen so that a third of the rows has
# quartiles 3, 7 and 24, a mean of 78 and a maximum of 41,366.
_CURVE_AT = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.999, 0.9999, 1.0)
_CURVE = (2.5, 4.5, 8.2, 18.5, 65.0, 330.0, 1100.0, 2950.0, 15000.0, 55000.0, 124098.0)
_LARGEST_GENRES = (0.103, 0.080, 0.074, 0.071, 0.045)  # of all track-genre pairs
_COMPANIONS = 4  # further genres that the artists of a scene may have
_FADE_DAYS = 45.0  # a new track loses interest at this rate,
_EVERGREEN = 0.25  # down to this share of its first days


@dataclass(frozen=True)
class Catalogue:
    """Tracks sorted by scene, artist, album; offsets delimit the tracks of each scene and artist.

    item_ids, release (days since 2022-01-01), scene_of, artist_of, album_of: (n_items,) int32. second_artist,
    second_album: (n_items,) int32, -1 for none. listens: (n_items,) float64, the number aimed at. artist_genres:
    (n_artists, 3) int32; a track carries the first n_genres[track] of its artist's.
    """

    item_ids: Int32s
    release: Int32s
    scene_of: Int32s
    artist_of: Int32s
    album_of: Int32s
    second_artist: Int32s
    second_album: Int32s
    listens: Float64s
    scene_start: Int64s
    artist_start: Int64s
    artist_genres: Int32s
    n_genres: Int32s


def make_catalogue(preset: Preset, rng: np.random.Generator) -> Catalogue:
    """Draw a catalogue of exactly the sizes that the preset names."""
    n = preset.items
    appeal = np.minimum(1.0 + rng.pareto(1.2, preset.artists), 300.0)
    appeal = np.minimum(appeal, 0.05 * appeal.sum())
    sizes = 1 + rng.multinomial(n - preset.artists, appeal / appeal.sum())
    extent = rng.lognormal(0.0, 0.6, preset.scenes)
    scenes = np.concatenate(
        [
            np.arange(preset.scenes),
            rng.choice(preset.scenes, preset.artists - preset.scenes, p=extent / extent.sum()),
        ]
    )
    artist_scene = np.sort(scenes).astype(np.int32)
    artist_of = np.repeat(np.arange(preset.artists, dtype=np.int32), sizes)
    artist_start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    scene_of = artist_scene[artist_of]
    scene_start = np.searchsorted(scene_of, np.arange(preset.scenes + 1)).astype(np.int64)
    album_of = _albums(artist_start, preset, rng)
    release = _releases(album_of, preset, rng)
    order = np.lexsort((rng.random(n), release))
    item_ids = np.empty(n, np.int32)
    item_ids[order] = np.cumsum(rng.integers(1, 10, n))
    artist_genres, n_genres = _genres(scene_of, artist_scene, sizes, preset, rng)
    return Catalogue(
        item_ids=item_ids,
        release=release,
        scene_of=scene_of,
        artist_of=artist_of,
        album_of=album_of,
        second_artist=_seconds(artist_of, scene_of, scene_start, 0.15, rng),
        second_album=_seconds(album_of, scene_of, scene_start, 0.1, rng),
        listens=_popularity(artist_of, scene_of, preset, rng),
        scene_start=scene_start,
        artist_start=artist_start,
        artist_genres=artist_genres,
        n_genres=n_genres,
    )


def period_weights(catalogue: Catalogue, weight: Float64s, daily: Float64s, rng: np.random.Generator) -> Float64s:
    """Running sums of track weights in each period, (n_periods + 1, n_items + 1); the last row is the whole year.

    weight: (n_items,) wanted over the year. daily: (n_days,) share of all listens. A new track fades from its
    release on, an old one slowly rises or falls; the year's total of each stays `weight`.
    """
    period = period_of_day()
    volume = np.bincount(period, daily, N_PERIODS)
    n = weight.size
    slope = rng.normal(0.0, 0.5, n)
    total = np.zeros(n)
    sums = np.zeros((N_PERIODS + 1, n + 1))
    for p in range(N_PERIODS):
        interest = _interest(catalogue.release, slope, np.flatnonzero(period == p))
        sums[p, 1:] = interest
        total += volume[p] * interest
    scale = weight / np.maximum(total, 1e-12)
    for p in range(N_PERIODS):
        np.cumsum(sums[p, 1:] * scale, out=sums[p, 1:])
    np.cumsum(weight, out=sums[N_PERIODS, 1:])
    return sums


def period_of_day() -> Int64s:
    """Half-month of each day of 2022, (n_days,); the last one starts on 2022-12-16."""
    dates = np.datetime64("2022-01-01") + np.arange(N_DAYS)
    months = dates.astype("datetime64[M]")
    day_of_month = (dates - months.astype("datetime64[D]")).astype(np.int64)
    month = (months - np.datetime64("2022-01")).astype(np.int64)
    period: Int64s = 2 * month + (day_of_month >= 15)
    return period


def _interest(release: Int32s, slope: Float64s, days: Int64s) -> Float64s:
    middle = float(days.mean())
    age = np.maximum(middle - release, 0.0)
    fading = _EVERGREEN + (1.0 - _EVERGREEN) * np.exp(-age / _FADE_DAYS)
    out = np.clip((days[-1] + 1 - release) / days.size, 0.0, 1.0)
    return np.where(release > 0, out * fading, np.exp(slope * (middle / N_DAYS - 0.5)))


def _albums(artist_start: Int64s, preset: Preset, rng: np.random.Generator) -> Int32s:
    """Cut the tracks of each artist into albums, exactly `preset.albums` of them, each with at least one track."""
    starts = np.zeros(preset.items, np.int32)
    starts[artist_start[:-1]] = 1
    free = np.flatnonzero(starts == 0)
    starts[rng.choice(free, preset.albums - preset.artists, replace=False)] = 1
    return np.cumsum(starts, dtype=np.int32) - np.int32(1)


def _releases(album_of: Int32s, preset: Preset, rng: np.random.Generator) -> Int32s:
    old = -1 - rng.exponential(2000.0, preset.albums)
    new = rng.integers(1, N_DAYS, preset.albums)
    release = np.where(rng.random(preset.albums) < preset.new_items, new, old).astype(np.int32)
    return release[album_of]


def _seconds(of: Int32s, scene_of: Int32s, scene_start: Int64s, share: float, rng: np.random.Generator) -> Int32s:
    """For a share of the tracks another artist (or album) of the same scene, -1 for the others."""
    low, high = scene_start[scene_of], scene_start[scene_of + 1]
    other = of[rng.integers(low, high)]
    return np.where((rng.random(of.size) < share) & (other != of), other, -1).astype(np.int32)


def _popularity(artist_of: Int32s, scene_of: Int32s, preset: Preset, rng: np.random.Generator) -> Float64s:
    """Rank tracks by scene, artist and luck, then hand out the listens of the popularity curve by rank."""
    scene, artist = rng.normal(0.0, 0.5, preset.scenes), rng.normal(0.0, 1.0, preset.artists)
    score = scene[scene_of] + artist[artist_of] + rng.normal(0.0, 0.9, preset.items)
    rank = np.empty(preset.items)
    rank[np.argsort(score, kind="stable")] = np.arange(preset.items) + 0.5
    listens = np.exp(preset.popularity_skew * np.interp(rank / preset.items, _CURVE_AT, np.log(_CURVE)))
    return np.asarray(listens * (preset.events / listens.sum()))


def genre_shares(n: int) -> Float64s:
    """Shares of the track-genre pairs that `n` genres have, largest first: the known first five, then as 1/rank."""
    if n <= len(_LARGEST_GENRES):
        known = np.array(_LARGEST_GENRES[:n])
        return np.asarray(known / known.sum(), np.float64)
    tail = 1.0 / np.arange(len(_LARGEST_GENRES) + 1, n + 1)
    shares: Float64s = np.concatenate([_LARGEST_GENRES, tail * ((1.0 - sum(_LARGEST_GENRES)) / tail.sum())])
    return shares


def _genres(
    scene_of: Int32s, artist_scene: Int32s, sizes: AnyArray, preset: Preset, rng: np.random.Generator
) -> tuple[Int32s, Int32s]:
    """Three genres for each artist and their number for each track, with the pair shares of `genre_shares`.

    The first genre is that of the scene; the others are among the scene's companions. Each choice goes to the
    genre that is furthest behind its share, so the shares come out as wanted.
    """
    two = preset.genre_pairs - 0.94 - 3 * 0.05
    n_genres = rng.choice(4, preset.items, p=[0.01, 0.94 - two, two, 0.05])
    pairs = np.maximum(genre_shares(preset.genres_used) * preset.genre_pairs * preset.items, 1e-9)
    given = np.zeros(preset.genres_used)
    in_scene = np.bincount(scene_of, minlength=preset.scenes)
    scene_genre = np.empty(preset.scenes, np.int64)
    for scene in np.argsort(-in_scene, kind="stable"):
        first = int(np.argmax(pairs / preset.genre_pairs - given))
        scene_genre[scene] = first
        given[first] += in_scene[scene]
    given *= 0.99  # one track in a hundred has no genre
    companions = _companions(scene_genre, pairs, rng)
    further = preset.genre_pairs - 0.99
    artist_genres = np.empty((preset.artists, 3), np.int32)
    for artist in np.argsort(-sizes, kind="stable"):
        scene = artist_scene[artist]
        choice = companions[scene]
        second, third = choice[np.argsort(given[choice] / pairs[choice], kind="stable")[:2]]
        given[second] += sizes[artist] * further
        artist_genres[artist] = (scene_genre[scene], second, third)
    return artist_genres, n_genres.astype(np.int32)


def _companions(scene_genre: Int64s, pairs: Float64s, rng: np.random.Generator) -> list[Int64s]:
    """At least two genres beside the first one for each scene, drawn by size."""
    drawn = rng.choice(pairs.size, (scene_genre.size, _COMPANIONS), p=pairs / pairs.sum())
    # Every genre is a companion somewhere, or the smallest might never be carried.
    places = rng.permutation(drawn.size)[: pairs.size]
    drawn.reshape(-1)[places] = np.arange(places.size)
    found = []
    for first, row in zip(scene_genre, drawn, strict=True):
        others = np.setdiff1d(row, [first])
        found.append(others if others.size > 1 else np.setdiff1d(np.append(others, [0, 1, 2]), [first]))
    return found
