"""Geometry of the explorer's drawings: where things stand in an SVG, in its own units."""

from collections.abc import Sequence
from dataclasses import dataclass

from tonearm.explore.neighbours import Point

WIDTH, HEIGHT, MARGIN = 960, 520, 26
"""Of the map."""

LETTER, LINE = 7.4, 17
"""Width and height that a letter of a label takes, generously."""

AIR = 12
"""Kept free between a label and the middle of a dot of another track."""

LABEL = 26
"""Characters of a label."""

BAR = 100
"""Width of either half of a bar."""


@dataclass(frozen=True)
class Dot:
    """A track on the map: middle, radius, and the label beside it, or None where there is no room for one."""

    x: float
    y: float
    radius: float
    label: str | None
    label_x: float
    anchor: str


def dots(points: Sequence[Point], titles: Sequence[str], plays: Sequence[float]) -> list[Dot]:
    """Every point in place, larger the more it is played; labels go to the nearest tracks that have room for one."""
    most = max([*plays, 1.0])
    taken: list[tuple[float, float, float, float]] = []
    middles = [(MARGIN + point.x * (WIDTH - 2 * MARGIN), MARGIN + point.y * (HEIGHT - 2 * MARGIN)) for point in points]
    found: list[Dot] = []
    for (x, y), title, played in zip(middles, titles, plays, strict=True):
        others = [middle for middle in middles if middle != (x, y)]
        radius = 4 + 6 * (max(played, 0.0) / most) ** 0.5
        words = title if len(title) <= LABEL else title[: LABEL - 1] + "…"
        long = len(words) * LETTER
        label, at, anchor = None, x, "start"
        for start, place, side in (
            (x + radius + 4, x + radius + 4, "start"),
            (x - radius - 4 - long, x - radius - 4, "end"),
        ):
            box = (start, y - LINE / 2, start + long, y + LINE / 2)
            clear = not any(_meet(box, other) for other in taken)
            wide = (box[0] - AIR, y - AIR, box[2] + AIR, y + AIR)
            clear = clear and not any(wide[0] < a < wide[2] and wide[1] < b < wide[3] for a, b in others)
            clear = clear or not found  # the track itself is always named
            if box[0] >= 0 and box[2] <= WIDTH and clear:
                label, at, anchor = words, place, side
                taken.append(box)
                break
        found.append(Dot(round(x, 1), round(y, 1), round(radius, 1), label, round(at, 1), anchor))
    return found


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def bars(values: Sequence[float]) -> list[tuple[float, float]]:
    """Left end and width of each value's bar, from the middle of a width of 2 · `BAR`; the largest fills its half."""
    most = max((abs(value) for value in values), default=0.0) or 1.0
    widths = [abs(value) / most * BAR for value in values]
    return [
        (round(BAR - width if value < 0 else BAR, 2), round(width, 2))
        for value, width in zip(values, widths, strict=True)
    ]
