"""The explorer on a run made by hand: what pages say, where something is missing too, and that they can harm nobody."""

import re
import sys
import threading
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import polars as pl
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tonearm import cli, explore
from tonearm.errors import ConfigError, DataError, MissingExtra
from tonearm.explore import drawing
from tonearm.explore.later import Later
from tonearm.explore.neighbours import Point
from tonearm.explore.site import Links, token, untoken
from tonearm.explore.tracks import Tracks, folded
from tonearm.runs.read import Run
from tonearm.terminal.progress import Progress
from tonearm.terminal.words import counted

Make = Callable[..., Path]


class Page(HTMLParser):
    """Start tags with their attributes, links, and all text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, attribute: str) -> list[str]:
        return [str(attrs[attribute]) for name, attrs in self.tags if name == tag and attrs.get(attribute) is not None]


def client(run: Path, **more: Any) -> TestClient:
    return TestClient(explore.app(run, **more), follow_redirects=False)


def shown(browser: TestClient, address: str, status: int = 200) -> Page:
    answer = browser.get(address)
    assert answer.status_code == status, address
    return Page(answer.text)


def test_the_first_page_says_what_run_it_is_and_leads_on(make_run: Make) -> None:
    browser = client(make_run())
    page = shown(browser, "/")
    for words in ("8 users", "seed 3", "ndcg@4", "Final list", "ALS", "Popular"):
        assert words in page.text, words
    links = page.all("a", "href")
    assert "/random" in links
    assert any(link.startswith("/listener/") for link in links)
    assert any(link.startswith("/track/") for link in links)
    answer = browser.get("/random")
    assert re.fullmatch(r"/listener/20[1-8]", answer.headers["location"])
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("address", ["/", "/search?q=a", "/listener/203", "/track/500", "/nowhere", "/compare"])
def test_nothing_is_loaded_from_elsewhere(make_run: Make, address: str) -> None:
    answer = client(make_run()).get(address)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    page = Page(answer.text)
    loaded = page.all("script", "src") + page.all("link", "href")
    assert {part.split("/")[1] for part in loaded if part != "data:,"} == {"assets"}
    assert re.findall(r"(?:src|href|action)=.https?:", answer.text) == []
    assert " style=" not in answer.text
    assert " onclick" not in answer.text


def test_assets_are_served_and_nothing_else_is(make_run: Make) -> None:
    browser = client(make_run())
    for name, kind in (
        ("base.css", "text/css"),
        ("explore/explore.css", "text/css"),
        ("explore/explore.js", "text/ja"),
    ):
        assert browser.get(f"/assets/{name}").headers["content-type"].startswith(kind)
    for name in ("report.html.j2", "../store.py", "explore/layout.html.j2", "%2e%2e/store.py"):
        assert browser.get(f"/assets/{name}").status_code == 404


def test_names_are_text_and_never_markup(make_run: Make) -> None:
    browser = client(make_run())
    for address in ("/track/500", "/listener/201", "/search?q=script", "/"):
        html = browser.get(address).text
        assert "<script>alert" not in html, address
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in browser.get("/track/500").text
    assert "<bdi>שלום עולם</bdi>" in browser.get("/track/501").text
    assert "<b>" not in browser.get("/search", params={"q": "<b>x</b>"}).text
    assert "<b>" not in browser.get(f"/listener/{token('<b>')}").text


def test_a_listener_stands_with_history_lists_and_hits(make_run: Make, small_log: pl.DataFrame) -> None:
    run = make_run()
    html = client(run).get("/listener/203").text
    page = Page(html)
    own = small_log.filter(pl.col("user_id") == 203)
    before = own.filter(pl.col("started_at").dt.month() < 9)
    tested = own.filter(pl.col("started_at").dt.month() >= 9)["item_id"].to_list()
    assert f"{len(before)} plays of {before['item_id'].n_unique()} tracks before the cut" in page.text
    assert "2 tracks after it" in page.text
    assert "2022-08-22" in page.text
    hits: Any = 0
    for name in ("recommendations", "personal_als"):
        listed = pl.read_parquet(run / f"{name}.parquet").filter(pl.col("user_id") == 203).sort("rank")["item_id"]
        assert re.findall(rf'<li id="{name}-\d+" data-item="(\d+)"', html) == [str(item) for item in listed]
        hits += listed.is_in(tested).sum()
    popular = pl.read_parquet(run / "top_popular.parquet").filter(~pl.col("item_id").is_in(before["item_id"].implode()))
    hits += popular["item_id"].is_in(tested).sum()
    assert hits > 0
    assert html.count('class="hit"') == html.count("✓ hit</span>") - 1 == hits, "one more explains the mark"
    first = pl.read_parquet(run / "recommendations.parquet").filter(pl.col("user_id") == 203).sort("rank")["item_id"][0]
    assert f"/why/203/{first}" in page.all("a", "href")
    anchors = {link[1:] for link in page.all("a", "href") if link.startswith("#")}
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    assert len(anchors) > 5
    assert anchors <= set(ids)


def test_history_may_be_ordered_by_plays(make_run: Make) -> None:
    browser = client(make_run())
    played = {}
    for by in ("latest", "plays"):
        table = browser.get(f"/listener/201?by={by}").text.split('id="history"')[1]
        rows = re.findall(
            r"/track/(\d+)\".*?<td class=\"num\">(\d+)</td><td class=\"num\">(\S+)</td>", table, re.DOTALL
        )
        played[by] = rows
    assert played["latest"][0][2] == max(day for *_, day in played["latest"]) == "2022-08-20"
    counts = [int(plays) for _, plays, _ in played["plays"]]
    assert counts == sorted(counts, reverse=True) != [counts[0]] * len(counts)
    assert sorted(played["latest"]) == sorted(played["plays"])


@pytest.mark.parametrize("page", ["0", "-1", "x", "999", "9" * 30])
def test_any_page_number_is_some_page(make_run: Make, page: str) -> None:
    assert "Tracks 1 to" in shown(client(make_run()), f"/listener/201?page={page}").text


def test_a_cold_listener_gets_the_popular_list(make_run: Make) -> None:
    browser = client(make_run())
    html = browser.get("/listener/209").text
    assert "A cold listener" in html
    assert 'id="top_popular-1"' in html
    assert "personal_als-1" not in html
    assert html.count('class="hit"') == 2
    assert 'id="history"' not in html
    assert "cold: not heard of before the cut" in browser.get("/search?q=209").text


def test_unknown_ids_are_told_with_some_that_are_known(make_run: Make) -> None:
    browser = client(make_run())
    for given in ("999", "bob", "99999999999999999999999"):
        page = shown(browser, f"/listener/{given}", 404)
        assert f"There is no listener {given}" in page.text
        assert "/listener/201" in page.all("a", "href")
        page = shown(browser, f"/track/{given}", 404)
        assert f"There is no track {given}" in page.text
        assert "/track/500" in page.all("a", "href")
    page = shown(browser, "/listener/204x", 404)
    assert "/listener/201" in page.all("a", "href")
    assert "There is no such page" in shown(browser, "/nowhere", 404).text


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("мелодия", [502]),
        ("МЕЛОДИЯ ко", [502]),
        ("עולם", [501]),
        ("<script>", [500]),
        ("band 3 track", [503, 509, 510, 511]),
        ("505", [505]),
        ("nothing like it", []),
        ("(", [500]),
        ("%", []),
    ],
)
def test_search_finds_names_artists_and_ids(make_run: Make, words: str, found: list[int]) -> None:
    answer = client(make_run()).get("/search", params={"q": words})
    assert answer.status_code == 200
    links = re.findall(r'href="/track/(\d+)"', answer.text)
    assert sorted(links) == sorted(map(str, found))
    assert ("Nothing is found" in answer.text) == (not found)


@pytest.mark.parametrize("words", ["bjork", "BJÖRK", "Björk", "bjo\u0308rk", "strasse", "lodz"])
def test_point_20_search_folds_accents(words: str) -> None:
    """Point 20: bjork did not find Björk."""
    name = {"s": "Straße", "l": "Łódź"}.get(words[0], "Björk")
    columns: dict[str, Any] = {"item_id": [7, 9], "name": ["Mantra", name]}
    table = pl.DataFrame(columns).with_columns(
        *(pl.lit([], dtype=pl.List(pl.String)).alias(tag) for tag in ("genres", "artists", "albums")),
        folded(pl.col("name") + "\n").alias("text"),
    )
    found, total = Tracks(table, np.zeros(2, np.float32), None).search(words, 5)
    assert ([track.id for track in found], total) == ([9], 1)


def test_search_may_answer_with_the_list_alone(make_run: Make) -> None:
    browser = client(make_run())
    part = browser.get("/search?q=203&part=1").text
    assert "<html" not in part
    assert 'href="/listener/203"' in part
    assert "Type an id" in browser.get("/search").text


def test_a_track_stands_with_its_listeners_and_neighbours(make_run: Make, small_log: pl.DataFrame) -> None:
    page = shown(client(make_run()), "/track/501")
    own = small_log.filter(pl.col("item_id") == 501)
    before = own.filter(pl.col("started_at").dt.month() < 9)
    assert f"{counted(len(before), 'play')} by {counted(before['user_id'].n_unique(), 'listener')}" in page.text
    after = own.filter(pl.col("started_at").dt.month() >= 9)
    assert f"{counted(len(after), 'play')} by {counted(after['user_id'].n_unique(), 'listener')}" in page.text
    assert {f"/listener/{user}" for user in before["user_id"]} <= set(page.all("a", "href"))
    assert {"/track/502", "/track/503"} <= set(page.all("a", "href"))
    assert "Band 0" in page.text


def test_without_catalogue_or_time_pages_say_so(make_run: Make) -> None:
    run = make_run(timed=False, catalogue=False)
    browser = client(run)
    assert "most played first, as the log has no time" in shown(browser, "/listener/205").text
    assert "tracks are shown by their ids" in shown(browser, "/listener/205").text
    assert shown(browser, "/track/503").all("a", "href")


def test_a_log_and_a_catalogue_that_are_gone_are_not_missed(make_run: Make, tmp_path: Path) -> None:
    run = make_run()
    pages = ("/listener/203", "/track/503", "/search?q=band")
    before = [shown(client(run), page).text for page in pages]
    for name in ("events", "items"):
        (tmp_path / "input" / f"{name}.parquet").unlink()
    assert [shown(client(run), page).text for page in pages] == before
    assert "before the cut" in before[0]
    assert "Band" in before[0]


def test_models_that_cannot_be_loaded_are_told_of(make_run: Make) -> None:
    page = shown(client(make_run()), "/why/203/500", 503)
    assert "_model.npz: is missing" in page.text
    assert shown(client(make_run("other")), "/why?user=203", 404)
    assert client(make_run("third")).get("/why?user=a%20b&item=1").headers["location"] == "/why/a%20b/1"


def test_a_broken_list_is_told_of(make_run: Make) -> None:
    run = make_run()
    browser = client(run)
    whole = (run / "recommendations.parquet").read_bytes()
    (run / "recommendations.parquet").write_bytes(whole[: len(whole) // 2])
    assert "recommendations.parquet: is not the file that the run wrote" in shown(browser, "/listener/203", 503).text


def test_only_a_finished_run_can_be_explored(tmp_path: Path, make_run: Make) -> None:
    with pytest.raises(DataError, match="is not a finished run"):
        explore.app(tmp_path)
    with pytest.raises(DataError, match="is not a finished run"):
        explore.app(make_run(), against=tmp_path)


def test_the_app_may_be_mounted_below_a_path(make_run: Make) -> None:
    inner = explore.app(make_run())
    browser = TestClient(Starlette(routes=[Mount("/sub", app=inner)]), follow_redirects=False)
    for address in ("/sub/", "/sub/listener/203", "/sub/track/500"):
        page = shown(browser, address)
        links = (
            page.all("a", "href") + page.all("link", "href") + page.all("form", "action") + page.all("script", "src")
        )
        assert all(link.startswith(("/sub/", "#", "data:")) for link in links)
    assert browser.get("/sub/assets/base.css").status_code == 200
    assert browser.get("/sub/random").headers["location"].startswith("/sub/listener/")


def test_requests_for_another_host_are_refused(make_run: Make) -> None:
    run = make_run()
    local = TestClient(explore.app(run, hosts=("127.0.0.1", "localhost")))
    for host, status in (("elsewhere.example", 400), ("127.0.0.1:99", 200), ("localhost", 200)):
        assert local.get("/", headers={"host": host}).status_code == status


def test_a_run_stands_beside_another(make_run: Make) -> None:
    a, b = make_run("a"), make_run("b", final="popular")
    assert "tonearm explore RUN --against OTHER" in shown(client(a), "/compare", 404).text
    browser = client(a, against=b)
    for _ in range(300):
        answer = browser.get("/compare")
        if answer.status_code != 202:
            break
        assert answer.headers["refresh"] == "1"
    page = Page(answer.text)
    mine, theirs = (Run.open(run).metrics["lists"]["recommendations"]["ndcg@4"] for run in (a, b))
    assert mine != theirs
    row = f"Final list ndcg@4 {mine:.4f} {theirs:.4f} "
    assert row in page.text
    assert f"{theirs - mine:+.4f}".replace("-", "−") in page.text.split(row)[1][:12]
    assert "the same files and the same cut" in page.text


def test_what_takes_long_is_made_once_and_asked_for_again() -> None:
    go, made = threading.Event(), []

    def make(progress: Progress) -> int:
        progress("counting", 1, 2)
        assert go.wait(10)
        made.append(1)
        return 7

    later = Later(make)
    assert later.get(0.0) is None
    assert later.get(0.01) is None
    assert later.progress == "counting: 1 of 2"
    go.set()
    assert later.get(10) == later.get(0) == 7
    assert made == [1]


def test_what_goes_wrong_in_the_background_is_raised_and_tried_anew_when_next_asked_for() -> None:
    tries = iter(["gone", "gone again", "there"])

    def make(progress: Progress) -> int:
        del progress
        said = next(tries)
        if said != "there":
            raise DataError(said)
        return 7

    later = Later(make)
    for said in ("gone", "gone again"):
        with pytest.raises(DataError, match=f"^{said}$"):
            later.get(10)
    assert later.get(10) == later.get(0) == 7


@pytest.mark.parametrize("given", ["a/b", "100%", "..", ".", "a b?c#d", "%2F", "~2F", "~", "ü/..", "<i>"])
def test_any_id_fits_into_a_path(given: str) -> None:
    path = Links("").listener(given)
    assert path.count("/") == 2
    served = unquote(path.rsplit("/", 1)[1])
    assert "/" not in served
    assert served not in (".", "..")
    assert untoken(served) == untoken(unquote(served)) == given


def test_bars_start_in_the_middle_and_the_largest_fills_its_half() -> None:
    assert drawing.bars([2.0, -1.0, 0.0]) == [(100, 100.0), (50.0, 50.0), (100, 0.0)]
    assert drawing.bars([]) == []
    assert drawing.bars([0.0]) == [(100, 0.0)]


def test_labels_on_the_map_lie_within_and_over_no_other() -> None:
    rng = np.random.default_rng(3)
    points = [Point(i, float(x), float(y), 0.5) for i, (x, y) in enumerate(rng.random((80, 2)))]
    titles = ["x" * int(n) for n in rng.integers(1, 60, 80)]
    drawn = drawing.dots(points, titles, rng.integers(0, 1000, 80).tolist())
    boxes = []
    for dot in drawn:
        assert 4 <= dot.radius <= 10
        if dot.label is not None:
            assert len(dot.label) <= drawing.LABEL
            wide = len(dot.label) * drawing.LETTER
            left = dot.label_x if dot.anchor == "start" else dot.label_x - wide
            assert left >= 0
            assert left + wide <= drawing.WIDTH
            boxes.append((left, left + wide, dot.y))
    assert 10 < len(boxes) < 80
    for i, (left, right, y) in enumerate(boxes):
        for low, high, other in boxes[:i]:
            assert right <= low or high <= left or abs(y - other) >= drawing.LINE - 0.2


def test_items_without_a_catalogue_are_told_by_their_ids(make_run: Make) -> None:
    tracks = Tracks.open(Run.open(make_run()))
    assert len(tracks) == 12
    assert tracks.track("501").title == "שלום עולם – Band 0"
    fewer = Tracks.open(Run.open(make_run("bare", catalogue=False)))
    assert len(fewer) == 11  # nobody played 511 before the cut
    assert fewer.place("510") == 10
    assert fewer.track("510").title == "510"


def test_a_port_in_use_and_a_missing_extra_are_told(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    run = make_run()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="Choose another --port"):
        explore.serve(run, port=taken.getsockname()[1])
    monkeypatch.delitem(sys.modules, "tonearm.explore")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tonearm\[explore\]'"):
        cli.explore(run)
