"""The report's charts as Vega-Lite specifications, drawn by Altair.

Colours are CSS variables, so that a chart follows the page from light to dark and onto paper without being drawn anew.
A chart with a parameter named metric is tied to the page's own select box.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from tonearm.runs.lists import title

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

MARKS = {
    "Final list": ("var(--c-final)", "diamond"),
    "Unshaped": ("var(--c-final)", "triangle-down"),
    "Popular": ("var(--c-popular)", "square"),
    "ALS": ("var(--c-als)", "circle"),
    "Content": ("var(--c-content)", "triangle-up"),
    "Item-item": ("var(--c-item-item)", "cross"),
    "EASE": ("var(--c-other-1)", "triangle-right"),
    "Spectral": ("var(--c-other-2)", "triangle-left"),
    "User-kNN": ("var(--c-other-3)", "triangle-down"),
    "Recent": ("var(--c-other-4)", "square"),
    "Trend": ("var(--c-other-5)", "circle"),
    "Again": ("var(--c-other-6)", "diamond"),
    "Own most frequent": ("var(--c-other-6)", "cross"),
    "Own most recent": ("var(--c-other-6)", "triangle-up"),
}
"""Colour and shape of each list and of the source behind it, the same all over the report."""
ODD = ("var(--c-popular)", "circle")

_FONT = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
CONFIG: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": _FONT
    | {
        "labelColor": "var(--ink)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelLimit": 260,
    },
    "legend": _FONT | {"labelColor": "var(--ink)", "titleColor": "var(--muted)", "orient": "top", "columns": 3},
    "text": {"color": "var(--ink)", "fontSize": 12},
}
"""How all charts look; handed to the page once."""

ACCENT, SECOND = "var(--accent)", "var(--second)"
BOTH = "train and test"


def marks(names: Iterable[str]) -> list[tuple[str, str]]:
    """Colour and shape of each list or source."""
    return [MARKS.get(title(name), ODD) for name in names]


def volume(rows: Rows, what: str, unit: str) -> Spec:
    """Events or users in each stretch of time, train and test stacked; users of both stand between, each once."""
    years = int(rows[-1]["end"][:4]) - int(rows[0]["start"][:4])
    fmt = "%Y" if years > 4 else "%b %Y" if unit == "month" else "%d %b"
    flat = []
    for row in rows:
        both = row["both_users"] if what == "users" else 0
        high = 0
        for part, n in (("train", row[f"train_{what}"] - both), (BOTH, both), ("test", row[f"test_{what}"] - both)):
            if n:
                flat.append({"start": row["start"], "end": row["end"], "part": part, "low": high, "high": high + n})
            high += n
    parts = {"train": SECOND, BOTH: "var(--muted)", "test": ACCENT}
    shown = [part for part in parts if any(bar["part"] == part for bar in flat)]
    chart = (
        alt.Chart(_data(flat))
        .mark_rect(stroke="var(--paper)", strokeWidth=0.5)
        .encode(
            x=alt.X("start:T", title=None, axis=alt.Axis(format=fmt, tickCount=6, labelOverlap=True, grid=False)),
            x2="end:T",
            y=alt.Y("low:Q", title=f"{what} a {unit}", axis=alt.Axis(format="~s", tickCount=5)),
            y2="high:Q",
            color=alt.Color("part:N", title=None, scale=alt.Scale(domain=shown, range=[parts[part] for part in shown])),
            tooltip=[
                alt.Tooltip("start:T", title="from", format="%Y-%m-%d"),
                alt.Tooltip("part:N"),
                alt.Tooltip("n:Q", title=what, format=","),
            ],
        )
        .transform_calculate(n="datum.high - datum.low")
    )
    return _spec(chart, 190)


def popularity_curve(rows: Rows) -> Spec:
    """Plays against rank, both on log scales."""
    chart = (
        alt.Chart(_data(rows))
        .mark_line(point=alt.OverlayMarkDef(size=30, color=ACCENT), color=ACCENT, strokeWidth=2)
        .encode(
            x=alt.X("rank:Q", title="rank of the item", scale=alt.Scale(type="log", nice=False), axis=_log_axis()),
            y=alt.Y("plays:Q", title="events", scale=alt.Scale(type="log", nice=False), axis=_log_axis()),
            tooltip=[alt.Tooltip("rank:Q", format=","), alt.Tooltip("plays:Q", title="events", format=",")],
        )
    )
    return _spec(chart, 220)


def histogram(rows: Rows, what: str, x: str) -> Spec:
    """Counts in bins of unequal width, side by side."""
    flat = [{"bin": bin_label(row), "n": row[what]} for row in rows]
    chart = (
        alt.Chart(_data(flat))
        .mark_bar(color=ACCENT)
        .encode(
            x=alt.X("bin:N", sort=None, title=x, axis=alt.Axis(labelAngle=-45, labelOverlap=False)),
            y=alt.Y("n:Q", title=what, axis=alt.Axis(format="~s", tickCount=5)),
            tooltip=[alt.Tooltip("bin:N", title=x), alt.Tooltip("n:Q", title=what, format=",")],
        )
    )
    return _spec(chart, 190)


def bin_label(row: Mapping[str, Any]) -> str:
    """A bin in short: 1, 2–4, 1k–1.9k."""
    low, high = (_short(row[end]) for end in ("from", "to"))
    return low if row["from"] == row["to"] else f"{low}–{high}"


def bars(rows: Rows, label: str, value: str, x: str, fmt: str) -> Spec:
    """One horizontal bar for each row, in the order given; a row of a source may name it by `source`."""
    flat = [{**row, "colour": marks([row["source"]])[0][0] if row.get("source") else ACCENT} for row in rows]
    chart = (
        alt.Chart(_data(flat))
        .mark_bar()
        .encode(
            color=alt.Color("colour:N", scale=None),
            y=alt.Y(f"{label}:N", sort=None, title=None),
            x=alt.X(f"{value}:Q", title=x, axis=alt.Axis(format=fmt, tickCount=5)),
            tooltip=[alt.Tooltip(f"{label}:N"), alt.Tooltip(f"{value}:Q", title=x, format=fmt)],
        )
    )
    return _spec(chart, 22 * len(rows))


def metric_bars(rows: Rows, names: Sequence[str], metric: str) -> Spec:
    """The chosen metric of each list with its interval. rows: list, metric, value, low, high."""
    base = _chosen(rows, metric)
    y = alt.Y("title:N", sort=[title(n) for n in names], title=None)
    bar = base.mark_bar(size=20).encode(
        y=y,
        x=alt.X("value:Q", title=None, axis=alt.Axis(tickCount=5)),
        color=_by_list(names, legend=False),
        tooltip=_tooltip("value"),
    )
    rule = base.mark_rule(strokeWidth=2, color="var(--ink)").encode(
        y=y, x="low:Q", x2="high:Q", tooltip=_tooltip("value")
    )
    return _spec(bar + rule, 32 * len(names))


def differences(rows: Rows, names: Sequence[str], metric: str) -> Spec:
    """The final list less each other one, with its interval. rows: list, metric, difference, low, high."""
    base = _chosen(rows, metric)
    y = alt.Y("title:N", sort=[title(n) for n in names], title=None)
    zero = alt.Chart(_data([{"zero": 0}])).mark_rule(color="var(--muted)", strokeDash=[4, 3]).encode(x="zero:Q")
    rule = base.mark_rule(strokeWidth=3).encode(
        y=y, x=alt.X("low:Q", title=None, axis=alt.Axis(tickCount=5)), x2="high:Q", color=_by_list(names, legend=False)
    )
    point = base.mark_point(size=110, filled=True, opacity=1).encode(
        y=y,
        x="difference:Q",
        color=_by_list(names, legend=False),
        shape=_shape(names, legend=False),
        tooltip=_tooltip("difference"),
    )
    return _spec(zero + rule + point, 32 * len(names))


def slices(rows: Rows, names: Sequence[str], metric: str, labels: Sequence[str]) -> Spec:
    """The chosen metric of some lists in each slice, with its interval.

    rows: slice, list, metric, value, low, high, users
    """
    base = _chosen(rows, metric)
    y = alt.Y("slice:N", sort=list(labels), title=None, axis=alt.Axis(grid=True))
    apart = alt.YOffset("title:N", sort=[title(n) for n in names])
    rule = base.mark_rule(strokeWidth=2).encode(
        y=y, yOffset=apart, x=alt.X("low:Q", title=None), x2="high:Q", color=_by_list(names)
    )
    point = base.mark_point(size=80, filled=True, opacity=1).encode(
        y=y,
        yOffset=apart,
        x=alt.X("value:Q", title=None, axis=alt.Axis(tickCount=5)),
        color=_by_list(names),
        shape=_shape(names),
        tooltip=[alt.Tooltip("slice:N"), *_tooltip("value"), alt.Tooltip("users:Q", format=",")],
    )
    return _spec(rule + point, 16 * len(names) * len(labels))


def overlap(rows: Rows, names: Sequence[str]) -> Spec:
    """How much of each source's candidates each other one proposed too. rows: source, other, share."""
    order = [title(n) for n in names]
    base = alt.Chart(_data(rows)).encode(
        y=alt.Y("source:N", sort=order, title="of the candidates of"),
        x=alt.X("other:N", sort=order, title="also proposed by", axis=alt.Axis(labelAngle=-30)),
        tooltip=["source:N", "other:N", alt.Tooltip("share:Q", format=".1%")],
    )
    box = base.mark_rect(color=ACCENT).encode(
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 0.6]), legend=None)
    )
    return _spec(box + base.mark_text().encode(text=alt.Text("share:Q", format=".0%")), 36 * len(names))


