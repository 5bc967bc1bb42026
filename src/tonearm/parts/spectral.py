"""The leading singular vectors of the normalised log, each pass of the power iteration summed over shards."""

from functools import partial
from typing import Any

import numpy as np

from tonearm.data.log import Pairs
from tonearm.kernels.als.csr import Csr, multiply, transpose_csr
from tonearm.kernels.machine.dense import gram
from tonearm.kernels.machine.tile import WIDE
from tonearm.parts.counted import Counted
from tonearm.parts.shard import Shard
from tonearm.parts.work import Arrays, Parts, add_to
from tonearm.sources.history import drawn_share
from tonearm.sources.spectral import Spectral, SpectralModel
from tonearm.types import Float32s, Float64s

SPARE = 32
"""Vectors beyond those asked for, as on one machine."""


def fit_spectral(parts: Parts, data: Counted, recipe: Spectral, rng: np.random.Generator) -> SpectralModel:
    """As `Spectral.learn`: the block power iteration with momentum of `singular_triples`, on products of all shards."""
    labels = data.labels if recipe.side_information else None
    times, sizes = data.sums["tracks"], np.empty(0, np.int64) if labels is None else np.diff(labels.indptr)
    rows = int(times[1:].sum()) + len(sizes)
    mean = (int(times @ np.arange(len(times))) + int(sizes.sum())) / max(1, rows)
    scale, known = recipe.scale(data.listeners), data.listeners > 0
    share = drawn_share(data.n_users, int(data.listeners.sum()), recipe.max_pairs)
    factors = recipe.size(min(rows, int(known.sum())), data.n_items)
    width = -(-(factors + SPARE) // WIDE) * WIDE

    def multiplied(right: Float32s) -> Arrays:
        told = parts.share((right, scale))
        sums = parts.total(partial(_of_shard, told, recipe, (mean, share), data.now), right.nbytes)
        told.destroy()
        if labels is not None:
            add_to(sums, _products(labels, right, scale, recipe, mean))
        return sums

    right: Float32s = rng.random((data.n_items, width), dtype=np.float32)
    right -= np.float32(0.5)
    right[~known] = 0
    right = np.matmul(right, _orthonormalising(right), dtype=np.float32)
    before, basis = np.zeros_like(right), np.zeros((width, width), np.float32)
    sums = multiplied(right)
    for done in range(recipe.passes):
        parts.progress("spectral", done, recipe.passes)
        product, edge = sums.pop("product"), float(np.diag(sums["gram"]).min())
        if done > 0:  # the next Chebyshev polynomial over [0, edge]
            little = edge * edge / 16 if done > 1 else 0.0
            product -= np.float32(edge / 2) * right + before @ (basis * np.float32(little))
        basis = _orthonormalising(product)
        before, right = right, np.ascontiguousarray(product @ basis)
        del product
        sums = multiplied(right)
    squares, turn = np.linalg.eigh(sums["gram"])
    values = np.sqrt(np.maximum(squares[::-1][:factors], 0.0))
    vectors: Float32s = np.matmul(right, turn[:, ::-1][:, :factors], dtype=np.float32, casting="same_kind")
    return recipe.model(vectors, values, data.listeners)


def _of_shard(told: Any, recipe: Spectral, sizes: tuple[float, float], now: int, shard: Shard) -> Arrays:
    right, scale = told.value
    mean, share = sizes
    return _products(Pairs.of(shard.learnt(now, share)), right, scale, recipe, mean)


def _products(pairs: Pairs, right: Float32s, scale: Float32s, recipe: Spectral, mean: float) -> Arrays:
    """RᵀR times vectors, and the Gram matrix of R times these, of some rows of the normalised matrix."""
    lengths = np.diff(pairs.indptr)
    value = np.repeat(recipe.scale(lengths, mean), lengths) * scale[pairs.item]
    matrix = Csr(pairs.indptr, pairs.item, value, pairs.n_items)
    left = np.zeros((len(lengths), right.shape[1]), np.float32)
    multiply(matrix, right, left)
    product = np.zeros_like(right)
    multiply(transpose_csr(matrix), left, product)
    return {"product": product, "gram": gram(left)}


def _orthonormalising(block: Float32s) -> Float32s:
    """What makes the columns of a block orthonormal; a direction that float32 cannot tell from nothing becomes 0."""
    size, vectors = np.linalg.eigh(gram(block))
    inverse: Float64s = np.where(size > 1e-10 * size[-1], np.maximum(size, 1e-300) ** -0.5, 0.0)
    return np.asarray(vectors * inverse, np.float32)
