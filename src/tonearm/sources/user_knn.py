"""User-kNN: what the listeners with the most alike histories have heard."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Self

import numpy as np
from numba import get_num_threads
from pydantic import Field

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.kernels import sums as kernels
from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.options import options
from tonearm.sources.base import ForLastBlock, Given, Lack, Recipe
from tonearm.sources.history import places, recency_weights
from tonearm.sources.ranges import RECENCY, Range, Space
from tonearm.types import AnyArray, Bools, Float32s, Float64s, Int32s, Int64s

SAME = 1 - 1e-5
"""A cosine above this is that of the same history."""


@options
class UserKNN(Recipe["UserKNNModel"]):
    """Histories of the nearest other users N(u), summed (Herlocker et al. 1999).

    x_uj = w_uj n_j^−item_power,  sim(u, v) = cos(x_u, x_v),  score(u, i) = Σ_v∈N(u) sim(u, v) · w_vi n_i^−target_power

    n_j are the listeners of j; w is 1, less for what was heard longer ago. Over all users the sum would be that of
    item-item; the nearest say other things.

    neighbours: users nearest to each
    item_power: how much less an item of many listeners counts for two users to be alike
    target_power: how much less it counts for what they have heard
    recency: a history entry with r later ones counts 1 / (1 + r / recency); 0 counts all alike
    work: the source is left out of a log where comparing all users with all takes more additions, Σ_j n_j²
    """

    name, title = "user_knn", "User-kNN"
    ranges: ClassVar[Space] = {
        "neighbours": Range(50, 1000, log=True),
        "item_power": Range(0.0, 1.0),
        "target_power": Range(0.0, 1.0),
        "recency": RECENCY,
    }

    neighbours: Annotated[int, Field(ge=1, le=100_000)] = 150
    item_power: Annotated[float, Field(ge=0)] = 0.25
    target_power: Annotated[float, Field(ge=0)] = 0.3
    recency: Annotated[float, Field(ge=0)] = 20.0
    work: Annotated[float, Field(gt=0)] = 5e9

    def needs(self, data: Dataset) -> Lack | None:
        """A log that `work` allows."""
        cost = self.cost(data)
        if cost <= self.work:
            return None
        return Lack(
            f"comparing all users takes {cost:.3g} additions, more than user_knn.work = {self.work:g}",
            f"user_knn.work={cost:.3g} (time grows with it)",
        )

    def learn(self, given: Given) -> "UserKNNModel":
        """Weigh the histories by both their uses."""
        data = given.data
        pairs, listeners = data.pairs, np.maximum(data.listeners, 1).astype(np.float64)
        rarity, worth = ((listeners**-power).astype(np.float32) for power in (self.item_power, self.target_power))
        weight = recency_weights(pairs, self.recency)
        part = weight * rarity[pairs.item]
        part /= np.repeat(_norms(pairs.indptr, part), np.diff(pairs.indptr)).astype(np.float32)
        alike = transpose_csr(Csr(pairs.indptr, pairs.item, part * rarity[pairs.item], data.n_items))
        targets = np.argsort(-data.listeners, kind="stable")[: np.count_nonzero(data.listeners)].astype(np.int32)
        place = places(targets, data.n_items)[pairs.item]
        heard = transpose_csr(transpose_csr(Csr(pairs.indptr, place, weight * worth[pairs.item], len(targets))))
        return UserKNNModel(alike, heard, targets, rarity, self.recency, self.neighbours)

    def cost(self, data: Dataset) -> float:
        """Additions that comparing all users with all takes."""
        return float((data.listeners.astype(np.float64) ** 2).sum())


@dataclass
class UserKNNModel:
    """All histories: by item, whom each entry makes a user resemble, and by user, what each is worth to a user nearby.

    alike: (n_items, n_users) float32, n_j^−item_power times the item's part in each listener's unit vector
    heard: (n_users, n_targets) float32, columns are places in `targets`
    targets: (n_targets,) int32, items with a listener, those with most first
    rarity: (n_items,) float32 n_j^−item_power
    recency, neighbours: as in the recipe
    allowed: (n_items,) bool, which targets lists hold; None for all
    """

    alike: Csr
    heard: Csr
    targets: Int32s
    rarity: Float32s
    recency: float
    neighbours: int
    name: str = "user_knn"
    allowed: Bools | None = None
    _last: ForLastBlock[Lists] = field(default_factory=ForLastBlock, init=False, repr=False)

    def nearest(self, block: Block) -> Lists:
        """The users most alike, with their similarity."""
        return self._last.of(block, self._nearest)

    def _nearest(self, block: Block) -> Lists:
        known = block.users >= 0
        own = np.concatenate(([0], np.cumsum(known))).astype(np.int64), block.users[known]
        every = np.arange(self.alike.n_columns, dtype=np.int32)
        pairs, more = block.pairs, int(block.folded.any())
        found = _best(
            pairs.indptr, pairs.item, self._weights(block), self.alike, every, own, self.neighbours + more, None
        )
        return self._without_themselves(found, block.folded) if more else found

    def _without_themselves(self, found: Lists, folded: Bools) -> Lists:
        """At most `neighbours` of each; one with the same history tells a folded user nothing, and may be that user."""
        same = (found.rank == 1) & folded[found.row] & (found.score > SAME)
        skipped = np.isin(found.row, found.row[same])
        return found.where((found.rank > skipped) & (found.rank <= self.neighbours + skipped))

    def recommend(self, block: Block, k: int) -> Lists:
        """The k items that the nearest users have most of."""
        near = self.nearest(block)
        return _best(near.indptr, near.item, near.score, self.heard, self.targets, block.seen, k, self.allowed)

    def among(self, allowed: Bools) -> "UserKNNModel":
        """The same histories, summed for lists of these items."""
        return replace(self, allowed=allowed)

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """What the nearest users have of each candidate."""
        near = self.nearest(block)
        return kernels.score_sparse(
            get_num_threads(),
            near.indptr,
            near.item,
            near.score,
            self.heard.indptr,
            self.heard.index,
            _values(self.heard),
            places(self.targets, self.alike.n_rows),
            np.ones(len(self.targets), np.float32),
            candidates.indptr,
            candidates.item,
        )

    def contributions(self, block: Block, item: int) -> Float64s | None:
        """What each entry adds to the similarity of the nearest users who have the item; they sum to the score."""
        near = self.nearest(block)
        place = int(places(self.targets, self.alike.n_rows)[item])
        worth = np.zeros(self.alike.n_columns)
        worth[near.item] = kernels.weights_to(
            near.item, self.heard.indptr, self.heard.index, _values(self.heard), place
        )
        indptr, listener, part = self.alike.indptr, self.alike.index, _values(self.alike)
        rows = [slice(indptr[j], indptr[j + 1]) for j in block.pairs.item]
        sums = np.array([part[row] @ worth[listener[row]] for row in rows], np.float64)
        return np.asarray(self._weights(block) * sums, np.float64)

    def _weights(self, block: Block) -> Float32s:
        """w_uj / |x_u| of each entry of a block's histories."""
        weight, rarity = recency_weights(block.pairs, self.recency), self.rarity[block.pairs.item]
        norms = _norms(block.pairs.indptr, weight * rarity)
        return np.asarray(weight / np.repeat(norms, np.diff(block.pairs.indptr)), np.float32)

    def save(self) -> dict[str, AnyArray]:
        """Both matrices, and how they are used."""
        return {
            "alike_indptr": self.alike.indptr,
            "alike_user": self.alike.index,
            "alike_value": _values(self.alike),
            "heard_indptr": self.heard.indptr,
            "heard_place": self.heard.index,
            "heard_value": _values(self.heard),
            "targets": self.targets,
            "rarity": self.rarity,
            "recency": np.array(self.recency),
            "neighbours": np.array(self.neighbours),
        }

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The model that `save` took apart."""
        targets, n_users = arrays["targets"], len(arrays["heard_indptr"]) - 1
        alike = Csr(arrays["alike_indptr"], arrays["alike_user"], arrays["alike_value"], n_users)
        heard = Csr(arrays["heard_indptr"], arrays["heard_place"], arrays["heard_value"], len(targets))
        return cls(alike, heard, targets, arrays["rarity"], float(arrays["recency"]), int(arrays["neighbours"]))


def _best(
    indptr: Int64s,
    entry: Int32s,
    weight: Float32s,
    matrix: Csr,
    targets: Int32s,
    seen: tuple[Int64s, Int32s],
    k: int,
    allowed: Bools | None,
) -> Lists:
    """The k allowed targets of highest Σ weight · matrix row for each list of weighed rows; only what is above 0."""
    n = len(indptr) - 1
    scale = np.ones(len(targets), np.float32) if allowed is None else allowed[targets].astype(np.float32)
    items, scores, count, *_ = kernels.search(
        get_num_threads(),
        indptr,
        entry,
        (weight,),
        (matrix.indptr,),
        (matrix.index,),
        (_values(matrix),),
        (targets,),
        (places(targets, int(targets.max(initial=-1)) + 1),),
        np.zeros(1, np.int64),
        (scale,),
        *seen,
        k,
        np.zeros(n + 1, np.int64),
        np.empty(0, np.int32),
    )
    return Lists.from_dense(items[0], scores[0], np.arange(k) < count[0][:, None])


def _values(matrix: Csr) -> Float32s:
    assert matrix.value is not None
    return matrix.value


def _norms(indptr: Int64s, value: Float32s) -> Float64s:
    """The norm of each row of entries, 1 for an empty one; (n_rows,)."""
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    square = np.bincount(row, value.astype(np.float64) ** 2, len(indptr) - 1)
    return np.asarray(np.where(square > 0, np.sqrt(square), 1.0))