def funnel_bars(rows: Rows, names: Sequence[str]) -> Spec:
    """Each source's hits, split by what became of them. rows: source, fate, n, order."""
    fates = ["in the final list", "buried by the ranker"]
    chart = (
        alt.Chart(_data(rows))
        .mark_bar()
        .encode(
            y=alt.Y("source:N", sort=[title(n) for n in names], title=None),
            x=alt.X("n:Q", title="test items retrieved", axis=alt.Axis(format="~s", tickCount=5)),
            color=alt.Color("fate:N", title=None, scale=alt.Scale(domain=fates, range=[ACCENT, SECOND])),
            order="order:Q",
            tooltip=["source:N", "fate:N", alt.Tooltip("n:Q", title="items", format=",")],
        )
    )
    return _spec(chart, 28 * len(names))


def loss(rows: Rows) -> Spec:
    """ALS loss by iteration."""
    low, high = min(row["loss"] for row in rows), max(row["loss"] for row in rows)
    fmt = "~s" if high - low > 0.02 * high else "~g"
    last = len(rows)
    step = next(n for power in range(9) for n in (10**power, 2 * 10**power, 5 * 10**power) if last / n <= 8)
    whole = sorted({1, *range(step, last + 1, step)} if step > 1 else {*range(1, last + 1)})
    chart = (
        alt.Chart(_data(rows))
        .mark_line(point=alt.OverlayMarkDef(size=40, color=ACCENT), color=ACCENT, strokeWidth=2)
        .encode(
            x=alt.X("iteration:Q", title="iteration", axis=alt.Axis(values=whole, format="d")),
            y=alt.Y("loss:Q", title="loss", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format=fmt)),
            tooltip=["iteration:Q", alt.Tooltip("loss:Q", format=",.6~g")],
        )
    )
    return _spec(chart, 200)


