"""Item-item: what is heard by the same listeners."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
from numba import get_num_threads
from pydantic import Field

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.kernels import item_item as kernels
from tonearm.kernels import sums as sums_kernels
from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.options import options
from tonearm.sources.base import ADDED, ArrayModel, Given, Near, Recipe
from tonearm.sources.history import cut_off, places, recency_weights, sampled
from tonearm.sources.left_out import LeftOut
from tonearm.sources.ranges import RECENCY, Range, Space
from tonearm.types import AnyArray, Float32s, Float64s, Int32s, Int64s


@options
class ItemItem(Recipe["ItemItemModel"]):
    """Normalised co-occurrence of items in histories.

    sim(j → i) = c_ji / (shrink + n_j^source_power · n_i^target_power),  c_ji = Σ_u with both 1 / |u|^user_power
    score(u, i) = Σ_j∈u w_uj · sim(j → i)

    With powers 0, ½, ½ this is cosine; 1, ½, ½ is the linear filter of GF-CF (Shen et al. 2021) and 1, 1, β is RP3β
    (Paudel et al. 2017). Between them lies what does best over all data sets.

    user_power: how much a listener with a long history counts for less
    source_power, target_power: exponents of the listeners of either item
    shrink: added to the denominator, so that rare pairs count for less
    recency: a history entry with r later ones counts 1 / (1 + r / recency); 0 counts all alike
    side_information: whether genres, artists and albums count as listeners of the items that carry them
    entries: similarities kept in all, the largest of each target item
    fit_work: pairs of items within histories that may be counted; the longest histories are cut to stay below
    work: multiplications that scoring all users may take; fewer similarities are kept to stay below
    """

    name, title = "item_item", "Item-item"
    ranges: ClassVar[Space] = {
        "user_power": Range(0.0, 1.5),
        "source_power": Range(0.0, 1.0),
        "target_power": Range(0.0, 1.0),
        "shrink": Range(0.0, 50.0),
        "recency": RECENCY,
    }

    user_power: Annotated[float, Field(ge=0)] = 0.5
    source_power: Annotated[float, Field(ge=0)] = 0.5
    target_power: Annotated[float, Field(ge=0)] = 0.3
    shrink: Annotated[float, Field(ge=0)] = 0.0
    recency: Annotated[float, Field(ge=0)] = 0.0
    side_information: bool = True
    entries: Annotated[float, Field(ge=1)] = 1e8
    fit_work: Annotated[float, Field(gt=0)] = 2e10
    work: Annotated[float, Field(gt=0)] = 2e10

    def learn(self, given: Given) -> "ItemItemModel":
        """Count co-occurrences and keep the best sources of each target."""
        data, _, progress, _ = given
        targets = by_listeners(data)
        size = self.size(len(targets))
        rows = data.rows(self.side_information)
        missing = cut_off(rows, data.n_users, self.fit_work, "item_item.fit_work")
        by_user = sampled(rows, self.fit_work)
        del rows
        # counted by place: the sums of much-heard items stand together and stay in the processor's cache
        by_user = replace(by_user, index=places(targets, data.n_items)[by_user.index], n_columns=len(targets))
        by_item = transpose_csr(by_user)
        heard = np.diff(by_item.indptr)
        steps = 32
        cuts = np.searchsorted(by_item.indptr, len(by_item.index) * np.arange(steps + 1) / steps)
        cuts[-1] = len(targets)
        parts: list[Lists] = []
        cost = np.zeros(size, np.int64)
        for lo, hi in pairwise(cuts.tolist()):
            progress("item-item", len(parts), steps)
            found = self.nearest(by_user, by_item, heard, lo, hi, size)
            parts.append(found)
            cost += kernels.cost_by_rank(found.indptr, targets[found.item], data.listeners, len(cost))
            size = min(size, affordable(cost, self.work))  # the rest only adds to the cost
        return self.model(parts, targets, size, data, missing)

    def size(self, n: int) -> int:
        """How many sources each of n targets may have."""
        return min(n, max(1, int(self.entries) // max(n, 1)))

    def nearest(self, by_user: Csr, by_item: Csr, heard: Int64s, lo: int, hi: int, size: int) -> Lists:
        """The most similar items of each from lo to hi (exclusive), all of them by place among the targets.

        by_user, by_item: all whole histories that hold one of these; heard: (n_targets,) listeners in all histories
        """
        degree, listeners = (np.maximum(n, 1).astype(np.float32) for n in (np.diff(by_user.indptr), heard))
        found = kernels.neighbours(
            get_num_threads(),
            lo,
            hi,
            by_user.indptr,
            by_user.index,
            degree**-self.user_power,
            by_item.indptr,
            by_item.index,
            listeners**self.target_power,
            listeners**self.source_power,
            self.shrink,
            size,
        )
        return Lists(*found)

    def model(
        self, parts: list[Lists], targets: Int32s, size: int, data: Dataset, missing: tuple[LeftOut, ...]
    ) -> "ItemItemModel":
        """The model of the `size` nearest of every target; `parts` are emptied on the way."""
        for n, part in enumerate(parts):
            parts[n] = part.head(size)
        best = Lists.concat(parts)
        parts.clear()
        by_target = Csr(best.indptr, targets[best.item], best.score, data.n_items)
        if size < len(targets) and int(np.diff(best.indptr).max(initial=0)) == size:
            missing += (self._weaker(size, len(targets)),)
        return ItemItemModel.of("item_item", by_target, targets, self.recency, missing)

    def _weaker(self, size: int, n: int) -> LeftOut:
        return LeftOut(
            f"source item_item keeps the {size:,} strongest similarities of each of {n:,} items",
            None,
            f"all of them are more than item_item.entries = {self.entries:g} or item_item.work = {self.work:g} allows",
            "weaker ones add nothing to its scores",
            "item_item.entries and item_item.work",
        )


def by_listeners(data: Dataset) -> Int32s:
    """The items with a listener, those with most first, then lowest index."""
    return np.argsort(-data.listeners, kind="stable")[: np.count_nonzero(data.listeners)].astype(np.int32)


def affordable(cost: Int64s, work: float) -> int:
    """How many sources each target may keep so that scoring all histories takes at most `work` steps; 20 at least.

    cost: (n,) steps that the best, second, … source of every target take
    """
    return max(20, int(np.searchsorted(np.cumsum(cost), work, side="right")))


@dataclass(frozen=True)
class ItemItemModel(ArrayModel):
    """Weights from each item of a history to the items it speaks for, CSR by source item.

    indptr: (n_items + 1,) int64; place: int32 into `targets`, ascending within a row; weight: float32
    targets: (n_targets,) int32, the items that may have a weight from any
    scale: (n_targets,) float32, positive, what the sum of each target's weights is multiplied by
    recency: as in the recipe
    left_out: what the fit did not use; not saved, as the run's manifest says it
    """

    name: str
    indptr: Int64s
    place: Int32s
    weight: Float32s
    targets: Int32s
    scale: Float32s
    recency: float
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def of(
        cls, name: str, by_target: Csr, targets: Int32s, recency: float, left_out: tuple[LeftOut, ...] = ()
    ) -> "ItemItemModel":
        """A model of the source items of each target."""
        by_source = transpose_csr(by_target)
        assert by_source.value is not None
        scale = np.ones(len(targets), np.float32)
        return cls(name, by_source.indptr, by_source.index, by_source.value, targets, scale, recency, left_out)

    def recommend(self, block: Block, k: int) -> Lists:
        """The k items with the highest summed similarity to the history."""
        return self.search_with((), block, k, Lists.empty(len(block)))[0][0]

    def search_with(
        self, others: Sequence["ItemItemModel"], block: Block, k: int, wanted: Lists
    ) -> tuple[list[Lists], Float32s]:
        """What `recommend` and `score` of these models say, with the sums over a history taken once for both."""
        return _search((self, *others), block, k, wanted)

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """The summed similarity of each candidate to its user's history."""
        pairs = block.pairs
        return sums_kernels.score_sparse(
            get_num_threads(),
            pairs.indptr,
            pairs.item,
            recency_weights(pairs, self.recency),
            self.indptr,
            self.place,
            self.weight,
            self.place_of,
            self.scale,
            candidates.indptr,
            candidates.item,
        )

    def contributions(self, block: Block, item: int) -> Float64s | None:
        """The weight from each history item to the item, times the entry's recency; they sum to the score."""
        pairs, at = block.pairs, int(self.place_of[item])
        weights = sums_kernels.weights_to(pairs.item, self.indptr, self.place, self.weight, at)
        scale = self.scale[at] if at >= 0 else 0
        return recency_weights(pairs, self.recency).astype(np.float64) * weights * scale

    @classmethod
    def neighbours(cls, arrays: Mapping[str, AnyArray], item: int, k: int) -> Near:
        """The targets that a play of the item adds most to."""
        own = slice(int(arrays["indptr"][item]), int(arrays["indptr"][item + 1]))
        at = np.asarray(arrays["place"][own])
        target, weight = arrays["targets"][at], np.asarray(arrays["weight"][own]) * arrays["scale"][at]
        order = np.lexsort((target, -weight))[:k]
        order = order[(weight[order] > 0) & (target[order] != item)]
        return Near(ADDED, target[order], weight[order])

    @cached_property
    def place_of(self) -> Int32s:
        """Where each item stands in the targets, (n_items,); −1 where it is none."""
        return places(self.targets, len(self.indptr) - 1)

    @cached_property
    def listed_scale(self) -> Float32s:
        """`scale`, 0 for a target that lists do not hold, as they hold what scores above 0."""
        return self.scale if self.allowed is None else np.where(self.allowed[self.targets], self.scale, np.float32(0))


def _search(models: Sequence[ItemItemModel], block: Block, k: int, wanted: Lists) -> tuple[list[Lists], Float32s]:
    distinct = list({id(model.weight): model for model in models}.values())
    sums_of = [next(w for w, one in enumerate(distinct) if one.weight is model.weight) for model in models]
    pairs = block.pairs
    items, scores, count, _, _, score = sums_kernels.search(
        get_num_threads(),
        pairs.indptr,
        pairs.item,
        tuple(recency_weights(pairs, one.recency) for one in distinct),
        tuple(one.indptr for one in distinct),
        tuple(one.place for one in distinct),
        tuple(one.weight for one in distinct),
        tuple(one.targets for one in distinct),
        tuple(one.place_of for one in distinct),
        np.array(sums_of, np.int64),
        tuple(model.listed_scale for model in models),
        *block.seen,
        k,
        wanted.indptr,
        wanted.item,
    )
    lists = [Lists.from_dense(items[m], scores[m], np.arange(k) < count[m][:, None]) for m in range(len(models))]
    return lists, score
