"""Spectral: an ideal low-pass filter over the graph of users and items."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as options
from scipy.sparse import csr_array

from tonearm.data import Block, Dataset, Lists
from tonearm.kernels.topk import ItemIndex, index_items, score_pairs, top_k
from tonearm.progress import Progress, no_progress
from tonearm.types import AnyArray, Bools, Float32s, Float64s


@options(frozen=True)
class Spectral:
    """R̃ = D_u^−½ R D_i^−½ ≈ U Σ Vᵀ; score = R D_i^−½ V Vᵀ D_i^½ (Shen et al. 2021, the low-pass part of GF-CF).

    factors: singular vectors kept
    passes: power passes of the randomised decomposition
    max_pairs: the source is left out of a log with more (user, item) pairs
    """

    factors: Annotated[int, Field(ge=1)] = 256
    passes: Annotated[int, Field(ge=1)] = 4
    max_pairs: Annotated[int, Field(ge=0)] = 10_000_000

    def fit(self, data: Dataset, rng: np.random.Generator, progress: Progress = no_progress) -> "SpectralModel":
        """Find the leading singular vectors of the normalised matrix."""
        pairs, played = data.pairs, np.flatnonzero(data.plays > 0)
        degree = np.maximum(np.diff(pairs.indptr), 1)
        row = np.repeat(np.arange(pairs.n_users), np.diff(pairs.indptr))
        values = (1 / np.sqrt(degree[row] * data.listeners[pairs.item].astype(np.float64))).astype(np.float32)
        place = np.zeros(data.n_items, np.int32)
        place[played] = np.arange(len(played))
        matrix = csr_array((values, place[pairs.item], pairs.indptr), shape=(pairs.n_users, len(played)))
        matrix = matrix[np.diff(pairs.indptr) > 0]
        vectors = right_singular_vectors(
            matrix, min(self.factors, max(1, min(matrix.shape) // 4)), self.passes, rng, progress
        )
        scale = np.sqrt(data.listeners[played]).astype(np.float32)[:, None]
        source, target = np.zeros((2, data.n_items, vectors.shape[1]), np.float32)
        source[played], target[played] = vectors / scale, vectors * scale
        return SpectralModel(source, target, data.plays > 0)


def right_singular_vectors(
    matrix: csr_array, factors: int, passes: int, rng: np.random.Generator, progress: Progress
) -> Float32s:
    """The leading right singular vectors by block power iteration, (n_columns, factors) float32.

    Source: Halko, Martinsson and Tropp 2011, algorithm 4.4
    """
    width = min(factors + 32, *matrix.shape)
    basis = rng.standard_normal((matrix.shape[1], width)).astype(np.float32)
    transposed = matrix.T.tocsr()
    for done in range(passes):
        progress("spectral", done, passes)
        basis = _orthonormal(transposed @ (matrix @ basis))
    basis = _orthonormal(basis)
    _, right = _squares(matrix @ basis)
    return np.ascontiguousarray(basis @ right[:, ::-1][:, :factors].astype(np.float32))


def _orthonormal(basis: Float32s) -> Float32s:
    """Another basis of the same space by way of its Gram matrix: faster than a QR, and good to 1e-6 the second time."""
    size, vectors = _squares(basis)
    some = size > 1e-7 * size[-1]
    return np.asarray(basis @ (vectors[:, some] / np.sqrt(size[some])).astype(np.float32))


def _squares(tall: Float32s) -> tuple[Float64s, Float64s]:
    """The squared singular values of a tall matrix, ascending, and its right singular vectors as columns."""
    size, vectors = np.linalg.eigh((tall.T @ tall).astype(np.float64))
    return size, vectors


@dataclass
class SpectralModel:
    """What a history entry adds to its user's vector, and the vectors that it is multiplied by.

    source, target: (n_items, d) float32; played: (n_items,) bool
    """

    source: Float32s
    target: Float32s
    played: Bools
    name: str = "spectral"
    _index: ItemIndex = field(init=False)

    def __post_init__(self) -> None:
        self._index = index_items(self.target, self.played)

    def vectors(self, block: Block) -> Float32s:
        """Sum of the history's vectors, (b, d) float32."""
        pairs = block.pairs
        ones = np.ones(len(pairs.item), np.float32)
        history = csr_array((ones, pairs.item, pairs.indptr), shape=(len(block), len(self.source)))
        return np.ascontiguousarray(history @ self.source, np.float32)

    def recommend(self, block: Block, k: int) -> Lists:
        """The k items of highest filtered value; an empty row for a user none of whose items was played before."""
        vectors = self.vectors(block)
        lists = Lists(*top_k(vectors, self._index, k, *block.seen))
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
        """The product of each history item's vector with the item's; they sum to the score."""
        vectors, wanted = self.source[block.pairs.item].astype(np.float64), self.target[item].astype(np.float64)
        return np.asarray(vectors @ wanted)

    def save(self) -> dict[str, AnyArray]:
        """Both sides' vectors, and which items were played."""
        return {"source": self.source, "target": self.target, "played": self.played}

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The model that `save` took apart."""
        return cls(arrays["source"], arrays["target"], arrays["played"])
