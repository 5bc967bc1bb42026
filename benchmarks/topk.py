"""Exact lists and similar items against implicit, in turn in one process, and against what the machine can do at best.

python benchmarks/topk.py [--rounds 3] [--large] [--run RUN] [--threads N] [--save topk]

Medians of wall times over rounds, kernels compiled beforehand; the ids of both are compared: the share of places that
are the same for lists, of rows that are the same for similar items (items of one listener have nearly equal cosines to
many others, where the order hangs on the last bit, which the two round differently). Floors, measured in the same run:
the multiply-adds of a full product at the rate of a loop of nothing else, and the same product by the linear algebra
library. Skewed factors are those of our ALS on a log of skewed popularity; flat ones are drawn from a normal
distribution, so that no norm stands out and nothing can be left out; `--run` takes those of a run as well. Behind the
size stands the time to make the items ready, once for a model and all its users, which is not in the figures.
"""

import os
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numba
import numpy as np
from implicit.cpu.topk import topk as by_implicit

import figures
from als import peak_rate, seconds
from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.kernels.als.fit import fit_als
from tonearm.kernels.nearest.approximate import similar_approximate
from tonearm.kernels.nearest.similar import similar_to_all
from tonearm.kernels.nearest.topk import index_items, top_k, unit_vectors
from tonearm.runs.directory import load_arrays
from tonearm.types import Float32s, Int32s

D = 50


