"""How fast lists are measured: against ranx, in turn in one process, and at the size of the reference log.

python benchmarks/metrics.py [--users 20000] [--full] [--save metrics]
"""

import resource
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
from ranx import Qrels, Run
from ranx import evaluate as by_ranx

import figures
from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.lists import Lists
from tonearm.data.log import Log, Pairs
from tonearm.data.truth import Truth, truth
from tonearm.data.vocabulary import Vocabulary
from tonearm.evaluation.bootstrap import resample
from tonearm.evaluation.meters import FAMILIES, KS, ListMeter, describe_items
from tonearm.types import Int32s

LENGTH = 100


def popular_draw(rng: np.random.Generator, n: int, n_items: int) -> Int32s:
    """Items drawn with the skew of plays: rank r about as 1 / r."""
    return np.asarray(np.minimum(np.exp(rng.random(n) * np.log(n_items)), n_items) - 1, np.int32)


def make_log(rng: np.random.Generator, n_users: int, n_items: int, mean: float) -> Log:
    """Geometric numbers of events for each user."""
    sizes = rng.geometric(1 / mean, n_users)
    stop = np.cumsum(sizes)
    return Log(stop - sizes, stop, popular_draw(rng, int(stop[-1]), n_items), None, None, n_items)


def make_lists(rng: np.random.Generator, n: int, n_items: int) -> Lists:
    """Lists without repeats: a popular start, then every seventh item."""
    first = popular_draw(rng, n, n_items)[:, None]
    item = (first + 7 * np.arange(LENGTH, dtype=np.int32)) % n_items
    return Lists(
        np.arange(n + 1, dtype=np.int64) * LENGTH, item.ravel().astype(np.int32), np.zeros(n * LENGTH, np.float32)
    )


def blocks(n_users: int, size: int = 20_000) -> Iterator[Int32s]:
    """Users in blocks."""
    for lo in range(0, n_users, size):
        yield np.arange(lo, min(lo + size, n_users), dtype=np.int32)


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def against_ranx(n_users: int, n_items: int = 50_000, rounds: int = 5) -> list[Any]:
    """Accuracy at all ks, ours with everything beyond accuracy, and ranx; data of each is made ready beforehand."""
    rng = np.random.default_rng(0)
    train, test = make_log(rng, n_users, n_items, 55), make_log(rng, n_users, n_items, 10)
    answers, lists, history = truth(train, test), make_lists(rng, n_users, n_items), Pairs.of(train)
    items = describe_items(train.item_counts()[0], Catalogue(Vocabulary(pl.Series(range(n_items)))))
    wanted = zip(answers.users, answers.indptr[:-1], answers.indptr[1:], strict=True)
    qrels = Qrels({str(u): {str(i): 1 for i in answers.item[lo:hi]} for u, lo, hi in wanted})
    ranked = lists.item.reshape(-1, LENGTH)
    run = Run({str(u): {str(i): 1 / r for r, i in enumerate(ranked[u], 1)} for u in answers.users})
    names = [f"{family}@{k}" for family in FAMILIES for k in KS]
    meters: list[ListMeter] = []

    def ours() -> None:
        meters.append(ListMeter(answers, items))
        meters[-1].add(np.arange(n_users, dtype=np.int32), lists, history)

    def theirs() -> dict[str, float]:
        return dict(by_ranx(qrels, run, names))

    ours()
    expected, found = theirs(), meters[-1].summary()
    worst = max(abs(expected[name] - (found[name] or 0)) for name in names)
    times = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    mine, other = (statistics.median(column) for column in zip(*times, strict=True))
    return [len(answers), mine, other, other / mine, f"{worst:.1e}"]


def one_list(answers: Truth, train: Log, catalogue: Catalogue) -> tuple[ListMeter, float]:
    """Measure one list for all train users, counting only the measuring."""
    rng = np.random.default_rng(1)
    meter = ListMeter(answers, describe_items(train.item_counts()[0], catalogue))
    spent = 0.0
    for users in blocks(train.n_users):
        lists, history = make_lists(rng, len(users), train.n_items), Pairs.of(train.users(users))
        start = time.perf_counter()
        meter.add(users, lists, history)
        spent += time.perf_counter() - start
    return meter, spent


def full_size() -> None:
    """1.37 M train users with 100 items each, about .78 M of them evaluated; a million items; 1,000 resamples."""
    rng = np.random.default_rng(0)
    n_users, n_items = 1_370_000, 1_000_000
    train, test = make_log(rng, n_users, n_items, 80), make_log(rng, n_users, n_items, 18)
    quiet = rng.random(n_users) < 0.43
    test = Log(test.start, np.where(quiet, test.start, test.stop), test.item, None, None, n_items)
    genre = np.arange(0, 2 * n_items + 1, 2, dtype=np.int64)
    labels = Vocabulary(pl.Series([f"g{i:03}" for i in range(166)]))
    tags = Tags(genre, (np.arange(2 * n_items) % 166).astype(np.int32), labels)
    catalogue = Catalogue(Vocabulary(pl.Series(range(n_items))), genres=tags)
    found: list[Truth] = []
    spent = seconds(lambda: found.append(truth(train, test)))
    answers = found[0]
    print(f"full size: {train.n_events:,} train events; truth of {len(answers):,} users in {spent:.1f} s")
    meter, spent = one_list(answers, train, catalogue)
    print(f"  one list of {LENGTH} for {n_users:,} users: {spent:.1f} s")
    values = [meter.values] * 5
    spent = seconds(lambda: resample(values, rng))
    print(f"  bootstrap, 5 lists, 24 metrics, 1,000 resamples: {spent:.1f} s")
    print(f"  summary: {seconds(meter.summary):.1f} s, slices: {seconds(meter.slices):.1f} s")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB, of which most is the log")


def main() -> None:
    """Run what the command line asks for."""
    parser = figures.parser(__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    heads = [("users", ",.0f"), ("ours s", ".3f"), ("ranx s", ".3f"), ("ratio", ".1f"), ("largest difference", "")]
    figures.tell(heads, [against_ranx(options.users)], options.save)
    if options.full:
        full_size()


if __name__ == "__main__":
    main()
