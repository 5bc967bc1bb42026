"""Pictures of the report and the explorer for the docs, from a run on a synthetic log: `make screenshots`.

Needs Chromium. With a finished run's folder as argument, that run is shown instead.
"""

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import uvicorn
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import tonearm
from tonearm import explore
from tonearm.synth import generate

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDE, PHONE = (1280, 860), (390, 844)
COLOURS = 128
"""Of a picture, which keeps text sharp and files small."""


def make_run(folder: Path) -> Path:
    """A run on the small synthetic log."""
    generate("small", folder / "log")
    inputs = tonearm.Inputs(
        events=str(folder / "log" / "events.parquet"),
        items=str(folder / "log" / "items.parquet"),
        test_from="2022-12-16",
    )
    tonearm.run(inputs, folder / "run", tonearm.load_config(), show=True)
    return folder / "run"


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The explorer's address."""
    server = uvicorn.Server(uvicorn.Config(explore.app(run), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def who(run: Path) -> tuple[int, int]:
    """A listener whose list has a hit among its first, and the hit."""
    manifest = tonearm.restore(run).run.manifest
    events = pl.scan_parquet(manifest["inputs"]["events"])
    test = events.filter(pl.col("started_at") >= pl.datetime(2022, 12, 16)).select("user_id", "item_id").unique()
    train = events.filter(pl.col("started_at") < pl.datetime(2022, 12, 16))
    size = train.group_by("user_id").len("plays").filter(pl.col("plays").is_between(40, 160))
    lists = pl.scan_parquet(run / "recommendations.parquet").filter(pl.col("rank") <= 8)
    hits = lists.join(test, on=["user_id", "item_id"]).join(size, on="user_id")
    first = hits.group_by("user_id").agg(pl.len().alias("hits"), pl.col("item_id").sort_by("rank").first())
    row = first.sort("hits", "user_id", descending=[True, False]).head(1).collect()
    return int(row["user_id"][0]), int(row["item_id"][0])


def shoot(
    page: Page,
    address: str,
    name: str,
    size: tuple[int, int],
    *,
    dark: bool = False,
    height: int = 0,
    part: str | None = None,
) -> None:
    """One picture; height: more than the window's, from the top; part: of the page, in CSS."""
    page.set_viewport_size({"width": size[0], "height": height or size[1]})
    page.emulate_media(color_scheme="dark" if dark else "light")
    while (answer := page.goto(address)) is not None and answer.status == 202:
        page.wait_for_timeout(300)
    page.wait_for_load_state("networkidle")
    path = IMAGES / f"{name}.png"
    if part is None:
        page.screenshot(path=path)
    else:
        page.locator(part).screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")


def main() -> None:
    """Make the run and all pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("No Chromium here. bash tools/browser.sh installs it.")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(sys.argv[1]) if len(sys.argv) > 1 else make_run(Path(folder))
        user, item = who(run)
        with served(run) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            report = (run / "report.html").absolute().as_uri()
            shoot(page, report, "report-light", WIDE)
            shoot(page, report, "report-dark", WIDE, dark=True)
            shoot(page, report, "report-phone", PHONE)
            shoot(page, address, "explore-home", WIDE, height=1000)
            shoot(page, f"{address}/listener/{user}", "explore-listener", WIDE, height=1000)
            shoot(page, f"{address}/track/{item}", "explore-track", WIDE, height=1250)
            shoot(page, f"{address}/why/{user}/{item}", "explore-why", WIDE, height=1250)
            shoot(page, f"{address}/why/{user}/{item}", "explore-why-ranker", (720, 860), part="section:has(> #ranker)")
            shoot(page, f"{address}/listener/{user}", "explore-phone", PHONE, dark=True)
            browser.close()


if __name__ == "__main__":
    main()
