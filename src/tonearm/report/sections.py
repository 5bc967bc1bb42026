"""The report's sections, each from the run's plain figures to figures, tables and words."""

from collections.abc import Mapping, Sequence
from typing import Any

from tonearm.report import charts
from tonearm.report.answers import in_sentence, title
from tonearm.report.parts import Column, Figure, Section, Table

Tree = Mapping[str, Any]

ACCURACY = ("ndcg", "recall", "precision", "hit_rate", "mrr", "map")
BEYOND = ("coverage", "novelty", "surprisal", "diversity", "popularity", "popularity_bias", "gini")
LABELS = {"hit_rate": "hit rate", "popularity_bias": "popularity bias"}

RULES = {
    "on_null": "lack a value that is needed",
    "on_future": "lie in the future",
    "on_orphan": "are of items that the catalogue lacks",
    "on_duplicate": "repeat another row",
}


def data(manifest: Tree, profile: Tree) -> Section:
    """What came in and what it looks like."""
    return Section(
        "data",
        "The log",
        intro=[
            f"Cut at {manifest['cutoff']}: train is before it."
            if manifest["test_from"]
            else "Train and test were given ready-made."
        ],
        tables=[_sides(manifest["found"]), _rows_kept(manifest["found"])],
        points=manifest["found"]["notes"],
        figures=[
            *_volumes(profile["time"]),
            _popularity(profile["popularity"]),
            *_histograms(profile),
            _genres(profile),
        ],
    )


def _sides(found: Tree) -> Table:
    train, test = found["train"], found["test"] or {}
    keys = [
        ("events", "events"),
        ("users", "users"),
        ("warm_users", "users who are also in train"),
        ("cold_users", "users who are not in train (cold)"),
        ("items", "items with an event"),
        ("repeats", "events of a user and item seen before"),
        ("median_per_user", "events of the median user"),
        ("max_per_user", "events of the busiest user"),
        ("median_per_item", "events of the median item"),
        ("max_per_item", "events of the most played item"),
    ]
    rows: list[Tree] = [{"what": label, "train": train.get(key), "test": test.get(key)} for key, label in keys]
    columns = [Column("what", ""), Column("train", "train", "count"), Column("test", "test", "count")]
    span = [
        f"{name} from {s['first']} to {s['last']}" for name, s in (("train", train), ("test", test)) if s.get("first")
    ]
    return Table("Train and test in figures" + (f": {', '.join(span)}" if span else ""), columns, rows, "what")


def _rows_kept(found: Tree) -> Table:
    rows = []
    for name, log in found["logs"].items():
        rows.append({"log": name, "what": "read", "rows": log["rows"]})
        rows += [
            {"log": name, "what": f"left out, as they {RULES[rule]} (data.{rule})", "rows": n}
            for rule, n in log["dropped"].items()
        ]
        rows.append({"log": name, "what": "kept", "rows": log["kept"]})
    columns = [Column("log", "log"), Column("what", "rows"), Column("rows", "number", "count")]
    return Table("Rows read, left out and kept", columns, rows, "log")


def _volumes(time: Tree | None) -> list[Figure]:
    if time is None:
        return [
            Figure("volume", "Events by time", "", missing="The log has no started_at, so nothing can be said of time.")
        ]
    unit, rows = time["by"], time["rows"]
    columns = [
        Column("start", f"{unit} from"),
        *(
            Column(f"{side}_{what}", f"{side} {what}", "count")
            for what in ("events", "users")
            for side in ("train", "test")
        ),
    ]
    figures = []
    for what, caption in (
        ("events", f"Rows kept in each {unit}, train below test."),
        ("users", f"Different users with an event in each {unit}; who has events in train and in test counts in both."),
    ):
        peak = max(rows, key=lambda row: row[f"train_{what}"] + row[f"test_{what}"])
        top = peak[f"train_{what}"] + peak[f"test_{what}"]
        alt = f"Bars from {rows[0]['start']} to {rows[-1]['end']}; the highest, {top:,} {what}, starts at {peak['start']}."
        spec = charts.volume(rows, what, unit)
        table = Table(f"Events and users by {unit}", columns, rows, "start") if what == "events" else None
        figures.append(Figure(f"volume-{what}", f"{what.capitalize()} by {unit}", caption, alt, spec, table=table))
    return figures


