"""Names, ids, genres and artists that hold markup, quotes, marks of direction and escapes: text on every page."""

import gc
import re
import tracemalloc
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest
from starlette.testclient import TestClient
from tests.e2e.command import tonearm
from tests.quick import Log, run_quick

from tonearm.explore.site import token
from tonearm.serving.app import app
from tonearm.serving.events import open_events
from tonearm.serving.publish import publish
from tonearm.serving.service import Service

HARM = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`{{7*7}}[red]\x1b[2J\u202e\u2066&amp;%s"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Tags(HTMLParser):
    """What a browser would make of a page: its tags and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def harmless(html: str) -> None:
    """No tag or attribute comes from a name."""
    tags = Tags(html).found
    assert len(tags) > 10
    assert not [attrs for _, attrs in tags if any(name.startswith("on") for name in attrs)]
    assert ("img", ("src", "onerror")) not in tags
    assert "<script>alert" not in html
    assert "49[red]" not in html


@pytest.fixture(scope="module")
def harmful(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose every id, name and label means harm; its report included."""
    user = pl.format("{}u{}", pl.lit(HARM), "user_id").alias("user_id")
    item = pl.format("{}i{}", pl.lit(HARM), "item_id").alias("item_id")
    named = [pl.format("{} {}", pl.lit(HARM), "name").alias("name")]
    named += [
        pl.col(labels).list.eval(pl.format("{}{}", pl.lit(HARM), pl.element())) for labels in ("genres", "artists")
    ]
    folder = tmp_path_factory.mktemp("harm") / "whole"
    items = tiny_log.items.with_columns(item, *named)
    return run_quick(folder, tiny_log.events.with_columns(user, item), items, "als.iterations=1", report=True)


@pytest.fixture(scope="module")
def served(harmful: Path) -> Iterator[TestClient]:
    store = harmful.parent / "store"
    publish(harmful, store)
    with TestClient(app(Service(store, open_events(None, store))), raise_server_exceptions=False) as one:
        yield one


@pytest.fixture(scope="module")
def ids(harmful: Path) -> tuple[str, str]:
    """A listener and the first track of their list."""
    first = pl.read_parquet(harmful / "recommendations.parquet").row(0, named=True)
    return first["user_id"], first["item_id"]


def test_the_report(harmful: Path) -> None:
    html = (harmful / "report.html").read_text(encoding="utf-8")
    assert "alert(1)" in html
    harmless(re.sub(r"<script>.*?</script>", "<script></script>", html, flags=re.DOTALL))
    inline = re.findall(r"<script[^>]*>(.*?)</script>", html, flags=re.DOTALL)
    assert not [part for part in inline if "</script" in part.lower()]


def test_pages_and_answers_of_the_service(served: TestClient, ids: tuple[str, str]) -> None:
    user, item = map(token, ids)
    for page in ("", f"listener/{user}", f"track/{item}", f"search?q={quote(HARM)}", f"why/{user}/{item}"):
        for _ in range(100):
            answer = served.get(f"/explore/{page}")
            if answer.status_code != 202:  # the models are being loaded
                break
        assert answer.status_code == 200, page
        harmless(answer.text)
        assert "unsafe" not in answer.headers["content-security-policy"]
    assert served.get(f"/recommendations/{quote(ids[0], safe='')}").status_code == 422  # no control characters here
    for path in ("recommendations/nobody", "popular"):
        answer = served.get(f"/{path}")
        assert answer.headers["content-type"] == "application/json"
        assert "alert(1)" in answer.text
        assert not STEERING.search(answer.text.replace("\u202e", "").replace("\u2066", ""))


def test_the_terminal(harmful: Path, ids: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    log = harmful.parent
    for command in (
        ["show", "user", ids[0], "--run", harmful],
        ["show", "item", ids[1], "--run", harmful],
        ["explain", ids[0], ids[1], "--run", harmful],
        ["check", "--events", log / "events.parquet", "--items", log / "items.parquet"],
        ["show", "user", "\x1b[2J\u202e", "--run", harmful],
        ["recommend", "--run", "\x1b]0;x\x07", "--out", "x"],
    ):
        answer = tonearm(capsys, *command)
        told = answer.out + answer.err
        assert told.strip()
        assert not STEERING.search(told), repr(STEERING.search(told))


def test_memory_does_not_grow_with_pages(served: TestClient, ids: tuple[str, str]) -> None:
    """`benchmarks/pages.py` asks for ten thousand."""
    user, item = map(token, ids)
    pages = [f"/explore/listener/{user}", f"/explore/track/{item}", "/explore/search?q=a", "/recommendations/nobody"]

    def ask(n: int) -> int:
        for page in islice(cycle(pages), n):
            assert served.get(page).status_code in (200, 202)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    ask(40)
    tracemalloc.start()
    try:
        first, last = ask(80), ask(160)
    finally:
        tracemalloc.stop()
    assert last - first < 300_000, "bytes that 160 pages left behind"
