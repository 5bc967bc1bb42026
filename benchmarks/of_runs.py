"""Tables of finished runs, and of a synthetic log, for the pages that show them.

python benchmarks/of_runs.py stages RUN [--save full-stages]            seconds and memory of each stage
python benchmarks/of_runs.py lists RUN [--metrics ndcg@20 recall@20]    every list, and the final one less each
python benchmarks/of_runs.py parts RUN [--metrics recall@10]            the same, of repeats and of discoveries too
python benchmarks/of_runs.py users RUN RUN ...                          peak memory by the number of users
python benchmarks/of_runs.py twin LOG                                   a log of `synth` beside the reference log
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import figures
from tonearm.synth import describe

Tree = dict[str, Any]
Table = tuple[list[tuple[str, str]], list[list[Any]]]


def read(run: Path, name: str) -> Tree:
    """One of a run's JSON files."""
    tree: Tree = json.loads((run / f"{name}.json").read_text(encoding="utf-8"))
    return tree


def stages(run: Path, _metrics: Sequence[str]) -> Table:
    """Each stage, and all of them."""
    rows = [[row["name"], row["seconds"], row["peak_mb"]] for row in read(run, "manifest")["stages"]]
    rows.append(["all", sum(row[1] for row in rows), max(row[2] for row in rows)])
    return [("stage", ""), ("s", ".1f"), ("peak MB", ",.0f")], rows


def effect(metrics: Tree, name: str, metric: str) -> Tree | None:
    """The final list less another one."""
    found = [c for c in metrics["comparisons"] if (c["against"], c["metric"]) == (name, metric)]
    return {"value": found[0]["difference"], "low": found[0]["low"], "high": found[0]["high"]} if found else None


def lists(run: Path, metrics: Sequence[str]) -> Table:
    """Every list, the best by the first metric first, after the final one."""
    tree, first = read(run, "metrics"), metrics[0]
    names = sorted(tree["lists"], key=lambda name: (name != tree["final"], -tree["lists"][name][first]))
    rows = [[name, *(tree["lists"][name][metric] for metric in metrics), effect(tree, name, first)] for name in names]
    return [("list", ""), *((metric, ".4f") for metric in metrics), (f"final − it, {first}", "")], rows


def parts(run: Path, metrics: Sequence[str]) -> Table:
    """Every list by one metric, of all of the truth and of either part."""
    tree, metric = read(run, "metrics"), metrics[0]
    heads, rows = lists(run, metrics[:1])
    of_parts = [tree["parts"][part]["lists"] for part in ("repeat", "discovery")]
    more = [[name, value, *(part[name][metric] for part in of_parts), less] for name, value, less in rows]
    return [*heads[:2], ("of repeats", ".4f"), ("of discoveries", ".4f"), heads[2]], more


def users(run: Path, _metrics: Sequence[str]) -> Table:
    """The size of a run, and its peaks of memory."""
    manifest = read(run, "manifest")

    def peak(start: str) -> float:
        return max(float(row["peak_mb"]) for row in manifest["stages"] if row["name"].startswith(start))

    heads = [("users", ",.0f"), ("train events", ",.0f"), ("fit", ",.0f"), ("lists", ",.0f"), ("run", ",.0f")]
    sizes = manifest["found"]["train"]
    return heads, [[sizes["users"], sizes["events"], peak("fit"), peak("lists"), peak("")]]


def twin(log: Path, _metrics: Sequence[str]) -> Table:
    """The figures of a synthetic log."""
    return [("figure", ""), ("reference", ",.10g"), ("twin", ",.10g")], [[*row] for row in describe(log).rows()]


TABLES: dict[str, tuple[Callable[[Path, Sequence[str]], Table], list[str]]] = {
    "stages": (stages, []),
    "lists": (lists, ["ndcg@20", "recall@20"]),
    "parts": (parts, ["recall@10"]),
    "users": (users, []),
    "twin": (twin, []),
}


def main() -> None:
    """Print a table."""
    parser = figures.parser(__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--metrics", nargs="+")
    options = parser.parse_args()
    make, metrics = TABLES[options.table]
    tables = [make(folder, options.metrics or metrics) for folder in options.folders]
    figures.tell(tables[0][0], [row for _, rows in tables for row in rows], options.save)


if __name__ == "__main__":
    main()
