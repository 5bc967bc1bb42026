"""Requests that mean harm: none is answered by an error of the server, and none reaches what it should not."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tonearm import explore
from tonearm.serving import guard
from tonearm.serving.app import app
from tonearm.serving.events import open_events
from tonearm.serving.guard import Access
from tonearm.serving.publish import publish
from tonearm.serving.service import Service

LONG = "x" * 100_000
DEEP = "[" * 100_000

PATHS: dict[str, str] = {
    "a null byte": "/recommendations/%00",
    "a null byte within": "/recommendations/4%002",
    "no UTF-8": "/recommendations/%ff%fe",
    "half an escape": "/recommendations/%4",
    "dots": "/recommendations/../../etc/passwd",
    "escaped dots": "/recommendations/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "escaped twice": "/recommendations/%252e%252e%252fetc",
    "backslashes": "/recommendations/..\\..\\etc",
    "two slashes": "//etc/passwd",
    "an address": "/recommendations/http://evil.example/",
    "a line feed": "/recommendations/a%0d%0aSet-Cookie:%20x=1",
    "a terminal's escape": "/recommendations/%1b[2J",
    "from right to left": "/recommendations/%e2%80%ae42",
    "markup": "/recommendations/<script>alert(1)</script>",
    "a template": "/recommendations/{{7*7}}",
    "SQL": "/recommendations/1';DROP TABLE events;--",
    "a long id": f"/recommendations/{LONG[:5000]}",
    "no id": "/recommendations/",
    "an id below zero": "/recommendations/-1",
    "an id beyond 64 bits": f"/recommendations/{'9' * 200}",
    "not a number": "/recommendations/NaN",
    "k of nothing": "/recommendations/1?k=",
    "k of letters": "/recommendations/1?k=many",
    "k below one": "/recommendations/1?k=-1",
    "k beyond all": "/recommendations/1?k=999999999999999999999",
    "k with a fraction": "/recommendations/1?k=1.5",
    "k twice": "/recommendations/1?k=1&k=2",
    "a filter of nothing": "/recommendations/1?filter=",
    "a filter of another kind": "/recommendations/1?filter=os.system",
    "a filter of nowhere": "/recommendations/1?filter=genre:%00",
    "a long filter": f"/recommendations/1?filter=genre:{LONG[:2000]}",
    "a context of markup": "/recommendations/1?context=<b>",
    "a hundred thousand parameters": "/recommendations/1?" + "a&" * 20_000,
    "an item of nowhere": "/similar/../../etc/passwd",
    "an item with a null byte": "/similar/%00",
    "a genre of markup": "/popular?genre=<script>",
    "an explanation of nothing": "/explain//",
    "an explanation of a null byte": "/explain/%00/%00",
    "a history beyond all": "/users/1/history?k=1000000000000",
    "a page above the explorer": "/explore/../../../../etc/passwd",
    "an asset above": "/explore/assets/../../../../../etc/passwd",
    "an escaped asset above": "/explore/assets/%2e%2e/%2e%2e/report.py",
    "an asset by its full path": "/explore/assets//etc/passwd",
    "an asset of a template": "/explore/assets/report.html.j2",
    "an asset with a null byte": "/explore/assets/base.css%00.png",
    "a listener with a null byte": "/explore/listener/%00",
    "a listener of markup": "/explore/listener/<img src=x onerror=alert(1)>",
    "a long listener": f"/explore/listener/{LONG[:5000]}",
    "a track beyond 64 bits": f"/explore/track/{'9' * 200}",
    "a search of markup": "/explore/search?q=<script>alert(1)</script>",
    "a long search": f"/explore/search?q={LONG[:5000]}",
    "a search of brackets": "/explore/search?q=((((((((((((.*)*)*)*",
    "a search of a null byte": "/explore/search?q=%00",
    "a page number beyond all": "/explore/listener/1?page=99999999999999999999",
    "why of nothing": "/explore/why?user=&item=",
    "why of a null byte": "/explore/why/%00/%00",
    "the files of the run": "/explore/data/train.npz",
    "a dot file": "/.git/config",
}

BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "null": b"null",
    "a number": b"1",
    "text": b'"x"',
    "an empty list": b"[]",
    "an empty object": b"{}",
    "lists in lists": DEEP.encode(),
    "objects in objects": b'{"user_id":' * 5000,
    "no UTF-8": b"\xff\xfe\x00",
    "half a character": b'{"user_id": "\\ud800", "item_id": 1}',
    "a null byte": b'{"user_id": "a\\u0000b", "item_id": 1}',
    "a terminal's escape": b'{"user_id": "\\u001b[2J", "item_id": 1}',
    "NaN": b'{"user_id": 1, "item_id": 1, "weight": NaN}',
    "infinity": b'{"user_id": 1, "item_id": 1, "weight": 1e999}',
    "a weight of nothing": b'{"user_id": 1, "item_id": 1, "weight": 0}',
    "true as an id": b'{"user_id": true, "item_id": 1}',
    "a list as an id": b'{"user_id": [1], "item_id": 1}',
    "an operator as an id": b'{"user_id": {"$ne": null}, "item_id": 1}',
    "an id with a fraction": b'{"user_id": 1.5, "item_id": 1}',
    "an id beyond 64 bits": b'{"user_id": 99999999999999999999999, "item_id": 1}',
    "an id of 5,000 digits": b'{"user_id": ' + b"9" * 5000 + b', "item_id": 1}',
    "a long id": b'{"user_id": "' + b"x" * 5000 + b'", "item_id": 1}',
    "another key": b'{"user_id": 1, "item_id": 1, "__class__": "x"}',
    "a kind of markup": b'{"user_id": 1, "item_id": 1, "kind": "<b>"}',
    "a time of letters": b'{"user_id": 1, "item_id": 1, "at": "now"}',
    "a time of the year 9999": b'{"user_id": 1, "item_id": 1, "at": "9999-12-31T23:59:59Z"}',
    "a time beyond all": b'{"user_id": 1, "item_id": 1, "at": 1e300}',
    "a pickle": b"\x80\x04\x95c\x00posix\x8c\x06system",
    "a form": b"user_id=1&item_id=2",
    "2,000 events": json.dumps([{"user_id": 1, "item_id": 1}] * 2000).encode(),
}


@pytest.fixture(scope="module")
def served(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service over `tiny_run`, as `serve` guards it on this machine."""
    store = tmp_path_factory.mktemp("hostile") / "store"
    publish(tiny_run, store)
    made = app(Service(store, open_events(None, store)), Access(hosts=explore.LOOPBACK))
    with TestClient(made, base_url="http://localhost", raise_server_exceptions=False, follow_redirects=False) as one:
        yield one


