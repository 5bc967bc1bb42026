"""A run on a cluster at several numbers of listeners: hours, memory, shuffle, and a model of them.

python benchmarks/spark.py 27000 136000 --of LOG --save spark

A master and two workers on this machine; each size is of so many listeners drawn from a log, or a log of the small
preset's catalogue and habits. Peaks are without pages of mapped files, which the system takes back at will.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from figures import parser, save, tell
from spark_cost import Size, expected
from tonearm.config import load_config
from tonearm.synth import PRESETS, generate

ROOT = Path(__file__).resolve().parents[1]

COLUMNS = {
    "users": {"head": "listeners", "as": ",.0f"},
    "items": {"head": "tracks heard", "as": ",.0f"},
    "events": {"head": "events", "as": ",.0f"},
    "minutes": {"head": "minutes", "as": ",.1f"},
    "minutes_ratio": {"head": "expected / measured", "as": ".2f"},
    "shuffle_mb": {"head": "MB shuffled", "as": ",.0f"},
    "shuffle_ratio": {"head": "expected / measured", "as": ".2f"},
    "driver_python_mb": {"head": "driver's Python, MB", "as": ",.0f"},
    "driver_ratio": {"head": "expected / measured", "as": ".2f"},
    "driver_java_mb": {"head": "driver's Java, MB", "as": ",.0f"},
    "worker_mb": {"head": "a worker, MB", "as": ",.0f"},
    "worker_ratio": {"head": "expected / measured", "as": ".2f"},
    "spilled_mb": {"head": "MB spilled", "as": ",.0f"},
}


def main() -> None:
    """Run every size and tell the table."""
    options = parser(__doc__)
    options.add_argument("users", type=int, nargs="+")
    options.add_argument("--of", type=Path, help="take the listeners of the log in this folder")
    options.add_argument("--memory", default="2g", help="of each worker")
    options.add_argument("--heap", default="1g", help="of it what Java takes for itself, and the driver's Java too")
    options.add_argument("--set", action="append", default=[], help="an option of the runs")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="tonearm-bench-") as folder:
        rows = []
        for users in given.users:
            rows.append(measured(Path(folder), users, given))
            print(json.dumps(rows[-1]), flush=True)
    heads = [(column["head"], column["as"]) for column in COLUMNS.values()]
    tell(heads, [[row[key] for key in COLUMNS] for row in rows])
    if given.save:
        save(given.save, COLUMNS, [{key: row[key] for key in COLUMNS} for row in rows])


def measured(folder: Path, users: int, given: argparse.Namespace) -> dict[str, Any]:
    """One size."""
    log, out, memory, options = folder / f"log-{users}", folder / f"run-{users}", given.memory, given.set
    if given.of is not None:
        some(given.of, users, log)
    else:
        made(users, log)
    sys.path.insert(0, str(ROOT / "tools"))
    from spark_cluster import cluster  # type: ignore[import-not-found]

    heaps = ", ".join(f'"spark.{of}.memory" = "{given.heap}"' for of in ("executor", "driver"))
    sets = [f"spark.settings={{{heaps}}}", *options]
    with cluster(2, memory, 1) as (address, workers):
        command = [sys.executable, "-m", "tonearm", "run", "--engine", "spark", "--events", str(log / "events.parquet")]
        command += ["--items", str(log / "items.parquet"), "--test-from", "2022-12-16", "--out", str(out)]
        for one in (f"spark.master={address}", *sets):
            command += ["--set", one]
        began = time.perf_counter()
        process = subprocess.Popen(command)
        peaks = {"python": 0.0, "java": 0.0, "worker": 0.0, "worker_python": 0.0}
        spent: dict[int, float] = {}
        watcher = threading.Thread(target=watch, args=(process, [one.pid for one in workers], peaks, spent))
        watcher.start()
        if process.wait() != 0:
            raise SystemExit(f"the run of {users:,} listeners failed")
        seconds = time.perf_counter() - began
        watcher.join()
    manifest = json.loads((out / "manifest.json").read_text())
    stages = manifest["cluster"]["stages"]

    def total(name: str) -> float:
        return float(sum(stage[name] for stage in stages))

    found = {
        "users": manifest["found"]["train"]["users"],
        "items": manifest["found"]["train"]["items"],
        "events": manifest["found"]["train"]["events"],
        "minutes": seconds / 60,
        "cpu_minutes": sum(spent.values()) / 60,
        "task_minutes": total("task_seconds") / 60,
        "shuffle_mb": total("shuffle_bytes") / 1e6,
        "spilled_mb": total("spilled_bytes") / 1e6,
        "input_mb": total("input_bytes") / 1e6,
        "driver_python_mb": peaks["python"],
        "driver_java_mb": peaks["java"],
        "worker_mb": peaks["worker"],
        "worker_python_mb": peaks["worker_python"],
        "stages": len(stages),
        "seconds_of": {stage["name"]: stage["seconds"] for stage in manifest["stages"]},
    }
    size = Size(found["users"], manifest["found"]["catalogue"]["rows"], found["items"], found["events"])
    model = expected(size, load_config(overrides=options), 2, float(given.heap.removesuffix("g")))
    ratios = {
        "minutes_ratio": model["minutes"] / found["minutes"],
        "shuffle_ratio": model["shuffle_mb"] / found["shuffle_mb"],
        "driver_ratio": model["driver_mb"] / found["driver_python_mb"],
        "worker_ratio": model["worker_mb"] / found["worker_mb"],
    }
    return found | ratios


def made(users: int, log: Path) -> None:
    """A log of the small preset with so many listeners."""
    preset, share = PRESETS["small"], users / PRESETS["small"].users
    sizes = {
        name: round(getattr(preset, name) * share) for name in ("events", "test_users", "cold_users", "test_events")
    }
    generate(replace(preset, name=f"of {users}", users=users, **sizes), log, seed=1)


def some(whole: Path, users: int, log: Path) -> None:
    """So many listeners of another log, drawn by their ids, and its catalogue."""
    log.mkdir()
    events = pl.scan_parquet(whole / "events.parquet")
    every = events.select("user_id").unique().collect(engine="streaming")["user_id"].sort()
    chosen = np.random.default_rng(0).choice(len(every), users, replace=False)
    ids = every.gather(np.sort(chosen))
    events.filter(pl.col("user_id").is_in(ids.implode())).sink_parquet(log / "events.parquet")
    (log / "items.parquet").symlink_to((whole / "items.parquet").absolute())


def watch(
    process: subprocess.Popen[bytes], workers: list[int], peaks: dict[str, float], spent: dict[int, float]
) -> None:
    """The peaks of anonymous memory of a process, of its Java, of all that a worker runs and of the Python in it, MB.

    spent: processor seconds of all that runs for it, by process
    """
    me = os.getpid()
    while process.poll() is None:
        peaks["python"] = max(peaks["python"], anonymous(process.pid))
        for child in children(process.pid):
            peaks["java"] = max(peaks["java"], anonymous(child))
        for worker in workers:
            own = {child: anonymous(child) for child in (worker, *children(worker))}
            peaks["worker"] = max(peaks["worker"], sum(own.values()))
            peaks["worker_python"] = max(peaks["worker_python"], sum(own[child] for child in own if is_python(child)))
        for other in children(me):
            spent[other] = max(spent.get(other, 0.0), seconds(other))
        time.sleep(0.5)


def is_python(pid: int) -> bool:
    """Whether a process runs Python."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("python")
    except OSError:
        return False


def seconds(pid: int) -> float:
    """Seconds that a process was on a processor."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def anonymous(pid: int) -> float:
    """MB of a process that are no pages of files."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("RssAnon:")), 0.0)


def children(pid: int) -> list[int]:
    """Processes that any of its threads started, and these."""
    own: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            own += [int(child) for child in thread.read_text().split()]
    return own + [one for child in own for one in children(child)]


if __name__ == "__main__":
    main()
