"""The service over HTTP: routes and their types, who is let in, and what no request can do."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tonearm.serving import app as http
from tonearm.serving.answers import Answer
from tonearm.serving.app import app
from tonearm.serving.events import open_events
from tonearm.serving.guard import Access
from tonearm.serving.publish import publish
from tonearm.serving.service import Service

Client = Callable[..., TestClient]


@pytest.fixture
def client(store: Path) -> Iterator[Client]:
    """client(access, **options): the app over `tiny_run`."""
    opened: list[TestClient] = []

    def make(access: Access | None = None, **options: Any) -> TestClient:
        service = Service(store, open_events(None, store))
        opened.append(TestClient(app(service, access), base_url="http://localhost", **options))
        opened[-1].__enter__()
        return opened[-1]

    yield make
    for one in opened:
        one.__exit__()


def test_every_route_answers_in_its_type(client: Client) -> None:
    one = client()
    popular = one.get("/popular", params={"k": 3}).json()
    item = popular["items"][0]["item_id"]
    user = "42"
    taken = one.post("/events", json={"user_id": 42, "item_id": item, "event_id": "e1"})
    assert taken.json() == {"new": 1, "event_ids": ["e1"]}
    assert one.post("/events", json=[{"user_id": 42, "item_id": item, "event_id": "e1"}]).json()["new"] == 0
    history = one.get(f"/users/{user}/history").json()
    assert history["events"][0] | {"at": ""} == {
        "item_id": item,
        "name": popular["items"][0]["name"],
        "at": "",
        "source": "event",
    }
    for route, source in (("", "blended"), ("/offline", "offline"), ("/online", "blended")):
        answer = one.get(f"/recommendations/{user}{route}", params={"k": 4, "context": "home"}).json()
        assert [entry["rank"] for entry in answer["items"]] == [1, 2, 3, 4]
        assert answer["source"] in (source, "popular")
        assert item not in [entry["item_id"] for entry in answer["items"]]
    assert len(one.get(f"/similar/{item}", params={"k": 2}).json()["items"]) == 2
    assert one.get(f"/explain/{user}/{item}").json()["because"] == "Just played, so it leaves the list."
    assert one.get("/version").json()["items"] == 300
    assert one.get("/ready").json() == {"status": "ready"}
    assert one.delete(f"/users/{user}").json() == {"user_id": "42", "events": 1}
    assert one.get(f"/users/{user}/history").json()["events"] == []
    assert (
        'tonearm_requests_total{method="GET",route="/recommendations/{user_id}",status="200"}'
        in one.get("/metrics").text
    )
    assert "Run" in one.get("/explore/").text


def test_nobody_waits_behind_another_ones_list(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load each request stood in line for the lists of all before it."""
    one = client()
    users = [str(user) for user in (42, 43)]
    for user in users:
        first = one.get(f"/recommendations/{user}", params={"k": 1}).json()["items"][0]["item_id"]
        one.post("/events", json={"user_id": user, "item_id": first})
    begun, go_on, made = threading.Event(), threading.Event(), Service.recommend

    def slow(*given: Any) -> Answer:
        begun.set()
        assert go_on.wait(60)
        return made(*given)

    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(Service, "recommend", slow)
        waiting = pool.submit(one.get, f"/recommendations/{users[0]}?k=5")
        assert begun.wait(60)
        answer = one.get(f"/recommendations/{users[1]}?k=5").json()
        assert answer["source"] == "offline"
        assert len(answer["items"]) == 5
        go_on.set()
        assert waiting.result().json()["source"] == "blended"
    for _ in range(600):
        if (later := one.get(f"/recommendations/{users[1]}?k=5").json())["source"] == "blended":
            break
        time.sleep(0.05)
    assert later["source"] == "blended"


def test_ids_may_hold_slashes(client: Client) -> None:
    one = client()
    answer = one.get("/recommendations/a%2Fb/c/offline").json()
    assert (answer["user_id"], answer["source"]) == ("a/b/c", "popular")


@pytest.mark.parametrize(
    "wrong",
    [
        {"item_id": 1},
        {"user_id": 1, "item_id": 1, "plays": 3},
        {"user_id": True, "item_id": 1},
        {"user_id": "a\0b", "item_id": 1},
        {"user_id": "", "item_id": 1},
        {"user_id": 1, "item_id": 2**64},
        {"user_id": 1, "item_id": 1, "at": "2999-01-01T00:00:00Z"},
        {"user_id": 1, "item_id": 1, "at": "2022-01-01T00:00:00"},
        {"user_id": 1, "item_id": 1, "weight": -1},
        [],
        [{"user_id": 1, "item_id": 1}, {"user_id": 1}],
    ],
)
def test_a_wrong_event_is_refused_whole(client: Client, wrong: object) -> None:
    one = client()
    assert one.post("/events", json=wrong).status_code == 422
    assert one.get("/users/1/history").json()["events"] == []


def test_what_is_not_there_is_said(client: Client) -> None:
    one = client()
    assert "no item x" in one.get("/similar/x").json()["detail"]
    assert "polka" in one.get("/popular?genre=polka").json()["detail"]
    assert one.get("/recommendations/1?k=0").status_code == 422
    assert one.get("/recommendations/1?filter=rock").status_code == 422
    assert one.get("/nowhere").status_code == 404


