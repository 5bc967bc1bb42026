"""What a run on a cluster should take: time, shuffle and memory, from the size of the log and the options.

python benchmarks/spark_cost.py --save spark-paper      the two large logs of docs/use/spark.md
python benchmarks/spark_cost.py --log 5e6 1e6 1e9 --tasks 64 --heap 4 --set als.factors=64

Arrays are counted from the code. Seconds, and what is less than counted, are fitted to runs of 14,000 and 27,000
listeners by `benchmarks/spark.py`; a run of 136,000 is what they are held against.
"""

from dataclasses import dataclass

from figures import parser, save, tell
from tonearm.config import Config, load_config
from tonearm.kernels.machine.tile import WIDE
from tonearm.parts.spectral import SPARE
from tonearm.spark.cluster import LARGE

OVERHEAD = 100.0
"""Seconds of any run."""

PER_NUMBER = 1.6e-7
"""Seconds for each number of a matrix of tracks that all tasks sum."""

PER_DRAWN = 3.6e-3
"""Seconds of the driver for each listener that the ranker learns from."""

PER_EVENT, PER_USER = 5.8e-5, 2.8e-3
"""Seconds of a task."""

LABELLED = 0.6
"""Share of the listeners who play in the label window."""

HEARD = 0.75
"""Share of the tracks that are heard which the listeners of one task hear."""

SHUFFLED = 20
"""Bytes of an event, on its way to its shard."""

FEATURES, CANDIDATES = 120, 450
"""Columns and rows of a listener when lists are made."""

JAVA, DAEMON = 1.5, 2.5e8
"""What Java takes for each byte of its heap, and the worker itself."""


@dataclass(frozen=True)
class Size:
    """A log; tracks are those of the catalogue, and those of them that are heard."""

    users: float
    tracks: float
    heard: float
    events: float


LOGS = {
    "Yambda-5B: 1 M listeners, 9.4 M tracks, 4.8 G events": (Size(1e6, 9.4e6, 9.4e6, 4.8e9), 200),
    "100 M listeners, 10 M tracks, 20 G events": (Size(1e8, 1e7, 1e7, 2e10), 1000),
}
"""Logs that are on paper here, and tasks at a time."""

COLUMNS = {
    "log": {"head": "log"},
    "tasks": {"head": "tasks at a time", "as": ",.0f"},
    "minutes": {"head": "minutes", "as": ",.0f"},
    "shuffle_mb": {"head": "MB shuffled", "as": ",.0f"},
    "driver_mb": {"head": "driver's Python, MB", "as": ",.0f"},
    "worker_mb": {"head": "a worker of one task, MB", "as": ",.0f"},
}


def main() -> None:
    """Tell what some logs should take."""
    options = parser(__doc__)
    options.add_argument("--log", type=float, nargs=3, metavar=("USERS", "TRACKS", "EVENTS"))
    options.add_argument("--tasks", type=int, default=2, help="of --log, at a time")
    options.add_argument("--heap", type=float, default=2.0, help="of Java in a worker, GB")
    options.add_argument("--set", action="append", default=[], help="an option of the run")
    given = options.parse_args()
    logs, config = LOGS, load_config(overrides=given.set)
    if given.log is not None:
        users, tracks, events = given.log
        logs = {"--log": (Size(users, tracks, tracks, events), given.tasks)}
    rows = [
        {"log": name, "tasks": tasks, **expected(size, config, tasks, given.heap)}
        for name, (size, tasks) in logs.items()
    ]
    tell([(column["head"], column.get("as", "")) for column in COLUMNS.values()], [[*row.values()] for row in rows])
    if given.save:
        save(given.save, COLUMNS, rows)


def expected(size: Size, config: Config, tasks: int, heap: float) -> dict[str, float]:
    """Minutes; MB shuffled; MB of the driver's Python, and of a worker of one task with its Java.

    tasks: at a time; heap: of Java in a worker, GB
    """
    als, spectral, tracks = config.als, config.spectral, size.tracks
    close = min(config.ease.items, size.heard)
    vectors = spectral.size(int(min(size.users, size.heard)), int(tracks))
    by_factor = 4 * tracks * als.factors
    by_vector = 4 * tracks * (-(-(vectors + SPARE) // WIDE) * WIDE)
    # all passes over all users, then the later ones in both fits
    passes = als.iterations + als.more_iterations * (1 + (size.events > als.max_pairs))
    sums, products = als.cg_steps * passes, 2 * (spectral.passes + 1)
    drawn = min(config.ranker.users, LABELLED * size.users)

    seconds = OVERHEAD + PER_NUMBER / 4 * (by_factor * sums + by_vector * products) + PER_DRAWN * drawn
    seconds += (PER_EVENT * size.events + PER_USER * size.users) / tasks
    share = HEARD * size.heard / tracks
    shuffled = share * (_shuffled(by_factor, tasks) * sums + _shuffled(by_vector, tasks) * products)
    shuffled += SHUFFLED * size.events + 2 * _shuffled(4 * close**2, tasks)
    fit = by_factor + 8 * config.item_item.entries + max(12 * close**2, 6 * by_vector)
    ranker = 8 * FEATURES * (2500 * CANDIDATES + config.ranker.negatives * drawn)
    driver = 2e8 + 300 * tracks + max(9 * by_factor, fit, ranker)
    lists = 12 * config.block * FEATURES * CANDIDATES
    worker = 3e8 + max(3 * by_vector, 6 * by_factor, lists) + JAVA * heap * 2**30 + DAEMON
    return {
        "minutes": seconds / 60,
        "shuffle_mb": shuffled / 1e6,
        "driver_mb": driver / 2**20,
        "worker_mb": worker / 2**20,
    }


def _shuffled(size: float, tasks: int) -> float:
    """Bytes of all tasks' arrays of so many bytes that are shuffled to be summed."""
    return size * tasks if size * tasks > LARGE else 0.0


if __name__ == "__main__":
    main()
