"""How seconds and memory of every stage grow with the log, from the stage tables of finished runs.

python benchmarks/growth.py RUN RUN ... [--save growth]

Runs in order of size. Behind each stage stand its seconds and peak MB in each run, and the exponent between the last
two: the power of the number of events that the seconds grow with.
"""

import json
import math
from pathlib import Path
from typing import Any

import figures


def joined(stages: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Seconds and peak of each stage; the windows of a stage that small logs repeat are added up."""
    out: dict[str, tuple[float, float]] = {}
    for stage in stages:
        name = stage["name"].rstrip(" 0123456789")
        seconds, peak = out.get(name, (0.0, 0.0))
        out[name] = (seconds + stage["seconds"], max(peak, stage["peak_mb"]))
    return out


def exponent(small: float, large: float, growth: float) -> float | None:
    """The power p with large = small · growth^p; None where the seconds say nothing."""
    return math.log(large / small) / math.log(growth) if small > 0.05 and large > 0 else None


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    options = parser.parse_args()
    manifests = [json.loads((run / "manifest.json").read_text(encoding="utf-8")) for run in options.runs]
    events = [manifest["found"]["train"]["events"] for manifest in manifests]
    tables = [joined(manifest["stages"]) for manifest in manifests]
    for one in tables:
        one["all"] = sum(seconds for seconds, _ in one.values()), max(peak for _, peak in one.values())
    rows: list[list[Any]] = []
    for name in tables[-1]:
        cells = [f"{one[name][0]:,.1f}, {one[name][1]:,.0f}" if name in one else None for one in tables]
        last = exponent(tables[-2].get(name, (0, 0))[0], tables[-1][name][0], events[-1] / events[-2])
        rows.append([name, *cells, last])
    figures.tell([("stage", ""), *((f"{n:,}", "") for n in events), ("exponent", ".2f")], rows, options.save)


if __name__ == "__main__":
    main()