def _chosen(rows: Rows, metric: str) -> alt.Chart:
    chosen = alt.param(name="metric", value=metric)
    flat = [{**row, "title": title(row["list"])} for row in rows]
    return alt.Chart(_data(flat)).add_params(chosen).transform_filter("datum.metric === metric")


def _by_list(names: Sequence[str], legend: bool = True) -> alt.Color:
    scale = alt.Scale(domain=[title(n) for n in names], range=[colour for colour, _ in marks(names)])
    return alt.Color("title:N", title=None, scale=scale, legend=alt.Legend() if legend else None)


def _shape(names: Sequence[str], legend: bool = True) -> alt.Shape:
    scale = alt.Scale(domain=[title(n) for n in names], range=[shape for _, shape in marks(names)])
    return alt.Shape("title:N", title=None, scale=scale, legend=alt.Legend() if legend else None)


def _tooltip(value: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("title:N", title="list"),
        alt.Tooltip("metric:N"),
        *(alt.Tooltip(f"{figure}:Q", format=".5f") for figure in (value, "low", "high")),
    ]


def _log_axis() -> alt.Axis:
    return alt.Axis(format="~s", values=[10**power for power in range(10)])


def _data(rows: Rows) -> pl.DataFrame:
    return pl.DataFrame(list(rows), infer_schema_length=None)


def _short(n: int) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if n >= size:
            return f"{n / size:.3g}{letter}"
    return str(n)


def _spec(chart: Any, height: int) -> Spec:
    """As wide as its place; the height, in pixels, is that of the marks alone."""
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec: Spec = chart.properties(width="container", height=height, autosize=fit).to_dict()
    spec.pop("config", None)
    return spec
