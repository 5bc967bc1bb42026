"""ALS against implicit, in turn in one process from the same start, and against what the machine can do at best.

python benchmarks/als.py [--rounds 3] [--large] [--factors 50 128] [--threads N] [--save als]

Figures are medians over rounds of the median iteration's wall time, the first left out, kernels compiled beforehand.
Objectives are computed by one function for both. Floors, measured in the same run: the multiply-adds of ours at the
rate of a loop of nothing else, and one reading of the held rows in the order of the matrix.
"""

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse

import figures
from tonearm.kernels.als.csr import Csr, multiply, transpose_csr
from tonearm.kernels.als.fit import Factors, fit_als
from tonearm.kernels.als.optimum import fit_optimum
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.tile import TALL, WIDE, add_outer, no_sums, store_tile
from tonearm.types import Float32s

REGULARIZATION = 0.05
SMALL, LARGE = (24_000, 100_000, 5_000_000), (100_000, 1_000_000, 20_000_000)


def make_log(n_users: int, n_items: int, n_events: int, seed: int = 0) -> Csr:
    """Users of skewed activity, forty tastes, items of skewed popularity, plays counted."""
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0, 1.1, n_users)
    popularity = rng.lognormal(0, 1.9, n_items)
    order = np.argsort(rng.integers(0, 40, n_items), kind="stable")
    reach = np.concatenate(([0.0], np.cumsum(popularity[order])))
    edges = reach[:: max(1, n_items // 40)]
    user = np.repeat(np.arange(n_users), rng.poisson(activity / activity.sum() * n_events * 1.3))
    taste = rng.integers(0, len(edges) - 1, (n_users, 3))[user, rng.integers(0, 3, len(user))]
    own = edges[taste] + rng.random(len(user)) * (edges[taste + 1] - edges[taste])
    anything = rng.random(len(user)) * reach[-1]
    spot = np.where(rng.random(len(user)) < 0.7, own, anything)
    item = order[np.clip(np.searchsorted(reach, spot, side="right") - 1, 0, n_items - 1)]
    key, plays = np.unique(user.astype(np.int64) * n_items + item, return_counts=True)
    indptr = np.searchsorted(key, np.arange(n_users + 1, dtype=np.int64) * n_items)
    return Csr(indptr, (key % n_items).astype(np.int32), plays.astype(np.float32), n_items)


def objective(matrix: Csr, user: Float32s, item: Float32s, alpha: float) -> float:
    """The objective of both, from the factors, in float64."""
    x, y = user.astype(np.float64), item.astype(np.float64)
    loss = float(((x.T @ x) * (y.T @ y)).sum() + REGULARIZATION * ((x**2).sum() + (y**2).sum()))
    for lo in range(0, matrix.n_rows, 1000):
        hi = min(matrix.n_rows, lo + 1000)
        part = slice(matrix.indptr[lo], matrix.indptr[hi])
        row = np.repeat(np.arange(lo, hi), np.diff(matrix.indptr[lo : hi + 1]))
        t = np.einsum("ef,ef->e", user[row], item[matrix.index[part]], dtype=np.float64)
        c = alpha * (np.ones(len(t)) if matrix.value is None else matrix.value[part])
        loss += float(((c - 1) * t * t - 2 * c * t + c).sum())
    return loss


@jit_parallel
def _multiply_adds(threads: int, n: int, out: Float32s) -> None:
    for t in prange(threads):
        ones = np.full(TALL + WIDE, np.float32(0.999))
        sums = no_sums()
        for _ in range(n):
            sums = add_outer(sums, ones, 0, 1, ones, TALL)
        store_tile(out, t * TALL * WIDE, WIDE, sums)


def peak_rate(threads: int) -> float:
    """Multiply-adds a second of all threads, float32, by the longest vectors that there are."""
    out, n = np.empty(threads * TALL * WIDE, np.float32), 10_000_000
    _multiply_adds(threads, 10, out)
    return threads * TALL * WIDE * n / seconds(lambda: _multiply_adds(threads, n, out))


def gather_floor(matrix: Csr, other: Csr, factors: int) -> float:
    """Seconds to read each side's rows once in the order of the other side's entries."""
    spent = 0.0
    width = -(-factors // 16) * 16
    for side in (matrix, other):
        held, out = np.ones((side.n_columns, width), np.float32), np.zeros((side.n_rows, width), np.float32)
        run = (Csr(side.indptr, side.index, None, side.n_columns), held, out)
        multiply(*run)
        spent += seconds(lambda run=run: multiply(*run))  # type: ignore[misc]
    return spent


def work(matrix: Csr, factors: int, cg_steps: int) -> float:
    """Multiply-adds of one iteration of ours."""
    entries, rows = len(matrix.index), matrix.n_rows + matrix.n_columns
    passes = 1 if matrix.value is None else 2 * (1 + cg_steps)
    products = 1.5 if matrix.value is None else 2.5
    return 2.0 * passes * entries * factors + products * rows * factors**2


def seconds(action: Callable[[], object]) -> float:
    """Wall time, after a pause: threads of a linear algebra library go on spinning for a while after its last call."""
    time.sleep(0.3)
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def peak_megabytes(action: Callable[[], object]) -> float:
    """The most memory an action needed beyond what the process held before."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    action()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def random_start(by_user: Csr, by_item: Csr, factors: int) -> tuple[Float32s, Float32s]:
    """Factors to start from; zero for a row without events."""
    rng = np.random.default_rng(0)
    user, item = (
        rng.random((side.n_rows, factors), dtype=np.float32) * np.float32(0.01) for side in (by_user, by_item)
    )
    return user * (np.diff(by_user.indptr) > 0)[:, None], item * (np.diff(by_item.indptr) > 0)[:, None]


def fit_ours(
    by_user: Csr, by_item: Csr, alpha: float, cg_steps: int, iterations: int, start: tuple[Float32s, Float32s]
) -> tuple[Factors, float]:
    """Our factors and seconds an iteration after the first, in which memory is met for the first time."""
    marks: list[float] = []
    options = {
        "factors": start[0].shape[1], "regularization": REGULARIZATION, "iterations": iterations,
        "rng": np.random.default_rng(0), "progress": lambda _i, _n, _loss: marks.append(time.perf_counter()),
    }  # fmt: skip
    if by_user.value is None:
        found = fit_optimum(by_user, by_item, start=start[1], tolerance=0.0, **options)
    else:
        found = fit_als(by_user, by_item, alpha=alpha, cg_steps=cg_steps, init=start, **options)
    return found, statistics.median(np.diff(marks))


def case(
    by_user: Csr, by_item: Csr, factors: int, alpha: float, cg_steps: int, rounds: int, iterations: int
) -> list[Any]:
    """One row of the table."""
    x0, y0 = random_start(by_user, by_item, factors)
    value = by_user.value if by_user.value is not None else np.ones(len(by_user.index), np.float32)
    plays = sparse.csr_matrix((value, by_user.index, by_user.indptr), shape=(by_user.n_rows, by_user.n_columns))
    peers: list[AlternatingLeastSquares] = []
    times: list[float] = []

    def peer() -> None:
        model = AlternatingLeastSquares(
            factors, REGULARIZATION, alpha, iterations=iterations, num_threads=numba.get_num_threads()
        )
        model.user_factors, model.item_factors = x0.copy(), y0.copy()
        model.fit(plays, show_progress=False, callback=lambda _i, spent, _loss: times.append(spent))
        peers[:] = [model]

    def ours() -> tuple[Factors, float]:
        return fit_ours(by_user, by_item, alpha, cg_steps, iterations, (x0, y0))

    own, other = [], []
    memory = (peak_megabytes(ours), peak_megabytes(peer))
    for _ in range(rounds):
        times.clear()
        found, spent = ours()
        peer()
        own.append(spent)
        other.append(statistics.median(times[1:]))
    a = objective(by_user, found.user, found.item, alpha)
    b = objective(by_user, peers[0].user_factors, peers[0].item_factors, alpha)
    threads = numba.get_num_threads()
    arithmetic = work(by_user, factors, cg_steps) / peak_rate(threads)
    floor = max(arithmetic, gather_floor(by_user, by_item, factors))
    mine, theirs = statistics.median(own), statistics.median(other)
    kind = "all 1" if by_user.value is None else f"weighted, {cg_steps} steps"
    size = f"{by_user.n_rows:,} × {by_user.n_columns:,} × {len(by_user.index):,}"
    return [size, factors, kind, mine, theirs, theirs / mine, f"{a:.6g}", f"{b:.6g}", mine / floor, *memory]


def to_objective(by_user: Csr, by_item: Csr, factors: int, rounds: int, iterations: int = 15) -> list[Any]:
    """Time to the objective of implicit's fifteen iterations when all confidences are 1."""
    plays = sparse.csr_matrix(
        (np.ones(len(by_user.index), np.float32), by_user.index, by_user.indptr),
        shape=(by_user.n_rows, by_user.n_columns),
    )
    options = {"factors": factors, "regularization": REGULARIZATION}
    threads = numba.get_num_threads()
    peer = AlternatingLeastSquares(**options, alpha=1.0, iterations=iterations, num_threads=threads, random_state=0)
    theirs = seconds(lambda: peer.fit(plays, show_progress=False))
    goal = objective(by_user, peer.user_factors, peer.item_factors, 1.0)
    found: list[Factors] = []

    def ours(passes: int) -> None:
        rng = np.random.default_rng(0)
        found[:] = [fit_optimum(by_user, by_item, **options, iterations=passes, rng=rng)]  # type: ignore[arg-type]

    ours(30)
    passes = next(n for n, loss in enumerate(found[0].losses, 1) if loss <= goal)
    mine = statistics.median(seconds(lambda: ours(passes)) for _ in range(rounds))
    return [f"{by_user.n_rows:,} × {by_user.n_columns:,}", factors, mine, passes, theirs, theirs / mine]


HEADS = [
    *(("users × items × pairs", ""), ("d", ",.0f"), ("values", ""), ("ours s/iteration", ".3f"), ("implicit", ".3f")),
    *(("ratio", ".1f"), ("objective", ""), ("implicit's", ""), ("× floor", ".1f"), ("MB", ",.0f"), ("its MB", ",.0f")),
]
OPTIMUM = [
    *(("users × items", ""), ("d", ",.0f"), ("ours s", ".2f"), ("passes", ",.0f"), ("implicit s", ".1f")),
    ("ratio", ",.0f"),
]


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="also 100,000 users × 1,000,000 items × 20 M")
    parser.add_argument("--factors", type=int, nargs="+", default=[50, 128])
    parser.add_argument("--iterations", type=int, default=5, help="2 or more: the first is not counted")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.iterations < 2:
        parser.error("--iterations must be 2 or more, as the first is not counted.")
    warnings.simplefilter("ignore")
    if options.threads:
        numba.set_num_threads(options.threads)
    print(f"{numba.get_num_threads()} threads; load {os.getloadavg()[0]:.1f}\n")
    rows: list[list[Any]] = []
    optima: list[list[Any]] = []
    for size in (SMALL, LARGE) if options.large else (SMALL,):
        by_user = make_log(*size)
        ones = Csr(by_user.indptr, by_user.index, None, by_user.n_columns)
        for matrix in (by_user, ones):
            by_item = transpose_csr(matrix)
            for factors in options.factors:
                steps = 2 if matrix.value is not None else 1
                rows.append(case(matrix, by_item, factors, 1.0, steps, options.rounds, options.iterations))
                print(*rows[-1], file=sys.stderr)
            if matrix.value is None:
                optima += [to_objective(matrix, by_item, factors, options.rounds) for factors in options.factors]
    figures.tell(HEADS, rows, options.save)
    print("\nTo the objective of implicit's fifteen iterations, all confidences 1:\n")
    figures.tell(OPTIMUM, optima, options.save and f"{options.save}-optimum")


if __name__ == "__main__":
    main()
