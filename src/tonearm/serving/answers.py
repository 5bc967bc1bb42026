"""What is answered, by its types: the interface's page is made from them."""

from typing import Any, Literal

from pydantic import BaseModel

from tonearm.serving.version import Version
from tonearm.types import Float32s, Int32s

Source = Literal["blended", "offline", "popular"]
Id = int | str


class Entry(BaseModel):
    """One item of a list; score is null where a rule put it there, or where it fills up the list."""

    rank: int
    item_id: Id
    name: str | None
    score: float | None


class Answer(BaseModel):
    """A list, best first. source: what it was made of."""

    user_id: str
    version: str
    variant: str
    source: Source
    items: list[Entry]


class Items(BaseModel):
    """Similar or popular items, best first."""

    version: str
    items: list[Entry]


class Heard(BaseModel):
    """An event of a history; at is ISO, and null in a log without time. source: the run's log, or an event since."""

    item_id: Id
    name: str | None
    at: str | None
    source: Literal["log", "event"]


class History(BaseModel):
    """What a user played, the latest first."""

    user_id: str
    version: str
    events: list[Heard]


class Why(BaseModel):
    """Why a user gets an item, or why not.

    rank: its place in their list now; offline: its place in the list that was published
    details: all that `tonearm explain --json` says; null for a user whom the run did not know
    """

    user_id: str
    item_id: Id
    version: str
    rank: int | None
    offline: int | None
    because: str
    details: dict[str, Any] | None


def entries(version: Version, item: Int32s, score: Float32s) -> list[Entry]:
    """Items as they are answered."""
    return [
        Entry(
            rank=rank,
            item_id=version.items.id(row),
            name=version.name(row),
            score=None if value != value else round(value, 5),
        )
        for rank, (row, value) in enumerate(zip(item.tolist(), score.tolist(), strict=True), 1)
    ]
