"""Our lists and peers on real data sets, by default settings, as Markdown tables.

python benchmarks/quality.py ../shared/data OUT [hetrec retail ml gowalla]
                             [--only ours blend peers rectools] [--rectools .venv-rectools/bin/python]
python benchmarks/quality.py ../shared/data OUT [SETS] --ablation [--seeds 3]   each source and feature group left out
python benchmarks/quality.py ../shared/data OUT [SETS] --losses [--seeds 3]     ranking losses compared

DATA may also be a folder that quality_more.py wrote, or one of your own: each folder in it with train.parquet,
test.parquet and perhaps items.parquet is a set. OUT/SET is the run; OUT/SET.peers.json and so on hold the rows with
every trial. What --only leaves out is taken from OUT. The last two see inner windows of train alone.
--save keeps tables for the pages, as in --save ours=quality lists=peers short=quality-public, or ablation=ablation.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import figures
from quality_ablation import ablation, losses
from quality_peers import PEERS, row_of_blend, row_of_peer, row_of_rectools
from quality_sets import Row, apart, inputs, load, save
from tonearm import Config, Inputs, run

PARTS = ("ours", "blend", "peers", "rectools")
SCORES, FORMAT = "Recall@20 / NDCG@20", ".4f"
COSTS = [("s", ",.0f"), ("MB", ",.0f")]
RUN = [("set", ""), ("users", ",.0f"), (f"final {SCORES}", FORMAT), ("best source", "")]
HEADS = {
    "ours": [*RUN, (f"its {SCORES}", FORMAT), ("final − best source, NDCG@20", ""), ("limits", ""), *COSTS],
    "lists": [("set", ""), ("list", ""), (SCORES, FORMAT), ("final − it, NDCG@20", ""), ("settings", ""), *COSTS],
    "short": [
        *(*RUN, ("final − it", ""), ("best tuned peer, final − it", ""), ("RecTools' better, final − it", "")),
        *(("limits", ""), *COSTS),
    ],
}
"""The tables of --save TABLE=NAME."""


def both(values: Mapping[str, float]) -> list[float]:
    """Recall and ndcg, as they stand in metrics.json."""
    return [values["recall@20"], values["ndcg@20"]]


def effect(row: Row) -> Row:
    """A difference with its interval, as figures keep it."""
    return {"value": row["difference"], "low": row["low"], "high": row["high"]}


def row_of_run(name: str, metrics: Row, stages: list[Row]) -> list[Any]:
    """A run's final list against its best source."""
    lists = metrics["lists"]
    others = {name: float(values["ndcg@20"]) for name, values in lists.items() if name != "recommendations"}
    best = max(others, key=lambda other: others[other])
    found = [name, metrics["population"]["evaluated_users"], both(lists["recommendations"]), best, both(lists[best])]
    found += [effect(against(metrics, best)), metrics["funnel"]["limits"]]
    return [*found, sum(stage["seconds"] for stage in stages), max(stage["peak_mb"] for stage in stages)]


def against(metrics: dict[str, Any], other: str) -> dict[str, Any]:
    """The run's comparison of its final list with another by ndcg@20."""
    return next(c for c in metrics["comparisons"] if c["against"] == other and c["metric"] == "ndcg@20")


def rows_of_sources(name: str, metrics: Row) -> list[list[Any]]:
    """Every list of a run but the final one."""
    return [
        [name, other, both(values), effect(against(metrics, other)), None, None, None]
        for other, values in metrics["lists"].items()
        if other != "recommendations"
    ]


def row_of_peers(name: str, row: Row) -> list[Any]:
    """A peer, or our blend."""
    settings = " ".join(f"{option} {value}" for option, value in row["params"].items())
    return [name, row["name"], [row["recall"], row["ndcg"]], effect(row), settings, row["seconds"], row["mb"]]


def in_short(run: list[Any], *others: list[Row]) -> list[Any]:
    """A set in one row: the run's, with the best of the peers and of RecTools' two beside its best source."""
    name, users, final, best, its, difference, *rest = run

    def told(rows: list[Row]) -> str | None:
        row = max(rows, key=lambda row: float(row["ndcg"]), default=None)
        if row is None:
            return None
        called = row["name"].removeprefix("RecTools, ")
        return f"{called} {figures.shown(row['ndcg'], FORMAT)}, {figures.shown(effect(row))}"

    return [name, users, final, f"{best} {figures.shown(its[1], FORMAT)}", difference, *map(told, others), *rest]


def side_by_side(found: dict[str, Row]) -> tuple[list[tuple[str, str]], list[list[Any]]]:
    """Variants of all sets in one table: the first with its ndcg@20, the others with the first less them."""
    labels = list(dict.fromkeys(one["label"] for row in found.values() for one in row["rows"]))

    def cell(one: Row) -> Any:
        if "difference" not in one:
            return one["ndcg"]
        return effect(one) | ({"name": one["name"]} if "name" in one else {})

    cells = {(name, one["label"]): cell(one) for name, row in found.items() for one in row["rows"]}
    heads = [("", ""), *((f"{name}, {row['users']:,} users", ".4f") for name, row in found.items())]
    rows = [[label, *(cells.get((name, label)) for name in found)] for label in labels]
    more = (("rankers of each", "seeds"), ("s", "seconds"), ("MB", "mb"))
    return heads, rows + [[label, *(f"{row[key]:,.0f}" for row in found.values())] for label, key in more]


def quality(given: dict[str, Inputs], out: Path, parts: list[str], rectools: Path, keep: Mapping[str, str]) -> None:
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
    tables: dict[str, list[list[Any]]] = {table: [] for table in HEADS}
    for name in given:
        metrics = json.loads((out / name / "metrics.json").read_text(encoding="utf-8"))
        stages = json.loads((out / name / "manifest.json").read_text(encoding="utf-8"))["stages"]
        kept = {part: out / f"{name}.{part}.json" for part in PARTS[1:]}
        others = {part: load(path) if path.exists() else [] for part, path in kept.items()}
        tables["ours"].append(row_of_run(name, metrics, stages))
        tables["lists"] += rows_of_sources(name, metrics)
        tables["lists"] += [row_of_peers(name, row) for rows in others.values() for row in rows]
        tables["short"].append(in_short(tables["ours"][-1], others["peers"], others["rectools"]))
    for table, heads in HEADS.items():
        print(f"\n{table}\n")
        figures.tell(heads, tables[table], keep.get(table))


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
    parser.add_argument(
        "--save", nargs="*", default=[], metavar="TABLE=NAME", help=f"keep {', '.join(HEADS)}, ablation or losses"
    )
    options = parser.parse_args()
    keep = dict(one.split("=") for one in options.save)
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
        figures.tell(*side_by_side({name: load(path)[0] for name, path in found.items()}), keep.get(what))
        return
    parts = options.only
    if parts is None:
        parts = [part for part in PARTS if part != "rectools" or options.rectools.exists()]
    if not set(parts) <= set(PARTS):
        parser.error(f"--only {' '.join(parts)}: known are {', '.join(PARTS)}")
    quality(given, options.out, parts, options.rectools, keep)


if __name__ == "__main__":
    main()