def harmless(answer: Any) -> None:
    """No error of the server, no file, nothing that a browser would run, and no header that was asked for."""
    assert answer.status_code < 500, answer.text[:300]
    assert "root:" not in answer.text
    assert answer.cookies.get("x") != "x"
    if answer.headers.get("content-type", "").startswith("text/html"):
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
    else:
        assert "html" not in answer.headers.get("content-type", "")


@pytest.mark.parametrize("name", PATHS)
def test_an_address(name: str, served: TestClient) -> None:
    harmless(served.get(PATHS[name]))


@pytest.mark.parametrize("name", BODIES)
def test_a_body(name: str, served: TestClient) -> None:
    answer = served.post("/events", content=BODIES[name], headers={"content-type": "application/json"})
    harmless(answer)
    assert answer.status_code in (400, 422), answer.text[:300]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "OPTIONS", "CONNECT", "POST", "DELETE"])
def test_a_method(method: str, served: TestClient) -> None:
    for path in ("/popular", "/explore/", "/version"):
        assert served.request(method, path).status_code in (401, 403, 404, 405)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://localhost:9"]
)
def test_pages_of_other_sites_may_neither_ask_nor_tell(origin: str, served: TestClient) -> None:
    """A browser sends the events of any page to this machine; only the answer would be kept from it."""
    event = {"user_id": 17, "item_id": 1}
    assert served.post("/events", json=event, headers={"Origin": origin}).status_code == 403
    assert served.delete("/users/17", headers={"Origin": origin}).status_code == 403
    assert served.get("/popular", headers={"Origin": origin}).status_code == 403
    assert served.post("/events", json=event, headers={"Origin": "http://localhost"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example", "[::1].evil"])
def test_other_names_of_this_machine_are_not_answered(host: str, served: TestClient) -> None:
    """DNS rebinding: a name of another site that leads here."""
    assert served.get("/popular", headers={"Host": host}).status_code == 400
    assert served.get("/explore/", headers={"Host": host}).status_code == 400


def test_a_body_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.05)
    sent: list[Any] = []

    async def inner(*_: Any) -> None:
        raise AssertionError("there is no whole body")

    async def never() -> Any:
        await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/events", "headers": [(b"host", b"localhost")]}
    asyncio.run(guard.Guard(inner, Access())(scope, never, send))
    assert sent[0]["status"] == 408


def test_64_clients_are_answered_while_others_say_nothing(served: TestClient) -> None:
    ready = threading.Barrier(64)

    def ask(n: int) -> int:
        ready.wait(60)
        status: int = served.get(f"/recommendations/{n}" if n % 2 else "/explore/").status_code
        return status

    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(ask, range(64))) == {200}
