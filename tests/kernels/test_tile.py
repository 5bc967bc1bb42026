import os
import subprocess
import sys

import llvmlite.binding
import numpy as np
import pytest

from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.tile import (
    TALL,
    WIDE,
    add_outer,
    any_reaches,
    any_reaches_across,
    load_tile,
    no_sums,
    store_tile,
    which_reach,
)
from tonearm.types import Float32s

PRODUCT = """
import numpy as np
from tonearm.kernels.machine.dense import rotate
from tonearm.kernels.machine.tile import TALL
from tonearm.kernels.nearest.similar import similar_to_all
from tonearm.kernels.nearest.topk import unit_vectors
rng = np.random.default_rng(0)
a, m = rng.standard_normal((50, 24), np.float32), rng.standard_normal((24, 24), np.float32)
rotate(a, m, a)
_, item, score = similar_to_all(unit_vectors(a), 5)
print(TALL, a.tobytes().hex(), item.tobytes().hex(), score.tobytes().hex())
"""


@jit
def product(left: Float32s, right: Float32s, n: int, step: int, out: Float32s) -> None:
    sums = no_sums()
    for f in range(n):
        sums = add_outer(sums, left, f * TALL if step == 1 else f, step, right, f * WIDE)
    store_tile(out, 0, WIDE, sums)


@jit
def reached(of: Float32s, limits: Float32s, across: Float32s) -> tuple[bool, bool, int]:
    sums = load_tile(of, 0, WIDE)
    return any_reaches(sums, limits, 0), any_reaches_across(sums, across, 0), which_reach(of, WIDE, limits[1])


@pytest.mark.parametrize("step", [1, 5])
def test_a_tile_is_the_sum_of_outer_products(step: int) -> None:
    rng = np.random.default_rng(step)
    left, right = rng.standard_normal((TALL, 5), np.float32), rng.standard_normal((5, WIDE), np.float32)
    out = np.empty(TALL * WIDE, np.float32)
    product(np.ascontiguousarray(left.T if step == 1 else left).ravel(), right.ravel(), 5, step, out)
    np.testing.assert_allclose(out.reshape(TALL, WIDE), left @ right, atol=1e-5)


@pytest.mark.parametrize("row", [0, 1, TALL - 1])
@pytest.mark.parametrize("column", [0, WIDE - 1])
def test_sums_are_held_against_limits(row: int, column: int) -> None:
    of = np.zeros((TALL, WIDE), np.float32)
    of[row, column] = 1
    rows, columns = np.full(TALL, 1, np.float32), np.full(WIDE, 1, np.float32)
    assert reached(of.ravel(), rows, columns) == (True, True, 1 << column if row == 1 else 0)
    rows[row], columns[column] = 1.5, 1.5
    assert reached(of.ravel(), rows, columns) == (False, False, 0)


def test_bits_do_not_depend_on_the_height() -> None:
    features = [f for f in llvmlite.binding.get_host_cpu_features().flatten().split(",") if not f.startswith("+avx512")]
    narrow = {"NUMBA_CPU_FEATURES": ",".join(features), "NUMBA_CPU_NAME": "generic"}
    lines = [
        subprocess.run(
            [sys.executable, "-c", PRODUCT], env=os.environ | changed, check=True, capture_output=True, text=True
        ).stdout.split()
        for changed in ({}, narrow)
    ]
    assert [int(line[0]) for line in lines] == [TALL, 6]
    assert lines[0][1:] == lines[1][1:]
