"""The leading singular triples of a sparse matrix, by block power iteration with momentum.

Every pass multiplies a block of vectors by the matrix and its transpose. A multiple of the block before is taken away
from the product, which makes p passes a Chebyshev polynomial of degree p that is small over the unwanted part of the
spectrum, where without it they were a power (Xu, He, De Sa, Mitliagkas and Ré 2018); that part ends at the smallest
of the block's squared lengths, of which more columns are kept than asked for (Halko, Martinsson and Tropp 2011, 4.5).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tonearm.kernels.als.csr import Csr, multiply
from tonearm.kernels.machine.dense import column_squares, gram, rotate, take_away
from tonearm.kernels.machine.threads import on_one_blas_thread
from tonearm.kernels.machine.tile import WIDE
from tonearm.types import Float16s, Float32s, Float64s

_SPARE = 32
"""Columns beyond those asked for."""


@dataclass(frozen=True)
class Triples:
    """Singular triples, the greatest first.

    left: (n_rows, d) float32, left singular vectors times their values; right: (n_columns, d) float32
    value: (d,) float64; beyond the rank they are 0
    """

    left: Float32s
    right: Float32s
    value: Float64s


@on_one_blas_thread
def singular_triples(
    matrix: Csr,
    transposed: Csr,
    factors: int,
    passes: int,
    rng: np.random.Generator,
    start: Float16s | Float32s | None = None,
    enough: Callable[[int, Float64s], bool] | None = None,
) -> Triples:
    """The leading triples of a matrix, given also as its transpose.

    start: (n_columns, d), right vectors to begin with, in any basis; what they leave open is drawn at random
    enough: called as enough(passes done, values so far) from 0 passes on, and ends the iteration with True; the values
        are the lengths of the matrix times orthonormal vectors, none above the one that it tends to
    """
    width = -(-(factors + _SPARE) // WIDE) * WIDE
    left = np.zeros((matrix.n_rows, width), np.float32)
    before, product = (np.zeros((transposed.n_rows, width), np.float32) for _ in range(2))
    basis = np.empty((0, 0), np.float32)
    seen = np.diff(transposed.indptr) > 0
    right = rng.random((transposed.n_rows, width), dtype=np.float32)
    right -= np.float32(0.5)
    right[~seen] = 0
    if start is not None:
        given = np.flatnonzero(start.any(axis=0))
        right[:, given] = start[:, given] * seen[:, None]
    rotate(right, _orthonormalising(right), right)
    for done in range(passes + 1):
        multiply(matrix, right, left)
        squares = column_squares(left)
        if (enough is not None and enough(done, _greatest(squares, factors))) or done == passes:
            break
        multiply(transposed, left, product)
        if done > 0:  # the next Chebyshev polynomial over [0, edge], with leading coefficient 1
            edge = float(squares.min())
            little = edge * edge / 16 if done > 1 else 0.0  # the first pass is not one of them
            take_away(product, edge / 2, right, before, basis * np.float32(little))
        basis = _orthonormalising(product)
        rotate(product, basis, product)
        before, right, product = right, product, before  # `before` stands in the basis of a pass ago
    squares, turn = np.linalg.eigh(gram(left))
    descending = turn[:, ::-1].astype(np.float32)
    rotate(left, descending, left)
    rotate(right, descending, right)
    values = _greatest(np.maximum(squares, 0.0), factors)
    return Triples(left[:, :factors], right[:, :factors], values)


def _greatest(squares: Float64s, factors: int) -> Float64s:
    return np.asarray(np.sqrt(np.sort(squares)[::-1][:factors]))


def _orthonormalising(block: Float32s) -> Float32s:
    """What makes the columns of a block orthonormal, by way of its Gram matrix.

    A direction that float32 cannot tell from nothing becomes 0.
    """
    size, vectors = np.linalg.eigh(gram(block))
    inverse = np.where(size > 1e-10 * size[-1], np.maximum(size, 1e-300) ** -0.5, 0.0)
    return np.asarray(vectors * inverse, np.float32)