def skewed(n_users: int, n_items: int, n_events: int) -> tuple[Float32s, Float32s]:
    """Factors of a log of skewed popularity and activity with forty tastes."""
    rng = np.random.default_rng(0)
    popularity = rng.lognormal(0, 1.9, n_items)
    order = np.argsort(rng.integers(0, 40, n_items), kind="stable")
    reach = np.concatenate(([0.0], np.cumsum(popularity[order])))
    edges = reach[:: max(1, n_items // 40)]
    activity = rng.lognormal(0, 1.1, n_users)
    user = np.repeat(np.arange(n_users), rng.poisson(activity / activity.sum() * n_events * 1.3))
    taste = rng.integers(0, len(edges) - 1, (n_users, 3))[user, rng.integers(0, 3, len(user))]
    own = edges[taste] + rng.random(len(user)) * (edges[taste + 1] - edges[taste])
    spot = np.where(rng.random(len(user)) < 0.7, own, rng.random(len(user)) * reach[-1])
    item = order[np.clip(np.searchsorted(reach, spot, side="right") - 1, 0, n_items - 1)]
    key = np.unique(user.astype(np.int64) * n_items + item)
    indptr = np.searchsorted(key, np.arange(n_users + 1, dtype=np.int64) * n_items)
    matrix = Csr(indptr, (key % n_items).astype(np.int32), None, n_items)
    options = {"factors": D, "regularization": 0.05, "alpha": 2.0, "iterations": 5, "cg_steps": 2}
    found = fit_als(matrix, transpose_csr(matrix), rng=rng, **options)  # type: ignore[arg-type]
    return found.user, found.item


HEADS = [
    *(("what", ""), ("size", ""), ("ours s", ".2f"), ("implicit s", ".2f"), ("ratio", ".1f"), ("× floor", ".2f")),
    *(("product ÷ ours", ".1f"), ("same ids", ".4f")),
]
Row = list[Any]


def row(name: str, size: str, own: list[float], other: list[float], floor: float, product: float, same: float) -> Row:
    """One row of the table."""
    mine, theirs = statistics.median(own), statistics.median(other)
    found = [name, size, mine, theirs, theirs / mine, mine / floor, product / mine, same]
    print(*found, file=sys.stderr)
    return found


def lists(name: str, users: Float32s, items: Float32s, k: int, rounds: int, rate: float) -> Row:
    """Top k of some users among all items."""
    threads = numba.get_num_threads()
    found: list[Int32s] = []
    others: list[Int32s] = []

    def ours() -> None:
        found[:] = [top_k(users, index, k)[1]]

    def theirs() -> None:
        others[:] = [by_implicit(items, users, k, num_threads=threads)[0]]

    index = index_items(items)
    ready = seconds(lambda: index_items(items))
    ours()
    own, other = [], []
    for _ in range(rounds):
        own.append(seconds(ours))
        other.append(seconds(theirs))
    product = seconds(lambda: [users[lo : lo + 500] @ items.T for lo in range(0, len(users), 500)])
    floor = len(users) * items.size / rate
    same = float((found[0].reshape(len(users), k) == others[0]).mean())
    size = f"{len(users):,} × {len(items):,} (once {ready:.2f})"
    return row(f"top {k}, {name}", size, own, other, floor, product, same)


def similar(name: str, items: Float32s, k: int, rounds: int, rate: float) -> Row:
    """Cosine neighbours of every item; implicit's for a tenth of them, times ten."""
    unit = unit_vectors(items)
    some = unit[::10]
    found: list[Int32s] = []
    others: list[Int32s] = []

    def ours() -> None:
        found[:] = [similar_to_all(unit, k)[1]]

    def theirs() -> None:
        norms = np.ones(len(unit), np.float32)
        others[:] = [by_implicit(unit, some, k + 1, item_norms=norms, num_threads=numba.get_num_threads())[0]]

    similar_to_all(unit[:100], k)
    own, other = [], []
    for _ in range(rounds):
        own.append(seconds(ours))
        other.append(10 * seconds(theirs))
    product = 10 * seconds(lambda: [some[lo : lo + 500] @ unit.T for lo in range(0, len(some), 500)])
    pairs = zip(found[0].reshape(len(unit), k)[::10].tolist(), others[0].tolist(), strict=True)
    # implicit counts the item itself, which need not come first among equals
    same = float(np.mean([[i for i in b if i != 10 * r][:k] == a for r, (a, b) in enumerate(pairs)]))
    floor = len(unit) ** 2 * D / 2 / rate
    return row(f"similar {k}, {name}, exact", f"{len(unit):,}²", own, other, floor, product, same)


def approximate(items: Float32s, k: int) -> None:
    """The approximate mode and its recall."""
    unit = unit_vectors(items)
    known = np.asarray(items.any(axis=1))
    similar_approximate(unit[:1000], k, known[:1000], np.random.default_rng(0))
    for probes in (8, 24):
        recall = 0.0
        start = time.perf_counter()
        _, recall = similar_approximate(unit, k, known, np.random.default_rng(0), probes)
        spent = time.perf_counter() - start
        print(
            f"\nApproximate, {int(known.sum()):,} items, {probes} probes: {spent:.1f} s with its recall, {recall:.4f}"
        )


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="also a million items")
    parser.add_argument("--run", type=Path, help="also the ALS factors of a finished run, some of its users")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.threads:
        numba.set_num_threads(options.threads)
    rate = peak_rate(numba.get_num_threads())
    print(
        f"{numba.get_num_threads()} threads; load {os.getloadavg()[0]:.1f}; {rate / 1e9:.0f} G multiply-adds a second\n"
    )
    rows: list[Row] = []
    rng = np.random.default_rng(1)
    flat = rng.standard_normal((100_000, D), dtype=np.float32)
    visitors = rng.standard_normal((4000, D), dtype=np.float32)
    rows += [lists("flat norms", visitors, flat, k, options.rounds, rate) for k in (10, 100)]
    users, items = skewed(24_000, 100_000, 5_000_000)
    rows += [lists("skewed norms", users[:4000], items, k, options.rounds, rate) for k in (10, 100)]
    rows.append(similar("flat", flat[:50_000], 10, options.rounds, rate))
    rows.append(similar("skewed", items[items.any(axis=1)][:50_000], 10, options.rounds, rate))
    if options.large:
        users, items = skewed(100_000, 1_000_000, 20_000_000)
        rows += [lists("skewed norms", users[:1000], items, k, options.rounds, rate) for k in (10, 100)]
    if options.run is not None:
        model = load_arrays(options.run / "models" / "als_model.npz")
        users = np.random.default_rng(2).permutation(model["user_factors"][model["known_users"]])
        some = 4000 if len(model["item_factors"]) < 500_000 else 1000
        rows += [lists("of a run", users[:some], model["item_factors"], k, options.rounds, rate) for k in (10, 100)]
    figures.tell(HEADS, rows, options.save)
    approximate(items, 10)


if __name__ == "__main__":
    main()