def _popularity(popularity: Tree) -> Figure:
    top = popularity["top"]
    said = [
        f"The top {t['share_of_items']:.1%} ({t['items']:,} items) take {t['share_of_plays']:.1%} of all events."
        for t in top
    ]
    table = Table(
        "Share of all events that the most played items take",
        [
            Column("share_of_items", "share of items", "share"),
            Column("items", "items", "count"),
            Column("share_of_plays", "share of events", "share"),
        ],
        top,
        "share_of_items",
    )
    caption = "Events in train of each item, from the most played to the least, both axes logarithmic. " + " ".join(
        said[1:2]
    )
    alt = f"A falling curve over {popularity['items']:,} items. " + " ".join(said)
    return Figure("popularity", "Popularity", caption, alt, charts.popularity_curve(popularity["curve"]), table=table)


def _histograms(profile: Tree) -> list[Figure]:
    found = []
    for key, what, name, x, caption in (
        (
            "history_lengths",
            "users",
            "History lengths",
            "events of a user",
            "Users of train by their number of events.",
        ),
        (
            "item_plays",
            "items",
            "Plays of items",
            "events of an item",
            "Items with an event in train by their number of events.",
        ),
    ):
        rows = [{"bin": charts.bin_label(row), what: row[what]} for row in profile[key]]
        fullest = max(rows, key=lambda row: row[what])
        alt = f"Bars; the fullest holds {fullest[what]:,} {what} with {fullest['bin']} events."
        table = Table(caption, [Column("bin", x), Column(what, what, "count")], rows, "bin")
        found.append(Figure(key, name, caption, alt, charts.histogram(profile[key], what, x), table=table))
    return found


def _genres(profile: Tree) -> Figure:
    genres = profile["genres"]
    if genres is None:
        return Figure(
            "genres", "Genres", "", missing="No item has a genre: content lists and diversity are switched off."
        )
    rows = genres["rows"]
    caption = (
        f"Share of events in train by genre of their item, the first {len(rows)} of {genres['genres']:,}; an item counts "
        f"for each of its genres. {genres['items_with_genre']:,} items have one, with "
        f"{genres['share_of_plays_with_genre']:.1%} of all events."
    )
    table = Table(
        "Genres",
        [
            Column("genre", "genre"),
            Column("items", "items", "count"),
            Column("plays", "events", "count"),
            Column("share_of_plays", "share of events", "share"),
        ],
        rows,
        "genre",
    )
    alt = f"Bars; the longest is {rows[0]['genre']} with {rows[0]['share_of_plays']:.1%}."
    return Figure(
        "genres",
        "Genres",
        caption,
        alt,
        charts.bars(rows, "genre", "share_of_plays", "share of events", ".0%"),
        table=table,
    )


