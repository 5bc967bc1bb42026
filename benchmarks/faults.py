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


def main() -> None:
    """Run the tests, and print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("--short", action="store_true", help="a few tries of each fault, as in continuous integration")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "faults.json"
        more = {"TONEARM_FAULTS_OUT": str(out)} | ({} if options.short else {"TONEARM_FAULTS": "full"})
        flags = ["-q", "-n", "0", "-p", "no:randomly", "-o", "timeout=0"]
        subprocess.run(
            [sys.executable, "-m", "pytest", *flags, "tests/faults"],
            check=True,
            cwd=figures.ROOT,
            env=os.environ | more,
        )
        tries: dict[str, dict[str, int]] = json.loads(out.read_text(encoding="utf-8"))
    figures.tell([("fault", ""), ("tries", ",.0f"), ("what was there afterwards", "")], rows(tries), options.save)


def rows(tries: dict[str, dict[str, int]]) -> list[list[str | int]]:
    """A row for each fault."""
    return [
        [fault, sum(outcomes.values()), "; ".join(f"{n:,}: {what}" for what, n in outcomes.items())]
        for fault, outcomes in tries.items()
    ]


if __name__ == "__main__":
    main()
