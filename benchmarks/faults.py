"""Faults that are made on purpose, and what was there afterwards: the tests of tests/faults, counted.

python benchmarks/faults.py [--short] [--save faults]

Every try asserts that nothing was lost, nothing torn and no traceback shown: there is a table only where that held.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import figures

TESTS = figures.ROOT / "tests" / "faults"


def begin(tests: Path, folder: Path, short: bool) -> tuple["subprocess.Popen[bytes]", Path]:
    """A file of tests in a process of its own, and where it counts its tries."""
    out = folder / f"{tests.stem}.json"
    more = {"TONEARM_FAULTS_OUT": str(out)} | ({} if short else {"TONEARM_FAULTS": "full"})
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:randomly", "-o", "timeout=0", str(tests)]
    return subprocess.Popen(command, cwd=figures.ROOT, env=os.environ | more), out


def main() -> None:
    """Run the files of tests side by side, and print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("--short", action="store_true", help="a few tries of each fault, as in continuous integration")
    options = parser.parse_args()
    tries: dict[str, dict[str, int]] = {}
    # a run that compiles takes minutes, and kills that are drawn over them would come when it has ended
    subprocess.run([sys.executable, "-m", "tonearm", "warmup"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        begun = [begin(path, Path(folder), options.short) for path in sorted(TESTS.glob("test_*.py"))]
        for process, out in begun:
            if process.wait():
                raise SystemExit(f"{out.stem} does not pass")
            tries |= json.loads(out.read_text(encoding="utf-8"))
    figures.tell([("fault", ""), ("tries", ",.0f"), ("what was there afterwards", "")], rows(tries), options.save)


def rows(tries: dict[str, dict[str, int]]) -> list[list[str | int]]:
    """A row for each fault."""
    return [
        [fault, sum(outcomes.values()), "; ".join(f"{n:,}: {what}" for what, n in outcomes.items())]
        for fault, outcomes in tries.items()
    ]


if __name__ == "__main__":
    main()