def lists(metrics: Tree) -> Section:
    """Every list by every metric, and the final one against the others."""
    names, focus = list(metrics["lists"]), metrics["focus"]
    options = [f"{family}@{k}" for family in ACCURACY for k in metrics["ks"]]
    metric = f"ndcg@{focus}"
    words = metrics["definitions"]
    rows = [
        {"list": name, "metric": option, "value": metrics["lists"][name][option], "low": ends[0], "high": ends[1]}
        for name in names
        for option in options
        if (ends := metrics["intervals"][name][option]) is not None
    ]
    figures = [Figure("metric-bars", "Accuracy of each list", "", missing="No user could be evaluated.")]
    if rows:
        at = ", ".join(f"{title(n)} {metrics['lists'][n][metric]:.4f}" for n in names)
        caption = f"Mean over evaluated users; the line is the {words['interval']}."
        figures = [
            Figure(
                "metric-bars",
                "Accuracy of each list",
                caption,
                f"{metric}: {at}.",
                charts.metric_bars(rows, names, metric),
            )
        ]
    if metrics["comparisons"]:
        others = [n for n in names if n != metrics["final"]]
        apart = [
            {k: c[k] for k in ("metric", "difference", "low", "high")} | {"list": c["against"]}
            for c in metrics["comparisons"]
        ]
        caption = (
            f"{title(metrics['final'])} minus each other list; the line is the {words['interval']} of the difference. Right of "
            "zero the final list is better; where the line crosses zero, the difference may be luck of the draw."
        )
        alt = "; ".join(
            f"against {title(row['list'])} {row['difference']:+.4f}" for row in apart if row["metric"] == metric
        )
        figures.append(
            Figure(
                "differences",
                "The final list against the others",
                caption,
                f"{metric}: {alt}.",
                charts.differences(apart, others, metric),
                table=_comparisons(apart),
            )
        )
    population = metrics["population"]
    intro = [
        f"{population['evaluated_users']:,} users are evaluated: {words['population']}. Truth: {words['truth']}, "
        f"{population['truth_items']:,} items in all."
    ]
    return Section(
        "lists",
        "The lists",
        intro,
        figures,
        [_metric_table(metrics)],
        _left_out(population) + _cold(metrics),
        options,
        metric,
    )


def _metric_table(metrics: Tree) -> Table:
    words, ks = metrics["definitions"], metrics["ks"]
    columns = [Column("title", "list")]
    for k in ks:
        columns += [Column(f"{f}@{k}", f"{LABELS.get(f, f)}@{k}", "figure", words[f], k) for f in (*ACCURACY, *BEYOND)]
    columns += [
        Column("coverage", "coverage, whole list", "figure"),
        Column("listed_users", "users with a list", "count"),
    ]
    rows = []
    for name, values in metrics["lists"].items():
        ends = {f"{key}_interval": pair for key, pair in metrics["intervals"][name].items()}
        rows.append({"title": title(name)} | values | ends)
    return Table("Every list by every metric", columns, rows, "title", title(metrics["final"]), ks, metrics["focus"])


def _comparisons(apart: Sequence[Tree]) -> Table:
    columns = [
        Column("metric", "metric"),
        Column("against", "against"),
        Column("difference", "difference", "signed"),
        Column("low", "low", "signed"),
        Column("high", "high", "signed"),
    ]
    return Table(
        "Differences with their intervals", columns, [{**row, "against": title(row["list"])} for row in apart], "metric"
    )


def _left_out(population: Tree) -> list[str]:
    said = []
    if population["warm_test_users_without_truth"]:
        said.append(
            f"{population['warm_test_users_without_truth']:,} warm users of test are not evaluated: all they chose was either heard before or is not in train."
        )
    if population["warm_test_items_already_heard"]:
        said.append(
            f"{population['warm_test_items_already_heard']:,} of {population['warm_test_items']:,} test items of warm users do not count, as the user had heard them in train."
        )
    if population["warm_test_items_not_in_train"]:
        said.append(
            f"{population['warm_test_items_not_in_train']:,} do not count, as they are not in train, where no source can learn of them."
        )
    return said


def _cold(metrics: Tree) -> list[str]:
    cold = metrics["cold"]
    if cold is None:
        return ["Cold users were not looked at."]
    if cold["share_with_hit"] is None:
        return [f"{cold['note'].capitalize()}."]
    return [
        f"Cold users, who have no history, get the popular list: {cold['users']:,} of them, {cold['users_with_truth']:,} with "
        f"an item that exists in train. {cold['share_with_hit']:.1%} of these find at least one in the first {cold['k']}, "
        f"{cold['mean_hits']:.2f} on average (recall {cold['recall']:.4f})."
    ]


