"""Item-item: what is heard by the same listeners."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as options

from tonearm.data import DAY, Block, Dataset, Lists, Pairs
from tonearm.kernels import item_item as kernels
from tonearm.kernels.als import Csr, transpose_csr
from tonearm.progress import Progress, no_progress
from tonearm.types import AnyArray, Float32s, Int32s, Int64s


@options(frozen=True)
class ItemItem:
    """Normalised, shrunken co-occurrence of items in histories.

    sim(j → i) = c_ji / (shrink + n_j^source_power · n_i^target_power),  c_ji = Σ_u |u|^(−2·user_power)
    score(u, i) = Σ_j∈u w_uj · sim(j → i)

    With powers 0, .5, .5 this is cosine; with user_power .5, source 1 and target β it is RP3β (Paudel et al. 2017).

    neighbours: items kept for each target item
    user_power: how much a listener with a long history counts for less
    source_power, target_power: exponents of the listeners of either item
    shrink: added to the denominator, so that rare pairs count for less
    half_life: days after which a history entry counts half; 0 counts all alike
    """

    neighbours: Annotated[int, Field(ge=1)] = 100
    user_power: Annotated[float, Field(ge=0)] = 0.25
    source_power: Annotated[float, Field(ge=0)] = 0.5
    target_power: Annotated[float, Field(ge=0)] = 0.5
    shrink: Annotated[float, Field(ge=0)] = 5.0
    half_life: Annotated[float, Field(ge=0)] = 0.0

    def fit(self, data: Dataset, rng: np.random.Generator, progress: Progress = no_progress) -> "ItemItemModel":
        """Count co-occurrences and keep the best sources of each target."""
        del rng, progress
        pairs = data.pairs
        lengths = np.maximum(np.diff(pairs.indptr), 1).astype(np.float64)
        by_user = (lengths ** (-self.user_power)).astype(np.float32)
        value = np.repeat(by_user, np.diff(pairs.indptr))
        by_item = transpose_csr(Csr(pairs.indptr, pairs.item, value, data.n_items))
        assert by_item.value is not None
        n = np.maximum(np.diff(by_item.indptr), 1).astype(np.float64)
        found, similarity, count = kernels.neighbours(
            pairs.indptr,
            pairs.item,
            value,
            by_item.indptr,
            by_item.index,
            by_item.value,
            (n**self.target_power).astype(np.float32),
            (n**self.source_power).astype(np.float32),
            self.shrink,
            self.neighbours,
        )
        keep = np.arange(found.shape[1]) < count[:, None]
        target_indptr = np.concatenate(([0], np.cumsum(count))).astype(np.int64)
        by_source = transpose_csr(Csr(target_indptr, found[keep], similarity[keep], data.n_items))
        assert by_source.value is not None
        return ItemItemModel(by_source.indptr, by_source.index, by_source.value, self.half_life)


@dataclass(frozen=True)
class ItemItemModel:
    """Weights from each item of a history to the items it speaks for, CSR by source item.

    indptr: (n_items + 1,) int64; target: int32; weight: float32; half_life: days
    """

    indptr: Int64s
    target: Int32s
    weight: Float32s
    half_life: float
    name: str = "item_item"

    def recommend(self, block: Block, k: int) -> Lists:
        """The k items with the highest summed similarity to the history."""
        pairs = block.pairs
        return Lists(
            *kernels.recommend_sparse(
                pairs.indptr,
                pairs.item,
                history_weights(pairs, block.now, self.half_life),
                self.indptr,
                self.target,
                self.weight,
                *block.seen,
                k,
            )
        )

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """The summed similarity of each candidate to its user's history."""
        pairs = block.pairs
        return kernels.score_sparse(
            pairs.indptr,
            pairs.item,
            history_weights(pairs, block.now, self.half_life),
            self.indptr,
            self.target,
            self.weight,
            candidates.indptr,
            candidates.item,
        )

    def save(self) -> dict[str, AnyArray]:
        """The weights."""
        return {"indptr": self.indptr, "target": self.target, "weight": self.weight}


def history_weights(pairs: Pairs, now: int, half_life: float) -> Float32s:
    """How much each history entry counts, (n_pairs,) float32: 1, or 2^(−age of the last play / half_life)."""
    if half_life <= 0 or pairs.last is None:
        return np.ones(len(pairs.item), np.float32)
    age = (now - pairs.last.astype(np.float64)) / (half_life * DAY)
    return np.exp2(-age).astype(np.float32)
