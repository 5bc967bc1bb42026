"""What each question is answered with, whatever it came by: lists, similar and popular items, histories, reasons."""

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numba
import numpy as np
from pydantic import Field

from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.data.times import to_moment
from tonearm.errors import DataError
from tonearm.explanation import explain
from tonearm.explanation.view import to_json
from tonearm.kernels.machine.threads import KERNELS
from tonearm.options import options
from tonearm.serving import publish
from tonearm.serving.answers import Answer, Heard, History, Items, Source, Why, entries
from tonearm.serving.events import Event, EventStore, Impression
from tonearm.serving.experiment import Experiment, Variant, explored, interleave
from tonearm.serving.online import DEEP, Blend, answer, with_plays
from tonearm.serving.version import Version
from tonearm.types import Float32s, Int32s

Kind = Literal["blended", "offline", "online"]

ONLY: dict[str, Blend] = {"offline": Blend(rule="offline"), "online": Blend(rule="folded", offline=0.0)}
"""How the lists of one kind are made."""

PLAIN = Variant()
"""What there is where there is no experiment."""

KEPT = 32_768
"""Answers that are kept until their user plays something more; beyond them the earliest go."""


@options
class Limits:
    """What one request may ask for.

    k: items of a list; recent: the latest events of a user that are looked at
    """

    k: Annotated[int, Field(ge=1)] = 500
    recent: Annotated[int, Field(ge=1)] = 1000


class Unknown(DataError):
    """An item, genre or version that is not there."""


@dataclass(frozen=True)
class Listener:
    """What is known of a user.

    row: in the version; −1 for one whom the run did not know, or who asked to be forgotten
    events: the latest, oldest first; item: (n,) rows of the items of those that came after the run's log, as far as the
        run knows them
    """

    user: str
    row: int
    events: Sequence[Event]
    item: Int32s

    def block(self, version: Version) -> Block:
        """The user as the recommender takes them: what came after the log counts as played when it ended."""
        return with_plays(
            version.data, np.array([self.row], np.int32), [self.item], version.restored.config.filter_seen
        )