def funnel(metrics: Tree) -> Section:
    """Where hits are lost."""
    tree = metrics["funnel"]
    if tree is None or not tree["truth_items"]:
        return Section(
            "funnel", "The funnel", ["There was nothing to follow through the funnel: no user is evaluated."]
        )
    names = list(tree["sources"])
    k, union, final = tree["k"], tree["union"], tree["final"]
    intro = [
        f"The sources together propose {union['candidates_per_user']:,.0f} candidates a user and hold {union['ceiling_micro']:.1%} of all "
        f"{tree['truth_items']:,} test items; the first {k} of the final list hold {final['recall_micro']:.1%}. "
        f"{tree['buried']:,} items that a source had found did not make it into the first {k}."
    ]
    ceilings = [{"what": title(n), "recall": s["ceiling"]} for n, s in tree["sources"].items()]
    ceilings += [
        {"what": "all together", "recall": union["ceiling"]},
        {"what": f"final list, first {k}", "recall": final["recall"]},
    ]
    fates = [
        {"source": title(n), "fate": fate, "n": s[key], "order": order}
        for n, s in tree["sources"].items()
        for order, (fate, key) in enumerate((("in the final list", "final_hits"), ("buried by the ranker", "buried")))
    ]
    shared = [
        {"source": title(a), "other": title(b), "share": share}
        for a, s in tree["sources"].items()
        for b, share in s["overlap_with"].items()
        if share is not None
    ]
    figures = [
        Figure(
            "ceilings",
            "Recall ceiling",
            "The recall a perfect ranker could reach with each source's candidates alone: found test items / |truth|, mean over users.",
            "; ".join(f"{row['what']} {row['recall']:.3f}" for row in ceilings) + ".",
            charts.bars(ceilings, "what", "recall", "recall", ".0%"),
        ),
        Figure(
            "fates",
            "What became of the items found",
            f"Test items among each source's candidates: those in the first {k} of the final list, and those the ranker buried. An item found by two sources counts for both.",
            "; ".join(
                f"{title(n)}: {s['final_hits']:,} in the final list, {s['buried']:,} buried"
                for n, s in tree["sources"].items()
            )
            + ".",
            charts.funnel_bars(fates, names),
        ),
    ]
    if shared:
        figures.append(
            Figure(
                "overlap",
                "Overlap",
                "Share of each source's candidates that another source proposed too.",
                "; ".join(f"{row['share']:.0%} of {row['source']} also by {row['other']}" for row in shared) + ".",
                charts.overlap(shared, names),
            )
        )
    return Section("funnel", "The funnel", intro, figures, [_source_table(tree)])


def _source_table(tree: Tree) -> Table:
    columns = [
        Column("source", "source"),
        Column("candidates_per_user", "candidates a user", "figure", "candidates of evaluated users / evaluated users"),
        Column("ceiling", "recall ceiling", "figure", "test items among the candidates / |truth|; mean over users"),
        Column("ceiling_micro", "of all items", "share", "test items found / all test items"),
        Column("hits", "found", "count", "test items among the candidates"),
        Column("unique_hits", "only here", "count", "of those found, those that no other source found"),
        Column("unique_share", "share only here", "share", "only here / found"),
        Column("overlap", "shared", "share", "share of candidates that another source proposed too"),
        Column(
            "final_hits",
            f"in final {tree['k']}",
            "count",
            f"of those found, those in the first {tree['k']} of the final list",
        ),
        Column("buried", "buried", "count", "of those found, those the ranker left out"),
    ]
    rows: list[Tree] = [{"source": title(name)} | dict(s) for name, s in tree["sources"].items()]
    return Table("Sources in the funnel", columns, rows, "source")


