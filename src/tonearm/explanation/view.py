"""An explanation in the terminal, within eighty columns, and as JSON."""

import dataclasses
import json

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tonearm.data.dataset import NOW
from tonearm.explanation import Explanation
from tonearm.explanation.facts import LATELY, Facts
from tonearm.explanation.parts import Ranking, SourcePart
from tonearm.ranking.feature_names import feature_title, feature_value
from tonearm.runs.read import Id
from tonearm.terminal.printing import visible
from tonearm.terminal.words import counted

TOP = 3
"""History items shown of each source."""

FEATURES = 8
"""Features shown of the trees."""

NAME = 26
"""Characters of a name in a table."""


def to_json(explanation: Explanation) -> str:
    """All parts, with nothing left out."""
    tree = dataclasses.asdict(explanation)
    tree["names"] = [{"item_id": item, "name": name} for item, name in explanation.names.items()]
    return json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False, default=pl.DataFrame.to_dicts)


def render(explanation: Explanation) -> RenderableType:
    """The sentence first, then what it stands on."""
    e = explanation
    heading = Text.assemble((f"User {e.user}, track {e.item}", "bold"))
    if e.names[e.item] != str(e.item):
        heading.append(f": {e.names[e.item]}")
    parts: list[RenderableType] = [heading]
    parts.append(Text(place_words(e)))
    parts.append(Text(e.because or e.why_not or "", style="bold green" if e.because else "bold yellow"))
    if e.until is not None:
        parts.append(Text(f"History and counts end at {e.until}.", style="dim"))
    if e.facts is not None:
        parts += [_facts(e.facts), _sources(e)]
    if e.ranking is not None:
        parts += _ranking(e.ranking)
    return Group(*parts)


def place_words(e: Explanation) -> str:
    """Where the track stands in the listener's list."""
    if e.rank is None:
        return "Not in the list."
    return f"Place {e.rank:,} in the {'final' if e.facts is not None else 'popular'} list, which ends at {e.k:,}."


def history_words(facts: Facts) -> str:
    """How long the history is, and how many others play the track."""
    places = [
        f"number {place:,} by plays {when}"
        for place, when in ((facts.place, "of all time"), (facts.place_now, f"of the last {NOW} days"))
        if place is not None
    ]
    others = counted(facts.listeners, "other listener")
    return f"History: {counted(facts.tracks, 'other track')}. This one: {others}; {'; '.join(places)}."


def ranking_words(ranking: Ranking) -> str:
    """Where the ranker puts the candidate, and what its score is made of."""
    share = ranking.share
    how = f"{share:g} × trees {ranking.trees_z:.3f} + {1 - share:g} × blend {ranking.blend_z:.3f}, both standardised"
    if share in (0, 1):
        how = "the trees' value alone" if share == 1 else "the blend's value alone"
    return (
        f"The ranker: place {ranking.place:,} of {counted(ranking.of, 'candidate')}, score {ranking.score:.3f} = {how}."
    )


def history_parts(part: SourcePart) -> tuple[list[tuple[Id, float]], list[tuple[float, str]]]:
    """The tracks of the history that add most to a source's score; and, in words, what the others and fitting add."""
    shown: list[tuple[Id, float]] = part.history.head(TOP).filter(pl.col("value") > 0).rows()
    others = part.history["value"][len(shown) :].to_numpy()
    words = "another" if len(others) == 1 else f"{len(others):,} others"
    more = [(float(others.sum()), words)] if len(others) else []
    rest = part.rest or 0.0
    if abs(rest) >= 0.001 * abs(part.score or 0) and abs(rest) > 1e-4:
        more.append((rest, "from fitting, not of one track"))
    return shown, more


def _facts(facts: Facts) -> RenderableType:
    table = Table(title="Shared with the history", title_justify="left", title_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("label")
    for name in ("tracks", "plays", f"last {LATELY} days"):
        table.add_column(name, justify="right", no_wrap=True)
    for part in facts.shared:
        lately = "" if part.lately is None else f"{part.lately:,}"
        table.add_row(part.kind, part.label, f"{part.tracks:,}", f"{part.plays:,g}", lately)
    nothing = Text("It shares no artist, album or genre with the history.")
    return Group(Text(history_words(facts)), table if facts.shared else nothing)


def _sources(e: Explanation) -> RenderableType:
    table = Table(title="What the sources make of it", title_justify="left", title_style="bold")
    table.add_column("source", no_wrap=True)
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("of which, by tracks of the history")
    for part in e.sources:
        rank = "–" if part.rank is None else f"{part.rank:,}"
        rank = rank if part.found else f"({rank})"
        score = "–" if part.score is None else f"{part.score:.4g}"
        table.add_row(part.name, rank, score, _history(part, e.names))
    table.caption = "(rank): beyond what is taken from the source; –: in no list"
    table.caption_justify = "left"
    return table


def _history(part: SourcePart, names: dict[Id, str]) -> Text:
    if part.history.is_empty():
        return Text("the same for everybody" if part.score is not None else "", style="dim")
    shown, more = history_parts(part)
    lines = [f"{value:.3g} {_short(names[item])}" for item, value in shown]
    lines += [f"{value:.3g} {words}" for value, words in more]
    return Text("\n".join(lines))


def _ranking(ranking: Ranking) -> list[RenderableType]:
    share = ranking.share
    parts: list[RenderableType] = [Text(ranking_words(ranking))]
    if share > 0:
        title = f"Trees: {ranking.trees:.3f}"
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("feature")
        table.add_column("value", justify="right")
        table.add_column("adds (SHAP)", justify="right")
        table.add_row("expected value", "", f"{ranking.expected:+.3f}")
        for feature in ranking.features[:FEATURES]:
            value = feature_value(feature.name, feature.value)
            table.add_row(Text(feature_title(feature.name)), value, f"{feature.shap:+.3f}")
        others = ranking.features[FEATURES:]
        if others:
            table.add_row(counted(len(others), "other"), "", f"{sum(feature.shap for feature in others):+.3f}")
        parts.append(table)
    if share < 1:
        table = Table(title=f"Blend: {ranking.blend:.3f}", title_justify="left", title_style="bold")
        table.add_column("source", no_wrap=True)
        for name in ("score, standardised", "weight", "adds"):
            table.add_column(name, justify="right")
        for part in ranking.blend_parts:
            table.add_row(part.source, f"{part.z:.3f}", f"{part.weight:.3f}", f"{part.z * part.weight:+.3f}")
        parts.append(table)
    return parts


def _short(name: str) -> str:
    name = visible(name)
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"
