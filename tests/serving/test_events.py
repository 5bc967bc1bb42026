"""One contract for every event store, against real servers where they are installed."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tonearm.errors import ConfigError
from tonearm.serving.events import Event, EventStore, Impression, open_events
from tonearm.serving.ids import fingerprint

POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path("/usr/lib/postgresql/bin"))

Opener = Callable[[], EventStore]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(ready: Callable[[], bool]) -> None:
    for _ in range(200):
        if ready():
            return
        time.sleep(0.05)
    raise AssertionError("the server did not come up")


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A redis-server of its own that keeps what it acknowledges."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server here: tools/servers.sh installs it")
    folder, port = tmp_path_factory.mktemp("redis"), _free_port()
    durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    process = subprocess.Popen(
        [server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *durable],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(lambda: _answers(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def postgres_address() -> Iterator[str]:
    """A PostgreSQL of its own; it does not run as root, so that root hands it over."""
    if not (POSTGRES / "initdb").exists():
        pytest.skip("no PostgreSQL here: tools/servers.sh installs it")
    root = os.getuid() == 0
    folder, port = Path(tempfile.mkdtemp(prefix="tonearm-pg-")), _free_port()
    if root:
        found = pwd.getpwnam("postgres")
        os.chown(folder, found.pw_uid, found.pw_gid)
    as_user = ["runuser", "-u", "postgres", "--"] if root else []
    subprocess.run(
        [*as_user, str(POSTGRES / "initdb"), "-D", str(folder / "data"), "-U", "tonearm", "-A", "trust", "-N"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
    )
    process = subprocess.Popen(
        [*as_user, str(POSTGRES / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)],
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        ready = [str(POSTGRES / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
        _wait(lambda: subprocess.run(ready, check=False).returncode == 0)
        yield f"postgresql://tonearm@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """opened(): the same empty store, by a new connection each time."""
    address: str | None = None
    if request.param != "sqlite":
        address = request.getfixturevalue(f"{'redis' if request.param == 'redis' else 'postgres'}_address")
    made: list[EventStore] = []

    def open_one() -> EventStore:
        made.append(open_events(address, tmp_path))
        return made[-1]

    _empty(open_one(), request.param)
    yield open_one
    for one in made:
        one.close()


def _empty(store: EventStore, kind: str) -> None:
    if kind == "redis":
        store._client.flushall()  # type: ignore[attr-defined]
    elif kind == "postgresql":
        with store.begin() as cursor:  # type: ignore[attr-defined]
            cursor.execute("TRUNCATE events, impressions, forgotten")


EVENTS = [
    Event("e1", "ann", "7", 100.0),
    Event("e2", "ann", "9", 300.5, "like", 2.0),
    Event("e3", "bob: '%s\n", "7", 200.0),
    Event("e4", "ann", "8", 200.0),
]
SHOWN = Impression("i1", "ann", 150.0, "a", "v1", "home", "7\n9", "0.5\n0.25")


def test_an_event_counts_once(opened: Opener) -> None:
    store = opened()
    assert store.add([]) == 0
    assert store.add(EVENTS[:2]) == 2
    assert store.add([EVENTS[1]._replace(item_id="other"), EVENTS[2], EVENTS[2]]) == 1
    assert store.recent("ann", 9).events == EVENTS[:2]
    assert store.recent(EVENTS[2].user_id, 9).events == [EVENTS[2]]


def test_recent_are_the_last_ones_oldest_first(opened: Opener) -> None:
    store = opened()
    store.add(EVENTS)
    assert [event.event_id for event in store.recent("ann", 2).events] == ["e4", "e2"]
    assert store.recent("nobody", 5) == ([], False)


def test_everything_is_listed_in_order_of_time(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonearm.serving.events.BATCH", 2)
    monkeypatch.setattr("tonearm.serving.event_servers.BATCH", 2)
    store = opened()
    store.add(EVENTS)
    store.show([SHOWN, SHOWN._replace(impression_id="i0", at=50.0), SHOWN])
    assert [event.event_id for event in store.events()] == ["e1", "e3", "e4", "e2"]
    assert [shown.impression_id for shown in store.impressions()] == ["i0", "i1"]
    assert next(iter(opened().impressions())).items == "7\n9"


def test_a_user_who_asked_is_forgotten(opened: Opener) -> None:
    store = opened()
    store.add(EVENTS)
    store.show([SHOWN])
    assert store.forget("ann") == 3
    assert store.recent("ann", 9) == ([], True)
    assert [event.event_id for event in store.events()] == ["e3"]
    assert list(store.impressions()) == []
    assert opened().forgotten() == {fingerprint("ann")}
    assert store.forget("ann") == 0
    back = Event("e9", "ann", "7", 400.0)
    assert store.add([back]) == 1
    assert store.recent("ann", 9) == ([back], True)


def test_what_was_added_is_seen_by_all(opened: Opener) -> None:
    writer, reader = opened(), opened()
    writer.add(EVENTS)
    assert reader.recent("ann", 9) == writer.recent("ann", 9)


def test_many_threads_add_and_none_is_lost_or_doubled(opened: Opener) -> None:
    store = opened()

    def add(worker: int) -> int:
        rows = [
            [Event(f"{i % 150}", f"u{i % 3}", f"{worker}", float(i))] for i in range(worker * 50, worker * 50 + 100)
        ]
        return sum(store.add(row) for row in rows)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(add, range(4))) == 150
    assert len(list(store.events())) == 150


def test_an_address_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mongodb"):
        open_events("mongodb://x", tmp_path)


def test_sqlite_keeps_no_trace_of_whom_it_forgot(tmp_path: Path) -> None:
    store = open_events(None, tmp_path)
    store.add([Event(f"e{i}", "secret-user", "secret-item", float(i)) for i in range(500)])
    store.forget("secret-user")
    assert all(b"secret" not in path.read_bytes() for path in tmp_path.iterdir())
    store.close()