def ranker(manifest: Tree) -> Section:
    """What the ranker learnt, and how it was chosen."""
    tree = manifest["ranker"]
    importances = [{"feature": name, "importance": value / 100} for name, value in tree.get("importances", {}).items()]
    figures = []
    if importances:
        columns = [Column("feature", "feature"), Column("importance", "importance", "share")]
        used = [row for row in importances if row["importance"] > 0]
        caption = f"How much predictions change when a feature does, as a share of all (CatBoost's PredictionValuesChange); the first 20 of {len(importances)}, {len(used)} of which are used."
        alt = "The first: " + ", ".join(f"{row['feature']} {row['importance']:.1%}" for row in importances[:5]) + "."
        table = Table("Importance of every feature", columns, importances, "feature")
        figures.append(
            Figure(
                "importances",
                "What the ranker looks at",
                caption,
                alt,
                charts.bars(importances[:20], "feature", "importance", "importance", ".0%"),
                table=table,
            )
        )
    if tree.get("by_share_of_trees"):
        rows = [
            {"what": f"{float(share):.0%} trees", "ndcg": value} for share, value in tree["by_share_of_trees"].items()
        ]
        rows += [{"what": f"{name} alone", "ndcg": value} for name, value in tree.get("sources_alone", {}).items()]
        caption = f"{tree['metric']}, over {tree['held_out_users']:,} users of the label window whom the trees had not seen. The rest beside the trees is a blend of the sources' scores. Chosen: {tree['share_of_trees']:.0%} trees."
        alt = "; ".join(f"{row['what']} {row['ndcg']:.4f}" for row in rows) + "."
        table = Table("Held-out users", [Column("what", "score"), Column("ndcg", "ndcg", "figure")], rows, "what")
        figures.append(
            Figure(
                "shares", "Trees or blend", caption, alt, charts.bars(rows, "what", "ndcg", "ndcg", ".3f"), table=table
            )
        )
    figures.append(_loss(manifest["sources"].get("als", {}).get("loss", [])))
    intro = []
    if "rows" in tree:
        intro = [
            f"Trained on {tree['rows']:,} candidates of {tree['users']:,} users, {tree['positives']:,} of them played in the label window, "
            f"with {tree['loss']} and {', '.join(f'{n:,}' for n in tree['trees'])} trees. Blend: "
            + ", ".join(f"{name} {weight:.2f}" for name, weight in tree["blend"].items())
            + "."
        ]
    return Section("ranker", "The ranker and ALS", intro, figures)


def _loss(losses: Sequence[float]) -> Figure:
    name = "ALS loss"
    if not losses:
        return Figure("loss", name, "", missing="ALS left no loss behind.")
    rows = [{"iteration": i + 1, "loss": loss} for i, loss in enumerate(losses)]
    caption = "What ALS minimises, after each iteration over all of train: weighted squared error plus the penalty on factors. It should fall and flatten out."
    alt = f"From {losses[0]:,.4g} to {losses[-1]:,.4g} in {len(losses)} iterations."
    table = Table(
        name, [Column("iteration", "iteration", "count"), Column("loss", "loss", "figure")], rows, "iteration"
    )
    return Figure(
        "loss", name, caption, alt, charts.line(rows, "iteration", "loss", ("iteration", "loss")), table=table
    )


