"""Run the four real data sets by default settings and print what came out, one Markdown row each.

python benchmarks/quality.py ../shared/data OUT [hetrec retail ml gowalla]
"""

import json
import sys
from pathlib import Path
from typing import Any

from tonearm import Config, Inputs, run

HEADER = (
    "| set | users | final Recall@20 / NDCG@20 | best source | its Recall@20 / NDCG@20 "
    "| final − best source, NDCG@20 | limits | s | MB |"
)


def inputs(data: Path) -> dict[str, Inputs]:
    """Where each set is and where its test begins."""
    hetrec, retail, ml, gowalla = (
        data / name for name in ("hetrec_lastfm", "uci_online_retail", "ml_latest_small_2016", "gowalla_lightgcn")
    )

    def cut(folder: Path, items: str, test_from: str) -> Inputs:
        return Inputs(str(folder / "events.parquet"), str(folder / items), test_from)

    return {
        "hetrec": cut(hetrec, "items_dbpedia_genres.parquet", "2010-11-30T23:00:00"),
        "retail": cut(retail, "items.parquet", "2011-11-21T09:11:00"),
        "ml": cut(ml, "items.parquet", "2015-07-16"),
        "gowalla": Inputs(train=str(gowalla / "train.parquet"), test=str(gowalla / "test.parquet")),
    }


def row(name: str, metrics: dict[str, Any], stages: list[dict[str, Any]]) -> str:
    """One line of the table."""
    lists = metrics["lists"]
    best = max((other for other in lists if other != "recommendations"), key=lambda other: lists[other]["ndcg@20"])
    against = next(c for c in metrics["comparisons"] if c["against"] == best and c["metric"] == "ndcg@20")

    def both(values: dict[str, float]) -> str:
        return f"{values['recall@20']:.4f} / {values['ndcg@20']:.4f}"

    cells = [
        name,
        f"{metrics['population']['evaluated_users']:,}",
        both(lists["recommendations"]),
        best,
        both(lists[best]),
        f"{against['difference']:+.4f} [{against['low']:+.4f}, {against['high']:+.4f}]",
        metrics["funnel"]["limits"],
        f"{sum(stage['seconds'] for stage in stages):.0f}",
        f"{max(stage['peak_mb'] for stage in stages):,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main(data: Path, out: Path, names: list[str]) -> None:
    """Run the named sets, all of them by default."""
    print(HEADER)
    print("|" + "---|" * (HEADER.count("|") - 1))
    for name, given in inputs(data).items():
        if not names or name in names:
            metrics = run(given, out / name, Config(), overwrite=True)
            stages = json.loads((out / name / "manifest.json").read_text(encoding="utf-8"))["stages"]
            print(row(name, metrics, stages), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
