"""Every parser and loader as a function of bytes: it takes them, or refuses them with an error of ours."""

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tonearm.config import load_config, parse_setting
from tonearm.data.times import parse_moment, to_moment, to_seconds
from tonearm.errors import TonearmError
from tonearm.evaluation.lists_file import read_lists
from tonearm.explore.site import token, untoken
from tonearm.loading.columns import full_names, parse_columns
from tonearm.loading.load import load_all
from tonearm.runs import directory
from tonearm.runs.read import Run, as_id
from tonearm.serving.app import NewEvent, app
from tonearm.serving.guard import Access
from tonearm.serving.online import blends
from tonearm.serving.server import read_settings
from tonearm.shaping.id_files import ids_of
from tonearm.terminal.printing import STEERING, shortened, visible

Target = Callable[[bytes], None]

LOG = b"user_id,item_id,started_at\n1,5,2021-01-01\n2,7,2021-01-02\n1,7,2021-01-03\n2,5,2021-01-04\n"
JSON_LOG = b"".join(
    b'{"user_id":%d,"item_id":%d,"started_at":"2021-01-0%d"}\n' % (user, item, day)
    for user, item, day in ((1, 5, 1), (2, 7, 2), (1, 7, 3))
)


@cache
def folder() -> Path:
    """Where files are written to be read at once."""
    held = tempfile.TemporaryDirectory(prefix="tonearm-fuzz-")
    _KEPT.append(held)
    return Path(held.name)


_KEPT: list[Any] = []


@contextmanager
def refusing() -> Iterator[None]:
    """Inside, an error of ours is an answer."""
    try:
        yield
    except TonearmError as error:
        if not str(error).strip():
            raise AssertionError("nothing is said") from error


def file(name: str, read: Callable[[Path], object]) -> Target:
    """What reads a file of some name."""

    def target(data: bytes) -> None:
        path = folder() / name
        path.write_bytes(data)
        with refusing():
            read(path)

    return target


def words(read: Callable[[str], object]) -> Target:
    """What reads text of the command line, which may hold halves of characters."""

    def target(data: bytes) -> None:
        with refusing():
            read(data.decode("utf-8", "surrogateescape"))

    return target


def moment(text: str) -> None:
    seconds = to_seconds(parse_moment(text))
    if -(2**31) <= seconds < 2**31:
        assert to_seconds(to_moment(seconds)) == seconds


def printed(text: str) -> None:
    assert not STEERING.search(visible(text))
    assert not STEERING.search(shortened(text))


def address(text: str) -> None:
    part = token(text) if not any("\ud800" <= letter <= "\udfff" for letter in text) else ""
    assert "/" not in part
    assert part not in (".", "..")


def number(text: str) -> None:
    import polars as pl

    for dtype in (pl.Int32(), pl.UInt64(), pl.String()):
        as_id(text, dtype)
    untoken(text)


def manifest(path: Path) -> None:
    run = Run.open(path.parent)
    assert isinstance(run.manifest, dict)


def event(data: bytes) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(NewEvent | list[NewEvent])
    try:
        body = adapter.validate_json(data)
    except ValidationError:
        return
    for one in body if isinstance(body, list) else [body]:
        made = one.event()
        assert made.user_id
        assert made.weight > 0


class Nothing:
    """A store of events that holds none, and a service of which only the parts before it are looked at."""

    embedded = True

    def __getattr__(self, name: str) -> Any:
        raise TonearmError(f"nothing is served here: {name}")


@cache
def served() -> Any:
    """The app, whose routes answer 500 by our own error where they reach the service."""
    return app(Nothing(), Access(body=10_000, hosts=("localhost",)))  # type: ignore[arg-type]