def slices(metrics: Tree) -> Section:
    """For whom and for what it works."""
    names, focus = list(metrics["lists"]), metrics["focus"]
    options = [f"ndcg@{focus}", f"recall@{focus}"]
    figures = []
    for kind, name, caption, nothing in (
        (
            "activity",
            "By activity of users",
            "Evaluated users in three parts by the length of their history; a part's name gives the events from and to.",
            "No user is evaluated.",
        ),
        (
            "popularity",
            "By popularity of items",
            "Only test items of one band count as truth: head, the most played items with half of all events; torso, the next three tenths; tail, the rest.",
            "No item could be recommended.",
        ),
        (
            "genre",
            "By genre of items",
            "Only test items of one genre count as truth; an item counts for its first genre, and the most played genres are shown.",
            "No item has a genre.",
        ),
    ):
        lines = metrics["slices"].get(kind, [])
        rows = [
            {
                "slice": _slice(line),
                "users": line["users"],
                "list": n,
                "metric": option,
                "value": line["lists"][n][option],
            }
            for line in lines
            for n in names
            for option in options
            if line["lists"][n][option] is not None
        ]
        if not rows:
            figures.append(Figure(f"slice-{kind}", name, "", missing=nothing))
            continue
        labels = [_slice(line) for line in lines]
        final = [row for row in rows if row["list"] == metrics["final"] and row["metric"] == options[0]]
        alt = (
            f"{options[0]} of {in_sentence(metrics['final'])}: "
            + ", ".join(f"{row['slice']} {row['value']:.4f}" for row in final)
            + "."
        )
        figures.append(
            Figure(
                f"slice-{kind}",
                name,
                caption,
                alt,
                charts.slices(rows, names, options[0], labels),
                table=_slice_table(name, lines, names, options),
            )
        )
    return Section("slices", "For whom, and for what", (), figures, metrics=options, metric=options[0])


def _slice(line: Tree) -> str:
    if line.get("history_from") is None:
        return str(line["slice"])
    return f"{line['slice']} ({line['history_from']:,}–{line['history_to']:,})"


def _slice_table(name: str, lines: Sequence[Tree], names: Sequence[str], options: Sequence[str]) -> Table:
    columns = [Column("slice", "slice"), Column("users", "users", "count")]
    columns += [Column(f"{n} {o}", f"{title(n)} {o}", "figure") for o in options for n in names]
    rows = [
        {"slice": _slice(line), "users": line["users"]}
        | {f"{n} {o}": line["lists"][n][o] for n in names for o in options}
        for line in lines
    ]
    return Table(name, columns, rows, "slice")


def costs(manifest: Tree) -> Section:
    """Seconds and memory."""
    stages = manifest["stages"]
    rows = [{"name": s["name"], "seconds": s["seconds"], "peak_mb": s["peak_mb"]} for s in stages]
    columns = [Column("name", "stage"), Column("seconds", "time", "seconds"), Column("peak_mb", "peak memory", "size")]
    table = Table("Time and memory of each stage", columns, rows, "name")
    if not rows:
        return Section("costs", "What it cost", ["No stage was timed."])
    total, peak = sum(row["seconds"] for row in rows), max(row["peak_mb"] for row in rows)
    intro = [f"{total:,.1f} seconds and at most {peak:,.0f} MB, up to this report."]
    alt = "; ".join(f"{row['name']} {row['seconds']:,.1f} s" for row in rows) + "."
    caption = "Wall-clock seconds of each stage. Memory, in the table, is the largest resident memory of the process during the stage."
    return Section(
        "costs",
        "What it cost",
        intro,
        [
            Figure(
                "stages",
                "Time",
                caption,
                alt,
                charts.bars(rows, "name", "seconds", "seconds", "~s"),
                table=table,
                wide=True,
            )
        ],
    )


def facts(manifest: Tree, config: str) -> Section:
    """What is needed to do it again."""
    prints = [
        {"path": f["path"], "rows": f["rows"], "sha256": f["sha256"], "hashed": f["hashed"]}
        for f in manifest["fingerprints"]
    ]
    inputs = Table(
        "Inputs",
        [
            Column("path", "path"),
            Column("rows", "rows", "count"),
            Column("sha256", "sha256"),
            Column("hashed", "what the digest covers"),
        ],
        prints,
        "path",
    )
    versions = [{"package": name, "version": value} for name, value in manifest["versions"].items()]
    packages = Table("Versions", [Column("package", "package"), Column("version", "version")], versions, "package")
    return Section(
        "facts",
        "To do it again",
        [f"Seed {manifest['seed']}. All options as they were resolved:"],
        tables=[inputs, packages],
        code=config,
    )
