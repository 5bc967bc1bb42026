"""Events in PostgreSQL or Redis, where workers run on several machines."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import redis

from tonearm.serving.events import BATCH, TABLES, Event, Impression, Recent, SqlEvents
from tonearm.serving.ids import fingerprint


class Postgres(SqlEvents):
    """Events in PostgreSQL: one connection a thread, made anew where the server has closed it."""

    mark = "%s"

    def __init__(self, address: str) -> None:
        self.address = address
        self._mine = threading.local()
        self._all: list[psycopg.Connection[Any]] = []
        with self.begin() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7405011)")  # two that make a table at once collide
            for table in TABLES:
                cursor.execute(table)

    @property
    def _connection(self) -> "psycopg.Connection[Any]":
        mine: psycopg.Connection[Any] | None = getattr(self._mine, "connection", None)
        if mine is None or mine.closed:
            mine = psycopg.connect(self.address, autocommit=True)
            self._mine.connection = mine
            self._all.append(mine)
        return mine

    @contextmanager
    def begin(self) -> Iterator[Any]:
        connection = self._connection
        with connection.transaction(), connection.cursor() as cursor:
            yield cursor

    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(self._marked(query), values).fetchall()
        except psycopg.OperationalError:
            self._mine.connection = None
            return self._connection.execute(self._marked(query), values).fetchall()

    def close(self) -> None:
        for connection in self._all:
            connection.close()
        self._all.clear()
        self._mine = threading.local()


ADD = """
local new = 0
for i = 2, #ARGV, 4 do
  if redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 3]) == 1 then
    redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i])
    redis.call('ZADD', ARGV[1] .. ARGV[i + 1], ARGV[i + 2], ARGV[i])
    new = new + 1
  end
end
return new
"""
"""What is added to all that there is, and to what there is of its user, in one step: id, user, time and the whole."""

FORGET = """
local ids = redis.call('ZRANGE', ARGV[1], 0, -1)
for _, id in ipairs(ids) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
redis.call('DEL', ARGV[1])
return #ids
"""


class Redis:
    """Events in Redis, which must write each to its file before it answers: appendonly yes, appendfsync always."""

    embedded = False

    def __init__(self, address: str) -> None:
        self._client: Any = redis.Redis.from_url(address, decode_responses=True)
        self._add = self._client.register_script(ADD)
        self._forget = self._client.register_script(FORGET)

    def add(self, events: Sequence[Event]) -> int:
        return self._keep("event", [(e.event_id, e.user_id, e.at, e) for e in events])

    def show(self, impressions: Sequence[Impression]) -> None:
        self._keep("impression", [(i.impression_id, i.user_id, i.at, i) for i in impressions])

    def recent(self, user: str, n: int) -> Recent:
        pipe = self._client.pipeline()
        pipe.zrevrange(f"tonearm:event:user:{user}", 0, n - 1)
        pipe.zscore("tonearm:forgotten", fingerprint(user))
        ids, forgotten = pipe.execute()
        return Recent([Event(*row) for row in self._whole("event", ids[::-1])], forgotten is not None)

    def forget(self, user: str) -> int:
        self._client.zadd("tonearm:forgotten", {fingerprint(user): time.time()}, nx=True)
        gone = [
            int(self._forget(keys=[f"tonearm:{kind}", f"tonearm:{kind}:all"], args=[f"tonearm:{kind}:user:{user}"]))
            for kind in ("event", "impression")
        ]
        return gone[0]

    def forgotten(self) -> set[str]:
        return set(self._client.zrange("tonearm:forgotten", 0, -1))

    def events(self) -> Iterator[Event]:
        return (Event(*row) for row in self._pages("event"))

    def impressions(self) -> Iterator[Impression]:
        return (Impression(*row) for row in self._pages("impression"))

    def close(self) -> None:
        self._client.close()

    def _keep(self, kind: str, rows: Sequence[tuple[str, str, float, tuple[Any, ...]]]) -> int:
        if not rows:
            return 0
        keys = [f"tonearm:{kind}", f"tonearm:{kind}:all"]
        flat = [value for key, user, at, row in rows for value in (key, user, at, json.dumps(row))]
        return int(self._add(keys=keys, args=[f"tonearm:{kind}:user:", *flat]))

    def _pages(self, kind: str) -> Iterator[list[Any]]:
        lo = 0
        while ids := self._client.zrange(f"tonearm:{kind}:all", lo, lo + BATCH - 1):
            yield from self._whole(kind, ids)
            lo += len(ids)

    def _whole(self, kind: str, ids: Sequence[str]) -> list[list[Any]]:
        found = self._client.hmget(f"tonearm:{kind}", ids) if ids else []
        return [json.loads(row) for row in found if row is not None]
