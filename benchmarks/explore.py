"""How soon the explorer's pages come: `tonearm explore` in a process of its own, through HTTP, one request at a time.

python benchmarks/explore.py TITLE=RUN ... [--rounds 4] [--save explore]

Listeners are those with the longest history, at the 99.9th and 99th percentile, the median and the 5th; tracks are the
first of each one's list; words of a search are the first tracks' names. The wait for the models is told apart.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import polars as pl

import figures

SHARES = (1.0, 0.999, 0.99, 0.5, 0.05)


@contextmanager
def serving(run: Path) -> Iterator[str]:
    """The address of a run's explorer, which ends with the block."""
    command = [str(Path(sys.executable).with_name("tonearm")), "explore", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1].rstrip("/")
        finally:
            process.terminate()


def pages(run: Path) -> dict[str, list[str]]:
    """Addresses of each kind of page."""
    first = pl.scan_parquet(run / "recommendations.parquet").filter(pl.col("rank") == 1)
    table = first.select("user_id", "item_id", "tracks_played_by_user").collect().sort("tracks_played_by_user")
    rows = [table.row(round(share * (len(table) - 1))) for share in SHARES]
    users, items = ([quote(str(row[column])) for row in rows] for column in range(2))
    names = pl.read_parquet(run / "top_popular.parquet")["name"].drop_nulls().head(len(rows)).to_list()
    return {
        "listener": [f"listener/{user}" for user in users],
        "track": [f"track/{item}" for item in items],
        "search": [f"search?{urlencode({'q': name, 'part': 1})}" for name in names],
        "why": [f"why/{user}/{item}" for user, item in zip(users, items, strict=True)],
    }


def milliseconds(address: str) -> float:
    """How long a page takes."""
    start = time.perf_counter()
    with urlopen(address) as answer:
        answer.read()
    return 1000 * (time.perf_counter() - start)


def measured(run: Path, rounds: int) -> tuple[list[str], float]:
    """Median and largest milliseconds of each kind of page, and the seconds that the first "why" waits."""
    wanted = pages(run)
    with serving(run) as root:
        start = time.perf_counter()
        while urlopen(f"{root}/{wanted['why'][0]}").status == 202:
            time.sleep(0.2)
        waited = time.perf_counter() - start
        times = [[milliseconds(f"{root}/{one}") for _ in range(rounds) for one in some] for some in wanted.values()]
    return [f"{statistics.median(found):.0f} ({max(found):.0f})" for found in times], waited


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("runs", nargs="+", metavar="TITLE=RUN")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    rows = []
    for title, _, run in (one.rpartition("=") for one in options.runs):
        found, waited = measured(Path(run), options.rounds)
        print(f"{title}: the models were there after {waited:.1f} s", file=sys.stderr)
        rows.append([title, *found])
    heads = ["milliseconds, median (largest, the first time included)", "listener", "track", "search", "why"]
    figures.tell([(head, "") for head in heads], rows, options.save)


if __name__ == "__main__":
    main()
