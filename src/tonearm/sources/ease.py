"""EASE: the linear item-item model of least squares, in closed form."""

from typing import Annotated

import numpy as np
import scipy.linalg
from pydantic import Field
from pydantic.dataclasses import dataclass as options
from scipy.sparse import csr_array

from tonearm.data import Dataset
from tonearm.progress import Progress, no_progress
from tonearm.sources.history import decayed_pairs
from tonearm.sources.item_item import ItemItemModel, budget
from tonearm.types import AnyArray, Float32s


@options(frozen=True)
class EASE:
    """min ‖X − X·B‖² + λ‖B‖², diag B = 0, over the most-heard items (Steck 2019, eq. 8).

    B = I − P / diag P,  P = (XᵀX + λI)⁻¹

    regularization: λ
    items: most-heard items that the model is about; time grows with the cube, memory with the square
    train_half_life: days after which a play counts half in X while fitting; 0 counts all alike
    recency: a history entry with r later ones counts 1 / (1 + r / recency); 0 counts all alike
    work: multiplications that scoring all users may take; weights of smallest size are dropped to stay below
    """

    regularization: Annotated[float, Field(gt=0)] = 500.0
    items: Annotated[int, Field(ge=2)] = 5000
    train_half_life: Annotated[float, Field(ge=0)] = 0.0
    recency: Annotated[float, Field(ge=0)] = 20.0
    work: Annotated[float, Field(gt=0)] = 2e10

    def fit(self, data: Dataset, rng: np.random.Generator, progress: Progress = no_progress) -> ItemItemModel:
        """Invert the items' Gram matrix, or the users' where they are fewer."""
        del rng
        progress("EASE", 0, 1)
        order = np.lexsort((np.arange(data.n_items), -data.listeners))
        items = np.sort(order[: min(self.items, int((data.listeners > 0).sum()))]).astype(np.int32)
        weights = self._weights(self._matrix(data, items))
        keep = budget(self.work, len(data.pairs.item), len(items))
        kept = np.ones(weights.shape, np.bool_)
        if keep < len(items):
            size = np.abs(weights)
            kept = size >= np.partition(size, len(items) - keep, axis=0)[len(items) - keep]
        progress("EASE", 1, 1)
        lengths = np.zeros(data.n_items, np.int64)
        lengths[items] = kept.sum(axis=1)
        indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        target = np.broadcast_to(items, weights.shape)[kept]
        return ItemItemModel("ease", indptr, target, weights[kept], self.recency)

    def _matrix(self, data: Dataset, items: AnyArray) -> csr_array:
        pairs = data.pairs
        values = decayed_pairs(data, self.train_half_life)
        matrix = csr_array((values, pairs.item, pairs.indptr), shape=(pairs.n_users, data.n_items))[:, items]
        return matrix[np.diff(matrix.indptr) > 0]

    def _weights(self, x: csr_array) -> Float32s:
        """B, (n, n) float32."""
        n_users, n = x.shape
        if n_users < n:
            # Woodbury: P = (I − Xᵀ (XXᵀ + λI)⁻¹ X) / λ, an inverse of the users' size
            dense = x.toarray().astype(np.float32)
            gram = dense @ dense.T + np.float32(self.regularization) * np.eye(n_users, dtype=np.float32)
            p = dense.T @ scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram, lower=True), dense)
            np.negative(p, out=p)
            p[np.diag_indices(n)] += 1
        else:
            gram = (x.T @ x).toarray().astype(np.float32)
            gram[np.diag_indices(n)] += self.regularization
            factor, _ = scipy.linalg.lapack.spotrf(gram, lower=True, overwrite_a=True)
            p, _ = scipy.linalg.lapack.spotri(factor, lower=True, overwrite_c=True)
            p = np.tril(p) + np.tril(p, -1).T
        weights: Float32s = np.divide(-p, np.diag(p), dtype=np.float32)
        weights[np.diag_indices(n)] = 0
        return weights
