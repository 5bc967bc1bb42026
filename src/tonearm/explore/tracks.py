"""The tracks of a run by id and by name; the catalogue is all that the explorer holds in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tonearm.errors import DataError
from tonearm.loading.inputs import reading
from tonearm.loading.items import TAGS, open_items
from tonearm.runs import directory
from tonearm.runs.read import Id, Run, as_id, title
from tonearm.types import AnyArray, Float32s

SIMILAR = "similar.parquet"


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
    plays: (n_items,) float32, events in train; zeros where the run has no popular source
    note: words where names are not to be had
    """

    def __init__(self, table: pl.DataFrame, plays: Float32s, note: str | None) -> None:
        self.table = table
        self.plays = plays
        self.note = note

    @classmethod
    def open(cls, run: Run, items: str | None = None) -> "Tracks":
        """Read the catalogue of a run.

        items: the catalogue, where it is no longer at the place the run read it from

        Raises:
            DataError: the run has no similar.parquet, which names every track of train.
        """
        scan = run.scan(SIMILAR)
        if scan is None:
            raise DataError(f"{run.folder}: has no {SIMILAR}. Make the run anew.")
        dtype = scan.collect_schema()["item_id_1"]
        table, note = _catalogue(run, items, dtype)
        if len(table) != run.manifest["items"]:
            with reading(str(run.folder / SIMILAR)):
                played = scan.filter(pl.col("rank") == 1).select(pl.col("item_id_1").alias("item_id")).collect()
            ids = pl.concat([table.select("item_id"), played]).unique().sort("item_id")
            table = ids.join(table, on="item_id", how="left", maintain_order="left")
        text = pl.concat_str(
            pl.col("name").fill_null(""), pl.col("artists").list.join(" ").fill_null(""), separator="\n"
        )
        return cls(table.with_columns(folded(text).alias("text")), _plays(run, len(table)), note)

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


def _catalogue(run: Run, items: str | None, dtype: pl.DataType) -> tuple[pl.DataFrame, str | None]:
    address = items or run.manifest["inputs"].get("items")
    columns = {"item_id": dtype, "name": pl.String()} | {tag: pl.List(pl.String) for tag in TAGS}
    empty = pl.DataFrame(schema=columns)
    if address is None:
        return empty, "The run had no catalogue, so tracks are shown by their ids."
    try:
        table = open_items(address, dtype, drop_nulls=True)[0].table
    except DataError as error:
        return empty, f"Tracks are shown by their ids, as the catalogue cannot be read. {error} Name it by --items."
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in columns.items() if name not in table.columns]
    return table.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in columns.items()), None


def _plays(run: Run, n: int) -> Float32s:
    path = run.folder / "models" / "popular_model.npz"
    value = directory.map_arrays(path).get("value") if path.is_file() else None
    plays: Float32s = value if value is not None and len(value) == n else np.zeros(n, np.float32)
    return plays
