"""Spectral: a smooth low-pass filter over the graph of users and items."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from tonearm.data.dataset import Block
from tonearm.data.lists import Lists, best_places
from tonearm.kernels.als.csr import Csr, multiply, transpose_csr
from tonearm.kernels.als.svd import singular_triples
from tonearm.kernels.nearest.topk import ItemIndex, index_items, score_pairs, top_k
from tonearm.options import options
from tonearm.sources.base import ADDED, ForLastBlock, Given, Near, Recipe, VectorModel
from tonearm.sources.history import drawn, drawn_share, recency_weights
from tonearm.sources.left_out import LeftOut
from tonearm.sources.ranges import RECENCY, Range, Space
from tonearm.types import AnyArray, Bools, Float32s, Float64s, Int64s


@options
class Spectral(Recipe["SpectralModel"]):
    """R̃ = D_u^−½ R D_i^−½ ≈ U Σ Vᵀ; score = W D_i^−½ V (Σ/σ₁)^(2·sharpness) Vᵀ D_i^½, W being R weighed by recency.

    D holds the size of every history and the listeners of every item, each plus `smoothing` times their mean. With
    smoothing, sharpness and recency 0 this is the low-pass part of GF-CF (Shen et al. 2021), whose first vectors fall
    to small groups that stand apart; smoothed normalisation (Peng et al. 2024) leaves those to the end.

    factors: singular vectors kept, at most a sixteenth of the users or of the items
    smoothing: what is added to every degree, as a multiple of the mean one
    sharpness: how much less a vector counts the smaller its singular value
    recency: a history entry with r later ones counts 1 / (1 + r / recency); 0 counts all alike
    side_information: whether genres, artists and albums count as listeners of the items that carry them
    entries: numbers kept for either side; fewer vectors are where there are very many items
    passes: power passes of the randomised decomposition
    max_pairs: (user, item) pairs that the vectors are found from; of a longer log, those of so many users drawn evenly
    """

    name, title = "spectral", "Spectral"
    ranges: ClassVar[Space] = {
        "factors": Range(16, 512, log=True),
        "smoothing": Range(0.0, 4.0),
        "sharpness": Range(0.0, 1.0),
        "recency": RECENCY,
    }

    factors: Annotated[int, Field(ge=1)] = 512
    smoothing: Annotated[float, Field(ge=0)] = 1.0
    sharpness: Annotated[float, Field(ge=0)] = 0.25
    recency: Annotated[float, Field(ge=0)] = 20.0
    side_information: bool = True
    entries: Annotated[float, Field(ge=1)] = 1e8
    passes: Annotated[int, Field(ge=1)] = 4
    max_pairs: Annotated[int, Field(ge=1)] = 10_000_000

    def learn(self, given: Given) -> "SpectralModel":
        """Find the leading singular vectors of the normalised matrix."""
        data, rng, progress, _ = given
        listeners = data.listeners
        share = drawn_share(data.n_users, int(listeners.sum()), self.max_pairs)
        pairs = data.rows(self.side_information, drawn(data.n_users, share))
        sizes = np.diff(pairs.indptr)
        n = min(int(np.count_nonzero(sizes)), int(np.count_nonzero(listeners)))
        factors = self.size(n, data.n_items)
        value = np.repeat(self.scale(sizes), sizes) * self.scale(listeners)[pairs.item]
        matrix = Csr(pairs.indptr, pairs.item, value, data.n_items)

        def told(done: int, _values: Float64s) -> bool:
            progress("spectral", done, self.passes)
            return False

        found = singular_triples(matrix, transpose_csr(matrix), factors, self.passes, rng, enough=told)
        return self.model(found.right, found.value, listeners)

    def size(self, n: int, n_items: int) -> int:
        """How many vectors there are of n rows or columns with an entry, whichever are fewer."""
        return max(1, min(self.factors, n // 16, int(self.entries) // n_items))

    def scale(self, degrees: Int64s, mean: float | None = None) -> Float32s:
        """D^−½ of one side, (n,) float32; mean: of all degrees above 0, where these are but some."""
        if mean is None:
            mean = int(degrees.sum()) / max(1, int(np.count_nonzero(degrees)))
        return np.asarray((np.maximum(degrees, 1) + self.smoothing * mean) ** -0.5, np.float32)

    def model(self, right: Float32s, value: Float64s, listeners: Int64s) -> "SpectralModel":
        """The model of the right vectors, (n_items, d), and their singular values, the greatest first.

        listeners: of each item in the whole log
        """
        pairs = int(listeners.sum())
        kept, item_scale = value > 1e-3 * value[0], self.scale(listeners)
        vectors = np.ascontiguousarray(right[:, kept])
        weight = (value[kept] / value[0]) ** (2 * self.sharpness)
        source = vectors * weight.astype(np.float32) * item_scale[:, None]
        left_out = () if pairs <= self.max_pairs else (self.not_drawn(pairs),)
        return SpectralModel(source, vectors / item_scale[:, None], listeners > 0, self.recency, left_out=left_out)

    def not_drawn(self, pairs: int) -> LeftOut:
        """Words on the users of a long log whom the vectors are not found from."""
        return LeftOut(
            "source spectral finds its vectors from some of the users, without all others",
            1 - self.max_pairs / pairs,
            f"the log has {pairs:,} pairs of user and item, more than spectral.max_pairs = {self.max_pairs:,}",
            "all users get lists by them, but what only few users share may be missing from the vectors",
            f"spectral.max_pairs={pairs}",
        )


@dataclass(frozen=True)
class SpectralModel(VectorModel):
    """What a history entry adds to its user's vector, and the vectors that it is multiplied by.

    source, target: (n_items, d) float32; played: (n_items,) bool; recency: as in the recipe
    left_out: what the fit did not use; not saved, as the run's manifest says it
    """

    source: Float32s
    target: Float32s
    played: Bools
    recency: float
    name: str = "spectral"
    left_out: tuple[LeftOut, ...] = ()

    @cached_property
    def index(self) -> ItemIndex:
        return index_items(self.target, self.played if self.allowed is None else self.played & self.allowed)

    @cached_property
    def _rows(self) -> Float32s:
        """`source`, each row in one piece: made once, where it would be made for every block."""
        return np.ascontiguousarray(self.source)

    @cached_property
    def _last(self) -> ForLastBlock[Float32s]:
        return ForLastBlock()

    def vectors(self, block: Block) -> Float32s:
        """Sum of the history's vectors, each weighed by its recency, (b, d) float32."""
        return self._last.of(block, self._vectors)

    def _vectors(self, block: Block) -> Float32s:
        pairs = block.pairs
        out = np.zeros((len(block), self.source.shape[1]), np.float32)
        multiply(Csr(pairs.indptr, pairs.item, recency_weights(pairs, self.recency), len(self.source)), self._rows, out)
        return out

    def recommend(self, block: Block, k: int) -> Lists:
        """The k items of highest filtered value; an empty row for a user none of whose items was played before."""
        vectors = self.vectors(block)
        lists = Lists(*top_k(vectors, self.index, k, *block.seen))
        known = np.count_nonzero(vectors, axis=1) > 0
        if known.all():
            return lists
        lengths = np.where(known, np.diff(lists.indptr), 0)
        keep = known[lists.row]
        return Lists(np.concatenate(([0], lengths.cumsum())).astype(np.int64), lists.item[keep], lists.score[keep])

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """The filtered value of each candidate."""
        return score_pairs(self.vectors(block), self.target, candidates.indptr, candidates.item)

    def contributions(self, block: Block, item: int) -> Float64s | None:
        """The product of each history item's vector with the item's, times its recency; they sum to the score."""
        weights = recency_weights(block.pairs, self.recency).astype(np.float64)
        return np.asarray(weights * (self.source[block.pairs.item].astype(np.float64) @ self.target[item]))

    @classmethod
    def neighbours(cls, arrays: Mapping[str, AnyArray], item: int, k: int) -> Near:
        """The played items that a play of the item adds most to."""
        score = np.asarray(arrays["target"] @ np.asarray(arrays["source"][item]))
        score[~np.asarray(arrays["played"])] = -np.inf
        score[item] = -np.inf
        order = best_places(score, k)
        order = order[score[order] > 0]
        return Near(ADDED, order, score[order])
