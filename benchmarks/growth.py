"""How seconds and memory of every stage grow with the log, from the stage tables of finished runs.

python benchmarks/growth.py RUN RUN ...

Runs in order of size. Behind each stage stand its seconds and peak MB in each run, and the exponent between the last
two: the power of the number of events that the seconds grow with.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any


def joined(stages: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Seconds and peak of each stage; the windows of a stage that small logs repeat are added up."""
    out: dict[str, tuple[float, float]] = {}
    for stage in stages:
        name = stage["name"].rstrip(" 0123456789")
        seconds, peak = out.get(name, (0.0, 0.0))
        out[name] = (seconds + stage["seconds"], max(peak, stage["peak_mb"]))
    return out


def exponent(small: float, large: float, growth: float) -> str:
    """The power p with large = small · growth^p."""
    return f"{math.log(large / small) / math.log(growth):.2f}" if small > 0.05 and large > 0 else ""


def main(folders: list[Path]) -> None:
    """Print the table."""
    manifests = [json.loads((folder / "manifest.json").read_text(encoding="utf-8")) for folder in folders]
    events = [manifest["found"]["train"]["events"] for manifest in manifests]
    tables = [joined(manifest["stages"]) for manifest in manifests]
    print("| stage | " + " | ".join(f"{n:,} train events: s, MB" for n in events) + " | exponent |")
    print("|---|" + "---|" * (len(events) + 1))
    for name in tables[-1]:
        cells = [f"{table[name][0]:.1f}, {table[name][1]:,.0f}" if name in table else "" for table in tables]
        last = exponent(tables[-2].get(name, (0, 0))[0], tables[-1][name][0], events[-1] / events[-2])
        print(f"| {name} | {' | '.join(cells)} | {last} |")
    sums = [sum(seconds for seconds, _ in table.values()) for table in tables]
    peaks = [max(peak for _, peak in table.values()) for table in tables]
    cells = [f"{seconds:.0f}, {peak:,.0f}" for seconds, peak in zip(sums, peaks, strict=True)]
    print(f"| all | {' | '.join(cells)} | {exponent(sums[-2], sums[-1], events[-1] / events[-2])} |")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
