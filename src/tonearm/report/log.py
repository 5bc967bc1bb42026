"""What came in: the log in figures and charts."""

from collections.abc import Mapping
from typing import Any

from tonearm.report import charts
from tonearm.report.parts import Column, Figure, Section, Table
from tonearm.terminal.words import counted

Tree = Mapping[str, Any]

RULES = {
    "on_null": "lack a value that is needed",
    "on_future": "lie in the future",
    "on_orphan": "are of items that the catalogue lacks",
    "on_duplicate": "repeat another row",
}

SIDES = {
    "events": "events",
    "users": "users",
    "warm_users": "users who are also in train",
    "cold_users": "users who are not in train (cold)",
    "items": "items with an event",
    "repeats": "events of a user and item seen before",
    "median_per_user": "events of the median user",
    "max_per_user": "events of the busiest user",
    "median_per_item": "events of the median item",
    "max_per_item": "events of the most played item",
}

BARS = 12


def data(manifest: Tree, profile: Tree) -> Section:
    """What came in and what it looks like."""
    found = manifest["found"]
    cut = f"Train is everything before {moment(manifest['test_from'])}, test the rest." if manifest["test_from"] else ""
    spans = [
        f"{name.capitalize()} spans {found[name]['first']} to {found[name]['last']}."
        for name in ("train", "test")
        if found[name] and found[name]["first"]
    ]
    return Section(
        "data",
        "The log",
        intro=[" ".join([cut or "Train and test were given ready-made.", *spans])],
        figures=[
            *_volumes(profile["time"]),
            _popularity(profile["popularity"]),
            *_histograms(profile),
            _genres(profile["genres"]),
        ],
        tables=[_sides(found), _rows_kept(found)],
        points=found["notes"],
    )


def moment(text: str) -> str:
    """An ISO moment as people read it: the date alone at midnight."""
    return text.removesuffix("T00:00:00").replace("T", " ")


def _sides(found: Tree) -> Table:
    train, test = found["train"], found["test"] or {}
    rows = [{"what": label, "train": train.get(key), "test": test.get(key)} for key, label in SIDES.items()]
    columns = [Column("what", ""), Column("train", "train", "count"), Column("test", "test", "count")]
    return Table("Train and test in figures", columns, rows, "what")


def _rows_kept(found: Tree) -> Table:
    rows = []
    for name, log in found["logs"].items():
        rows.append({"log": name, "what": "read", "rows": log["rows"]})
        rows += [
            {"log": name, "what": f"left out, as they {RULES[rule]} (data.{rule})", "rows": n}
            for rule, n in log["dropped"].items()
        ]
        rows.append({"log": name, "what": "kept", "rows": log["kept"]})
    columns = [Column("what", "rows"), Column("log", "log"), Column("rows", "number", "count")]
    return Table("Rows read, left out and kept", columns, rows, "what")


def _volumes(time: Tree | None) -> list[Figure]:
    if time is None:
        words = "The log has no started_at, so nothing can be said of time."
        return [Figure("volume", "Events by time", missing=words)]
    unit, rows = time["by"], time["rows"]
    if any("both_users" not in row for row in rows):
        words = "The run was made by an earlier version, which did not count users of train and test at once."
        return [Figure("volume", "Events by time", missing=words)]
    figures = []
    for what, caption in (
        ("events", f"Rows kept in each {unit}, train below test."),
        ("users", f"Users with an event in each {unit}, each once. Those of two bars may be the same."),
    ):
        twice = [row["both_users"] if what == "users" else 0 for row in rows]
        total = [row[f"train_{what}"] + row[f"test_{what}"] - both for row, both in zip(rows, twice, strict=True)]
        peak = total.index(max(total))
        alt = (
            f"Bars from {rows[0]['start']} to {rows[-1]['end']}; the highest, {total[peak]:,} {what}, starts at "
            f"{rows[peak]['start']}."
        )
        name = f"{what.capitalize()} by {unit}"
        counts = [Column(f"{side}_{what}", f"{side} {what}", "count") for side in ("train", "test")]
        if what == "users":
            counts.append(Column("both_users", "of these in both", "count"))
        table = Table(name, [Column("start", f"{unit} from"), *counts], rows, "start")
        figures.append(Figure(f"volume-{what}", name, caption, alt, charts.volume(rows, what, unit), table=table))
    return figures


def _popularity(popularity: Tree) -> Figure:
    said = [
        f"The most played {t['share_of_items']:.0%} ({counted(t['items'], 'item')}) take "
        f"{t['share_of_plays']:.1%} of events."
        for t in popularity["top"]
        if t["share_of_items"] in (0.01, 0.1)
    ]
    columns = [
        Column("share_of_items", "share of items", "share"),
        Column("items", "items", "count"),
        Column("share_of_plays", "share of events", "share"),
    ]
    table = Table("Share of all events that the most played items take", columns, popularity["top"], "share_of_items")
    caption = "Events in train of each item, from the most played to the least; both axes logarithmic. " + " ".join(
        said
    )
    alt = f"A falling curve over {counted(popularity['items'], 'item')}."
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
        ("item_plays", "items", "Events of items", "events of an item", "Items of train by their number of events."),
    ):
        rows = [{"bin": charts.bin_label(row), what: row[what]} for row in profile[key]]
        fullest = max(rows, key=lambda row: row[what])
        alt = f"Bars; the highest stands for {fullest[what]:,} {what} with {fullest['bin']} events."
        table = Table(caption, [Column("bin", x), Column(what, what, "count")], rows, "bin")
        spec = charts.histogram(profile[key], what, x)
        found.append(Figure(key.replace("_", "-"), name, caption, alt, spec, table=table))
    return found


def _genres(genres: Tree | None) -> Figure:
    if genres is None:
        words = "No item has a genre, so there are no content lists, and nothing is said of diversity."
        return Figure("genres", "Genres", missing=words)
    rows = genres["rows"]
    caption = (
        f"Share of events in train by genre of their item, the first {min(BARS, len(rows))} of {genres['genres']:,}; "
        f"an item counts for each of its genres. {counted(genres['items_with_genre'], 'item', 'has')} one, with "
        f"{genres['share_of_plays_with_genre']:.1%} of all events."
    )
    columns = [
        Column("genre", "genre"),
        Column("items", "items", "count"),
        Column("plays", "events", "count"),
        Column("share_of_plays", "share of events", "share"),
    ]
    table = Table("The most played genres", columns, rows, "genre")
    alt = f"Bars; the longest is {rows[0]['genre']} with {rows[0]['share_of_plays']:.1%}."
    spec = charts.bars(rows[:BARS], "genre", "share_of_plays", "share of events", "~%")
    return Figure("genres", "Genres", caption, alt, spec, table=table)
