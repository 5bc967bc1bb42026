"""ALS against LensKit's, from the same start on the same data, LensKit in a process of its own.

python benchmarks/als_lenskit.py [--factors 50] [--iterations 5] [--rounds 3] [--threads N]
                                 [--save als-lenskit]

LensKit's confidence is 1 + weight × rating, so with rating = value − 1 / α and weight = α, or no ratings and
weight = α − 1, its objective is ours to the letter. It solves each row exactly, by Cholesky. Seconds an iteration:
ours the median over rounds, LensKit's over iterations, one before them not counted; objectives after the same number
of iterations are computed by one function for both.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

import figures
from als import REGULARIZATION, SMALL, fit_ours, make_log, objective, random_start
from peer import ask, is_missing
from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.types import Float32s


def lenskit(
    matrix: Csr, alpha: float, iterations: int, start: tuple[Float32s, Float32s]
) -> tuple[Float32s, Float32s, float]:
    """LensKit's factors of users and items, and its seconds an iteration."""
    weighted = matrix.value is not None
    rating = matrix.value - np.float32(1 / alpha) if matrix.value is not None else np.ones(len(matrix.index))
    user = np.repeat(np.arange(matrix.n_rows), np.diff(matrix.indptr))
    arrays: dict[str, npt.NDArray[Any]] = {
        "user": user,
        "item": matrix.index,
        "rating": rating,
        "user_start": start[0],
        "item_start": start[1],
    }
    options = {
        "threads": numba.get_num_threads(),
        "iterations": iterations,
        "regularization": REGULARIZATION,
        "use_ratings": weighted,
        "weight": alpha if weighted else alpha - 1,
    }
    with tempfile.TemporaryDirectory() as name:
        seconds = ask("lenskit", "lenskit_als.py", Path(name), arrays, options)
        found = [np.load(Path(name) / f"{key}_factors.npy") for key in ("user", "item")]
    return found[0], found[1], statistics.median(seconds)


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("--factors", type=int, nargs="+", default=[50])
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--size", type=int, nargs=3, default=SMALL)
    options = parser.parse_args()
    if is_missing("lenskit"):
        return
    if options.threads:
        numba.set_num_threads(options.threads)
    print(f"{numba.get_num_threads()} threads; load {os.getloadavg()[0]:.1f}; {options.iterations} iterations\n")
    rows: list[list[Any]] = []
    plays = make_log(*options.size)
    ones = Csr(plays.indptr, plays.index, None, plays.n_columns)
    for matrix, alpha in ((plays, 2.0), (ones, 41.0)):
        by_item = transpose_csr(matrix)
        for factors in options.factors:
            start = random_start(matrix, by_item, factors)
            user, item, theirs = lenskit(matrix, alpha, options.iterations, start)
            goal = objective(matrix, user, item, alpha)
            for steps in (2, 3):
                fit_ours(matrix, by_item, alpha, steps, 1, start)
                fits = [
                    fit_ours(matrix, by_item, alpha, steps, options.iterations, start) for _ in range(options.rounds)
                ]
                mine = statistics.median(spent for _, spent in fits)
                reached = objective(matrix, fits[0][0].user, fits[0][0].item, alpha)
                size = f"{matrix.n_rows:,} × {matrix.n_columns:,} × {len(matrix.index):,}"
                confidence = "2 × plays" if matrix.value is not None else "all 41"
                rows.append(
                    [size, factors, confidence, steps, mine, theirs, theirs / mine, f"{reached:.6g}", f"{goal:.6g}"]
                )
                print(*rows[-1], file=sys.stderr)
    heads = [("users × items × pairs", ""), ("d", ",.0f"), ("confidence", ""), ("steps", ",.0f")]
    heads += [("ours s/iter", ".3f"), ("LensKit", ".3f"), ("ratio", ".1f"), ("objective", ""), ("LensKit's", "")]
    figures.tell(heads, rows, options.save)


if __name__ == "__main__":
    main()
