"""Vectors: what has item vectors like those of what a listener plays, by all that they played and by the last of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists, best_places
from tonearm.kernels.nearest.topk import ItemIndex, index_items, score_pairs, similar_top_k, top_k, unit_vectors
from tonearm.options import options
from tonearm.sources.base import ArrayModel, Given, Lack, Near, Recipe
from tonearm.sources.popularity import needs_time
from tonearm.types import AnyArray, Bools, Float32s, Float64s, Int32s, Int64s


@options
class Vectors(Recipe["VectorsModel"]):
    """Cosine of the mean of a listener's item vectors with each item's; vectors come with the catalogue.

    score(u, i) = cos(Σ_j log(1 + plays_uj) v_j, v_i),  each v of length one
    """

    name, title, optional = "vectors", "Vectors", True

    def needs(self, data: Dataset) -> Lack | None:
        """Vectors of items."""
        if data.catalogue.vectors is not None:
            return None
        return Lack("no item has a vector", "a column vector in the catalogue, or data.vectors")

    def learn(self, given: Given) -> "VectorsModel":
        """Bring the vectors to length one."""
        return VectorsModel.of(given.data, self.name, 0)


@options
class LastVectors(Vectors):
    """The same of the tracks that a listener played last, all counting alike.

    last: how many of them
    """

    name, title = "vectors_last", "Vectors of the last"

    last: Annotated[int, Field(ge=1)] = 5

    def needs(self, data: Dataset) -> Lack | None:
        """Vectors of items, and time."""
        return Vectors.needs(self, data) or needs_time(data)

    def learn(self, given: Given) -> "VectorsModel":
        """Take the vectors of the source `vectors`, or make them."""
        base = given.base(Vectors.name, VectorsModel)
        if base is not None and base.known.shape == (given.data.n_items,):
            return replace(base, name=self.name, last=self.last)
        return VectorsModel.of(given.data, self.name, self.last)


@dataclass(frozen=True)
class VectorsModel(ArrayModel):
    """Item vectors of length one.

    vectors: (n_items, d) float32, zeros where there is none; known: (n_items,) bool, those that have one
    played: (n_items,) bool, those with an event in the fitted data
    last: how many of the last tracks count; 0 for all
    """

    name: str
    vectors: Float32s
    known: Bools
    played: Bools
    last: int

    @classmethod
    def of(cls, data: Dataset, name: str, last: int) -> "VectorsModel":
        """The vectors of a data set's items."""
        given = data.catalogue.vectors
        assert given is not None
        unit = unit_vectors(given)
        return cls(name, unit, np.abs(unit).max(axis=1) > 0, data.plays > 0, last)

    def recommend(self, block: Block, k: int) -> Lists:
        """The k items of highest cosine; an empty row for a user who has played nothing with a vector."""
        return self._lists(block, k, *block.seen)

    def recommend_fresh(self, block: Block, k: int) -> Lists:
        """At most k items of a model `of_unplayed`, of positive cosine."""
        found = self._lists(block, k, np.zeros(len(block) + 1, np.int64), np.empty(0, np.int32))
        return found.where(found.score > 0)

    def of_unplayed(self, data: Dataset, allowed: Bools | None = None) -> "VectorsModel | None":
        """The same over the items that nobody has played; None where none of them has a vector."""
        fresh = self.known & (data.plays == 0) & (True if allowed is None else allowed)
        return replace(self, played=fresh, allowed=None) if fresh.any() else None

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """The cosine of each candidate with its user's mean; NaN where either has no vector."""
        profiles, some = self.profiles(block)
        scores = score_pairs(profiles, self.vectors, candidates.indptr, candidates.item)
        scores[~(some[candidates.row] & self.known[candidates.item])] = np.nan
        return scores

    def contributions(self, block: Block, item: int) -> Float64s | None:
        """w_uj cos(v_j, v_i) / |Σ_j w_uj v_j| of each history item j, (n_pairs,) float64; they sum to the score."""
        weight, vectors = self._weights(block).astype(np.float64), self.vectors[block.pairs.item].astype(np.float64)
        length = np.linalg.norm(weight @ vectors)
        cosine: Float64s = vectors @ self.vectors[item].astype(np.float64)
        return weight * cosine / (length if length > 0 else 1)

    def kin(self, items: Int32s, k: int) -> Lists:
        """The k played items of highest cosine to each of some, which may be unplayed; none where one has no vector."""
        found = Lists(*similar_top_k(self.vectors, k, items, self._index))
        kept = self.known[items][found.row]
        indptr = np.concatenate(([0], np.cumsum(kept)))[found.indptr].astype(np.int64)
        return Lists(indptr, found.item[kept], found.score[kept])

    @classmethod
    def neighbours(cls, arrays: Mapping[str, AnyArray], item: int, k: int) -> Near:
        """The played tracks whose vectors are most alike."""
        vectors, known = arrays["vectors"], np.asarray(arrays["known"]) & np.asarray(arrays["played"])
        cosine = vectors @ np.asarray(vectors[item])
        cosine[~known] = -np.inf
        cosine[item] = -np.inf
        near = best_places(cosine, k if arrays["known"][item] else 0)
        return Near("cosine of the catalogue's vectors", near, cosine[near])

    def profiles(self, block: Block) -> tuple[Float32s, Bools]:
        """Means of a block's users at length one, (b, d) float32, and who has one, (b,)."""
        pairs = block.pairs
        matrix = csr_matrix((self._weights(block), pairs.item, pairs.indptr), (len(block), len(self.vectors)))
        profiles = unit_vectors(np.asarray(matrix @ self.vectors, np.float32))
        return profiles, np.abs(profiles).max(axis=1, initial=0) > 0

    def _weights(self, block: Block) -> Float32s:
        pairs = block.pairs
        if self.last == 0 or pairs.last is None:
            return np.log1p(pairs.plays, dtype=np.float32)
        row = np.repeat(np.arange(len(block)), np.diff(pairs.indptr))
        order = np.lexsort((pairs.item, -pairs.last.astype(np.int64), ~self.known[pairs.item], row))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - pairs.indptr[row[order]]
        return (rank < self.last).astype(np.float32)

    def _lists(self, block: Block, k: int, seen_indptr: Int64s, seen: Int32s) -> Lists:
        profiles, some = self.profiles(block)
        lengths = np.diff(seen_indptr)
        kept = np.concatenate(([0], np.cumsum(lengths[some]))).astype(np.int64)
        found = top_k(profiles[some], self._index, k, kept, seen[np.repeat(some, lengths)])
        lengths = np.zeros(len(block), np.int64)
        lengths[some] = np.diff(found[0])
        return Lists(np.concatenate(([0], np.cumsum(lengths))).astype(np.int64), found[1], found[2])

    @cached_property
    def _found(self) -> Bools:
        return self.known & self.played

    @cached_property
    def _index(self) -> ItemIndex:
        return index_items(self.vectors, self._found if self.allowed is None else self._found & self.allowed)
