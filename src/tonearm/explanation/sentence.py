"""One sentence that a listener understands, made of a fact that is true."""

from collections.abc import Callable, Sequence

from tonearm.data.dataset import NOW
from tonearm.explanation.facts import LATELY, Facts, Fellow, Shared
from tonearm.runs.read import Id
from tonearm.terminal.words import counted

FEW = 2
"""Tracks of an artist or album, or listeners in common, from which on they are worth a sentence."""

GENRE = 0.25
"""Share of the history from which on a genre is worth a sentence."""

POPULAR = 100
"""Place among all tracks up to which one is called popular."""


def because(facts: Facts, names: Callable[[Id], str], near: Sequence[Id], whole_plays: bool = True) -> str:
    """Why the listener gets the track, by the first of these that holds; each is counted in the log.

    They have played it; two tracks of its artist, or of its album; tracks that the sources name, which its listeners
    play too and more often than by chance; a genre of a quarter of their history; one track of its artist; a place
    among the most played of now, or of all time; and weaker forms of the same.

    names: words for a track of the history
    near: tracks of the history that the sources which found the track rest on, strongest first
    whole_plays: whether a play is one event, so that plays can be told as times
    """
    artists = [part for part in facts.shared if part.kind == "artist"]
    albums = [part for part in facts.shared if part.kind == "album"]
    genres = [part for part in facts.shared if part.kind == "genre"]
    if facts.heard > 0:
        return f"Because you played it{_times(facts.heard) if whole_plays else ''}{_on(facts.heard_last)}."
    for part in (*artists[:1], *albums[:1]):
        if part.tracks >= FEW:
            return _of_label(part)
    told = _fellows(facts, names, near)
    if told is not None:
        return told
    if genres and genres[0].tracks >= max(FEW, GENRE * facts.tracks):
        part = genres[0]
        return (
            f"Because {part.tracks:,} of the {counted(facts.tracks, 'track')} you played are {part.label}, as this is."
        )
    for part in (*artists[:1], *albums[:1]):
        return _of_label(part)
    for place, words in ((facts.place_now, f" of the last {NOW} days"), (facts.place, "")):
        if place is not None and place <= POPULAR:
            return f"Because it is number {place} among the most played tracks{words}."
    if facts.fellows:
        return _played_by_others(facts, facts.fellows[:1], names)
    if genres:
        return f"Because you played {counted(genres[0].tracks, 'track')} of {genres[0].label}, which this is too."
    return f"Because {counted(facts.listeners, 'other listener')} played it; your history and theirs share no track."


def _of_label(part: Shared) -> str:
    where = f"by {part.label}" if part.kind == "artist" else f"of the album {part.label}"
    lately = ""
    if part.lately is not None and part.lately * 2 > part.tracks:
        most = "all" if part.lately == part.tracks else "most"
        lately = f", {most} of them in the last {LATELY} days" if part.tracks > 1 else f" in the last {LATELY} days"
    return f"Because you played {counted(part.tracks, 'track')} {where}{lately}."


def _fellows(facts: Facts, names: Callable[[Id], str], near: Sequence[Id]) -> str | None:
    by_item = {fellow.item: fellow for fellow in facts.fellows}
    found = [by_item[item] for item in near if item in by_item]
    found = [fellow for fellow in found if fellow.both >= FEW and fellow.both > fellow.expected][:2]
    return _played_by_others(facts, found, names) if found else None


def _played_by_others(facts: Facts, fellows: Sequence[Fellow], names: Callable[[Id], str]) -> str:
    played = " and ".join(names(fellow.item) for fellow in fellows)
    counts = " and ".join(f"{fellow.both:,}" for fellow in fellows)
    others = "other" if facts.listeners == 1 else "others"
    return f"Because you played {played}, as did {counts} of the {facts.listeners:,} {others} who played this."


def _times(plays: float) -> str:
    return " once" if plays == 1 else f" {plays:,.0f} times"


def _on(day: str | None) -> str:
    return "" if day is None else f", last on {day}"
