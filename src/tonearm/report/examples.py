"""Three users with their lists side by side, and three items with their neighbours, ready for the page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tonearm.runs.lists import POPULAR, title
from tonearm.runs.read import Id, Run

Row = dict[str, Any]

LISTED = 10
WHOLE = 10_000
SIMILAR = 10


def example_users(run: Run, users: Sequence[Mapping[str, Any]]) -> tuple[list[Row], str | None]:
    """Each example user of profile.json with the first entries of each list, hits marked; and words on missing names.

    Each entry has `item_id`, `name`, `artists`, `genres`, and `hit` where it is in a list.
    """
    lists = [_lists(run, user) for user in users]
    known = {row["item_id"]: row for user in users for part in ("history", "test", "popular") for row in user[part]}
    listed = (row["item_id"] for of_user in lists for rows in of_user.values() for row in rows[:LISTED])
    facts, note = _describe(run, listed, known)
    found = []
    for user, of_user in zip(users, lists, strict=True):
        truth = {row["item_id"] for row in user["test"] if row["in_truth"]}
        shown = [
            {
                "title": title(name),
                "entries": [facts[row["item_id"]] | row | {"hit": row["item_id"] in truth} for row in rows[:LISTED]],
                "hits": [(n, sum(row["item_id"] in truth for row in rows[:n])) for n in _counts_at(len(rows))],
            }
            for name, rows in of_user.items()
        ]
        found.append(dict(user) | {"lists": shown})
    return found, note


def example_items(run: Run, items: Sequence[Mapping[str, Any]]) -> tuple[list[Row], str | None]:
    """Each example item of profile.json with its most similar items; and words on missing names."""
    similar = []
    for item in items:
        rows = run.similar_to(item["item_id"], SIMILAR)
        similar.append([] if rows is None else rows.to_dicts())
    known = {item["item_id"]: dict(item) for item in items}
    facts, note = _describe(run, (row["item_id"] for rows in similar for row in rows), known)
    found = [
        dict(item) | {"similar": [facts[row["item_id"]] | row for row in rows]}
        for item, rows in zip(items, similar, strict=True)
    ]
    return found, note


def _lists(run: Run, user: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Each list of a user, whole; the popular list, which comes from the profile, as far as it goes there."""
    found = {
        name: rows.select("item_id", "score", "rank").to_dicts()
        for name, rows in run.lists_of(user["user_id"], WHOLE).items()
    }
    popular = user["popular"]
    found[POPULAR] = [{"item_id": row["item_id"], "score": None, "rank": i + 1} for i, row in enumerate(popular)]
    return found


def _counts_at(length: int) -> list[int]:
    """How far down a list hits are counted: what is shown, and all of it."""
    return sorted({min(LISTED, length), length})


def _describe(run: Run, ids: Iterable[Id], known: Mapping[Id, Row]) -> tuple[dict[Id, Row], str | None]:
    """Facts of items by id, from what is known already and from the catalogue."""
    wanted = list(dict.fromkeys(ids))
    read, note = run.describe([item for item in wanted if item not in known])
    nothing: Row = {"name": None, "genres": [], "artists": []}
    return {item: nothing | {"item_id": item} | known.get(item, {}) | read.get(item, {}) for item in wanted}, note
