"""How soon the command line answers: `--help`, the import, and the first line of `run` on the tiny log.

python benchmarks/startup.py [--rounds 5] [--save startup]

Whole processes, medians; kernels are in the cache already. The first line of a run says what loading took.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import figures

TONEARM = str(Path(sys.executable).with_name("tonearm"))


def to_first_line(command: list[str]) -> tuple[float, float]:
    """Seconds from start to the first line that is printed, and to the end of the process, which must end well."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    first = time.perf_counter() - start
    process.communicate()
    assert process.returncode == 0, command
    return first, time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [TONEARM, "synth", "--preset", "tiny", "--out", f"{folder}/log"], check=True, capture_output=True
        )
        log = ["--events", f"{folder}/log/events.parquet", "--items", f"{folder}/log/items.parquet"]
        run = [TONEARM, "run", *log, "--test-from", "2022-12-16", "--out", f"{folder}/run", "--overwrite"]
        to_first_line(run)
        commands = {
            "`tonearm --help`": [TONEARM, "--help"],
            "`import tonearm`": [sys.executable, "-c", "import tonearm; print()"],
            "`tonearm run`, tiny": run,
        }
        rows: list[list[Any]] = []
        for name, command in commands.items():
            times = [to_first_line(command) for _ in range(options.rounds)]
            rows.append([name, *(statistics.median(column) for column in zip(*times, strict=True))])
    heads = [("command", ""), ("to its first line, s", ".2f"), ("to its end, s", ".2f")]
    figures.tell(heads, rows, options.save)


if __name__ == "__main__":
    main()
