"""Precision, recall, coverage and novelty of the popular, the ALS and the final list of finished runs, as Markdown.

python benchmarks/three_lists.py "hetrec=runs/hetrec" "hetrec, preset notebook=runs/notebook"
python benchmarks/three_lists.py "hetrec=runs/hetrec" --save three-lists     # also for `<!-- figures: three-lists -->`
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import save, table

LISTS = {"top_popular": "popular", "personal_als": "ALS", "recommendations": "final"}
METRICS = [f"{family}@{k}" for k in (5, 20) for family in ("precision", "recall", "coverage", "novelty")]
COLUMNS = {"data": {"head": "run"}, "list": {"head": "list"}} | {
    metric: {"head": metric, "as": ".4f"} for metric in METRICS
}


def rows(title: str, run: Path) -> Iterator[dict[str, Any]]:
    """A row for each list; a metric that the run has not is left empty."""
    lists = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["lists"]
    for name, called in LISTS.items():
        yield {"data": title, "list": called} | {metric: lists[name].get(metric) for metric in METRICS}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The table of three lists from the metrics.json of finished runs.")
    parser.add_argument("runs", nargs="+", metavar="TITLE=RUN")
    parser.add_argument("--save", metavar="NAME", help="keep the figures as benchmarks/results/NAME.json")
    given = parser.parse_args()
    named = [run.rpartition("=")[::2] for run in given.runs]
    every = [row for title, run in named for row in rows(title, Path(run))]
    result = {"columns": COLUMNS, "rows": every} if given.save is None else save(given.save, COLUMNS, every)
    print(table(result), end="")


if __name__ == "__main__":
    main()
