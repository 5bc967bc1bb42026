"""What all tests share: no network beyond this machine, few threads, small tables and the way to the real data sets."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import numba
import polars as pl
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
os.environ.pop("CI", None)  # pytest would compare what differs line by line, which takes hours for long bytes

anyio.open_file  # noqa: B018  loaded here, as on Python 3.11 two threads that parse at once may fail, and pytest parses it


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Connections leave this machine for no test."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_only)
        yield


@pytest.fixture(autouse=True)
def _no_app_outlives_its_test() -> Iterator[None]:
    """FastAPI remembers the functions of routes for good, and with them whatever maps of a store they hold open."""
    yield
    for kept in vars(sys.modules.get("fastapi.dependencies.models", object)).values():
        if hasattr(kept, "cache_clear"):
            kept.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Enough to show that a parallel kernel splits its work, and no more."""
    numba.set_num_threads(min(2, numba.get_num_threads()))


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """real_data("hetrec_lastfm/events.parquet"): the path of that real file, else a skip that names it."""

    def path(name: str) -> Path:
        found = SHARED / name
        if not found.exists():
            pytest.skip(f"real data missing: {found}")
        return found

    return path


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """save(table, "name.parquet"): write a table into the test's own folder and return its path."""

    def write(table: pl.DataFrame, name: str = "events.parquet") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(path)
        return str(path)

    return write


@pytest.fixture
def small_events() -> pl.DataFrame:
    """Twelve listens of four users in January 2021, one of them an exact duplicate; user 40 comes on the 10th.

    Two are not at midnight, one of them in train, so that times are seconds.
    Items 13 and 15 are in no catalogue; 15 is heard from the 12th on only.
    """
    rows = [
        (20, 7, datetime(2021, 1, 3, 0, 0, 1)),
        (10, 5, datetime(2021, 1, 1)),
        (30, 13, datetime(2021, 1, 6)),
        (10, 5, datetime(2021, 1, 5)),
        (10, 7, datetime(2021, 1, 2)),
        (30, 9, datetime(2021, 1, 4)),
        (10, 5, datetime(2021, 1, 5)),
        (40, 15, datetime(2021, 1, 13)),
        (10, 9, datetime(2021, 1, 11)),
        (10, 15, datetime(2021, 1, 12)),
        (40, 7, datetime(2021, 1, 10, 12)),
        (30, 5, datetime(2021, 1, 10)),
    ]
    columns = ["user_id", "item_id", "started_at"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.fixture
def small_items() -> pl.DataFrame:
    """Four items, not in order; item 11 is never heard, item 9 has no genre."""
    return pl.DataFrame(
        {
            "item_id": [9, 5, 11, 7],
            "name": ["nine", "five", None, "seven"],
            "genres": [[], ["rock", "pop"], ["jazz"], ["pop", "pop", None, "rap"]],
            "artists": [["A"], ["B"], None, ["A", "C"]],
        }
    )
