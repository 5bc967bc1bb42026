"""Bytes that say which pairs of vectors need not be multiplied."""

import numpy as np
import pytest

from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.tile import TALL, WIDE
from tonearm.kernels.nearest.rough import BYTES, Rough, may_matter, need, round_to_bytes
from tonearm.kernels.nearest.topk import unit_vectors
from tonearm.types import Bools, Float32s

N = 4 * WIDE


@jit
def told(rough: Rough, limits: Float32s, out: Bools) -> None:
    for place in range(len(limits)):
        need(rough, place, limits[place])
    for group in range(out.shape[0]):
        for panel in range(out.shape[1]):
            out[group, panel] = may_matter(rough, group, panel)


def tiles(vectors: Float32s, limits: Float32s) -> tuple[Bools, Bools]:
    """For each tile, whether bytes say that a pair may matter, and whether one does."""
    shape = (-(-N // TALL), N // WIDE)
    may, does = np.ones(shape, np.bool_), np.zeros(shape, np.bool_)
    told(round_to_bytes(vectors, np.ones(N, np.bool_)), limits, may)
    score = vectors @ vectors.T
    for a, b in zip(*np.nonzero((score >= limits[:, None]) | (score >= limits)), strict=True):
        does[a // TALL, b // WIDE] = True
    return may, does


@pytest.mark.parametrize("d", [1, 3, 8, 50, 130])
@pytest.mark.parametrize("kind", ["dense", "sparse", "with zeros"])
def test_no_pair_is_lost(d: int, kind: str) -> None:
    rng = np.random.default_rng(d)
    for _ in range(20):
        vectors = rng.standard_normal((N, d)).astype(np.float32)
        if kind == "sparse":
            vectors[rng.random((N, d)) < 0.8] = 0
        elif kind == "with zeros":
            vectors[rng.random(N) < 0.3] = 0
        unit = unit_vectors(vectors)
        # limits that some pair reaches to the last bit, and others by a hair not
        scores = np.sort(unit @ unit.T, axis=1)
        limits = scores[np.arange(N), rng.integers(0, N, N)]
        limits[rng.random(N) < 0.5] += np.float32(1e-6)
        may, does = tiles(unit, limits)
        assert may[does].all()


@pytest.mark.skipif(not BYTES, reason="needs a processor with AVX-512 VNNI; without it every pair is multiplied")
def test_far_pairs_are_told() -> None:
    rng = np.random.default_rng(0)
    unit = unit_vectors(rng.standard_normal((N, 128)).astype(np.float32))
    score = unit @ unit.T
    np.fill_diagonal(score, -1)
    may, does = tiles(unit, np.full(N, score.max() + np.float32(0.05)))
    ones = np.zeros_like(may)  # tiles with an item and itself
    ones[np.arange(N) // TALL, np.arange(N) // WIDE] = True
    np.testing.assert_array_equal(may, ones)
    np.testing.assert_array_equal(does, ones)
