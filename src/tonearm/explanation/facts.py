"""What is true of a listener and a track in the log and the catalogue, whatever any model makes of it."""

from dataclasses import dataclass

import numpy as np

from tonearm.data.catalogue import Tags
from tonearm.data.dataset import Block, Dataset
from tonearm.data.times import DAY, to_moment
from tonearm.runs.read import Id
from tonearm.types import Counts

LATELY = 30
"""Days before the cut that count as lately in a history."""


@dataclass(frozen=True)
class Shared:
    """A label that the track shares with the history.

    kind: "artist", "album" or "genre"
    tracks, plays: of the history with this label, the track itself left out
    lately: how many of those tracks were played in the last `LATELY` days; None without time
    """

    kind: str
    label: str
    tracks: int
    plays: float
    lately: int | None


@dataclass(frozen=True)
class Fellow:
    """A track of the history whose listeners play the explained track too.

    both: other listeners who played both; expected: how many would have, were the two plays independent
    """

    item: Id
    both: int
    expected: float


@dataclass(frozen=True)
class Facts:
    """Counts over train only.

    heard: the listener's plays of the track; heard_last: the date of the last of them
    tracks, plays: of the history, the track itself left out; a play may be a fraction in a weighted log
    shared: artists, albums and genres of the track that the history has, most tracks first within a kind
    listeners: others who played the track
    fellows: tracks of the history with a listener in common, most in common first
    place, place_now: 1-based place among all tracks by plays, and by plays of the last `NOW` days; None where there
        are none. Ties take the better place.
    """

    heard: float
    heard_last: str | None
    tracks: int
    plays: float
    shared: tuple[Shared, ...]
    listeners: int
    fellows: tuple[Fellow, ...]
    place: int | None
    place_now: int | None


def gather_facts(data: Dataset, block: Block, item: int) -> Facts:
    """Count. The block holds one user."""
    pairs = block.pairs
    own = pairs.item == item
    last = None if pairs.last is None or not own.any() else to_moment(int(pairs.last[own][0])).date().isoformat()
    catalogue = data.catalogue
    kinds = (("artist", catalogue.artists), ("album", catalogue.albums), ("genre", catalogue.genres))
    shared = [part for kind, tags in kinds if tags is not None for part in _shared(kind, tags, block, item)]
    listeners, fellows = _fellows(data, block, item)
    return Facts(
        heard=float(pairs.plays[own].sum()),
        heard_last=last,
        tracks=int((~own).sum()),
        plays=float(pairs.plays[~own].sum()),
        shared=tuple(shared),
        listeners=listeners,
        fellows=fellows,
        place=_place(data.plays, item),
        place_now=_place(data.plays_now, item),
    )


def _shared(kind: str, tags: Tags, block: Block, item: int) -> list[Shared]:
    pairs = block.pairs
    row, index = tags.entries(pairs.item)
    found = []
    for tag in tags.index[tags.indptr[item] : tags.indptr[item + 1]]:
        has = (np.bincount(row[index == tag], minlength=len(pairs.item)) > 0) & (pairs.item != item)
        if has.any():
            lately = None if pairs.last is None else int((pairs.last[has] >= block.now - LATELY * DAY).sum())
            label = str(tags.labels.ids[int(tag)])
            found.append(Shared(kind, label, int(has.sum()), float(pairs.plays[has].sum()), lately))
    return sorted(found, key=lambda part: (-part.tracks, -part.plays, part.label))


def _fellows(data: Dataset, block: Block, item: int) -> tuple[int, tuple[Fellow, ...]]:
    log, me = data.log, int(block.users[0])
    events = np.flatnonzero(log.item == item)
    users = np.searchsorted(log.start, events, side="right") - 1
    users = np.unique(users[events < log.stop[users]])
    users = users[users != me].astype(np.int32)
    _, both = log.users(users).item_counts()
    history = block.pairs.item[block.pairs.item != item]
    others = data.listeners[history] - 1
    expected = len(users) * others / max(data.n_users - 1, 1)
    order = np.lexsort((history, -both[history]))
    ids = data.catalogue.items.decode(history[order]).to_list()
    found = zip(ids, both[history][order].tolist(), expected[order].tolist(), strict=True)
    return len(users), tuple(Fellow(name, n, chance) for name, n, chance in found if n > 0)


def _place(plays: Counts, item: int) -> int | None:
    return int((plays > plays[item]).sum()) + 1 if plays[item] > 0 else None
