"""What a section of the report is made of: figures, tables and words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "count", "figure", "share", "seconds", "size", "signed"]

NONE = "–"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    key: of the row's value
    kind: how values are written
    definition: what it means, shown below the table
    k: the cut-off that it is for, where the reader chooses one
    """

    key: str
    label: str
    kind: Kind = "text"
    definition: str | None = None
    k: int | None = None


@dataclass(frozen=True)
class Table:
    """A table that readers can sort.

    rows: each a mapping by column key; `<key>_interval` adds [low, high] below a value
    head: key of the column whose cells name their rows
    strong: value of `head` of the row that matters most
    ks: cut-offs to choose from, the first shown being `k`
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    head: str
    strong: str | None = None
    ks: Sequence[int] = ()
    k: int | None = None

    @property
    def definitions(self) -> dict[str, str]:
        """What the columns mean, each once."""
        return {c.label: c.definition for c in self.columns if c.definition is not None and c.k in (None, self.k)}


@dataclass(frozen=True)
class Figure:
    """A chart with what it shows.

    caption: the definition of what is drawn
    alt: what it shows, in words, for those who do not see it
    spec: Vega-Lite, or None where there is nothing to draw
    missing: why there is nothing to draw
    table: the same figures to read
    """

    id: str
    title: str
    caption: str = ""
    alt: str = ""
    spec: dict[str, Any] | None = None
    missing: str | None = None
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page.

    intro: paragraphs
    figures: the first half stands left of the others on a wide screen
    points: a list of sentences
    metrics: what the reader may choose for this section's charts, the first shown being `metric`
    code: a file to show
    """

    id: str
    title: str
    intro: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    points: Sequence[str] = ()
    metrics: Sequence[str] = ()
    metric: str | None = None
    code: str | None = None

    @property
    def halves(self) -> list[Sequence[Figure]]:
        """The figures of the left and the right column."""
        middle = (len(self.figures) + 1) // 2
        return [half for half in (self.figures[:middle], self.figures[middle:]) if half]


def written(value: Any, kind: Kind) -> str:
    """A value as the page writes it."""
    if value is None or value == "":
        return NONE
    if kind == "count":
        return f"{value:,.0f}"
    if kind == "figure":
        return figure(value)
    if kind == "share":
        return f"{value:.1%}"
    if kind == "seconds":
        return f"{value:,.1f} s"
    if kind == "size":
        return f"{value:,.0f} MB"
    if kind == "signed":
        return f"{value:+.4f}".replace("-", "−")
    return str(value)


def figure(value: float) -> str:
    """Four digits after the point for small figures, fewer for large ones."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
