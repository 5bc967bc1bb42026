"""Exact lists, similar items and approximate similar items against faiss, in a process of its own.

python benchmarks/topk_faiss.py [--rounds 3] [--threads N] [--items 100000] [--save topk-faiss]

Seconds with the building of the index, medians over rounds. Nothing is left out of the lists, by neither: faiss cannot
leave out what a user has heard. Recall is the share of places whose product reaches the k-th best of a plain NumPy
product, for 1,000 rows, so that ties hurt nobody. Against our approximate mode stands the fastest inverted file of
faiss (√n or 4√n lists) whose recall is no lower; our time has the measurement of its own recall in it. Factors as in
benchmarks/topk.py.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

import figures
from als import seconds
from peer import ask, is_missing
from tonearm.kernels.nearest.approximate import similar_approximate
from tonearm.kernels.nearest.similar import similar_to_all
from tonearm.kernels.nearest.topk import Rows, index_items, top_k, unit_vectors
from tonearm.types import Float32s, Int64s
from topk import D, skewed

PROBES = [2, 4, 8, 12, 16, 24, 32, 48]
Ids = npt.NDArray[Any]


class Found(NamedTuple):
    """What a search of faiss took and found; 0 lists are the exact search."""

    seconds: float
    recall: float
    lists: int
    probes: int


@dataclass(frozen=True)
class Search:
    """The k items of highest product with each query; an item is not among its own when queries are the items."""

    name: str
    items: Float32s
    queries: Float32s
    k: int

    @property
    def alike(self) -> bool:
        return self.queries is self.items

    @property
    def chosen(self) -> Int64s:
        """The queries that recall is measured on."""
        return np.sort(np.random.default_rng(2).permutation(len(self.queries))[:1000])

    def least(self) -> Float32s:
        """The k-th best product of each chosen query."""
        parts = []
        for rows in np.array_split(self.chosen, 10):
            products = self.queries[rows] @ self.items.T
            if self.alike:
                products[np.arange(len(rows)), rows] = -np.inf
            parts.append(np.partition(products, -self.k, axis=1)[:, -self.k])
        return np.concatenate(parts)

    def recall(self, found: Ids, least: Float32s) -> float:
        """The share of places of the chosen queries, −1 where nothing was found, that reach the k-th best product."""
        products = np.einsum("qf,qkf->qk", self.queries[self.chosen], self.items[found])
        reached = products >= (least - 1e-5 * np.abs(least))[:, None]
        return float((reached & (found >= 0)).mean())


def of_rows(search: Search, rows: Rows) -> Ids:
    """Our lists of the chosen queries, filled up with −1."""
    found = np.full((len(search.chosen), search.k), -1)
    for place, query in enumerate(search.chosen):
        row = rows[1][rows[0][query] : rows[0][query + 1]]
        found[place, : len(row)] = row
    return found


def by_faiss(search: Search, least: Float32s, searches: list[tuple[int, list[int]]], rounds: int) -> list[Found]:
    """Each search, lists and all their probes, fastest first."""
    options = {"threads": numba.get_num_threads(), "rounds": rounds, "searches": searches}
    arrays: dict[str, Ids] = {"items": search.items, "queries": search.queries, "chosen": search.chosen}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for lists, probes, building, searching in ask(
            "faiss", "faiss_search.py", Path(name), arrays, {**options, "k": search.k + search.alike}
        ):
            found = np.load(Path(name) / f"found_{lists}_{probes}.npy")
            if search.alike:  # the item itself goes last, or else the last of the places
                order = np.argsort(found == search.chosen[:, None], axis=1, kind="stable")
                found = np.take_along_axis(found, order, axis=1)[:, : search.k]
            rows.append(Found(building + searching, search.recall(found, least), lists, probes))
    return sorted(rows)


def row(
    search: Search, kind: str, rounds: int, ours: Callable[[Search], Rows], tried: list[Found] | None = None
) -> list[Any]:
    """One row of the table; the peer's is the fastest of those tried with our recall, or the exact search."""
    rows: list[Rows] = []
    mine = statistics.median(seconds(lambda: rows.append(ours(search))) for _ in range(rounds))
    least = search.least()  # after our time, which threads of this product might disturb
    own = search.recall(of_rows(search, rows[-1]), least)
    lists, probes = 0, 0
    if tried is not None:
        fit = next((found for found in tried if found.recall >= own), max(tried, key=lambda found: found.recall))
        lists, probes = fit.lists, fit.probes
        kind += f"; faiss {probes} of {lists:,}"
    peer = by_faiss(search, least, [(lists, [probes])], rounds)[0]
    size = f"{len(search.queries):,} × {len(search.items):,}"
    found = [f"{search.name}, {kind}", size, mine, peer.seconds, peer.seconds / mine, own, peer.recall]
    print(*found, file=sys.stderr)
    return found


def best_of_users(search: Search) -> Rows:
    """Our exact lists."""
    return top_k(search.queries, index_items(search.items), search.k)


def similar(search: Search) -> Rows:
    """Our exact similar items."""
    return similar_to_all(search.items, search.k)


def approximate(search: Search, probes: int) -> Rows:
    """Our approximate similar items."""
    everything = np.ones(len(search.items), np.bool_)
    return similar_approximate(search.items, search.k, everything, np.random.default_rng(0), probes)[0]


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--items", type=int, default=100_000)
    options = parser.parse_args()
    if is_missing("faiss"):
        return
    if options.threads:
        numba.set_num_threads(options.threads)
    rounds, n = options.rounds, options.items
    print(f"{numba.get_num_threads()} threads; load {os.getloadavg()[0]:.1f}\n")
    rows: list[list[Any]] = []
    rng = np.random.default_rng(1)
    flat = rng.standard_normal((n, D), dtype=np.float32)
    visitors = rng.standard_normal((4000, D), dtype=np.float32)
    users, items = skewed(24_000, n, 50 * n)
    known = unit_vectors(items[items.any(axis=1)])
    few = Search("", known[:1000], known[:1000], 10)
    for warm in (best_of_users, similar, partial(approximate, probes=8)):
        warm(few)
    for name, queries, factors in (("flat", visitors, flat), ("skewed", users[:4000], items)):
        rows += [
            row(Search(f"top {k}", factors, queries, k), f"{name} norms", rounds, best_of_users) for k in (10, 100)
        ]
    for name, unit in (("flat", unit_vectors(flat[: n // 2])), ("skewed", known[: n // 2])):
        rows.append(row(Search("similar 10", unit, unit, 10), f"{name}, exact", rounds, similar))
    near, root = Search("similar 10", known, known, 10), int(np.sqrt(len(known)))
    tried = by_faiss(near, near.least(), [(root, PROBES), (4 * root, PROBES)], 1)
    rows += [
        row(near, f"skewed, {probes} of {root:,}", rounds, partial(approximate, probes=probes), tried)
        for probes in (8, 24)
    ]
    heads = [("what", ""), ("size", ""), ("ours s", ".2f"), ("faiss s", ".2f"), ("ratio", ".1f")]
    figures.tell([*heads, ("our recall", ".4f"), ("faiss's", ".4f")], rows, options.save)


if __name__ == "__main__":
    main()
