"""Top-k lists are exactly those of scoring every item and sorting: ids, order and the bits of the scores."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.kernels.twins import slow_scan, slow_score_pairs

from tonearm.kernels.nearest.similar import similar_to_all
from tonearm.kernels.nearest.topk import index_items, similar_top_k, top_k, unit_vectors
from tonearm.types import Float32s


def vectors(rng: np.random.Generator, n: int, d: int, kind: str) -> Float32s:
    if kind == "ties":
        return rng.integers(-2, 3, (n, d)).astype(np.float32)
    made = rng.standard_normal((n, d))
    if kind == "skewed":
        made *= rng.lognormal(0, 2, (n, 1))
    if kind == "tiny":
        made *= 1e-22  # products fall where float32 numbers are on a fixed grid
    if kind == "repeats":
        made = made[rng.integers(0, max(1, n // 4), n)]
    made[rng.random(n) < 0.1] = 0
    return made.astype(np.float32)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    b=st.integers(1, 130),
    n=st.integers(1, 700),
    d=st.integers(1, 21),
    k=st.one_of(st.integers(1, 12), st.integers(1, 800)),
    kind=st.sampled_from(["ties", "skewed", "flat", "repeats", "tiny"]),
)
def test_top_k_is_brute_force(seed: int, b: int, n: int, d: int, k: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    users, items = vectors(rng, b, d, kind), vectors(rng, n, d, kind)
    left_out = rng.random((b, n)) < rng.choice([0.0, 0.05, 0.9])
    seen_row, seen = np.nonzero(left_out)
    seen_indptr = np.searchsorted(seen_row, np.arange(b + 1))
    allowed = rng.random(n) < 0.9
    found = top_k(users, index_items(items, allowed), k, seen_indptr, seen.astype(np.int32))
    expected = slow_scan(slow_score_pairs(users, items), k, left_out | ~allowed)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 2000),
    d=st.integers(1, 12),
    k=st.integers(1, 20),
    kind=st.sampled_from(["ties", "skewed", "repeats"]),
)
def test_similar_is_brute_force(seed: int, n: int, d: int, k: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    items = vectors(rng, n, d, kind)
    unit = unit_vectors(items)
    found = similar_top_k(unit, k)
    expected = slow_scan(slow_score_pairs(unit, unit), k, np.eye(n, dtype=np.bool_))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=40, deadline=None)
@example(seed=3523926, n=1, k=1, kind="ties")  # where no item takes part
@given(
    seed=st.integers(0, 2**32),
    n=st.one_of(st.integers(1, 100), st.integers(1500, 5000)),
    k=st.integers(1, 20),
    kind=st.sampled_from(["ties", "skewed", "repeats"]),
)
def test_all_pairs_once_is_each_row_alone(seed: int, n: int, k: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    unit = unit_vectors(vectors(rng, n, 5, kind))
    allowed = rng.random(n) < 0.95
    index = index_items(unit, allowed)
    rows = np.flatnonzero(allowed).astype(np.int32)
    found = similar_to_all(unit, k, allowed)
    expected = similar_top_k(unit, k, rows, index)
    np.testing.assert_array_equal(np.diff(found[0])[rows], np.diff(expected[0]))
    assert not np.diff(found[0])[~allowed].any()
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[2], expected[2])
