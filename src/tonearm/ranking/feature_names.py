"""Features as people call them, in the units of the log: `user_tracks` 1.792 is a history of 5 tracks."""

import math
import re
from collections.abc import Callable

from tonearm.runs.lists import title
from tonearm.terminal.words import counted, number

_PLAYS: tuple[Callable[[float], float], str] = (math.expm1, "play")
_DAYS: tuple[Callable[[float], float], str] = (lambda value: value, "day")
_AGO: tuple[Callable[[float], float], str] = (lambda value: -value, "day")
_SHARE: tuple[Callable[[float], float], str] = (lambda value: 100 * value, "%")
_TIMES: tuple[Callable[[float], float], str] = (lambda value: value, "")

FEATURES: dict[str, tuple[str, tuple[Callable[[float], float], str]]] = {
    "item_plays_per_user": ("plays of the track by a listener of it", _TIMES),
    "item_age": ("days since the track was first played", _DAYS),
    "item_recency": ("days since the track was last played", _AGO),
    "user_tracks": ("tracks in the history", (math.expm1, "track")),
    "user_plays_per_track": ("plays of each track in the history", _TIMES),
    "user_popularity": ("plays of a track in the history (typical)", _PLAYS),
    "user_tenure": ("days since the listener's first play", _DAYS),
    "user_recency": ("days since the listener's last play", _AGO),
    "user_recent_share": ("share of the history of the last 30 days", _SHARE),
    "item_skip_share": ("skips and dislikes of the track, of all that was done with it", _SHARE),
    "own_skips": ("skips and dislikes of it by the listener", _TIMES),
    "own_seen": ("played before by the listener (1: yes)", _TIMES),
    "own_plays": ("plays by the listener", (lambda value: value, "play")),
    "own_recency": ("days since the listener last played it", _AGO),
    "own_days": ("days on which the listener played it", _DAYS),
    "own_day_share": ("share of the listener's days with it", _SHARE),
    "own_gap": ("days between the listener's plays of it", _DAYS),
    "own_due": ("days since the last play over the usual gap", _TIMES),
}
"""Title, and what turns the value into its unit, of each feature that is known by its whole name."""

PATTERNS: tuple[tuple[str, str, tuple[Callable[[float], float], str]], ...] = (
    (r"item_plays_(\d+)d", "plays of the track in the last {0} days", _PLAYS),
    (r"item_trend_(\d+)d", "share of its plays in the last {0} days", _SHARE),
    (r"(artist|album)_plays", "plays of the {0} by the listener", (lambda value: value, "play")),
    (r"(artist|album)_items", "tracks of the {0} in the history", (lambda value: value, "track")),
    (r"(artist|album)_recency", "days since a play of the {0} by the listener", _AGO),
    (r"(.+)_score", "score of {0}", _TIMES),
    (r"(.+)_z", "score of {0}, standardised", _TIMES),
)


def feature_title(name: str) -> str:
    """A feature as people call it; one that is unknown goes by its own name."""
    return _known(name)[0]


def feature_value(name: str, value: float | None) -> str:
    """A feature's value in its natural unit."""
    if value is None:
        return "unknown"
    natural, unit = _known(name)[1]
    shown = natural(value)
    shown = round(shown, 6) + 0.0
    if unit == "%":
        return f"{shown:.3g}%"
    return counted(float(f"{shown:.4g}"), unit) if unit else number(shown) if abs(shown) >= 10_000 else f"{shown:.4g}"


def _known(name: str) -> tuple[str, tuple[Callable[[float], float], str]]:
    if name in FEATURES:
        return FEATURES[name]
    for pattern, words, unit in PATTERNS:
        found = re.fullmatch(pattern, name)
        if found is not None:
            return words.format(title(found[1])), unit
    return name, _TIMES
