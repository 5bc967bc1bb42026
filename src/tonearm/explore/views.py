"""What pages say of a listener, a track and an explanation, ready for their templates."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tonearm.explanation import Explanation
from tonearm.explanation.facts import LATELY
from tonearm.explanation.view import history_parts, history_words, place_words, ranking_words
from tonearm.explore import drawing
from tonearm.explore.neighbours import Models
from tonearm.explore.tracks import Track, Tracks
from tonearm.runs.lists import FINAL, POPULAR, title
from tonearm.runs.read import Id, Listener, summed

Content = dict[str, Any]

FEATURES = 12
"""Features of the trees that are shown."""

CHOSEN = 50
"""Test tracks that are shown."""


def called(name: str) -> str:
    """A list or source as the explorer calls it."""
    words = title(name)
    return words[:1].upper() + words[1:]


def listener(found: Listener, tracks: Tracks, filter_seen: bool, by: str, number: int, size: int) -> Content:
    """A page of the history, every list with hits marked and where else each track stands, and what was chosen.

    by: "latest" or "plays", the order of the history; number: of its page, from 1; size: tracks on a page
    """
    train = found.train
    heard, chosen = train["item_id"].to_list(), found.test["item_id"].to_list()
    hits = set(chosen) - (set(heard) if filter_seen else set())
    pages = max(1, -(-len(heard) // size))
    number = min(max(number, 1), pages)
    ordered = train.sort("plays", descending=True, maintain_order=True) if by == "plays" else train
    rows = ordered.slice((number - 1) * size, size).to_dicts()
    listed = {name: table["item_id"].to_list() for name, table in found.lists.items()}
    about = tracks.of_ids(
        [*(row["item_id"] for row in rows), *chosen[:CHOSEN], *(item for items in listed.values() for item in items)]
    )
    places: dict[Id, list[tuple[str, int]]] = {}
    for name, items in listed.items():
        for place, item in enumerate(items):
            places.setdefault(item, []).append((name, place + 1))
    known, final = set(heard), _final(found.lists)
    return {
        "history": [(about[row["item_id"]], row["plays"], row.get("last")) for row in rows],
        "tracks": len(heard),
        "plays": float(train["plays"].sum()),
        "timed": "last" in train.columns,
        "by": by,
        "number": number,
        "pages": pages,
        "cold": not heard,
        "lists": [
            (
                name,
                [
                    (about[item], place + 1, item in hits, _elsewhere(places[item], name))
                    for place, item in enumerate(items)
                ],
                sum(item in hits for item in items),
            )
            for name, items in listed.items()
        ],
        "chosen": [
            (about[item], final.get(item), _reason(item in known, about[item], tracks, filter_seen))
            for item in chosen[:CHOSEN]
        ],
        "chosen_all": len(chosen),
        "names_note": tracks.note,
    }


def _final(lists: Mapping[str, pl.DataFrame]) -> dict[Id, int]:
    """Places in the final list, or in the popular one of a cold listener."""
    items = lists.get(FINAL, lists[POPULAR])["item_id"].to_list()
    return {item: place + 1 for place, item in enumerate(items)}


def _elsewhere(places: Sequence[tuple[str, int]], name: str) -> list[tuple[str, int]]:
    return [place for place in places if place[0] != name]


def _reason(heard: bool, track: Track, tracks: Tracks, filter_seen: bool) -> str:
    """Why a test track counts for nothing; empty where it counts."""
    if heard and filter_seen:
        return "already heard"
    known = track.place is not None and (tracks.plays[track.place] > 0 or not tracks.plays.any())
    return "" if known else "not in train"


def track(
    about: Track,
    tracks: Tracks,
    models: Models,
    heard: tuple[pl.DataFrame, pl.DataFrame],
    sizes: tuple[int, int, int],
) -> Content:
    """Facts, listeners, neighbours by each model, and a map of the tracks around.

    heard: the track's events in train and in test
    sizes: neighbours of each model, tracks on the map, listeners
    """
    near, around, shown = sizes
    train, test = (summed(rows, "user_id") for rows in heard)
    most = train.sort("plays", descending=True, maintain_order=True).head(shown)
    content: Content = {
        "track": about,
        "train": (float(train["plays"].sum()), len(train)),
        "test": (float(test["plays"].sum()), len(test)),
        "listeners": [(row["user_id"], row["plays"], row.get("last")) for row in most.to_dicts()],
        "timed": "last" in train.columns,
        "place": None,
    }
    content |= {"neighbours": [], "points": [], "share": 0.0, "size": (drawing.WIDTH, drawing.HEIGHT)}
    if about.place is None:
        return content
    plays = float(tracks.plays[about.place])
    if plays > 0:
        content["place"] = int((tracks.plays > plays).sum()) + 1
    content["neighbours"] = [
        (source, found.about, list(zip(tracks.at(found.items), found.scores.tolist(), strict=True)))
        for source, found in models.neighbours(about.place, near).items()
    ]
    points, share = models.around(about.place, around)
    others = tracks.at([point.place for point in points])
    counts = [float(tracks.plays[point.place]) for point in points]
    drawn = drawing.dots(points, [other.name or str(other.id) for other in others], counts)
    content["share"] = share
    content["points"] = [
        (other, dot, point.cosine, count, _kin(about, other))
        for other, dot, point, count in zip(others, drawn, points, counts, strict=True)
    ]
    return content


def _kin(a: Track, b: Track) -> tuple[str, str]:
    """A class and words for what a track has in common with the one in the middle."""
    if a.id == b.id:
        return "self", "this track"
    if set(a.artists) & set(b.artists):
        return "artist", "same artist"
    if set(a.genres) & set(b.genres):
        return "genre", "shares a genre"
    return "other", "no genre in common"


def why(told: Explanation, tracks: Tracks) -> Content:
    """All parts of an explanation."""
    content: Content = {
        "told": told,
        "track": tracks.track(told.item),
        "place": place_words(told),
        "lately": LATELY,
        "history": None if told.facts is None else history_words(told.facts),
        "sources": [(part, *history_parts(part)) for part in told.sources],
        "ranking": None,
    }
    ranking = told.ranking
    if ranking is None:
        return content
    features, others = ranking.features[:FEATURES], ranking.features[FEATURES:]
    rest = sum(feature.shap for feature in others)
    blend = [part.z * part.weight for part in ranking.blend_parts]
    return content | {
        "ranking": ranking,
        "ranked": ranking_words(ranking),
        "shap": list(zip(features, drawing.bars([f.shap for f in features]), strict=True)),
        "others": (len(others), rest),
        "blend": list(zip(ranking.blend_parts, blend, drawing.bars(blend), strict=True)),
        "bar_half": drawing.BAR,
    }
