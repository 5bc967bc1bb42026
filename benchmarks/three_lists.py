"""Precision, recall, coverage and novelty of the popular, the ALS and the final list of finished runs, as Markdown.

python benchmarks/three_lists.py "hetrec=runs/hetrec" "hetrec, preset notebook=runs/notebook"
python benchmarks/three_lists.py "hetrec=runs/hetrec" --save three-lists     # also for `<!-- figures: three-lists -->`
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import figures

LISTS = {"top_popular": "popular", "personal_als": "ALS", "recommendations": "final"}
METRICS = [f"{family}@{k}" for k in (5, 20) for family in ("precision", "recall", "coverage", "novelty")]


def rows(title: str, run: Path) -> Iterator[list[Any]]:
    """A row for each list; a metric that the run has not is left empty."""
    lists = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["lists"]
    for name, called in LISTS.items():
        yield [title, called, *(lists[name].get(metric) for metric in METRICS)]


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("runs", nargs="+", metavar="TITLE=RUN")
    given = parser.parse_args()
    named = [run.rpartition("=")[::2] for run in given.runs]
    every = [row for title, run in named for row in rows(title, Path(run))]
    figures.tell([("run", ""), ("list", ""), *((metric, ".4f") for metric in METRICS)], every, given.save)


if __name__ == "__main__":
    main()
