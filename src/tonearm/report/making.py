"""How it was made: the ranker, ALS, costs, and what is needed to do it again."""

from collections.abc import Mapping, Sequence
from typing import Any

from tonearm.ranking.feature_names import feature_title
from tonearm.report import charts
from tonearm.report.parts import Column, Figure, Section, Table
from tonearm.runs.lists import title
from tonearm.terminal.words import counted

Tree = Mapping[str, Any]

IMPORTANCES = 20


def ranker(manifest: Tree) -> Section:
    """What the ranker learnt, and how it was chosen."""
    tree = manifest["ranker"]
    intro = []
    if "fallback" in tree:
        intro = [f"{tree['fallback'][0].upper()}{tree['fallback'][1:]}."]
    elif "rows" in tree:
        counts, blend = tree["trees"], (f"{title(name)} {weight:.2f}" for name, weight in tree["blend"].items())
        most = counted(max(counts), "tree")
        several = f"the mean of {len(counts)} models of {min(counts):,} to {most}, each with its own users held out"
        trees = most if len(counts) == 1 else several
        intro = [
            f"Trained on {counted(tree['rows'], 'candidate')} of {counted(tree['users'], 'user')} (one of two label "
            "windows counts twice), "
            f"{tree['positives']:,} of which were "
            f"chosen in the label window, with {tree['loss']}: {trees}. Weights of the blend: {', '.join(blend)}."
        ]
    figures = [_shares(tree), _loss(manifest["sources"].get("als", {}).get("loss", [])), _importances(tree)]
    return Section("ranker", "The ranker and ALS", intro, figures)


def _importances(tree: Tree) -> Figure:
    name = "What the ranker looks at"
    rows = [
        {"feature": feature_title(key), "name": key, "importance": value / 100}
        for key, value in tree.get("importances", {}).items()
    ]
    if not rows:
        return Figure("importances", name, missing="The ranker has no trees.")
    shown = rows[:IMPORTANCES]
    caption = (
        "How much the trees' predictions change with a feature, as a share of all (CatBoost's PredictionValuesChange); "
        f"the first {len(shown)} of {len(rows)} features."
    )
    alt = "The first: " + ", ".join(f"{row['feature']} {row['importance']:.1%}" for row in rows[:5]) + "."
    columns = [
        Column("feature", "feature"),
        Column("name", "its name in files"),
        Column("importance", "importance", "share"),
    ]
    spec = charts.bars(shown, "feature", "importance", "importance", "~%")
    return Figure("importances", name, caption, alt, spec, table=Table("Every feature", columns, rows, "feature"))


def _shares(tree: Tree) -> Figure:
    name = "Trees or blend"
    if not tree.get("by_share_of_trees"):
        return Figure("shares", name, missing="The ranker was not validated.")
    rows: list[dict[str, Any]] = [
        {"what": f"{float(share):.0%} trees", "ndcg": v, "source": None}
        for share, v in tree["by_share_of_trees"].items()
    ]
    rows += [
        {"what": f"{title(source)} alone", "ndcg": v, "source": source}
        for source, v in tree.get("sources_alone", {}).items()
    ]
    caption = (
        f"{tree['metric']} of {counted(tree['held_out_users'], 'user')} of the label window whom the trees had "
        "not seen. What is not trees is a weighted sum of the sources' scores. Chosen: "
        f"{tree['share_of_trees']:.0%} trees."
    )
    alt = "; ".join(f"{row['what']} {row['ndcg']:.4f}" for row in rows) + "."
    table = Table("Held-out users", [Column("what", "score"), Column("ndcg", "ndcg", "figure")], rows, "what")
    return Figure("shares", name, caption, alt, charts.bars(rows, "what", "ndcg", "ndcg", "~g"), table=table)


def _loss(losses: Sequence[float]) -> Figure:
    name = "ALS loss"
    if not losses:
        return Figure("loss", name, missing="ALS left no loss behind.")
    rows = [{"iteration": i + 1, "loss": loss} for i, loss in enumerate(losses)]
    caption = (
        "What ALS minimises, weighted squared error plus the penalty on factors, after each iteration over all of "
        "train. It should fall and flatten out."
    )
    alt = f"From {losses[0]:,.4g} to {losses[-1]:,.4g} in {len(losses)} iterations."
    table = Table(
        name, [Column("iteration", "iteration", "count"), Column("loss", "loss", "figure")], rows, "iteration"
    )
    return Figure("loss", name, caption, alt, charts.loss(rows), table=table)


def costs(manifest: Tree) -> Section:
    """Seconds and memory."""
    rows = manifest["stages"]
    if not rows:
        return Section("costs", "What it cost", ["No stage was timed."])
    total, peak = sum(row["seconds"] for row in rows), max(row["peak_mb"] for row in rows)
    columns = [Column("name", "stage"), Column("seconds", "time", "seconds"), Column("peak_mb", "peak memory", "size")]
    caption = "Wall-clock seconds of each stage, and the largest resident memory of the process while it ran"
    alt = "; ".join(f"{row['name']} {row['seconds']:,.1f} s" for row in rows) + "."
    intro = [f"{total:,.1f} seconds and at most {peak:,.0f} MB of memory, this report left aside."]
    figure = Figure(
        "stages",
        "Time",
        "Wall-clock seconds of each stage.",
        alt,
        charts.bars(rows, "name", "seconds", "seconds", "~g"),
    )
    return Section("costs", "What it cost", intro, [figure], [Table(caption, columns, rows, "name")])


def facts(manifest: Tree, config: str) -> Section:
    """What is needed to do it again."""
    columns = [
        Column("path", "input"),
        Column("rows", "rows", "count"),
        Column("sha256", "sha256"),
        Column("hashed", "what the digest covers"),
    ]
    versions = [{"package": name, "version": value} for name, value in manifest["versions"].items()]
    packages = Table("Versions", [Column("package", "package"), Column("version", "version")], versions, "package")
    return Section(
        "facts",
        "To do it again",
        [f"Seed {manifest['seed']}."],
        tables=[Table("Inputs", columns, manifest["fingerprints"], "path"), packages],
        code=config,
    )
