"""Similar items: which are alike by the vectors of ALS and by who listens to both, or by the vectors alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from tonearm.data.catalogue import Tags
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.kernels.best.lists import best_of_rows, union
from tonearm.kernels.nearest.topk import ItemIndex, index_items, score_pairs, similar_top_k
from tonearm.sources.base import SimilarItems, Source
from tonearm.sources.item_item import ItemItemModel
from tonearm.sources.vectors import VectorsModel
from tonearm.terminal.progress import Progress
from tonearm.types import AnyArray, Float32s, Int32s, Int64s

By = Literal["blend", "als"]

DEPTH = 30
"""Candidates of each part, at least; else three times as many as a list holds."""

CHUNK = 1 << 22
"""Pairs of items that are joined at a time."""


@dataclass(frozen=True)
class Similar:
    """What is similar to an item.

    sim(i, j) = ½ a_ij / max_l a_il + ½ c_ij / max_l c_il,
    a_ij = n_j / (n_j + support) · cos(y_i, y_j),  c_ij = n_j / (n_j + support) · w_ji

    n_j are the listeners of j, y the vectors of ALS, and w_ji is what item-item says of i by one play of j. Candidates
    are the best by a and by c; c counts 0 beyond its own best. Without item-item the sum has one part.

    trust: n_j / (n_j + support), (n_items,) float32; None for the plain cosine of the vectors, which is `by = "als"`
    artists, per_artist: similar items of one artist at most, where artists are known; 0 sets no limit
    vectors: those of the catalogue, which tell what is similar to an item that nobody has played
    """

    als: SimilarItems
    item_item: ItemItemModel | None
    trust: Float32s | None
    artists: Tags | None
    per_artist: int
    vectors: VectorsModel | None = None

    @classmethod
    def of(cls, sources: Sequence[Source], data: Dataset, by: By, support: float, per_artist: int) -> "Similar":
        """By sources that were fitted on some data; the items are those that the sources' lists may hold."""
        als = next(source for source in sources if isinstance(source, SimilarItems))
        vectors = next((source for source in sources if isinstance(source, VectorsModel)), None)
        if by == "als":
            return cls(als, None, None, data.catalogue.artists, per_artist, vectors)
        item_item = next((s for s in sources if isinstance(s, ItemItemModel) and s.name == "item_item"), None)
        listeners = data.listeners.astype(np.float32)
        trust = listeners / np.maximum(listeners + np.float32(support), 1)
        return cls(als, item_item, trust, data.catalogue.artists, per_artist, vectors)

    def some(self, items: Int32s, k: int) -> Lists:
        """The k items most similar to each of some, best first; never the item itself.

        To one without an event they are those of the nearest vectors in the catalogue, where it has one; else none.
        """
        heard = self.als.known_items[items]
        found = self._joined(items[heard], self._near(items[heard], self._depth(k)), k)
        if heard.all():
            return found
        others = items[~heard]
        more = Lists.empty(len(others)) if self.vectors is None else self.vectors.kin(others, k)
        both, place = Lists.concat([found, more]), np.empty(len(items), np.int64)
        place[np.concatenate((np.flatnonzero(heard), np.flatnonzero(~heard)))] = np.arange(len(items))
        length = np.diff(both.indptr)[place]
        ends = np.cumsum(length)
        entry = np.arange(ends[-1]) + np.repeat(both.indptr[place] - (ends - length), length)
        return Lists(np.concatenate(([0], ends)).astype(np.int64), both.item[entry], both.score[entry])

    def all(self, k: int, exact: bool, rng: np.random.Generator, progress: Progress) -> tuple[Lists, float]:
        """`some` for every item with an event, a row for each item; and the share of the vectors' candidates found.

        exact: all vectors are compared; else those of nearby clusters, in a time that grows slower than items squared
        """
        depth = self._depth(k)
        if exact:
            found, recall = self.als.similar_to_all(depth, progress, self.trust), 1.0
        else:
            found, recall = self.als.similar_approximate(depth, rng, progress, self.trust)
        return self._joined(np.arange(len(found), dtype=np.int32), found, k), recall

    def _near(self, items: Int32s, k: int) -> Lists:
        """Candidates by the vectors."""
        if self.trust is None:
            return self.als.similar(items, k)
        vectors, index = self._trusted
        return Lists(*similar_top_k(vectors, k, items, index))

    @cached_property
    def _trusted(self) -> tuple[Float32s, ItemIndex]:
        assert self.trust is not None
        vectors = self.als.unit * self.trust[:, None]
        return vectors, index_items(vectors, self.als.listed)

    def _depth(self, k: int) -> int:
        return k if self.trust is None and not self.per_artist else max(DEPTH, 3 * k)

    def _joined(self, items: Int32s, near: Lists, k: int) -> Lists:
        """The lists of some items, of which `near` are the candidates by the vectors."""
        if self.trust is None:
            return self._capped(near).head(k)
        cost = np.cumsum(np.diff(near.indptr) + self._lengths(items))
        steps = np.arange(0, cost[-1] if len(cost) else 0, CHUNK)
        cuts = np.unique(np.concatenate(([0], np.searchsorted(cost, steps), [len(items)]))).astype(int).tolist()
        parts = []
        for lo, hi in pairwise(cuts):
            own = slice(near.indptr[lo], near.indptr[hi])
            part = Lists(near.indptr[lo : hi + 1] - near.indptr[lo], near.item[own], near.score[own])
            parts.append(self._capped(self._join(items[lo:hi], part, k)).head(k))
        return Lists.concat(parts)

    def _join(self, items: Int32s, near: Lists, k: int) -> Lists:
        assert self.trust is not None
        depth = self._depth(k)
        heard = self.by_listeners(items, depth)
        indptrs, offsets = np.stack((near.indptr, heard.indptr)), np.array([0, len(near.item)], np.int64)
        indptr, item, ranks = union(indptrs, offsets, np.concatenate((near.item, heard.item)))
        row, unit = np.repeat(np.arange(len(items)), np.diff(indptr)), self.als.unit
        score = _relative(score_pairs(unit[items], unit, indptr, item) * self.trust[item], row, len(items))
        if self.item_item is not None:
            c, rank = np.zeros(len(item), np.float32), ranks[:, 1].astype(np.int64)
            some = rank > 0
            c[some] = heard.score[heard.indptr[row[some]] + rank[some] - 1]
            score = (score + _relative(c, row, len(items))) * np.float32(0.5)
        return Lists(*best_of_rows(indptr, item, score, depth if self.per_artist else k)[:3])

    def by_listeners(self, items: Int32s, k: int) -> Lists:
        """The k best by c of each of some items, scored by it; none without item-item."""
        if self.item_item is None or self.trust is None:
            return Lists.empty(len(items))
        start, length = self._start(items), self._lengths(items)
        ends = np.cumsum(length)
        place = np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - (ends - length), length)
        item = self._sources.index[place]
        row = np.repeat(np.arange(len(items)), length)
        allowed = self.item_item.allowed
        if allowed is not None:
            kept = allowed[item]
            place, item, row = place[kept], item[kept], row[kept]
        value = self._sources.value
        assert value is not None
        indptr = np.searchsorted(row, np.arange(len(items) + 1)).astype(np.int64)
        return Lists(*best_of_rows(indptr, item, value[place] * self.trust[item], k)[:3])

    def _capped(self, lists: Lists) -> Lists:
        """Less what comes after `per_artist` others of one of its artists."""
        if self.artists is None or not self.per_artist:
            return lists
        entry, artist = self.artists.entries(lists.item)
        key = lists.row[entry] * np.int64(len(self.artists.labels)) + artist
        order = np.argsort(key, kind="stable")
        first = np.flatnonzero(np.diff(key[order], prepend=-1))
        before = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
        kept = np.ones(len(lists.item), np.bool_)
        kept[entry[order[before >= self.per_artist]]] = False
        return lists.where(kept)

    @cached_property
    def _sources(self) -> Csr:
        """The weights to each target of item-item, which rank its source items."""
        model = self.item_item
        assert model is not None
        return transpose_csr(Csr(model.indptr, model.place, model.weight, len(model.targets)))

    def _start(self, items: Int32s) -> Int64s:
        assert self.item_item is not None
        return self._sources.indptr[np.maximum(self.item_item.place_of[items], 0)]

    def _lengths(self, items: Int32s) -> Int64s:
        """How many weights there are to each item."""
        if self.item_item is None:
            return np.zeros(len(items), np.int64)
        place = self.item_item.place_of[items]
        return np.where(place < 0, 0, np.diff(self._sources.indptr)[np.maximum(place, 0)])


def _relative(values: Float32s, row: AnyArray, n_rows: int) -> Float32s:
    """Each value as a share of the largest of its row; 0 in a row without one above 0."""
    most = np.zeros(n_rows, np.float32)
    np.maximum.at(most, row, values)
    return np.where(most[row] > 0, values / np.maximum(most[row], np.float32(1e-30)), np.float32(0))
