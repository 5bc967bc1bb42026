"""The rules of [shape], and what each means for every item."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field, StrictInt, StrictStr

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.times import DAY, parse_moment, to_seconds
from tonearm.errors import ConfigError
from tonearm.kernels.features import item_times
from tonearm.loading.inputs import Source
from tonearm.options import options
from tonearm.shaping.id_files import bounds_of, count_unknown, encode, ids_of, with_label
from tonearm.shaping.shaper import Shaper
from tonearm.shaping.titles import VERSION_WORDS, plain_titles
from tonearm.types import Bools, Int32s

SPOKEN = (
    *("podcasts", "podcast", "audiobooks", "audiobook", "fairytales", "radioplay", "lectures", "poetry", "comedy"),
    *("spoken", "spoken word", "poemsforchildren", "fictionliterature", "nonfictionliterature"),
)

Words = tuple[str, ...]


@options
class Shape:
    """What the final list must look like; as it stands, nothing is changed.

    per_artist, per_album: entries of one artist, and of one album, at most; 0 for any number
    versions: "one" keeps the best-ranked version of a track; "unheard" leaves out further versions of heard ones too
    version_words: a title's bracket, or its part after a dash, that holds one of these is no part of the title
    only: "music" leaves spoken items out, "spoken" leaves all others out
    spoken_genres: an item with one of these genres is spoken
    block_items, block_genres, block_artists: never shown: ids of items, names of genres and artists
    block_file: a file of further ids: parquet with item_id, or text with one id a line
    allow_items, allow_file: ids as above; where either is given, nothing else is ever shown
    availability: "items" or a parquet file with item_id, available_from and available_until; items are shown only
        within these bounds, the second one excluded
    available_at: the moment that must lie within them; by default the cut
    diversity: 0 keeps the ranked order, 1 looks at differences between entries alone
    diversity_by: what entries differ by, genres or ALS factors; factors where no item has a genre
    fresh_share, fresh_days: share of the list for items first heard in the last so many days
    explore_share, explore_plays: share of the list for items with so many plays at most
    """

    per_artist: Annotated[int, Field(ge=0)] = 0
    per_album: Annotated[int, Field(ge=0)] = 0
    versions: Literal["all", "one", "unheard"] = "all"
    version_words: Words = VERSION_WORDS
    only: Literal["all", "music", "spoken"] = "all"
    spoken_genres: Words = SPOKEN
    block_items: tuple[StrictInt | StrictStr, ...] = ()
    block_genres: Words = ()
    block_artists: Words = ()
    block_file: str | None = None
    allow_items: tuple[StrictInt | StrictStr, ...] = ()
    allow_file: str | None = None
    availability: str | None = None
    available_at: str | None = None
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    diversity_by: Literal["genres", "factors"] = "genres"
    fresh_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    fresh_days: Annotated[float, Field(gt=0)] = 30.0
    explore_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    explore_plays: Annotated[int, Field(ge=1)] = 10

    def __post_init__(self) -> None:
        if self.fresh_share + self.explore_share > 1:
            raise ConfigError(
                f"shape.fresh_share = {self.fresh_share} and shape.explore_share = {self.explore_share} add up to more "
                "than the list. Lower one of them."
            )
        if self.available_at is not None:
            if self.availability is None:
                raise ConfigError("shape.available_at means nothing without shape.availability. Set both, or neither.")
            parse_moment(self.available_at)

    def fit(
        self,
        data: Dataset,
        items: Source | None = None,
        masks: Mapping[str, Bools] | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> "Shaper | None":
        """What the rules mean for each item; None where no rule is set.

        items: the catalogue, for availability = "items"
        masks: those of an earlier shaper, so that no file is read; None makes them
        columns: what the catalogue calls its columns, as data.columns

        Raises:
            ConfigError: a rule that must never be broken needs what the data lack, or such rules leave no item.
            DataError: a file of ids or of times cannot be used.
        """
        notes: list[str] = []
        catalogue = data.catalogue
        if masks is None:
            masks = self._masks(data, items, columns, notes)
        limits = {
            name: tags if self._on(name, tags, notes) else None
            for name, tags in (("per_artist", catalogue.artists), ("per_album", catalogue.albums))
        }
        shaper = Shaper(
            n_items=data.n_items,
            masks=dict(masks),
            version=self._versions(catalogue, notes),
            unheard=self.versions == "unheard",
            artists=limits["per_artist"],
            albums=limits["per_album"],
            per_artist=self.per_artist,
            per_album=self.per_album,
            dial=self.diversity,
            genres=catalogue.genres if self.diversity_by == "genres" else None,
            unit=np.empty((1, 0), np.float32),
            kinds=np.stack([self._fresh(data, notes), self._rare(data)], axis=1),
            shares=np.array([self.fresh_share if data.log.time is not None else 0, self.explore_share], np.float64),
            popular=data.popularity_order,
            notes=tuple(notes),
        )
        if self.diversity > 0 and shaper.genres is None and self.diversity_by == "genres":
            shaper = replace(shaper, notes=(*notes, "shape.diversity goes by ALS factors: no item has a genre"))
        return shaper if shaper.rules or shaper.notes else None

    def _masks(
        self, data: Dataset, items: Source | None, columns: Mapping[str, str] | None, notes: list[str]
    ) -> dict[str, Bools]:
        """hard rule -> (n_items,) bool, what it lets pass."""
        found = {
            "blocked": self._blocked(data.catalogue, notes),
            "allowed": self._allowed(data.catalogue, notes),
            "available": self._available(data, items, columns, notes),
            "only": self._only(data.catalogue),
        }
        masks = {name: mask for name, mask in found.items() if mask is not None}
        if masks:
            played = data.plays > 0
            left = int((played & np.logical_and.reduce(list(masks.values()))).sum())
            told = f"{left:,} of the {int(played.sum()):,} tracks with a play may be recommended"
            if left == 0:
                raise ConfigError(
                    f"shape: 0 {told.split(' ', 1)[1]} under its rules ({', '.join(masks)}). Loosen one of them."
                )
            notes.append(f"shape: {told}")
        return masks

    def _on(self, name: str, tags: Tags | None, notes: list[str]) -> bool:
        if getattr(self, name) and tags is None:
            notes.append(f"shape.{name} changes nothing: the catalogue has no {name.removeprefix('per_')}s")
        return bool(getattr(self, name)) and tags is not None

    def _blocked(self, catalogue: Catalogue, notes: list[str]) -> Bools | None:
        """(n_items,) whether an item is not blocked; None where nothing is."""
        blocked = self._named(catalogue, "block", notes)
        for option, names, tags in (
            ("block_genres", self.block_genres, catalogue.genres),
            ("block_artists", self.block_artists, catalogue.artists),
        ):
            if names and tags is None:
                what = option.removeprefix("block_")
                raise ConfigError(f"shape.{option} cannot be kept: the catalogue has no {what}. Add them, or unset it.")
            if names and tags is not None:
                mask, known = with_label(tags, names)
                count_unknown(f"shape.{option}", names, ~known, "names", notes)
                blocked |= mask
        asked = self.block_items or self.block_genres or self.block_artists or self.block_file is not None
        return ~blocked if asked else None

    def _allowed(self, catalogue: Catalogue, notes: list[str]) -> Bools | None:
        """(n_items,) whether an item is on the list of those that are allowed; None where there is no such list."""
        asked = self.allow_items or self.allow_file is not None
        return self._named(catalogue, "allow", notes) if asked else None

    def _named(self, catalogue: Catalogue, what: str, notes: list[str]) -> Bools:
        """(n_items,) which items the options block_items and block_file, or allow_items and allow_file, name."""
        given: list[tuple[str, Sequence[int | str] | pl.Series]] = [(f"{what}_items", getattr(self, f"{what}_items"))]
        address = getattr(self, f"{what}_file")
        if address is not None:
            given.append((f"{what}_file", ids_of(address, f"shape.{what}_file")))
        named = np.zeros(len(catalogue), np.bool_)
        for option, ids in given:
            index = encode(catalogue.items, ids)
            count_unknown(f"shape.{option}", ids, index < 0, "ids", notes)
            named[index[index >= 0]] = True
        return named

    def _available(
        self, data: Dataset, items: Source | None, columns: Mapping[str, str] | None, notes: list[str]
    ) -> Bools | None:
        """(n_items,) whether an item may be shown at the moment; None where there are no bounds."""
        if self.availability is None:
            return None
        source = items if self.availability == "items" else self.availability
        if source is None:
            raise ConfigError('shape.availability = "items" needs a catalogue. Name one by --items, or name a file.')
        if self.available_at is None and data.log.time is None:
            raise ConfigError(
                "shape.availability needs a moment, and the log has no started_at. Set shape.available_at to one."
            )
        at = data.now if self.available_at is None else to_seconds(parse_moment(self.available_at))
        ids, inside = bounds_of(source, at, columns)
        index = encode(data.catalogue.items, ids)
        count_unknown("shape.availability", ids, index < 0, "ids", notes)
        bounded, allowed = np.zeros(data.n_items, np.bool_), np.zeros(data.n_items, np.bool_)
        bounded[index[index >= 0]] = True
        allowed[index[(index >= 0) & inside]] = True
        return allowed | ~bounded

    def _only(self, catalogue: Catalogue) -> Bools | None:
        if self.only == "all":
            return None
        if catalogue.genres is None:
            raise ConfigError(f'shape.only = "{self.only}" goes by genres, and no item has one. Unset it.')
        spoken, known = with_label(catalogue.genres, self.spoken_genres)
        if not known.any():
            raise ConfigError(
                f'shape.only = "{self.only}": no item has one of the {len(known)} shape.spoken_genres (first: '
                f"{', '.join(self.spoken_genres[:3])}). Set them to the catalogue's own names."
            )
        return spoken if self.only == "spoken" else ~spoken

    def _versions(self, catalogue: Catalogue, notes: list[str]) -> Int32s:
        """(n_items,) group of versions of one track, −1 for an item that is the only one; none where versions = all."""
        version = np.full(len(catalogue), -1, np.int32)
        if self.versions == "all":
            return version[:0]
        if catalogue.name is None or catalogue.artists is None:
            notes.append(f'shape.versions = "{self.versions}" changes nothing: the catalogue lacks names or artists')
            return version[:0]
        artists = catalogue.artists
        # chapters and episodes share a title and an author without being versions
        tellable = (np.diff(artists.indptr) > 0) & catalogue.name.is_not_null().to_numpy()
        if catalogue.genres is not None:
            tellable &= ~with_label(catalogue.genres, self.spoken_genres)[0]
        item = np.flatnonzero(tellable)
        table = pl.DataFrame(
            {
                "item": item,
                "artist": artists.index[artists.indptr[item]],
                "title": plain_titles(catalogue.name.gather(item), self.version_words),
            }
        )
        groups = (
            table.group_by("title", "artist", maintain_order=True).agg("item").filter(pl.col("item").list.len() > 1)
        )
        group = groups.with_row_index("group").explode("item")
        version[group["item"].to_numpy()] = group["group"].to_numpy()
        return version

    def _fresh(self, data: Dataset, notes: list[str]) -> Bools:
        log = data.log
        if self.fresh_share == 0:
            return np.zeros(data.n_items, np.bool_)
        if log.time is None:
            notes.append("shape.fresh_share changes nothing: the log has no started_at")
            return np.zeros(data.n_items, np.bool_)
        first = item_times(log.start, log.stop, log.item, log.time, data.n_items)[0]
        return (data.plays > 0) & (first >= data.now - self.fresh_days * DAY)

    def _rare(self, data: Dataset) -> Bools:
        return (data.plays > 0) & (data.plays <= self.explore_plays) & (self.explore_share > 0)
