"""Approximate similar items against the exact ones."""

import numpy as np
import pytest

from tonearm.kernels.nearest.approximate import similar_approximate
from tonearm.kernels.nearest.topk import index_items, similar_top_k, unit_vectors
from tonearm.types import Bools, Float32s


def some_items(n: int = 1200) -> tuple[Float32s, Bools]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((30, 8))
    made = centres[rng.integers(0, 30, n)] + 0.4 * rng.standard_normal((n, 8))
    return unit_vectors(made.astype(np.float32)), rng.random(n) < 0.9


def test_looking_everywhere_is_exact() -> None:
    unit, allowed = some_items()
    found, recall = similar_approximate(unit, 7, allowed, np.random.default_rng(1), probes=1000)
    rows = np.flatnonzero(allowed).astype(np.int32)
    exact = similar_top_k(unit, 7, rows, index_items(unit, allowed))
    assert recall == 1.0
    np.testing.assert_array_equal(np.diff(found[0])[rows], np.diff(exact[0]))
    assert not np.diff(found[0])[~allowed].any()
    np.testing.assert_array_equal(found[1], exact[1])
    np.testing.assert_array_equal(found[2], exact[2])


def test_recall_is_the_share_of_the_exact_lists() -> None:
    unit, allowed = some_items()
    found, recall = similar_approximate(unit, 7, allowed, np.random.default_rng(1), probes=2, sample=5000)
    rows = np.flatnonzero(allowed).astype(np.int32)
    exact = similar_top_k(unit, 7, rows, index_items(unit, allowed))
    hits = sum(
        len(set(exact[1][exact[0][r] : exact[0][r + 1]]) & set(found[1][found[0][row] : found[0][row + 1]]))
        for r, row in enumerate(rows)
    )
    assert recall == pytest.approx(hits / len(exact[1]))
    assert 0.5 < recall < 1.0
    assert all(row not in found[1][found[0][row] : found[0][row + 1]] for row in rows)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_items(n: int) -> None:
    unit = unit_vectors(np.arange(1, 10, dtype=np.float32).reshape(3, 3))
    found, recall = similar_approximate(unit, 5, np.arange(3) < n, np.random.default_rng(0))
    assert np.diff(found[0]).tolist() == [max(n - 1, 0) if r < n else 0 for r in range(3)]
    assert recall == 1.0
