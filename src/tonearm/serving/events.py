"""What users played since: a small store behind one protocol, in SQLite, PostgreSQL or Redis.

Adding returns once the events are kept for good. An event is known by its id and counts once, however often it comes.
"""

import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tonearm.errors import ConfigError, DataError, MissingExtra
from tonearm.serving.ids import fingerprint

FILE = "events.sqlite"
"""Where the events of a store are kept unless another place is named."""

BATCH = 10_000


class Event(NamedTuple):
    """A user met an item: they played it, or `kind` says what else.

    at: seconds since 1970, UTC
    """

    event_id: str
    user_id: str
    item_id: str
    at: float
    kind: str = "play"
    weight: float = 1.0


class Impression(NamedTuple):
    """A list as it was shown.

    items: ids, best first, separated by line feeds; likewise, or empty, propensity: the chance that each had to be
        shown where the list was drawn at random; teams: whose each was, 0 or 1, where two lists were interleaved
    """

    impression_id: str
    user_id: str
    at: float
    variant: str
    version: str
    context: str
    items: str
    propensity: str = ""
    teams: str = ""


class Recent(NamedTuple):
    """The last events of a user, oldest first, and whether they asked to be forgotten before these."""

    events: list[Event]
    forgotten: bool


class EventStore(Protocol):
    """Where events, impressions and the wish to be forgotten are kept."""

    embedded: bool
    """Whether it answers from this machine, within a fraction of a millisecond."""

    def add(self, events: Sequence[Event]) -> int:
        """Keep events; returns how many were new. Durable once it returns."""
        ...

    def recent(self, user: str, n: int) -> Recent:
        """The n latest events of a user."""
        ...

    def show(self, impressions: Sequence[Impression]) -> None:
        """Keep what was shown."""
        ...

    def forget(self, user: str) -> int:
        """Remove all of a user, and keep no more than their fingerprint; returns how many events went."""
        ...

    def forgotten(self) -> set[str]:
        """Fingerprints of those who asked to be forgotten."""
        ...

    def events(self) -> Iterator[Event]:
        """Every event, in order of time, then of id."""
        ...

    def impressions(self) -> Iterator[Impression]:
        """Every impression, in order of time, then of id."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def open_events(address: str | None, store: Path) -> EventStore:
    """The events at an address: sqlite:///FILE, postgresql://… or redis://…; by default a file in the store.

    Raises:
        ConfigError: the address is of no such kind.
        MissingExtra: the package for it is not installed.
    """
    if address is None:
        return Sqlite(store / FILE)
    scheme, _, rest = address.partition("://")
    try:
        if scheme == "sqlite":
            return Sqlite(Path(rest.removeprefix("/") if rest.startswith("/./") else rest))
        if scheme in ("postgresql", "postgres"):
            from tonearm.serving.event_servers import Postgres

            return Postgres(address)
        if scheme in ("redis", "rediss", "unix"):
            from tonearm.serving.event_servers import Redis

            return Redis(address)
    except ModuleNotFoundError as error:
        hint = f"--event-store {scheme}:// needs more packages. Install them by pip install 'tonearm[serve]'."
        raise MissingExtra(f"{hint} ({error})") from error
    raise ConfigError(f"--event-store {address}: is not known. Write sqlite:///FILE, postgresql://… or redis://….")


TABLES = (
    "CREATE TABLE IF NOT EXISTS events (event_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, item_id TEXT NOT NULL, "
    "at DOUBLE PRECISION NOT NULL, kind TEXT NOT NULL, weight DOUBLE PRECISION NOT NULL)",
    "CREATE INDEX IF NOT EXISTS events_of_user ON events (user_id, at)",
    "CREATE TABLE IF NOT EXISTS impressions (impression_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, "
    "at DOUBLE PRECISION NOT NULL, variant TEXT NOT NULL, version TEXT NOT NULL, context TEXT NOT NULL, "
    "items TEXT NOT NULL, propensity TEXT NOT NULL, teams TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS impressions_of_user ON impressions (user_id)",
    "CREATE TABLE IF NOT EXISTS forgotten (fingerprint TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL)",
)


class SqlEvents(ABC):
    """Events in tables; how to connect, and the mark that stands for a value, are up to the database."""

    mark = "?"
    embedded = False

    @abstractmethod
    def begin(self) -> AbstractContextManager[Any]:
        """A transaction of this thread: something with `execute` and `executemany`."""

    @abstractmethod
    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, outside any transaction."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""

    def add(self, events: Sequence[Event]) -> int:
        with self.begin() as cursor:
            cursor.executemany(self._insert("events", Event), events)
            return int(cursor.rowcount)

    def recent(self, user: str, n: int) -> Recent:
        columns = ", ".join(Event._fields)
        query = f"SELECT {columns} FROM events WHERE user_id = ? ORDER BY at DESC, event_id DESC LIMIT ?"
        events = [Event(*row) for row in self.read(query, (user, n))][::-1]
        return Recent(events, bool(self.read("SELECT 1 FROM forgotten WHERE fingerprint = ?", (fingerprint(user),))))

    def show(self, impressions: Sequence[Impression]) -> None:
        with self.begin() as cursor:
            cursor.executemany(self._insert("impressions", Impression), impressions)

    def forget(self, user: str) -> int:
        with self.begin() as cursor:
            cursor.execute(self._marked("DELETE FROM events WHERE user_id = ?"), (user,))
            gone = int(cursor.rowcount)
            cursor.execute(self._marked("DELETE FROM impressions WHERE user_id = ?"), (user,))
            known = self._marked("INSERT INTO forgotten VALUES (?, ?) ON CONFLICT DO NOTHING")
            cursor.execute(known, (fingerprint(user), time.time()))
        return gone

    def forgotten(self) -> set[str]:
        return {row[0] for row in self.read("SELECT fingerprint FROM forgotten")}

    def events(self) -> Iterator[Event]:
        return (Event(*row) for row in self._pages("events", Event._fields))

    def impressions(self) -> Iterator[Impression]:
        return (Impression(*row) for row in self._pages("impressions", Impression._fields))

    def _pages(self, table: str, fields: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
        """All rows by time and id, so many at a time, so that no lock is held while they are used."""
        key, columns = fields[0], ", ".join(fields)
        at, after = float("-inf"), ""
        while True:
            query = f"SELECT {columns} FROM {table} WHERE at > ? OR (at = ? AND {key} > ?) ORDER BY at, {key} LIMIT ?"
            rows = self.read(query, (at, at, after, BATCH))
            yield from rows
            if len(rows) < BATCH:
                return
            at, after = rows[-1][fields.index("at")], rows[-1][0]

    def _insert(self, table: str, kind: type[Event] | type[Impression]) -> str:
        marks = ", ".join("?" * len(kind._fields))
        return self._marked(f"INSERT INTO {table} VALUES ({marks}) ON CONFLICT DO NOTHING")

    def _marked(self, query: str) -> str:
        return query.replace("?", self.mark)


class Sqlite(SqlEvents):
    """Events in a file, for one machine: readers and a writer do not wait for one another, workers share it."""

    def __init__(self, path: Path) -> None:
        self.path, self.embedded = path, True
        self._mine = threading.local()
        self._all: list[sqlite3.Connection] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.begin() as cursor:
            for table in TABLES:
                cursor.execute(table)

    @property
    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._mine, "connection"):
            made = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("PRAGMA synchronous = FULL")  # what was acknowledged outlives the machine as well
            made.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
            self._mine.connection = made
            self._all.append(made)
        connection: sqlite3.Connection = self._mine.connection
        return connection

    @contextmanager
    def begin(self) -> Iterator[sqlite3.Cursor]:
        with self._told():
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection.cursor()
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk may have ended the transaction already
                    connection.execute("ROLLBACK")
                raise

    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._told():
            rows: list[tuple[Any, ...]] = self._connection.execute(query, values).fetchall()
            return rows

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What is wrong with the file as a message."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self.path}: events cannot be kept there ({error}). See to its room and mode; where it is damaged, "
                "put a copy of it back, or move it away, and a new one is begun."
            ) from error

    def forget(self, user: str) -> int:
        gone = super().forget(user)
        self.read("PRAGMA wal_checkpoint(TRUNCATE)")  # the log of writes holds them still
        return gone

    def close(self) -> None:
        for connection in self._all:
            connection.close()
        self._all.clear()
        self._mine = threading.local()


def once(events: Iterable[Event]) -> list[Event]:
    """The events without repeats of an id, the first of each."""
    return list({event.event_id: event for event in reversed([*events])}.values())[::-1]
