"""Made-up but readable names for the whole catalogue, as one table of (id, type, name)."""

import numpy as np
import polars as pl

from tonearm.synth import words
from tonearm.synth.catalogue import Catalogue
from tonearm.synth.preset import Preset
from tonearm.types import AnyArray, Int32s, Int64s


def genre_ids(preset: Preset) -> Int64s:
    """Catalogue id of each genre, (genres,); ids of different types overlap, as in the reference dump."""
    return np.arange(preset.genres, dtype=np.int64) + 1


def name_table(preset: Preset, catalogue: Catalogue, artist_ids: Int64s, rng: np.random.Generator) -> pl.DataFrame:
    """`id`, `type`, `name` of every track, album, artist and genre of the catalogue, used or not."""
    first_genre = catalogue.artist_genres[:, 0]
    spoken = np.isin(first_genre, _where(words.SPOKEN))
    cyrillic = np.isin(first_genre, _where(words.CYRILLIC))
    album_artist = np.empty(preset.albums, np.int32)
    album_artist[catalogue.album_of] = catalogue.artist_of
    in_album = np.arange(preset.items) - np.searchsorted(catalogue.album_of, catalogue.album_of)
    genres = np.array(words.GENRES[: preset.genres])
    return pl.concat(
        [
            _typed(
                catalogue.item_ids,
                "track",
                _tracks(in_album, spoken[catalogue.artist_of], cyrillic[catalogue.artist_of], rng),
            ),
            _typed(np.arange(preset.albums), "album", _albums(preset.albums, cyrillic[album_artist], rng)),
            _typed(artist_ids, "artist", _artists(cyrillic, rng)),
            _typed(genre_ids(preset), "genre", pl.Series(genres)),
        ]
    )


def _typed(ids: AnyArray, kind: str, names: pl.Series) -> pl.DataFrame:
    table = pl.DataFrame({"id": ids.astype(np.int64), "name": names}).sort("id")
    return table.select("id", pl.lit(kind).alias("type"), "name")


def _where(wanted: frozenset[str]) -> Int64s:
    return np.flatnonzero([genre in wanted for genre in words.GENRES])


def _gather(source: tuple[str, ...], at: AnyArray) -> pl.Series:
    return pl.Series(source, dtype=pl.String).gather(at % len(source))


def _join(*parts: pl.Series) -> pl.Series:
    """Join parts by a space, empty parts left out."""
    columns = [part.alias(str(i)) for i, part in enumerate(parts)]
    return pl.DataFrame(columns).select(pl.concat_str(pl.all(), separator=" ").str.strip_chars())["0"]


def _artists(cyrillic: AnyArray, rng: np.random.Generator) -> pl.Series:
    """A person, or for every third a band; a mixed-radix number makes Latin names differ from one another."""
    n = cyrillic.size
    k = rng.permutation(n)
    starts, middles = len(words.SURNAME_STARTS), len(words.SURNAME_MIDDLES)
    surname = pl.DataFrame(
        {
            "start": _gather(words.SURNAME_STARTS, k),
            "middle": _gather(words.SURNAME_MIDDLES, k // starts),
            "end": _gather(words.SURNAME_ENDS, k // (starts * middles)),
        }
    ).select(pl.concat_str(pl.all()))["start"]
    person = _join(_gather(words.FIRST_NAMES, k // 7), surname)
    group = _join(surname, _gather(words.ENSEMBLES, k // 5))
    band = _join(_gather(words.ADJECTIVES, k), _gather(words.NOUNS, k // len(words.ADJECTIVES)))
    russian = _join(_gather(words.CYRILLIC_FIRST_NAMES, rng.integers(0, 99, n)), _gather(words.CYRILLIC_SURNAMES, k))
    names = np.where(k % 3 == 0, group.to_numpy(), person.to_numpy())
    named_bands = (k % 3 == 1) & (k < len(words.ADJECTIVES) * len(words.NOUNS))
    names = np.where(named_bands, band.to_numpy(), names)
    names = np.where(cyrillic, russian.to_numpy(), names)
    names[0] = words.RIGHT_TO_LEFT_ARTIST
    return pl.Series(names.tolist(), dtype=pl.String)


def _albums(n: int, cyrillic: AnyArray, rng: np.random.Generator) -> pl.Series:
    """Adjective and noun, in large catalogues with a place; some are called as thousands of albums are."""
    k = rng.permutation(n)
    adjectives, nouns = len(words.ADJECTIVES), len(words.NOUNS)
    beyond = k // (adjectives * nouns)
    place = _join(
        _gather(words.JOINS, beyond - 1), _gather(words.PLACES + words.PLACES_TOO, (beyond - 1) // len(words.JOINS))
    )
    title = _join(
        _gather(words.ADJECTIVES, k),
        _gather(words.NOUNS, k // adjectives),
        pl.Series(np.where(beyond > 0, place.to_numpy(), "").tolist(), dtype=pl.String),
    )
    russian = _join(_gather(words.CYRILLIC_ADJECTIVES, k), _gather(words.CYRILLIC_NOUNS, rng.integers(0, 99, n)))
    common = _gather(words.COMMON_ALBUMS, rng.integers(0, 99, n))
    names = np.where(cyrillic, russian.to_numpy(), title.to_numpy())
    return pl.Series(np.where(rng.random(n) < 0.02, common.to_numpy(), names).tolist(), dtype=pl.String)


def _tracks(in_album: Int64s, spoken: AnyArray, cyrillic: AnyArray, rng: np.random.Generator) -> pl.Series:
    """Two words, one word or a common title; the spoken ones are numbered within their album."""
    n = in_album.size
    a, b, style = rng.integers(0, 10_000, n), rng.integers(0, 10_000, n), rng.random(n)
    noun = _gather(words.NOUNS, b)
    two = _join(_gather(words.ADJECTIVES, a), noun)
    russian = _join(_gather(words.CYRILLIC_ADJECTIVES, a), _gather(words.CYRILLIC_NOUNS, b))
    number = pl.Series(in_album + 1).cast(pl.String)
    episode = _join(_gather(("Episode", "Chapter", "Выпуск", "Глава"), a), number)
    names = np.where(style < 0.25, noun.to_numpy(), two.to_numpy())
    names = np.where(style > 0.97, _gather(words.COMMON_TRACKS, a).to_numpy(), names)
    names = np.where(cyrillic, russian.to_numpy(), names)
    names = np.where(spoken, episode.to_numpy(), names)
    names[0] = words.RIGHT_TO_LEFT_TRACK
    return pl.Series(names.tolist(), dtype=pl.String)


def list_column(heads: Int64s, *more: Int32s) -> pl.Series:
    """A list per row: the head, then those of `more` that are not negative, as int64."""
    columns = {"0": heads} | {str(i + 1): values.astype(np.int64) for i, values in enumerate(more)}
    parts = [pl.when(pl.col(name) >= 0).then(pl.col(name)) for name in columns]
    return pl.DataFrame(columns).select(pl.concat_list(parts).list.drop_nulls().alias("lists"))["lists"]
