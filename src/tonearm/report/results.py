"""How good it is: lists by metric, the funnel, and slices."""

from collections.abc import Mapping, Sequence
from typing import Any

from tonearm.evaluation.words import best_source, rule_lines, without_hit
from tonearm.report import charts
from tonearm.report.answers import ALS, in_sentence
from tonearm.report.parts import Column, Figure, Section, Table
from tonearm.runs.lists import POPULAR, title
from tonearm.terminal.words import counted

Tree = Mapping[str, Any]

ACCURACY = ("ndcg", "recall", "precision", "hit_rate", "mrr", "map")
BEYOND = ("coverage", "novelty", "surprisal", "diversity", "popularity_bias", "gini")
LABELS = {"hit_rate": "hit rate", "popularity_bias": "popularity bias"}

SLICES = (
    (
        "activity",
        "By activity of users",
        "Evaluated users in three parts by length of history; in brackets the events from and to.",
        "No user is evaluated.",
    ),
    (
        "popularity",
        "By popularity of items",
        "Only test items of one band count as truth: head, the most played items with half of all events; torso, the "
        "next three tenths; tail, the rest.",
        "No item could be recommended.",
    ),
    (
        "genre",
        "By genre of items",
        "Only test items of one genre count as truth; an item counts for its first genre. The most played genres.",
        "No item has a genre.",
    ),
)


def lists(metrics: Tree) -> Section:
    """Every list by every metric, and the final one against the others."""
    population, words = metrics["population"], metrics["definitions"]
    intro = [
        f"{counted(population['evaluated_users'], 'user', 'is')} evaluated: {words['population']}. Truth: "
        f"{words['truth']}; {counted(population['truth_items'], 'item')} in all."
    ]
    return Section(
        "lists",
        "The lists",
        intro,
        [_metric_bars(metrics), *_differences(metrics)],
        [
            _table(metrics, "Accuracy, with intervals", ACCURACY),
            *_parts(metrics),
            _table(metrics, "Beyond accuracy", BEYOND),
            *_folds(metrics),
        ],
        [*rule_lines(metrics), *_left_out(population), *_cold(metrics["cold"])],
        [f"{family}@{k}" for family in ACCURACY for k in metrics["ks"]],
        f"ndcg@{metrics['focus']}",
    )


def _metric_bars(metrics: Tree) -> Figure:
    names, metric = list(metrics["lists"]), f"ndcg@{metrics['focus']}"
    rows = [
        {"list": name, "metric": key, "value": metrics["lists"][name][key], "low": ends[0], "high": ends[1]}
        for name in names
        for key, ends in metrics["intervals"][name].items()
        if ends is not None
    ]
    if not rows:
        return Figure("metric-bars", "Accuracy of each list", missing="No user could be evaluated.")
    alt = f"{metric}: " + ", ".join(f"{title(n)} {metrics['lists'][n][metric]:.4f}" for n in names) + "."
    caption = f"Mean over evaluated users; the line is the {metrics['definitions']['interval']}."
    spec = charts.metric_bars(rows, names, metric)
    return Figure("metric-bars", "Accuracy of each list", caption, alt, spec)


def _differences(metrics: Tree) -> list[Figure]:
    if not metrics["comparisons"]:
        return []
    final, metric = metrics["final"], f"ndcg@{metrics['focus']}"
    others = [name for name in metrics["lists"] if name != final]
    rows = [
        {key: c[key] for key in ("metric", "difference", "low", "high")} | {"list": c["against"]}
        for c in metrics["comparisons"]
    ]
    caption = (
        f"{title(final)} minus each other list; the line is the {metrics['definitions']['interval']} of the "
        "difference. Right of zero the final list is better; where the line crosses zero, the difference may be luck "
        "of the draw."
    )
    said = [f"{row['difference']:+.4f} against {title(row['list'])}" for row in rows if row["metric"] == metric]
    columns = [
        Column("metric", "metric"),
        Column("against", "against"),
        *(Column(key, key, "signed") for key in ("difference", "low", "high")),
    ]
    table = Table(
        "Differences with their intervals", columns, [r | {"against": title(r["list"])} for r in rows], "metric"
    )
    spec = charts.differences(rows, others, metric)
    alt = f"{metric}: {', '.join(said)}."
    return [Figure("differences", "The final list against the others", caption, alt, spec, table=table)]


def _table(metrics: Tree, caption: str, families: Sequence[str]) -> Table:
    words, ks = metrics["definitions"], metrics["ks"]
    columns = [Column("title", "list")]
    for k in ks:
        columns += [Column(f"{f}@{k}", f"{LABELS.get(f, f)}@{k}", "figure", words[f], k) for f in families]
    if families is BEYOND:
        columns.append(Column("coverage", "coverage", "figure", "distinct items over the whole list / catalogue size"))
        columns.append(Column("listed_users", "users", "count", "users with a list"))
    rows = []
    for name, values in metrics["lists"].items():
        ends = {f"{key}_interval": pair for key, pair in metrics["intervals"][name].items()}
        rows.append({"title": title(name)} | values | ends)
    return Table(caption, columns, rows, "title", title(metrics["final"]), ks, metrics["focus"])


