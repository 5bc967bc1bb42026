"""The catalogue: the items and what is known of each."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from tonearm.data.vocabulary import Vocabulary
from tonearm.types import Bools, Float32s, Int32s, Int64s

WIDEST = 2000  # items at most of a label that says which are alike; all pairs of them may be counted


@dataclass(frozen=True)
class Tags:
    """A list of labels for every item: genres, artists or albums.

    indptr: (n_items + 1,) int64
    index: (n_entries,) int32 into `labels`, in the order of the input, without repeats in an item
    labels: the distinct labels
    """

    indptr: Int64s
    index: Int32s
    labels: Vocabulary

    def of(self, item: int) -> list[str]:
        """The labels of one item."""
        return self.labels.decode(self.index[self.indptr[item] : self.indptr[item + 1]]).to_list()

    @cached_property
    def column(self) -> pl.Series:
        """One list of strings per item."""
        return self.take(np.arange(len(self.indptr) - 1, dtype=np.int32))

    def entries(self, items: Int32s) -> tuple[Int64s, Int32s]:
        """The labels of some items end to end: the place in `items` that each belongs to, and its index, both (n,)."""
        start, stop = self.indptr[items], self.indptr[items + 1]
        ends = np.cumsum(stop - start)
        row = np.repeat(np.arange(len(items), dtype=np.int64), stop - start)
        return row, self.index[np.arange(len(row)) + (stop - ends)[row]]

    def take(self, items: Int32s) -> pl.Series:
        """The lists of labels of some items, Series of list[str]."""
        row, index = self.entries(items)
        frame = pl.DataFrame({"row": row, "label": self.labels.decode(index)})
        lists = frame.group_by("row", maintain_order=True).agg(pl.col("label"))
        base = pl.DataFrame({"row": np.arange(len(items), dtype=np.int64)})
        joined = base.join(lists, on="row", how="left", maintain_order="left")["label"]
        return joined.fill_null(pl.Series([[]], dtype=pl.List(pl.String)))


@dataclass(frozen=True)
class Catalogue:
    """The items: their ids in order, and what is known of each.

    A field is None where the input has no such column or nothing in it.

    vectors: (n_items, d) float32 of any length, zeros for an item without one
    """

    items: Vocabulary
    name: pl.Series | None = None
    genres: Tags | None = None
    artists: Tags | None = None
    albums: Tags | None = None
    vectors: Float32s | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def bare(self) -> bool:
        """Whether nothing is known of any item but its id."""
        return all(known is None for known in (self.name, self.genres, self.artists, self.albums))

    def label_rows(self, wanted: Bools) -> tuple[Int64s, Int32s]:
        """How many of some items carry each genre, artist and album, and which, ascending within a label.

        wanted: (n_items,). Labels of a single one of them, or of more than `WIDEST`, are left out.
        """
        sizes, carriers = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        for tags in (self.genres, self.artists, self.albums):
            if tags is None:
                continue
            item = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(tags.indptr))
            size = np.bincount(tags.index[wanted[item]], minlength=len(tags.labels))
            apt = (size > 1) & (size <= WIDEST)
            kept = np.flatnonzero(wanted[item] & apt[tags.index])
            carriers.append(item[kept[np.argsort(tags.index[kept], kind="stable")]])
            sizes.append(size[apt])
        return np.concatenate(sizes), np.concatenate(carriers)

    def describe(self, items: Int32s) -> pl.DataFrame:
        """name, genres, artists and albums of some items; null or empty where unknown."""
        empty = pl.repeat([], len(items), dtype=pl.List(pl.String), eager=True)
        return pl.DataFrame(
            {
                "name": self.name.gather(items)
                if self.name is not None
                else pl.repeat(None, len(items), dtype=pl.String, eager=True),
                "genres": self.genres.take(items) if self.genres is not None else empty,
                "artists": self.artists.take(items) if self.artists is not None else empty,
                "albums": self.albums.take(items) if self.albums is not None else empty,
            }
        )
