"""The tracks of a run by id and by name; the catalogue is all that the explorer holds in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tonearm.loading.items import TAGS
from tonearm.runs.read import Id, Run, as_id, title
from tonearm.types import AnyArray, Float32s

LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
"""Letters that are no other one with an accent."""


def folded(text: pl.Expr) -> pl.Expr:
    """Lower case without accents, so that bjork finds Björk."""
    bare = text.str.normalize("NFKD").str.replace_all(r"\p{Mn}", "").str.to_lowercase()
    return bare.str.replace_many(list(LETTERS), list(LETTERS.values()))


@dataclass(frozen=True)
class Track:
    """A track as pages name it.

    place: its index in the run's models; None where train and the catalogue do not know it
    """

    id: Id
    place: int | None
    name: str | None
    artists: list[str]
    genres: list[str]
    albums: list[str]

    @property
    def title(self) -> str:
        """Its name with its artists, or its id."""
        return title(self.id, {"name": self.name, "artists": self.artists})


class Tracks:
    """Every item of a run, in the order of its models.

    table: item_id ascending, name, genres, artists, albums, and `text`, what is searched, as `folded` writes it
    plays: (n_items,) float32, events in train, or their summed weight
    note: words where names are not to be had
    """

    def __init__(self, table: pl.DataFrame, plays: Float32s, note: str | None) -> None:
        self.table = table
        self.plays = plays
        self.note = note

    @classmethod
    def open(cls, run: Run) -> "Tracks":
        """The items of a run.

        Raises:
            DataError: the run holds no catalogue of its own.
        """
        data = run.kept.train
        ids = data.catalogue.items.ids.rename("item_id")
        table = data.catalogue.describe(np.arange(len(ids), dtype=np.int32)).insert_column(0, ids)
        text = pl.concat_str(
            pl.col("name").fill_null(""), pl.col("artists").list.join(" ").fill_null(""), separator="\n"
        )
        note = "The run had no catalogue, so tracks are shown by their ids." if data.catalogue.bare else None
        return cls(table.with_columns(folded(text).alias("text")), data.plays.astype(np.float32), note)

    def __len__(self) -> int:
        return len(self.table)

    def place(self, given: Id) -> int | None:
        """The index of an id as typed, or None."""
        ids = self.table["item_id"]
        typed = as_id(given, ids.dtype)
        if typed is None or len(ids) == 0:
            return None
        place = int(ids.search_sorted(typed))
        return place if place < len(ids) and ids[place] == typed else None

    def track(self, given: Id) -> Track:
        """One track by id; with its id alone where it is unknown."""
        return self.of_ids([given])[given]

    def of_ids(self, given: Sequence[Id]) -> dict[Id, Track]:
        """Tracks by id."""
        places = {item: self.place(item) for item in dict.fromkeys(given)}
        known = self.at([place for place in places.values() if place is not None])
        found = {track.place: track for track in known}
        return {
            item: found[place] if place is not None else Track(item, None, None, [], [], [])
            for item, place in places.items()
        }

    def at(self, places: Sequence[int] | AnyArray) -> list[Track]:
        """Tracks by index, in the order asked for."""
        rows = self.table[np.asarray(places, np.int64)].select("item_id", "name", *TAGS).iter_rows()
        return [
            Track(item, int(place), name, artists or [], genres or [], albums or [])
            for place, (item, name, genres, artists, albums) in zip(places, rows, strict=True)
        ]

    def search(self, words: str, k: int) -> tuple[list[Track], int]:
        """The k most played tracks whose name and artists hold all the words, an id that is meant first; and how many.

        Neither case nor accents matter. A whole name that is the query comes before all others.
        """
        query = pl.select(folded(pl.lit(words))).item().split()
        exact = self.place(words.strip())
        if not query:
            return [], 0
        left = self.table.lazy().select("text").with_row_index("place")
        for word in sorted(query, key=len, reverse=True):
            left = left.filter(pl.col("text").str.contains(word, literal=True))
        found = left.collect()
        place = found["place"].to_numpy().astype(np.int64)
        whole = found["text"].str.starts_with(" ".join(query) + "\n").to_numpy()
        place = place[np.lexsort((place, -self.plays[place], ~whole))]
        if exact is not None:
            place = np.concatenate(([exact], place[place != exact]))
        return self.at(place[:k]), len(place)
