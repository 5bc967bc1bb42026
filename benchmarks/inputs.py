"""What a log costs to load in each form: seconds, processor seconds and peak memory, each beside parquet.

python benchmarks/inputs.py [--copies 6] [--rounds 3] [--folder /tmp/forms] [--save inputs]
python benchmarks/inputs.py --log events.parquet --forms parquet csv.gz --rounds 1 --folder /tmp/full --save inputs-full

The log is `synth --preset medium`, 5 million events, as many times over as --copies says, with other listeners each
time, or the one of --log. Each load is a process of its own; the forms take turns, and medians are kept. All must give
the same arrays.
"""

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl

import figures

FORMS = ("parquet", "csv", "csv.gz", "csv.zst", "jsonl.gz", "arrow")


def copied(folder: Path, copies: int) -> pl.LazyFrame:
    """The medium preset's log, so many times over."""
    from tonearm.synth import generate

    if not (folder / "log").exists():
        generate("medium", folder / "log", 0, False)
    one = pl.scan_parquet(folder / "log" / "events.parquet")
    return pl.concat([one.with_columns(pl.col("user_id") + 1_000_000 * copy) for copy in range(copies)])


def make(folder: Path, log: pl.LazyFrame, forms: list[str]) -> None:
    """The log in each form, where it is not there yet."""
    sinks: dict[str, Callable[[Path], object]] = {
        "parquet": log.sink_parquet,
        "csv": log.sink_csv,
        "jsonl": log.sink_ndjson,
        "arrow": log.sink_ipc,
    }
    for form in forms:
        path, plain = folder / f"events.{form}", form.partition(".")[0]
        bare = folder / f"events.{plain}"
        if not path.exists():
            if not bare.exists():
                sinks[plain](bare)
            if form.endswith((".gz", ".zst")):
                packer = ["gzip", "-k"] if form.endswith(".gz") else ["zstd", "-q"]
                subprocess.run([*packer, str(bare)], check=True)


def load(path: str) -> None:
    """Load one file and print what it cost and a digest of what it gave."""
    from tonearm.loading.load import load_events

    start = time.perf_counter()
    log = load_events(path, None, datetime(2022, 12, 16)).train.log
    seconds = time.perf_counter() - start
    assert log.time is not None
    digest = hashlib.sha256(log.start.tobytes() + log.item.tobytes() + log.time.tobytes()).hexdigest()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, digest]))


def main() -> None:
    """Measure and keep."""
    parser = figures.parser(__doc__)
    parser.add_argument("--log", type=Path, help="a log of parquet to take instead")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--copies", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/forms"))
    parser.add_argument("--load", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load:
        load(given.load)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    log = copied(given.folder, given.copies) if given.log is None else pl.scan_parquet(given.log)
    events = log.select(pl.len()).collect().item()
    make(given.folder, log, given.forms)
    costs: dict[str, list[list[float]]] = {form: [] for form in given.forms}
    digests = set()
    for _ in range(given.rounds):
        for form in given.forms:
            command = [sys.executable, __file__, "--load", str(given.folder / f"events.{form}")]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            *cost, digest = json.loads(done.stdout)
            costs[form].append(cost)
            digests.add(digest)
    assert len(digests) == 1, "the forms do not give the same log"
    rows = []
    for form in given.forms:
        seconds, processor, megabytes = (statistics.median(column) for column in zip(*costs[form], strict=True))
        size = (given.folder / f"events.{form}").stat().st_size / 2**20
        rows.append({"form": form, "size": size, "seconds": seconds, "processor": processor, "memory": megabytes})
    for row in rows:
        row["times"] = row["seconds"] / rows[0]["seconds"]
        row["share"] = row["memory"] / rows[0]["memory"]
    columns = {
        "form": {"head": f"{events / 1e6:,.0f} million events as"},
        "size": {"head": "file, MiB", "as": ",.0f"},
        "seconds": {"head": "load, s", "as": ".1f"},
        "processor": {"head": "processor, s", "as": ".1f"},
        "times": {"head": "times parquet's", "as": ".1f"},
        "memory": {"head": "peak memory, MiB", "as": ",.0f"},
        "share": {"head": "share of parquet's", "as": ".2f"},
    }
    heads = [(column["head"], column.get("as", "")) for column in columns.values()]
    figures.tell(heads, [[row[key] for key in columns] for row in rows])
    if given.save:
        figures.save(given.save, columns, rows)


if __name__ == "__main__":
    main()
