"""Content: what sounds like what a listener plays, by genre."""

import copy
from collections.abc import Iterator, Mapping
from typing import Self

import numpy as np
import polars as pl

from tonearm.data.catalogue import Tags
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.kernels import content as kernels
from tonearm.kernels.machine.tile import WIDE
from tonearm.options import options
from tonearm.sources.base import Given, Lack, Near, Recipe
from tonearm.types import AnyArray, Bools, Float32s, Float64s, Int32s, Int64s

BUDGET = 1 << 28
"""Bytes that the profiles of users take at a time."""


@options
class Content(Recipe["ContentModel"]):
    """Cosine of the listener's genre profile with each item's genres, ties by popularity.

    The profile shares log(1 + plays) of each item equally among its genres and sums; an item's vector is 1 for each of
    its genres.
    """

    name, title = "content", "Content"

    def needs(self, data: Dataset) -> Lack | None:
        """Genres."""
        if data.catalogue.genres is not None:
            return None
        return Lack("the catalogue has no genres", "a catalogue with genres")

    def learn(self, given: Given) -> "ContentModel":
        """Gather the distinct genre sets and each set's items, most popular first.

        Raises:
            DataError: the catalogue has no genres.
        """
        genres = given.data.catalogue.genres
        if genres is None:
            raise DataError("the catalogue has no genres, so there is no content source. Leave it out of the run.")
        return ContentModel(genres, given.data.popularity_order)