def _parts(metrics: Tree) -> list[Table]:
    """Repeats and discoveries apart, each an accuracy table, where heard items may come back."""
    return [
        _table(
            {**metrics, **part},
            f"{name.capitalize()} alone: {counted(part['population']['truth_items'], 'item')} of "
            f"{counted(part['population']['evaluated_users'], 'user')}",
            ACCURACY,
        )
        for name, part in (metrics.get("parts") or {}).items()
    ]


def _folds(metrics: Tree) -> list[Table]:
    """The main metric at each cut, where there were several."""
    folds = metrics.get("folds")
    if folds is None:
        return []
    metric, cuts = f"ndcg@{metrics['focus']}", folds["cuts"]
    keys = [f"fold_{place}" for place in range(len(cuts))]
    columns = [Column("title", "list")]
    columns += [Column(key, f"from {cut['cut'][:10]}", "figure") for key, cut in zip(keys, cuts, strict=True)]
    columns += [Column("mean", "mean", "figure"), Column("sd", "standard deviation", "figure")]
    rows = [
        {"title": title(name)} | dict(zip(keys, values[metric]["by_fold"], strict=True)) | values[metric]
        for name, values in folds["lists"].items()
    ]
    return [Table(f"{metric} at {len(cuts)} cuts", columns, rows, "title", title(metrics["final"]))]


def _left_out(population: Tree) -> list[str]:
    nothing, heard, unknown = (
        population[f"warm_test_{what}"] for what in ("users_without_truth", "items_already_heard", "items_not_in_train")
    )
    said = []
    if nothing:
        said.append(
            f"{nothing:,} warm users of test are not evaluated: all they chose was heard before or is not in train."
        )
    if heard:
        said.append(
            f"{heard:,} of {counted(population['warm_test_items'], 'test item')} of warm users do not count, as "
            "the user had heard them in train."
        )
    if unknown:
        said.append(
            f"{unknown:,} of {counted(population['warm_test_items'], 'test item')} of warm users do not count, as "
            "they are not in train, where no source can learn of them."
        )
    return said


def _cold(cold: Tree | None) -> list[str]:
    if cold is None:
        return ["Cold users, who have no history, were not looked at."]
    if cold["share_with_hit"] is None:
        return [f"{cold['note'].capitalize()}."]
    return [
        f"Cold users, who have no history, get the popular list: {cold['users']:,}, {cold['users_with_truth']:,} of "
        f"them with an item that exists in train. {cold['share_with_hit']:.1%} of these find at least one in the first "
        f"{cold['k']}, {cold['mean_hits']:.2f} on average (recall {cold['recall']:.4f}). {without_hit(cold)}."
    ]


def funnel(metrics: Tree) -> Section:
    """Where hits are lost."""
    tree = metrics["funnel"]
    if tree is None or not tree["truth_items"]:
        return Section("funnel", "The funnel", ["No user is evaluated, so nothing went through the funnel."])
    k, union, final = tree["k"], tree["union"], tree["final"]
    intro = [
        f"The sources together propose {counted(union['candidates_per_user'], 'candidate')} a user, which hold "
        f"{union['ceiling_micro']:.1%} of all {counted(tree['truth_items'], 'test item')} that count; "
        f"the first {k} of the final list hold {final['recall_micro']:.1%}. "
        f"{counted(tree['buried'], 'item')} that a source had found "
        "are not among them."
    ]
    figures = [_ceilings(tree), _fates(tree), *_overlap(tree)]
    return Section("funnel", "The funnel", intro, figures, [_source_table(tree)])


def _ceilings(tree: Tree) -> Figure:
    rows: list[dict[str, Any]] = [
        {"what": title(name), "recall": source["ceiling"], "source": name} for name, source in tree["sources"].items()
    ]
    rows.append({"what": "all together", "recall": tree["union"]["ceiling"], "source": None})
    rows.append(
        {"what": f"final list, first {tree['k']}", "recall": tree["final"]["recall"], "source": "recommendations"}
    )
    caption = (
        "The recall that a perfect ranker could reach with the candidates of each source alone: test items found / "
        "|truth|, mean over users."
    )
    alt = "; ".join(f"{row['what']} {row['recall']:.1%}" for row in rows) + "."
    return Figure("ceilings", "Recall ceiling", caption, alt, charts.bars(rows, "what", "recall", "recall", "~%"))


