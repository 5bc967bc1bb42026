"""Sparse products against SciPy, for widths of whole registers and others."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from tonearm.kernels.als.csr import Csr, multiply, transpose_csr


@pytest.mark.parametrize("width", [1, 8, 13, 40, 72, 131])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_product_is_scipys(width: int, weighted: bool) -> None:
    rng = np.random.default_rng(width)
    seen = rng.random((70, 50)) < 0.2
    seen[[3, 69]] = False
    seen[5] = True
    row, index = np.nonzero(seen)
    indptr = np.searchsorted(row, np.arange(71))
    value = rng.standard_normal(len(index)).astype(np.float32) if weighted else None
    held = rng.standard_normal((50, width)).astype(np.float32)
    out = np.full((70, width), 9, np.float32)
    multiply(Csr(indptr, index.astype(np.int32), value, 50), held, out)
    entries = value if value is not None else np.ones(len(index), np.float32)
    due = csr_array((entries, index, indptr), shape=(70, 50)) @ held
    due[[3, 69]] = 9  # a row without an entry stays as it is
    np.testing.assert_allclose(out, due, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_transpose_turns_rows_into_columns(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    row, index = np.nonzero(rng.random((40, 27)) < 0.3)
    value = rng.random(len(row), np.float32) if weighted else None
    turned = transpose_csr(Csr(np.searchsorted(row, np.arange(41)), index.astype(np.int32), value, 27))
    assert (turned.n_rows, turned.n_columns) == (27, 40)
    entries = value if value is not None else np.ones(len(row), np.float32)
    due = csr_array((entries, (index, row)), shape=(27, 40))
    np.testing.assert_array_equal(turned.indptr, due.indptr)
    np.testing.assert_array_equal(turned.index, due.indices)
    assert (turned.value is None) == (value is None)
    np.testing.assert_array_equal(entries if turned.value is None else turned.value, due.data)
