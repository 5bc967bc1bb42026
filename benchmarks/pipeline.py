"""The whole pipeline against RecTools' CandidateRankingModel, in turn, whole processes on the same log.

python benchmarks/pipeline.py EVENTS ITEMS TEST_FROM OUT [--rectools .venv-rectools/bin/python] [--rounds 1] [--save N]

Both have ALS and popular as candidates, 100 of each, and lists of 100 for every user of train; ours also writes and
measures everything that a run does, and a line below the table says what the stages without a counterpart took.
RecTools gets the train part counted by pair; ours reads the events. A third row is ours by default, with all sources.
Seconds from start to end of the process, median over rounds, kernels compiled beforehand, and its peak memory.
RecTools runs in the environment of `tools/peer.sh rectools`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import polars as pl

import figures

PEER = Path(__file__).with_name("rectools_lists.py")
K = 100
OURS_ALONE = ("similar items", "evaluate", "catalogue, models, profile", "report")
"""Stages of a run that RecTools has no counterpart to."""


def export(events: str, test_from: str, folder: Path) -> None:
    """The train part as RecTools takes it, and all its users."""
    folder.mkdir(parents=True, exist_ok=True)
    moment = pl.lit(test_from).str.to_datetime()
    train = pl.scan_parquet(events).filter(pl.col("started_at") < moment)
    pairs = train.group_by("user_id", "item_id").agg(
        pl.len().cast(pl.Float32).alias("weight"), pl.col("started_at").min().alias("datetime")
    )
    pairs.collect().write_parquet(folder / "train.parquet")
    train.select(pl.col("user_id").unique()).collect().write_parquet(folder / "users.parquet")
    last = train.select(pl.col("started_at").quantile(0.9)).collect().item()
    end = train.select(pl.col("started_at").max()).collect().item()
    options = {
        "peers": {"implicit ALS": {"factors": 128, "regularization": 30.0, "alpha": 20.0}},
        "hours": max(1, int((end - last).total_seconds() // 3600)),
        "share": 0.1,
        "reranker": "classifier",
        "k": K,
    }
    (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")


def warm(ours: list[str], options: argparse.Namespace) -> None:
    """Run on a twentieth of the users, all sources, so that kernels are compiled."""
    some = pl.scan_parquet(options.events).filter(pl.col("user_id").hash(0) % 20 == 0)
    some.collect().write_parquet(options.out / "some.parquet")
    command = [*ours, str(options.out / "warm")]
    command[command.index("--events") + 1] = str(options.out / "some.parquet")
    timed(command, options.out)


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak MB of a process, which must end well."""
    start = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (folder / "log.txt").read_text(encoding="utf-8")[-2000:]
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("events")
    parser.add_argument("items")
    parser.add_argument("test_from")
    parser.add_argument("out", type=Path)
    parser.add_argument("--rectools", default=".venv-rectools/bin/python")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    export(options.events, options.test_from, options.out / "rectools")
    ours = [str(Path(sys.executable).with_name("tonearm")), "run", "--events", options.events, "--items", options.items]
    ours += ["--test-from", options.test_from, "--overwrite", "--out"]
    commands = {
        "ours, popular and ALS": [*ours, str(options.out / "two"), "--set", 'sources=["popular", "als"]'],
        "RecTools, popular and ALS": [options.rectools, str(PEER), str(options.out / "rectools")],
        "ours, all sources": [*ours, str(options.out / "all")],
    }
    warm(ours, options)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, command in commands.items():
            found[name].append(timed(command, options.out))
    print(f"load {os.getloadavg()[0]:.1f}\n")
    medians = [[name, *(statistics.median(one) for one in zip(*rows, strict=True))] for name, rows in found.items()]
    figures.tell([("pipeline", ""), ("s", ".1f"), ("MB", ",.0f")], medians, options.save)
    stages = json.loads((options.out / "two" / "manifest.json").read_text(encoding="utf-8"))["stages"]
    alone = sum(stage["seconds"] for stage in stages if stage["name"] in OURS_ALONE)
    print(f"\n{alone:.1f} s of the last run of two sources went to {', '.join(OURS_ALONE)}")


if __name__ == "__main__":
    main()
