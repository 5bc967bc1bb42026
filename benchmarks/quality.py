"""Our lists and peers on real data sets, by default settings, as Markdown tables.

python benchmarks/quality.py ../shared/data OUT [hetrec retail ml gowalla]
                             [--only ours blend peers rectools] [--rectools .venv-rectools/bin/python]
python benchmarks/quality.py ../shared/data OUT [SETS] --ablation [--seeds 3]   each source and feature group left out
python benchmarks/quality.py ../shared/data OUT [SETS] --losses [--seeds 3]     ranking losses compared

DATA may also be a folder that quality_more.py wrote, or one of your own: each folder in it with train.parquet,
test.parquet and perhaps items.parquet is a set. OUT/SET is the run; OUT/SET.peers.json and so on hold the rows with
every trial. What --only leaves out is taken from OUT. The last two see inner windows of train alone.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from quality_ablation import ablation, losses
from quality_peers import PEERS, row_of_blend, row_of_peer, row_of_rectools
from quality_sets import Row, apart, inputs, load, save, shown
from tonearm import Config, Inputs, run

PARTS = ("ours", "blend", "peers", "rectools")
HEADER = (
    "| set | users | final Recall@20 / NDCG@20 | best source | its Recall@20 / NDCG@20 "
    "| final − best source, NDCG@20 | limits | s | MB |"
)
HEADER_PEERS = "| set | list | Recall@20 / NDCG@20 | final − it, NDCG@20 | settings | s | MB |"


def both(values: dict[str, float]) -> str:
    """Recall and ndcg as they stand in metrics.json."""
    return f"{values['recall@20']:.4f} / {values['ndcg@20']:.4f}"


def line(cells: list[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def head(header: str) -> str:
    """The head of a table."""
    return f"{header}\n|{'---|' * (header.count('|') - 1)}"


def row_of_run(name: str, metrics: dict[str, Any], stages: list[dict[str, Any]]) -> str:
    """A run's final list against its best source."""
    lists = metrics["lists"]
    best = max((other for other in lists if other != "recommendations"), key=lambda other: lists[other]["ndcg@20"])
    cells = [
        name,
        f"{metrics['population']['evaluated_users']:,}",
        both(lists["recommendations"]),
        best,
        both(lists[best]),
        shown(against(metrics, best)),
        metrics["funnel"]["limits"],
        f"{sum(stage['seconds'] for stage in stages):.0f}",
        f"{max(stage['peak_mb'] for stage in stages):,.0f}",
    ]
    return line(cells)


def against(metrics: dict[str, Any], other: str) -> dict[str, Any]:
    """The run's comparison of its final list with another by ndcg@20."""
    return next(c for c in metrics["comparisons"] if c["against"] == other and c["metric"] == "ndcg@20")


def rows_of_sources(name: str, metrics: dict[str, Any]) -> list[str]:
    """Every list of a run but the final one."""
    return [
        line([name, other, both(values), shown(against(metrics, other)), "", "", ""])
        for other, values in metrics["lists"].items()
        if other != "recommendations"
    ]


def row_of_peers(name: str, row: Row) -> str:
    """A peer, or our blend."""
    return line(
        [
            name,
            row["name"],
            f"{row['recall']:.4f} / {row['ndcg']:.4f}",
            shown(row),
            " ".join(f"{option} {value}" for option, value in row["params"].items()),
            f"{row['seconds']:.0f}",
            f"{row['mb']:,.0f}",
        ]
    )


def side_by_side(found: dict[str, Row]) -> list[str]:
    """Variants of all sets in one table: the first with its ndcg@20, the others with the first less them."""
    labels = list(dict.fromkeys(one["label"] for row in found.values() for one in row["rows"]))
    cells = {
        (name, one["label"]): " ".join([shown(one), *one.get("name", "").split()])
        if "difference" in one
        else f"{one['ndcg']:.4f}"
        for name, row in found.items()
        for one in row["rows"]
    }
    lines = [head(line(["", *(f"{name}, {row['users']:,} users" for name, row in found.items())]))]
    lines += [line([label, *(cells.get((name, label), "") for name in found)]) for label in labels]
    return [
        *lines,
        line(["rankers of each", *(str(row["seeds"]) for row in found.values())]),
        line(["s", *(f"{row['seconds']:.0f}" for row in found.values())]),
        line(["MB", *(f"{row['mb']:,.0f}" for row in found.values())]),
    ]


def quality(given: dict[str, Inputs], out: Path, parts: list[str], rectools: Path) -> None:
    """Run the parts for each set, then print the tables of all that OUT holds."""
    for name, inputs_ in given.items():
        folder = out / name
        if "ours" in parts:
            run(inputs_, folder, Config(), overwrite=True)
        if "blend" in parts:
            save(out / f"{name}.blend.json", [apart(row_of_blend, inputs_, folder)])
        if "peers" in parts:
            save(out / f"{name}.peers.json", [apart(row_of_peer, peer, inputs_, folder) for peer in PEERS])
        if "rectools" in parts:
            tuned = {row["name"]: row["params"] for row in load(out / f"{name}.peers.json")}
            rows = [
                apart(row_of_rectools, inputs_, folder, rectools, reranker, tuned)
                for reranker in ("classifier", "ranker")
            ]
            save(out / f"{name}.rectools.json", rows)
    print(head(HEADER))
    tables: list[str] = []
    for name in given:
        metrics = json.loads((out / name / "metrics.json").read_text(encoding="utf-8"))
        stages = json.loads((out / name / "manifest.json").read_text(encoding="utf-8"))["stages"]
        print(row_of_run(name, metrics, stages))
        tables += rows_of_sources(name, metrics)
        for kept in (out / f"{name}.{part}.json" for part in PARTS[1:]):
            tables += [row_of_peers(name, row) for row in (load(kept) if kept.exists() else [])]
    print("\n" + head(HEADER_PEERS) + "\n" + "\n".join(tables))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", nargs="*")
    parser.add_argument(
        "--only", nargs="*", help=f"some of {', '.join(PARTS)}; none: only the tables of what OUT holds"
    )
    parser.add_argument("--rectools", type=Path, default=Path(".venv-rectools/bin/python"))
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--seeds", type=int, default=3, help="rankers of each variant in --ablation and --losses")
    options = parser.parse_args()
    every = inputs(options.data)
    unknown = [name for name in options.sets if name not in every]
    if unknown:
        parser.error(f"there is no set {', '.join(unknown)}; known: {', '.join(every)}")
    given = {name: every[name] for name in options.sets or every}
    if options.ablation or options.losses:
        what, make = ("ablation", ablation) if options.ablation else ("losses", losses)
        for name, inputs_ in given.items():
            if options.only is None:
                save(options.out / f"{name}.{what}.json", [apart(make, inputs_, options.seeds)])
        found = {name: path for name in given if (path := options.out / f"{name}.{what}.json").exists()}
        print("\n".join(side_by_side({name: load(path)[0] for name, path in found.items()})))
        return
    parts = options.only
    if parts is None:
        parts = [part for part in PARTS if part != "rectools" or options.rectools.exists()]
    if not set(parts) <= set(PARTS):
        parser.error(f"--only {' '.join(parts)}: known are {', '.join(PARTS)}")
    quality(given, options.out, parts, options.rectools)


if __name__ == "__main__":
    main()
