"""What a log costs to load in each form: seconds, processor seconds and peak memory, each beside parquet.

python benchmarks/inputs.py [--copies 6] [--rounds 3] [--folder /tmp/forms]

The log is `synth --preset medium`, 5 million events, as many times over as --copies says, with other listeners each
time. Each load is a process of its own; the forms take turns, and medians are kept. All must give the same arrays.
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


def make(folder: Path, copies: int) -> None:
    """The log in every form, where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    from tonearm.synth import generate

    if not (folder / "log").exists():
        generate("medium", folder / "log", 0, False)
    one = pl.scan_parquet(folder / "log" / "events.parquet")
    log = pl.concat([one.with_columns(pl.col("user_id") + 1_000_000 * copy) for copy in range(copies)])
    sinks: dict[str, Callable[[Path], object]] = {
        "parquet": log.sink_parquet,
        "csv": log.sink_csv,
        "jsonl": log.sink_ndjson,
        "arrow": log.sink_ipc,
    }
    for form in FORMS:
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--copies", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/forms"))
    parser.add_argument("--load", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load:
        load(given.load)
        return
    make(given.folder, given.copies)
    costs: dict[str, list[list[float]]] = {form: [] for form in FORMS}
    digests = set()
    for _ in range(given.rounds):
        for form in FORMS:
            command = [sys.executable, __file__, "--load", str(given.folder / f"events.{form}")]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            *cost, digest = json.loads(done.stdout)
            costs[form].append(cost)
            digests.add(digest)
    assert len(digests) == 1, "the forms do not give the same log"
    rows = []
    for form in FORMS:
        seconds, processor, megabytes = (statistics.median(column) for column in zip(*costs[form], strict=True))
        size = (given.folder / f"events.{form}").stat().st_size / 2**20
        rows.append({"form": form, "size": size, "seconds": seconds, "processor": processor, "memory": megabytes})
    for row in rows:
        row["times"] = row["processor"] / rows[0]["processor"]
        row["share"] = row["memory"] / rows[0]["memory"]
    columns = {
        "form": {"head": f"{5 * given.copies} million events as"},
        "size": {"head": "file, MiB", "as": ",.0f"},
        "seconds": {"head": "load, s", "as": ".1f"},
        "processor": {"head": "processor, s", "as": ".1f"},
        "times": {"head": "times parquet's", "as": ".1f"},
        "memory": {"head": "peak memory, MiB", "as": ",.0f"},
        "share": {"head": "share of parquet's", "as": ".2f"},
    }
    print(figures.table(figures.save("inputs", columns, rows)))


if __name__ == "__main__":
    main()
