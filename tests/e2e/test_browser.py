"""The report and the explorer in a real browser: keyboard, phone, dark scheme, odd names, no fault that axe knows."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from tests.quick import Log, run_quick

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

ALONE = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Chromium asks nobody else for anything."""

HEAVY, COLD = 900_001, 900_002
"""A listener with 10,000 plays, and one who came after the cut."""

NAMES = ["שלום עולם", "Мелодия любви", "<img src=x onerror=alert(1)>", "أغنية"]
"""Of the tracks of highest id."""

PLAYS = 10_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: bash tools/browser.sh installs it")


@pytest.fixture(scope="module")
def odd_run(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny log with odd names, 2,000 more tracks, a listener with 10,000 plays, and a cold one."""
    first = int(tiny_log.items["item_id"].cast(pl.Int64).to_numpy().max()) + 1
    new = range(first, first + 2_000)
    more = pl.DataFrame(
        {
            "item_id": new,
            "name": [*(f"Track number {i}" for i in range(1_996)), *NAMES],
            "genres": [["pop"] if i % 2 else ["rock", "pop"] for i in range(2_000)],
            "artists": [[f"Исполнитель {i % 90}" if i % 3 else f"زيد {i % 40}"] for i in range(2_000)],
        }
    ).cast({"item_id": tiny_log.items.schema["item_id"]})
    items = pl.concat([tiny_log.items.select(more.columns), more])
    start = datetime(2022, 2, 1)
    played = [(HEAVY, new[-1 - (i * 7 + i * i // 50) % 2_000], start + timedelta(minutes=37 * i)) for i in range(PLAYS)]
    others = tiny_log.train["user_id"].unique().sort().to_list()
    played += [(others[i % len(others)], new[-1 - i % 60], start + timedelta(hours=i)) for i in range(600)]
    after = datetime(2022, 12, 20)
    popular = tiny_log.train["item_id"].value_counts(sort=True)["item_id"][0]
    played += [(COLD, item, after) for item in (popular, new[-2])] + [(HEAVY, popular, after)]
    rows = pl.DataFrame(played, schema=["user_id", "item_id", "started_at"], orient="row")
    log = tiny_log.events.select(rows.columns)
    events = pl.concat([log, rows.cast(dict(log.schema))])  # type: ignore[arg-type]
    return run_quick(tmp_path_factory.mktemp("odd") / "whole", events, items, report=True)


@pytest.fixture(scope="module")
def address(odd_run: Path) -> Iterator[str]:
    """Where `tonearm explore` answers; it stops at Ctrl-C as if all were well."""
    command = [sys.executable, "-m", "tonearm", "explore", str(odd_run), "--against", str(odd_run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None, line + (server.stderr.read() if server.stderr else "")
        yield found[0]
        server.send_signal(signal.SIGINT)
        out, error = server.communicate(timeout=60)
        assert (server.returncode, error) == (0, "")
        assert "Stopped." in out


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ALONE))
        yield started
        started.close()


@dataclass
class Watched:
    """A page, and what went wrong on it."""

    page: Page
    problems: list[str] = field(default_factory=list)

    def go(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_load_state("networkidle")


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Any]:
    """open_page(width=390, dark=True): a page on which no error, no dialog and no outside request may happen."""
    contexts: list[BrowserContext] = []
    watched: list[Watched] = []

    def make(width: int = 1280, *, dark: bool = False, script: bool = True) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": 844},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
        )
        contexts.append(context)
        found = Watched(context.new_page())
        watched.append(found)

        def console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and "status of 404" not in message.text:
                found.problems.append(message.text)

        found.page.on("console", console)
        found.page.on("pageerror", lambda error: found.problems.append(str(error)))
        found.page.on("dialog", lambda dialog: found.problems.append(f"dialog: {dialog.message}"))
        found.page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((address, "file:", "data:", "blob:"))
                else found.problems.append(f"request: {request.url}")
            ),
        )
        return found

    yield make
    problems = [problem for one in watched for problem in one.problems]
    for context in contexts:
        context.close()
    assert problems == []


def faults(page: Page) -> list[str]:
    """What axe holds to be serious or critical."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{fault['id']}: {node['target']} {node['html'][:200]} {node['failureSummary']}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]


def wait_for(one: Watched, address: str) -> None:
    """Go to a page that may have to be made first; it comes by itself."""
    one.go(address)
    expect(one.page.locator("h1")).not_to_contain_text(re.compile("Loading|Comparing"), timeout=60_000)


def pages_of(run: Path) -> dict[str, str]:
    lists = pl.read_parquet(run / "recommendations.parquet")
    user = int(lists["user_id"][0])
    item = int(lists["item_id"][0])
    return {
        "home": "/",
        "search": "/search?q=track",
        "nothing": "/search?q=zzzzz",
        "listener": f"/listener/{user}",
        "heavy": f"/listener/{HEAVY}?by=plays&page=3",
        "cold": f"/listener/{COLD}",
        "why": f"/why/{user}/{item}",
        "why not": f"/why/{HEAVY}/{item}",
        "track": f"/track/{item}",
        "compare": "/compare",
        "unknown": "/listener/5555555",
        "report": "/report",
    }


KINDS = (
    "home",
    "search",
    "nothing",
    "listener",
    "heavy",
    "cold",
    "why",
    "why not",
    "track",
    "compare",
    "unknown",
    "report",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_is_fit_for_all(kind: str, address: str, odd_run: Path, open_page: Any) -> None:
    one = open_page()
    path = pages_of(odd_run)[kind]
    wait_for(one, address + path)
    if kind == "report":
        one.page.locator("[data-chart] svg").first.wait_for()
        for summary in one.page.locator("details").all()[:3]:
            summary.evaluate("details => { details.open = true; }")
    assert faults(one.page) == []
    one.page.emulate_media(color_scheme="dark")
    paper = one.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in re.findall(r"\d+", paper)) < 60
    assert faults(one.page) == []
    one.page.set_viewport_size({"width": 390, "height": 844})
    one.page.wait_for_timeout(100)
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert faults(one.page) == []


def test_axe_sees_a_fault_where_there_is_one(address: str, open_page: Any) -> None:
    one = open_page()
    one.go(address)
    one.page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<button></button>')")
    (fault,) = faults(one.page)
    assert fault.startswith("button-name")


def test_the_report_works_from_a_file(odd_run: Path, open_page: Any) -> None:
    one = open_page(390, dark=True)
    one.go((odd_run / "report.html").as_uri())
    expect(one.page.locator("[data-chart] svg").first).to_be_visible()
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 390
    one.page.locator("[data-ks] button[data-k='5']").click()
    expect(one.page.locator("[data-ks] button[data-k='5']")).to_have_attribute("aria-pressed", "true")
    one.page.locator("select[data-metric]").first.select_option(index=1)


def test_search_goes_by_keyboard_alone(address: str, open_page: Any) -> None:
    one = open_page()
    one.go(address)
    one.page.keyboard.press("/")
    expect(one.page.locator("#q")).to_be_focused()
    one.page.keyboard.type("МЕЛОДИЯ люб")
    expect(one.page.locator("[data-live] li")).to_have_count(1)
    one.page.keyboard.press("ArrowDown")
    expect(one.page.locator("[data-live] a").first).to_be_focused()
    outline = one.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    one.page.keyboard.press("ArrowUp")
    expect(one.page.locator("#q")).to_be_focused()
    one.page.keyboard.press("ArrowDown")
    one.page.keyboard.press("Enter")
    expect(one.page.locator("h1")).to_have_text("Мелодия любви")
    one.page.wait_for_load_state("networkidle")
    one.page.keyboard.press("/")
    one.page.keyboard.type(str(HEAVY))
    expect(one.page.locator("[data-live] li").first).to_contain_text(f"Listener {HEAVY}")
    one.page.keyboard.press("Escape")
    expect(one.page.locator("[data-live]")).to_be_hidden()
    one.page.keyboard.press("Enter")
    expect(one.page.locator("h1")).to_contain_text(f"Search: {HEAVY}")
    one.page.wait_for_load_state("networkidle")
    one.page.keyboard.press("/")
    one.page.keyboard.press("ArrowDown")
    one.page.keyboard.press("Enter")
    expect(one.page.locator("h1")).to_have_text(f"Listener {HEAVY}")


def test_the_skip_link_comes_first(address: str, open_page: Any) -> None:
    one = open_page()
    one.go(address)
    one.page.keyboard.press("Tab")
    expect(one.page.locator(".skip")).to_be_focused()
    expect(one.page.locator(".skip")).to_be_in_viewport()
    one.page.keyboard.press("Enter")
    expect(one.page.locator("main")).to_be_focused()


def test_a_long_history_is_leafed_through(address: str, odd_run: Path, open_page: Any) -> None:
    one = open_page()
    one.go(f"{address}/listener/{HEAVY}")
    expect(one.page.locator(".facts")).to_contain_text("10,000 plays of")
    events = pl.read_parquet(odd_run.parent / "events.parquet")
    own = events.filter((pl.col("user_id") == HEAVY) & (pl.col("started_at") < datetime(2022, 12, 16)))
    tracks, rows = own["item_id"].n_unique(), one.page.locator("#history ~ .scroll tbody tr")
    assert rows.count() == 50
    one.page.get_by_role("link", name="Next →").click()
    expect(one.page.locator("caption")).to_have_text(f"Tracks 51 to 100 of {tracks:,}")
    one.page.get_by_role("link", name="Last").click()
    expect(rows).to_have_count((tracks - 1) % 50 + 1)
    one.page.get_by_role("link", name="most played first").click()
    expect(one.page.get_by_role("link", name="most played first")).to_have_attribute("aria-current", "true")


def test_a_track_is_marked_wherever_it_stands(address: str, odd_run: Path, open_page: Any) -> None:
    one = open_page()
    one.go(address + pages_of(odd_run)["listener"])
    expect(one.page.locator(".same")).to_have_count(0)
    there = one.page.locator(".links a[href^='#']").first
    item = there.evaluate("link => link.closest('[data-item]').dataset.item")
    there.focus()
    marked = one.page.locator(".same")
    assert marked.count() > 1
    assert set(marked.evaluate_all("all => all.map(one => one.dataset.item)")) == {item}
    there.press("Enter")
    target = one.page.locator(":target")
    expect(target).to_have_attribute("data-item", item)
    one.page.locator("h1").hover()
    target.hover()
    assert set(marked.evaluate_all("all => all.map(one => one.dataset.item)")) == {item}


def test_a_cold_listener_has_the_popular_list_and_hits(address: str, open_page: Any) -> None:
    one = open_page(390)
    one.go(f"{address}/listener/{COLD}")
    expect(one.page.locator("main")).to_contain_text("A cold listener")
    expect(one.page.locator(".list")).to_have_count(1)
    expect(one.page.locator(".list .hit-word").first).to_have_text("✓ hit")


def test_odd_names_are_text_and_run_their_own_way(address: str, open_page: Any) -> None:
    one = open_page()
    one.go(f"{address}/search?q=img")
    expect(one.page.locator(".results a").first).to_have_text(NAMES[2])
    assert one.page.locator("img").count() == 0
    for words in (NAMES[0], NAMES[3]):
        one.go(f"{address}/search?q={words}")
        name = one.page.locator(".results a bdi").first
        expect(name).to_have_text(words)
        assert name.evaluate("name => getComputedStyle(name).unicodeBidi") == "isolate"
    assert one.page.locator("#q").evaluate("field => field.matches(':dir(rtl)')")


def test_an_unknown_id_leads_back(address: str, open_page: Any) -> None:
    one = open_page()
    one.go(f"{address}/track/no-such-track")
    expect(one.page.locator("h1")).to_have_text("There is no track no-such-track")
    one.page.locator(".results a").first.click()
    expect(one.page.locator("#near")).to_be_visible()


def test_it_works_without_script(address: str, open_page: Any) -> None:
    one = open_page(script=False)
    one.go(address)
    one.page.locator("#q").fill("любви")
    one.page.locator("#q").press("Enter")
    one.page.locator(".results a").first.click()
    expect(one.page.locator("h1")).to_have_text("Мелодия любви")