class Service:
    """Answers from the version that a store serves, and from what users played since.

    blend: how the two are joined; limits: what one request may ask for; experiment: who is answered otherwise

    Raises:
        DataError: nothing was published in the store, or a variant's version is not there.
    """

    def __init__(
        self,
        store: Path,
        events: EventStore,
        blend: Blend | None = None,
        limits: Limits | None = None,
        experiment: Experiment | None = None,
    ) -> None:
        self.store, self.events = store, events
        self.blend, self.limits = blend or Blend(), limits or Limits()
        self.experiment = experiment or Experiment()
        found = publish.current(store)
        if found is None:
            raise DataError(
                f"{store}: nothing was published there. Publish a run by tonearm publish RUN --store {store}."
            )
        self.version = _warm(found)
        self._answers: dict[tuple[Any, ...], tuple[Int32s, Float32s]] = {}
        self._lock = threading.Lock()
        self._shown: deque[Impression] = deque()
        named = {variant.version for variant in self.experiment.variants.values()} - {None}
        self._others = {name: _warm(Version.open(store / publish.VERSIONS / str(name))) for name in named}

    def refresh(self) -> bool:
        """Go over to the version that the store serves now; whether it is another one.

        Answers that are under way keep theirs.
        """
        name = publish.current_id(self.store)
        if name is None or name == self.version.id:
            return False
        self.version = _warm(Version.open(self.store / publish.VERSIONS / name))
        with self._lock:
            self._answers.clear()
        return True

    def listener(self, version: Version, user: str) -> Listener:
        """What is known of a user now."""
        events, forgotten = self.events.recent(user, self.limits.recent)
        row = -1 if forgotten else version.users.place(user)
        after = version.ended
        found = [version.items.place(event.item_id) for event in events if event.at >= after]
        return Listener(user, row, events, np.array([item for item in found if item >= 0], np.int32))

    def at_once(self, user: str, k: int, kind: Kind = "blended", context: str = "") -> Answer | None:
        """What `recommend` answers where that is at hand, published, popular or made before; else None."""
        name, variant = self._variant(user, kind)
        if variant.explore or variant.against:
            return None
        version = self._version(variant)
        who = self.listener(version, user)
        item, score = version.listed(who.row, k)
        if len(who.item) > 0 or (kind == "online" and who.row >= 0):
            blend = (variant.blend or self.blend) if kind == "blended" else ONLY[kind]
            source: Source = "offline" if blend.rule == "offline" else "blended"
        elif len(item) == k:
            return self._answer(version, user, name, "offline", item, score, context)
        else:
            blend, source = ONLY["offline"], "popular" if len(item) == 0 else "offline"
        found = self._answers.get(self._key(version, who, k, blend, 0))
        return None if found is None else self._answer(version, user, name, source, *found, context)

    def meanwhile(self, user: str, k: int, context: str = "") -> Answer | None:
        """The published list less what was played since, for while a blended one is made.

        None where that falls short: it is too short, a rule of shaping says more about it, or a variant draws.
        """
        name, variant = self._variant(user, "blended")
        version = self._version(variant)
        who = self.listener(version, user)
        item, score = version.listed(who.row)
        left = np.flatnonzero(~np.isin(item, who.item))[:k]
        if len(left) < k or variant.explore or variant.against or version.recommender(0).shaper is not None:
            return None
        return self._answer(version, user, name, "offline", item[left], score[left], context)

    def prepare(self, user: str, k: int) -> None:
        """Make a user's blended list, for `at_once` to have at hand; nobody is shown it yet."""
        _, variant = self._variant(user, "blended")
        self._list(self._version(variant), user, k, "blended", variant, None)

    def recommend(
        self, user: str, k: int, kind: Kind = "blended", genre: str | None = None, context: str = ""
    ) -> Answer:
        """A user's list; an unknown user's is the popular one.

        Raises:
            Unknown: no item is of that genre.
        """
        name, variant = self._variant(user, kind)
        version = self._version(variant)
        deep = max(k, variant.pool) if variant.explore else k
        source, item, score = self._list(version, user, deep, kind, variant, genre)
        chance, teams = np.empty(0), list[int]()
        if variant.explore:
            places, chances = explored(len(item), variant.pool, k, variant.explore, np.random.default_rng())
            item, score, chance = item[places], score[places], chances[places]
        elif variant.against:
            other = self._list(version, user, k, kind, self.experiment.variants[variant.against], genre)[1]
            mixed, teams = interleave(item.tolist(), other.tolist(), k, np.random.default_rng())
            item, score = np.array(mixed, np.int32), np.full(len(mixed), np.nan, np.float32)
        return self._answer(version, user, name, source, item, score, context, chance.tolist(), teams)

    def _list(
        self, version: Version, user: str, k: int, kind: Kind, variant: Variant, genre: str | None
    ) -> tuple[Source, Int32s, Float32s]:
        who, place = self.listener(version, user), self._genre(version, genre)
        blend = (variant.blend or self.blend) if kind == "blended" else ONLY[kind]
        online = blend.rule != "offline" and (len(who.item) > 0 or (kind == "online" and who.row >= 0))
        item, score = version.listed(who.row, k)
        source: Source = "offline" if len(item) else "popular"
        if online or len(who.item) > 0 or place or len(item) < k:
            item, score = self._made(version, who, k, blend if online else ONLY["offline"], place)
            source = "blended" if online else source
        return source, item, score

    def _answer(
        self,
        version: Version,
        user: str,
        variant: str,
        source: Source,
        item: Int32s,
        score: Float32s,
        context: str,
        chance: Sequence[float] = (),
        teams: Sequence[int] = (),
    ) -> Answer:
        items = entries(version, item, score)
        if variant:
            lines = ["\n".join(map(str, one)) for one in ([entry.item_id for entry in items], chance, teams)]
            shown = Impression(uuid.uuid4().hex, user, time.time(), variant, version.id, context, *lines)
            self._shown.append(shown)
        return Answer(user_id=user, version=version.id, variant=variant, source=source, items=items)

    def flush(self) -> None:
        """Keep what was shown so far; a process that is killed loses what came since, a second at most."""
        waiting = [self._shown.popleft() for _ in range(len(self._shown))]
        if waiting:
            self.events.show(waiting)

    def _variant(self, user: str, kind: Kind) -> tuple[str, Variant]:
        name = self.experiment.of(user) if kind == "blended" else ""
        return name, self.experiment.variants[name] if name else PLAIN

    def _version(self, variant: Variant) -> Version:
        """The version of a variant; the one that is served where it names none."""
        return self.version if variant.version is None else self._others[variant.version]

    def _made(self, version: Version, who: Listener, k: int, blend: Blend, genre: int) -> tuple[Int32s, Float32s]:
        key = self._key(version, who, k, blend, genre)
        with self._lock:
            if key in self._answers:
                return self._answers[key]
        item, score = version.listed(who.row) if len(version.listed(who.row)[0]) else version.most_played(0, DEEP)
        last = who.item[::-1]
        with one_at_a_time():
            if key in self._answers:
                return self._answers[key]
            made = answer(version, who.block(version), one_list(item, score), one_list(last, None), k, blend, genre)
        with self._lock:
            if len(self._answers) >= KEPT:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = made.item, made.score
        return made.item, made.score

    def _key(self, version: Version, who: Listener, k: int, blend: Blend, genre: int) -> tuple[Any, ...]:
        """What an answer depends on: the same of all of whom nothing is known."""
        return version.id, who.row, who.item.tobytes(), k, blend, genre

    def similar(self, item: str, k: int) -> Items:
        """The items most similar to one.

        Raises:
            Unknown: the run does not know it.
        """
        version = self.version
        return Items(version=version.id, items=entries(version, *version.alike(self._item(version, item), k)))

    def popular(self, k: int, genre: str | None = None) -> Items:
        """What is played most, with plays as scores.

        Raises:
            Unknown: no item is of that genre.
        """
        version = self.version
        found = version.most_played(self._genre(version, genre), k)
        return Items(version=version.id, items=entries(version, *found))

    def history(self, user: str, k: int) -> History:
        """A user's latest events: those since the run, then those of its log."""
        version = self.version
        who = self.listener(version, user)
        heard = []
        for event in reversed(who.events):
            row = version.items.place(event.item_id)
            known = version.items.id(row) if row >= 0 else event.item_id
            at = datetime.fromtimestamp(event.at, UTC).isoformat()
            heard.append(Heard(item_id=known, name=version.name(row), at=at, source="event"))
        log = version.data.log
        lo, hi = (int(log.start[who.row]), int(log.stop[who.row])) if who.row >= 0 else (0, 0)
        for place in range(hi - 1, max(lo, hi - k) - 1, -1):
            row = int(log.item[place])
            when = None if log.time is None else f"{to_moment(int(log.time[place])).isoformat()}+00:00"
            heard.append(Heard(item_id=version.items.id(row), name=version.name(row), at=when, source="log"))
        return History(user_id=user, version=version.id, events=heard[:k])

    def explain(self, user: str, item: str) -> Why:
        """Why a user gets an item, or why not.

        Raises:
            Unknown: the run does not know the item.
        """
        version = self.version
        row, who = self._item(version, item), self.listener(version, user)
        now = [entry.item_id for entry in self.recommend(user, version.k).items]
        known = version.items.id(row)
        offline = np.flatnonzero(version.listed(who.row)[0] == row)
        details = None
        if who.row >= 0:
            with one_at_a_time():
                details = json.loads(to_json(explain(version.users.id(who.row), known, version.restored)))
        why = because(version, who, row, details)
        return Why(
            user_id=user,
            item_id=known,
            version=version.id,
            rank=now.index(known) + 1 if known in now else None,
            offline=int(offline[0]) + 1 if len(offline) else None,
            because=why,
            details=details,
        )

    def _item(self, version: Version, item: str) -> int:
        row = version.items.place(item)
        if row < 0:
            raise Unknown(f"There is no item {item} in version {version.id}.")
        return row

    def _genre(self, version: Version, genre: str | None) -> int:
        if genre is None:
            return 0
        if genre not in version.genres:
            raise Unknown(f"No item is of the genre {genre} in version {version.id}.")
        return version.genres[genre]


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Kernels run on one thread inside, as one user's list is too little to share, and for one request at a time."""
    with KERNELS:
        before = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            yield
        finally:
            numba.set_num_threads(before)


def because(version: Version, who: Listener, row: int, details: dict[str, Any] | None) -> str:
    """One sentence: what was played since comes first, then what the run has to say."""
    if row in who.item:
        return "Just played, so it leaves the list."
    for last in who.item[::-1].tolist():
        if row in version.alike(last)[0]:
            name = version.name(last) or version.items.id(last)
            return f"It is similar to {name}, which was played since the list was made."
    if details is not None:
        return str(details["because"] or details["why_not"])
    return "The user is new to this version, so the list begins with what is popular."


def _warm(version: Version) -> Version:
    """Load what the first answer would wait for."""
    with one_at_a_time():
        nobody = Listener("", -1, (), np.empty(0, np.int32)).block(version)
        version.restored.recommender.lists(nobody)
    return version


def one_list(item: Int32s, score: Float32s | None) -> Lists:
    """A block of one list."""
    bounds = np.array([0, len(item)], np.int64)
    return Lists(bounds, item, np.zeros(len(item), np.float32) if score is None else score)
