"""Which column holds what: the names that Tonearm reads, what may stand in their place, and what they must hold."""

from collections.abc import Iterable, Mapping

from tonearm.errors import ConfigError
from tonearm.options import suggest

KINDS = {
    "user_id": "id",
    "item_id": "id",
    "started_at": "time",
    "weight": "number",
    "kind": "text",
    "name": "text",
    "genres": "labels",
    "artists": "labels",
    "albums": "labels",
    "vector": "numbers",
    "rank": "number",
    "score": "number",
    "available_from": "time",
    "available_until": "time",
}
"""What a column of each name holds."""

EVENTS = ("user_id", "item_id", "started_at", "weight", "kind")
ITEMS = ("item_id", "name", "genres", "artists", "albums")

NAMED = tuple(dict.fromkeys((*EVENTS, *ITEMS, "vector", "rank", "score")))
"""Columns that may go by another name."""

ALIASES = {"item_id": ("track_id",), "started_at": ("timestamp", "datetime")}
"""Other names that a column may come under; the first name is preferred where both are there."""

SHORT = {"user": "user_id", "item": "item_id", "time": "started_at"}
"""What people call a column where they say which one it is; other columns go by their own names."""


def parse_columns(text: str) -> dict[str, str]:
    """'user=UserID,item=sku' as {"user": "UserID", "item": "sku"}; names that hold a comma go into the file of options.

    Raises:
        ConfigError: it is not written so.
    """
    columns: dict[str, str] = {}
    for part in text.split(",") if text else ():
        ours, equals, theirs = (piece.strip() for piece in part.partition("="))
        if not (ours and equals and theirs):
            raise ConfigError(f"--columns {text}: write it as user=UserID,item=sku,time=ts.")
        columns[ours] = theirs
    return columns


def full_names(columns: Mapping[str, str]) -> dict[str, str]:
    """The caller's column for each of ours, by our full names.

    Raises:
        ConfigError: a name is none of ours, or one is given twice.
    """
    full: dict[str, str] = {}
    for ours, theirs in columns.items():
        name = SHORT.get(ours, ours)
        known = [*SHORT, *(name for name in NAMED if name not in SHORT.values())]
        if name not in NAMED:
            raise ConfigError(f"columns: there is no column '{ours}' to name.{suggest(ours, known)}")
        if name in full:
            raise ConfigError(f"columns: {name} is named twice, as '{full[name]}' and as '{theirs}'. Leave one out.")
        full[name] = theirs
    return full


def unused(columns: Mapping[str, str], tables: Iterable[Iterable[str]]) -> list[str]:
    """A sentence on each column that was named and that none of the tables has.

    tables: the columns of each table
    """
    there = {name for table in tables for name in table}
    return [
        f"columns: no table has '{theirs}', which is to be {name}.{suggest(theirs, there)}"
        for name, theirs in full_names(columns).items()
        if theirs not in there
    ]