def request(data: bytes) -> None:
    """Method, path, query, host and body, a line feed between each."""
    parts = [*data.split(b"\n", 4), b"", b"", b"", b"", b""]
    method, path, query, host, body = parts[:5]
    path = b"/" + path.lstrip(b"/")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": (method.decode("latin-1").upper() or "GET")[:16],
        "scheme": "http",
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"x", host), (b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    if scope["path"].startswith(("/explore", "/docs", "/metrics", "/openapi")):
        return
    answered: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    try:
        asyncio.run(served()(scope, receive, send))
    except TonearmError:
        return  # it reached the service
    assert answered, "no answer"
    assert answered[0] < 500, answered


TARGETS: dict[str, tuple[Target, tuple[bytes, ...]]] = {
    "options": (
        file("x.toml", load_config),
        (b"seed = 1\n[als]\nfactors = 2", b'sources = ["als"]\n[shape]\nper_artist = 1'),
    ),
    "settings": (words(lambda text: load_config(overrides=[text])), (b"als.factors=128", b"sources=['als']", b"seed=")),
    "option=value": (words(lambda text: parse_setting(text, "--gate")), (b"min_users=0.5", b"newer=false")),
    "blends": (words(lambda text: blends([text])), (b"rule=near,near=0.5", b"rule=rrf", b"self=1")),
    "columns": (words(lambda text: full_names(parse_columns(text))), (b"user=UserID,item=sku,time=ts",)),
    "times": (words(moment), (b"2022-12-16", b"2022-12-16T09:30:00+02:00", b"20221216")),
    "service options": (
        file("serve.toml", lambda path: read_settings(path.parent, path, None, None, log=False)),
        (b"[access]\nrate = 5\n[limits]\nk = 5", b'[experiment.variants.a]\nshare = 1.0\n[blend]\nrule = "near"'),
    ),
    "keys": (
        file("keys.txt", lambda path: read_settings(path.parent, None, path, None, log=False)),
        (b"one\ntwo\n",),
    ),
    "CSV": (file("x.csv", lambda path: load_all(str(path), None)), (LOG, LOG.replace(b",", b";"))),
    "JSON lines": (file("x.jsonl", lambda path: load_all(str(path), None)), (JSON_LOG,)),
    "lists": (
        file("l.csv", lambda path: read_lists(str(path))),
        (b"user_id,item_id,rank\n1,5,1\n1,7,2\n2,5,1\n", b"item_id,rank\n5,1\n7,2\n"),
    ),
    "ids": (file("ids.txt", lambda path: ids_of(str(path), "shape.block_file")), (b"1\n2\nthree\n",)),
    "arrays": (file("x.npz", directory.map_arrays), ()),
    "JSON": (file("x.json", directory.read_json), (b'{"a": [1, 2.5, "x", null]}',)),
    "manifest": (file("manifest.json", manifest), (b'{"files": {}, "cutoff": null}',)),
    "events of the service": (
        event,
        (
            b'{"user_id": 1, "item_id": "x", "at": "2022-01-01T00:00:00Z"}',
            b'[{"user_id": 1, "item_id": 2, "weight": 2}]',
        ),
    ),
    "requests": (
        request,
        (
            b"GET\nrecommendations/42\nk=5&filter=genre:rock\n\n",
            b'POST\nevents\n\n\n{"user_id": 1, "item_id": 2}',
            b"DELETE\nusers/42\n\n\n",
            b"GET\nexplain/a%2Fb/c\nk=1\n\n",
        ),
    ),
    "addresses": (words(address), (b"a/b~c", b"..", b"%00")),
    "ids of files": (words(number), (b"42", b"-1", b"99999999999999999999")),
    "what is printed": (words(printed), (b"\x1b[2J", "\u202eabc".encode())),
}
"""A target by what it reads, with what it would be given by somebody who means well."""


def seeds(name: str) -> tuple[bytes, ...]:
    """What to begin from."""
    if name != "arrays":
        return TARGETS[name][1]
    import numpy as np

    path = folder() / "seed.npz"
    directory.save_arrays(path, {"a": np.arange(3), "b": np.zeros((2, 2), np.float32)})
    return (path.read_bytes(),)


def json_bytes(tree: Any) -> bytes:
    """A tree as JSON, halves of characters and all."""
    return json.dumps(tree).encode()