def _fates(tree: Tree) -> Figure:
    fates = (("in the final list", "final_hits"), ("buried by the ranker", "buried"))
    rows = [
        {"source": title(name), "fate": fate, "n": source[key], "order": order}
        for name, source in tree["sources"].items()
        for order, (fate, key) in enumerate(fates)
    ]
    caption = (
        f"Test items among the candidates of each source: those in the first {tree['k']} of the final list, and those "
        "that the ranker buried. An item that two sources found counts for both."
    )
    alt = "; ".join(
        f"{title(n)}: {s['final_hits']:,} in the final list, {s['buried']:,} buried" for n, s in tree["sources"].items()
    )
    spec = charts.funnel_bars(rows, list(tree["sources"]))
    return Figure("fates", "What became of the items found", caption, f"{alt}.", spec)


def _overlap(tree: Tree) -> list[Figure]:
    rows = [
        {"source": title(name), "other": title(other), "share": share}
        for name, source in tree["sources"].items()
        for other, share in source["overlap_with"].items()
        if share is not None
    ]
    if not rows:
        return []
    caption = "Share of the candidates of each source that another source proposed too."
    alt = "; ".join(f"{row['share']:.0%} of {row['source']} also by {row['other']}" for row in rows) + "."
    return [Figure("overlap", "Overlap of the sources", caption, alt, charts.overlap(rows, list(tree["sources"])))]


def _source_table(tree: Tree) -> Table:
    k = tree["k"]
    columns = [
        Column("source", "source"),
        Column("candidates_per_user", "candidates a user", "figure", "candidates of evaluated users / evaluated users"),
        Column("ceiling", "recall ceiling", "figure", "test items among the candidates / |truth|; mean over users"),
        Column("ceiling_micro", "of all items", "share", "test items found / all test items that count"),
        Column("hits", "found", "count", "test items among the candidates"),
        Column("unique_hits", "only here", "count", "of those found, those that no other source found"),
        Column("unique_share", "share only here", "share", "only here / found"),
        Column("overlap", "shared", "share", "share of candidates that another source proposed too"),
        Column("final_hits", f"in final {k}", "count", f"of those found, those in the first {k} of the final list"),
        Column("buried", "buried", "count", "of those found, those that the ranker left out"),
    ]
    rows = [{"source": title(name)} | dict(source) for name, source in tree["sources"].items()]
    return Table("The sources in the funnel", columns, rows, "source")


def slices(metrics: Tree) -> Section:
    """For whom and for what it works."""
    options = [f"ndcg@{metrics['focus']}", f"recall@{metrics['focus']}"]
    figures = [
        _slice_figure(metrics, kind, name, caption, options) or Figure(f"slice-{kind}", name, missing=missing)
        for kind, name, caption, missing in SLICES
    ]
    intro = [
        "The popular list, the best source and the final list; the line is the 95% interval of the mean by the normal "
        "law, and n the users it goes over. The tables hold every list."
    ]
    return Section("slices", "For whom, and for what", intro, figures, metrics=options, metric=options[0])


def _slice_figure(metrics: Tree, kind: str, name: str, caption: str, options: Sequence[str]) -> Figure | None:
    lines, every = metrics["slices"].get(kind, []), list(metrics["lists"])
    shown = _three(metrics)
    rows: list[dict[str, Any]] = []
    for line in lines:
        for n, option in ((n, option) for n in shown for option in options):
            value, ends = line["lists"][n][option], line["lists"][n].get(f"{option}_interval")
            if value is not None:
                low, high = ends or (value, value)
                row = {"slice": _label(line), "users": line["users"], "list": n, "metric": option}
                rows.append(row | {"value": value, "low": low, "high": high})
    if not rows:
        return None
    columns = [Column("slice", "slice"), Column("users", "users", "count")]
    columns += [Column(f"{n} {o}", f"{title(n)} {o}", "figure") for o in options for n in every]
    table_rows = [
        {"slice": _label(line), "users": line["users"]}
        | {f"{n} {o}": line["lists"][n][o] for n in every for o in options}
        | {f"{n} {o}_interval": line["lists"][n].get(f"{o}_interval") for n in every for o in options}
        for line in lines
    ]
    final = [row for row in rows if row["list"] == metrics["final"] and row["metric"] == options[0]]
    said = ", ".join(f"{row['slice']} {row['value']:.4f}" for row in final)
    alt = f"{options[0]} of {in_sentence(metrics['final'])}: {said}."
    spec = charts.slices(rows, shown, options[0], [_label(line) for line in lines])
    return Figure(f"slice-{kind}", name, caption, alt, spec, table=Table(name, columns, table_rows, "slice"))


def _three(metrics: Tree) -> list[str]:
    """The popular list, the best source (ALS where that is popular), and the final list, as far as there are such."""
    best = best_source(metrics)
    second = ALS if best == POPULAR else best
    return [name for name in (POPULAR, second, metrics["final"]) if name is not None and name in metrics["lists"]]


def _label(line: Tree) -> str:
    known = [] if line.get("history_from") is None else [f"{line['history_from']:,}–{line['history_to']:,}"]
    return f"{line['slice']} ({', '.join([*known, 'n = ' + format(line['users'], ',')])})"