class ContentModel:
    """Items grouped by their set of genres, so that each distinct set is scored once."""

    name = "content"

    def __init__(self, genres: Tags, order: Int32s) -> None:
        self.genres = genres
        self.set_of, self.set_indptr, self.set_tag = distinct_sets(genres)
        self.set_norm = np.sqrt(np.diff(self.set_indptr).astype(np.float32))
        self.played = order
        self._arrange(order)

    def _arrange(self, order: Int32s) -> None:
        """Recommend these items alone, ties in this order."""
        self.order = order
        self.place = np.full(len(self.genres.indptr) - 1, -1, np.int32)
        self.place[order] = np.arange(len(order), dtype=np.int32)
        owned = order[self.set_of[order] >= 0]
        sets = self.set_of[owned]
        by_set = np.argsort(sets, kind="stable")
        counts = np.bincount(sets, minlength=len(self.set_indptr) - 1)
        self.member_indptr = np.concatenate(([0], counts.cumsum())).astype(np.int64)
        self.member = owned[by_set]

    def of_unplayed(self, data: Dataset, allowed: Bools | None = None) -> "ContentModel | None":
        """The same over the items that nobody has played, those of the most played artists first among equals.

        allowed: (n_items,) bool, which of these; None for all
        None where there is no such item with a genre.
        """
        order = unplayed_order(data)
        order = order[(self.set_of[order] >= 0) & (allowed is None or allowed[order])]
        if len(order) == 0:
            return None
        return self._of(order)

    def among(self, allowed: Bools) -> "ContentModel":
        """The same over these items."""
        return self._of(self.order[allowed[self.order]])

    def _of(self, order: Int32s) -> "ContentModel":
        other = copy.copy(self)
        other._arrange(order)
        return other

    def profiles(self, block: Block) -> Float32s:
        """Genre profiles of a block, (b, n_genres) float32, each of length one or zero."""
        return self._profiles(block, 0, len(block))

    def _profiles(self, block: Block, lo: int, hi: int) -> Float32s:
        """Those of the rows lo to hi (exclusive)."""
        pairs, genres, indptr = block.pairs, self.genres, block.pairs.indptr[lo : hi + 1]
        own = slice(int(indptr[0]), int(indptr[-1]))
        weight, n_tags = np.log1p(pairs.plays[own]), len(genres.labels)
        return kernels.profiles(indptr - indptr[0], pairs.item[own], weight, genres.indptr, genres.index, n_tags)

    def _parts(self, n: int) -> Iterator[tuple[int, int]]:
        """Bounds of n rows, some at a time, with profiles of at most `BUDGET` bytes, or sixteen of them."""
        step = max(BUDGET // (4 * max(len(self.genres.labels), 1)) // WIDE, 1) * WIDE
        for lo in range(0, n, step):
            yield lo, min(lo + step, n)

    def recommend(self, block: Block, k: int) -> Lists:
        """The k items of highest cosine; what is left over is filled with cosine 0, most popular first."""
        return self._lists(block, k, *block.seen)

    def recommend_fresh(self, block: Block, k: int) -> Lists:
        """At most k items of a model `of_unplayed`, all of them of some genre that the user plays."""
        lists = self._lists(block, k, np.zeros(len(block) + 1, np.int64), np.empty(0, np.int32))
        return lists.where(lists.score > 0)

    def _lists(self, block: Block, k: int, seen_indptr: Int64s, seen: Int32s) -> Lists:
        parts = []
        for lo, hi in self._parts(len(block)):
            found = kernels.recommend_sets(
                self._profiles(block, lo, hi),
                self.set_indptr,
                self.set_tag,
                self.set_norm,
                self.member_indptr,
                self.member,
                self.place,
                self.order,
                seen_indptr[lo : hi + 1],
                seen,
                k,
            )
            parts.append(Lists(*found))
        return Lists.concat(parts)

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """Cosine of each candidate with its user's profile."""
        scores = np.empty(len(candidates.item), np.float32)
        for lo, hi in self._parts(len(block)):
            indptr = candidates.indptr[lo : hi + 1]
            own = slice(int(indptr[0]), int(indptr[-1]))
            scores[own] = kernels.score_sets(
                self._profiles(block, lo, hi),
                self.set_indptr,
                self.set_tag,
                self.set_norm,
                self.set_of,
                indptr - indptr[0],
                candidates.item[own],
            )
        return scores

    def contributions(self, block: Block, item: int) -> Float64s | None:
        """What the genres that each history item shares with the item add to the cosine; they sum to it."""
        pairs, genres = block.pairs, self.genres
        row, tag = genres.entries(pairs.item)
        size = np.bincount(row, minlength=len(pairs.item))
        share = (np.log1p(pairs.plays.astype(np.float64)) / np.maximum(size, 1))[row]
        wanted = genres.index[genres.indptr[item] : genres.indptr[item + 1]]
        length = np.linalg.norm(np.bincount(tag, share)) * np.sqrt(len(wanted))
        both = np.isin(tag, wanted)
        return np.bincount(row[both], share[both], len(pairs.item)) / (length if length > 0 else 1)

    def save(self) -> dict[str, AnyArray]:
        """Genres of each item and the order of popularity."""
        labels = np.array(self.genres.labels.ids.to_list(), np.str_)
        return {"indptr": self.genres.indptr, "index": self.genres.index, "labels": labels, "order": self.played}

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The model that `save` took apart."""
        labels = Vocabulary(pl.Series(arrays["labels"].tolist(), dtype=pl.String))
        return cls(Tags(arrays["indptr"], arrays["index"], labels), arrays["order"])

    @classmethod
    def neighbours(cls, arrays: Mapping[str, AnyArray], item: int, k: int) -> Near:
        """The played items whose genres are most alike."""
        about = "cosine of genres; of tracks alike, the most played"
        indptr, index, order = (np.asarray(arrays[name]) for name in ("indptr", "index", "order"))
        own = index[indptr[item] : indptr[item + 1]]
        shared = np.concatenate(([0], np.cumsum(np.isin(index, own))))[indptr]
        cosine = np.diff(shared) / np.sqrt(np.maximum(np.diff(indptr), 1) * max(len(own), 1))
        cosine[item] = 0
        best = order[np.argsort(-cosine[order], kind="stable")[:k]]
        best = best[cosine[best] > 0]
        return Near(about, best, cosine[best])


def unplayed_order(data: Dataset) -> Int32s:
    """The items that nobody has played, those whose best artist has most plays first, then lowest index."""
    unplayed = np.flatnonzero(data.plays == 0).astype(np.int32)
    artists = data.catalogue.artists
    if artists is None:
        return unplayed
    item, artist = artists.entries(np.arange(data.n_items, dtype=np.int32))
    plays_of = np.bincount(artist, data.plays[item], len(artists.labels))
    best = np.zeros(data.n_items)
    np.maximum.at(best, item, plays_of[artist])
    return unplayed[np.argsort(-best[unplayed], kind="stable")]


def distinct_sets(tags: Tags) -> tuple[Int32s, Int64s, Int32s]:
    """The distinct tag sets of the items, in order of first appearance.

    Returns the set of each item, (n_items,) int32, −1 for an item without tags; and each set's tags, ascending, CSR.
    """
    size = np.diff(tags.indptr)
    tagged = np.flatnonzero(size)
    set_of = np.full(len(size), -1, np.int32)
    if len(tagged) == 0:
        return set_of, np.zeros(1, np.int64), np.empty(0, np.int32)
    # Two random numbers of 64 bits for each tag: equal sets are those of equal sums.
    code = np.random.default_rng(0).integers(2**63, size=(2, len(tags.labels)), dtype=np.uint64)
    sums = np.add.reduceat(code[:, tags.index], tags.indptr[tagged], axis=1)
    order = np.argsort(sums[0], kind="stable")
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(sums[:, order], axis=1) != 0).any(axis=0)
    first = tagged[order[new]]  # the lowest item of each set
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    set_of[tagged[order]] = rank[np.cumsum(new) - 1]
    row, flat = tags.entries(np.sort(first).astype(np.int32))
    flat = flat[np.lexsort((flat, row))]
    return set_of, np.concatenate(([0], np.cumsum(size[np.sort(first)]))).astype(np.int64), flat
