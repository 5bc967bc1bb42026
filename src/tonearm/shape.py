"""Shape the final list: limits per artist and album, versions, what may be shown at all, diversity, shares.

Only options and arrays by item live here; the work on lists is done by `tonearm.kernels.shape`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field, StrictInt, StrictStr

from tonearm.data import Block, Catalogue, Dataset, Tags
from tonearm.errors import ConfigError
from tonearm.item_files import bounds_of, count_unknown, encode, ids_of, with_label
from tonearm.kernels.features import item_times
from tonearm.kernels.shape import Rules, diversify, take
from tonearm.kernels.topk import unit_vectors
from tonearm.lists import Lists
from tonearm.moments import DAY, parse_moment, to_seconds
from tonearm.options import options
from tonearm.sources.als import ALSModel
from tonearm.sources.base import Source
from tonearm.types import Bools, Float32s, Float64s, Int32s, Int64s

HARD = ("blocked", "allowed", "available", "only")
"""Rules on which items may be shown at all: whatever makes lists searches among those that they let pass."""

RULES = (*HARD, "versions", "per_artist", "per_album", "diversity", "fresh", "explore")
"""Every rule by the name that metrics and reports give it, in the order they are told."""

SPOKEN = (
    *("podcasts", "podcast", "audiobooks", "audiobook", "fairytales", "radioplay", "lectures", "poetry", "comedy"),
    *("spoken", "spoken word", "poemsforchildren", "fictionliterature", "nonfictionliterature"),
)

VERSION_WORDS = (
    *("remaster", "remastered", "remix", "mix", "live", "edit", "edition", "version", "mono", "stereo", "demo"),
    *("acoustic", "unplugged", "instrumental", "karaoke", "extended", "deluxe", "bonus", "explicit", "clean"),
    *("single", "re-recorded", "sped up", "slowed", "feat", "ft", "featuring", "ремастер", "ремикс", "версия"),
    *("концерт", "концертная", "концертная запись", "радиоверсия", "акустика", "демо", "инструментал", "караоке"),
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

    def fit(self, data: Dataset, items: str | None = None, masks: Mapping[str, Bools] | None = None) -> "Shaper | None":
        """What the rules mean for each item; None where no rule is set.

        items: the address of the catalogue, for availability = "items"
        masks: those of an earlier shaper, so that no file is read; None makes them

        Raises:
            ConfigError: a rule that must never be broken needs what the data lack, or such rules leave no item.
            DataError: a file of ids or of times cannot be used.
        """
        notes: list[str] = []
        catalogue = data.catalogue
        if masks is None:
            masks = self._masks(data, items, notes)
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

    def _masks(self, data: Dataset, items: str | None, notes: list[str]) -> dict[str, Bools]:
        """hard rule -> (n_items,) bool, what it lets pass."""
        found = {
            "blocked": self._blocked(data.catalogue, notes),
            "allowed": self._allowed(data.catalogue, notes),
            "available": self._available(data, items, notes),
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

    def _available(self, data: Dataset, items: str | None, notes: list[str]) -> Bools | None:
        """(n_items,) whether an item may be shown at the moment; None where there are no bounds."""
        if self.availability is None:
            return None
        address = items if self.availability == "items" else self.availability
        if address is None:
            raise ConfigError('shape.availability = "items" needs a catalogue. Name one by --items, or name a file.')
        if self.available_at is None and data.log.time is None:
            raise ConfigError(
                "shape.availability needs a moment, and the log has no started_at. Set shape.available_at to one."
            )
        at = data.now if self.available_at is None else to_seconds(parse_moment(self.available_at))
        ids, inside = bounds_of(address, at)
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


@dataclass(frozen=True)
class Shaped:
    """Lists under the rules.

    lists: NaN is the score of what no candidate list held
    place: (n_entries,) int64 of each entry in the ranked lists, −1 where it is in none
    relaxed: (b,) int64 entries of each list, the last ones, that stand above a limit
    """

    lists: Lists
    place: Int64s
    relaxed: Int64s


@dataclass(frozen=True)
class Shaper:
    """The rules by item, ready for any block of users.

    masks: rule -> (n_items,) bool, what it lets pass
    version: (n_items,) int32 as `Shape` groups them, or empty; unheard: further versions of heard items are left out
    artists, albums, per_artist, per_album: the limits, None where one is not set
    dial, genres, unit: how much entries shall differ, by these genres or these vectors
    kinds: (n_items, 2) bool, fresh and little played items; shares: (2,) float64 of the list
    popular: (n_played,) int32, what lists are filled with
    notes: what could not be done, in words
    """

    n_items: int
    masks: dict[str, Bools]
    version: Int32s
    unheard: bool
    artists: Tags | None
    albums: Tags | None
    per_artist: int
    per_album: int
    dial: float
    genres: Tags | None
    unit: Float32s
    kinds: Bools
    shares: Float64s
    popular: Int32s
    notes: tuple[str, ...]

    @cached_property
    def rules(self) -> tuple[str, ...]:
        """The rules that are set, of `RULES`."""
        on = {
            **dict.fromkeys(self.masks, True),
            "versions": len(self.version) > 0,
            "per_artist": self.artists is not None,
            "per_album": self.albums is not None,
            "diversity": self.dial > 0,
            "fresh": self.shares[0] > 0,
            "explore": self.shares[1] > 0,
        }
        return tuple(rule for rule in RULES if on.get(rule))

    @cached_property
    def allowed(self) -> Bools | None:
        """(n_items,) bool, what all hard rules let pass; None where there is none."""
        return np.logical_and.reduce(list(self.masks.values())) if self.masks else None

    def broken(self, item: int) -> list[str]:
        """The hard rules that an item does not pass."""
        return [name for name, mask in self.masks.items() if not mask[item]]

    def alone(self, rule: str) -> "Shaper":
        """The same with one rule only."""
        return replace(
            self,
            masks={name: mask for name, mask in self.masks.items() if name == rule},
            version=self.version if rule == "versions" else self.version[:0],
            artists=self.artists if rule == "per_artist" else None,
            albums=self.albums if rule == "per_album" else None,
            dial=self.dial if rule == "diversity" else 0.0,
            shares=self.shares * np.array([rule == "fresh", rule == "explore"]),
        )

    def knowing(self, sources: Sequence[Source]) -> "Shaper":
        """The same with the vectors that the dial goes by where it does not go by genres."""
        if self.dial == 0 or self.genres is not None:
            return self
        als = next(source for source in sources if isinstance(source, ALSModel))
        return replace(self, unit=unit_vectors(als.item_factors))

    def shape(self, block: Block, ranked: Lists, k: int) -> Shaped:
        """The k first entries of each ranked list that the rules let pass, or k others where it has too few.

        ranked: all candidates of each user of the block, best first, nothing that `block.seen` holds
        """
        nobody = np.zeros(len(block) + 1, np.int64), np.empty(0, np.int32)
        heard = (block.pairs.indptr, block.pairs.item) if self.unheard and len(self.version) else nobody
        # spreads the users over the pool of little played items, so that they do not all get the same ones
        turn = block.users.astype(np.int64) * 2654435761 % 2**32
        order, own = ranked, np.arange(len(ranked.item))
        if self.dial > 0:
            longest = int(np.diff(ranked.indptr).max(initial=0))
            no = np.empty(0, np.int32)
            rules = self._rules._replace(popular=no, shares=np.zeros(2), relax=False)
            indptr, item, own, _ = take(ranked.indptr, ranked.item, longest, rules, *nobody, *heard, turn)
            genres = (self.genres.indptr, self.genres.index) if self.genres is not None else nobody
            moved = diversify(indptr, item, ranked.score[own], k, self.dial, *genres, self.unit)
            own = own[moved]
            order = Lists(indptr, item[moved], ranked.score[own])
        indptr, item, place, relaxed = take(order.indptr, order.item, k, self._rules, *block.seen, *heard, turn)
        inside = place >= 0
        score = np.full(len(item), np.nan, np.float32)
        score[inside] = order.score[place[inside]]
        place[inside] = own[place[inside]]
        return Shaped(Lists(indptr, item, score), place, relaxed)

    @cached_property
    def _rules(self) -> Rules:
        allowed = np.ones(self.n_items, np.bool_) if self.allowed is None else self.allowed
        popular = self.popular[allowed[self.popular]]
        pools = [popular[self.kinds[popular, kind]] for kind in range(2)]
        nothing = np.zeros(1, np.int64), np.empty(0, np.int32)
        artist = nothing if self.artists is None else (self.artists.indptr, self.artists.index)
        album = nothing if self.albums is None else (self.albums.indptr, self.albums.index)
        return Rules(
            allowed,
            self.version if len(self.version) else np.full(self.n_items, -1, np.int32),
            *artist,
            0 if self.artists is None else self.per_artist,
            *album,
            0 if self.albums is None else self.per_album,
            self.kinds,
            self.shares,
            popular,
            np.cumsum([0, *map(len, pools)]).astype(np.int64),
            np.concatenate(pools),
            True,
        )


def plain_titles(titles: pl.Series, version_words: Sequence[str] = VERSION_WORDS) -> pl.Series:
    """Titles in lower case without punctuation, and without what tells versions of one track apart.

    "Song (2011 Remaster)", "Song - Live at Home" and "SONG feat. Anyone" are all "song".
    """
    text = titles.rename("title").str.normalize("NFKC").str.to_lowercase()
    short = text
    if version_words:
        word = rf"\b(?:{'|'.join(re.escape(word.lower()) for word in version_words)})\b"
        short = short.str.replace_all(rf"\s*[(\[][^)\]]*{word}[^)\]]*[)\]]", "")
        short = short.str.replace(rf"\s+[-–—]\s+[^-–—]*{word}.*$", "")
    short = short.str.replace(r"\s+(?:feat|ft|featuring)\.?\s.*$", "")
    short = short.str.replace_all(r"[^\w]+", " ").str.strip_chars()
    return short.zip_with(short.fill_null("") != "", text)
