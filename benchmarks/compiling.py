"""How long kernels take to compile on a fresh machine, and what `make demo` takes there: an empty place for kernels.

python benchmarks/compiling.py [--rounds 1] [--save compiling]

Whole processes, medians: seconds that passed, and processor seconds of all processes.
"""

import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import figures

TONEARM = str(Path(sys.executable).with_name("tonearm"))


def taken(commands: Sequence[Sequence[str]], kernels: str) -> tuple[float, float, float]:
    """Seconds that passed, processor seconds, and seconds of compiling as the commands say it."""
    before, began, said = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0.0
    for command in commands:
        environment = os.environ | {"NUMBA_CACHE_DIR": kernels}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found = re.search(r"^compile kernels.*?([\d.]+) s", done.stderr, re.MULTILINE)
        said += float(found[1]) if found else 0.0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, processor, said


def demo(folder: str) -> list[list[str]]:
    """The commands of `make demo`."""
    files = ["--events", f"{folder}/log/events.parquet", "--items", f"{folder}/log/items.parquet"]
    return [
        [TONEARM, "synth", "--preset", "tiny", "--out", f"{folder}/log"],
        [TONEARM, "run", *files, "--test-from", "2022-12-16", "--out", f"{folder}/run"],
    ]


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, commands, place in (
                ("`tonearm warmup`", [[TONEARM, "warmup"]], "warmed"),
                ("`make demo`, nothing compiled", demo(f"{folder}/first"), "kernels"),
                ("`make demo` again", demo(f"{folder}/second"), "kernels"),
            ):
                rows.setdefault(name, []).append(taken(commands, f"{folder}/{place}"))
    heads = [("command", ""), ("s", ".1f"), ("processor, s", ".1f"), ("of it compiling before the run, s", ".1f")]
    medians = [[name, *(statistics.median(one) for one in zip(*times, strict=True))] for name, times in rows.items()]
    figures.tell(heads, medians, options.save)


if __name__ == "__main__":
    main()