def test_a_key_opens_and_nothing_else_does(client: Client) -> None:
    one = client(Access(keys=("first key", "second")))
    assert one.get("/health").status_code == one.get("/ready").status_code == 200
    basic = base64.b64encode(b"me:second").decode()
    for headers in (
        {"X-API-Key": "first key"},
        {"Authorization": "Bearer second"},
        {"Authorization": f"Basic {basic}"},
    ):
        assert one.get("/popular", headers=headers).status_code == 200
        assert one.get("/explore/", headers=headers).status_code == 200
    for headers in (
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "first"},
        {"Authorization": "Basic ?"},
        {"Authorization": "Bearer"},
    ):
        for path in ("/popular", "/explore/", "/metrics", "/openapi.json", "/docs"):
            refused = one.get(path, headers=headers)
            assert refused.status_code == 401
            assert "Basic" in refused.headers["www-authenticate"]


def test_another_host_name_is_not_answered(client: Client) -> None:
    one = client(Access(hosts=("localhost", "::1")))
    assert one.get("/popular").status_code == 200
    assert one.get("/popular", headers={"Host": "[::1]:80"}).status_code == 200
    for host in ("evil.example", "localhost.evil.example:8000", ""):
        assert one.get("/popular", headers={"Host": host}).status_code == 400


def test_no_other_site_may_ask_unless_it_is_named(client: Client) -> None:
    asked = {"Origin": "https://shop.example"}
    refused = client().get("/popular", headers=asked)
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    named = client(Access(origins=("https://shop.example",)))
    assert named.get("/popular", headers=asked).headers["access-control-allow-origin"] == "https://shop.example"


def test_a_body_has_a_limit_however_it_comes(client: Client) -> None:
    one = client(Access(body=200))
    event = {"user_id": 1, "item_id": 1}
    assert one.post("/events", json=event).status_code == 200
    assert one.post("/events", json=[event] * 20).status_code == 413

    def chunks() -> Iterator[bytes]:
        yield from (json.dumps(event)[:10].encode() for _ in range(100))

    assert one.post("/events", content=chunks()).status_code == 413


def test_a_rate_has_a_limit_for_each_key(client: Client) -> None:
    one = client(Access(keys=("a", "b"), rate=3))
    seen = [one.get("/version", headers={"X-API-Key": "a"}).status_code for _ in range(12)]
    assert seen[:3] == [200] * 3
    assert 429 in seen
    assert one.get("/version", headers={"X-API-Key": "b"}).status_code == 200


def test_the_explorer_does_not_show_whom_it_should_forget(client: Client) -> None:
    one = client()
    user = one.get("/explore/random", follow_redirects=False).headers["location"].rsplit("/", 1)[-1]
    assert one.get(f"/explore/listener/{user}").status_code == 200
    one.delete(f"/users/{user}")
    assert one.get(f"/explore/listener/{user}").status_code == 404


def test_64_clients_at_once_see_one_version_each(
    client: Client, store: Path, altered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LOOK", 0.05)
    one = client()
    users = one.app.routes and [str(user) for user in range(1, 30)]  # type: ignore[attr-defined]
    alone = {}
    for _ in range(2):
        served = one.get("/version").json()["version"]
        alone[served] = {user: one.get(f"/recommendations/{user}").json()["items"] for user in users}
        if len(alone) == 1:
            second = publish(altered("next", lambda table: table.filter(table["rank"] > 0)), store).id
            with ThreadPoolExecutor(64) as pool:
                answers = list(pool.map(lambda i: one.get(f"/recommendations/{users[i % 29]}").json(), range(640)))
            while one.get("/version").json()["version"] != second:
                pass
    assert len(alone) == 2
    for answer in answers:
        assert answer["items"] == alone[answer["version"]][answer["user_id"]]


def test_the_page_of_the_interface_is_whole(client: Client) -> None:
    schema = client().get("/openapi.json").json()
    assert {
        "/recommendations/{user_id}",
        "/recommendations/{user_id}/offline",
        "/events",
        "/explain/{user_id}/{item_id}",
    } <= set(schema["paths"])
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            content = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert "$ref" in content, (path, method)
            assert operation["description"]


def test_nobody_waits_for_a_list_where_many_ask(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published list less what was played answers at once, and the new one as soon as it is made."""
    monkeypatch.setattr(http, "BUSY", 0)
    one, user = client(), "43"
    item = one.get(f"/recommendations/{user}", params={"k": 3}).json()["items"][0]["item_id"]
    one.post("/events", json={"user_id": user, "item_id": item})
    first = one.get(f"/recommendations/{user}", params={"k": 3}).json()
    assert first["source"] == "offline"
    assert item not in [entry["item_id"] for entry in first["items"]]
    deadline = time.monotonic() + 60
    while (later := one.get(f"/recommendations/{user}", params={"k": 3}).json())["source"] != "blended":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert item not in [entry["item_id"] for entry in later["items"]]


def test_requests_of_a_second_are_counted() -> None:
    rate = http.Rate()
    assert [rate.count(moment) for moment in (5.0, 5.2, 5.9)] == [1, 2, 3]
    assert [rate.count(moment) for moment in (6.0, 6.5)] == [3, 3], "the second before had more"
    assert [rate.count(moment) for moment in (7.0, 9.0)] == [2, 1], "a second without any is long enough"
