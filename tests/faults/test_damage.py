"""Each file of a run and of a store, cut, with one byte changed, removed, or from another run: it is told, and how."""

import os
import random
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest
import uvicorn
from starlette.testclient import TestClient
from tests.e2e.command import Answer, tonearm
from tests.faults.conftest import FULL, Tried, linked

from tonearm import explore
from tonearm.errors import DataError
from tonearm.runs.read import Run
from tonearm.serving.app import app
from tonearm.serving.events import open_events
from tonearm.serving.publish import current_id, publish
from tonearm.serving.service import Service

WAYS = ("cut", "one byte", "removed", "of another run")
MENDS = (
    "Put that one back",
    "make the run anew",
    "writes it anew",
    "rollback",
    "publish the run anew",
    "Name the --out",
)

SHARE = 1 if FULL else 5
"""Of how many files one is damaged in each way and for each command."""


def damage(path: Path, way: str, other: Path) -> bool:
    """Damage a file, which may be a link; whether that made another of it."""
    whole = path.read_bytes()
    place = random.Random(f"{path.name} {way}").randrange(max(len(whole), 1))
    changed = {
        "cut": whole[:place],
        "one byte": whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] if whole else b"",
        "of another run": other.read_bytes() if other.is_file() else whole,
    }.get(way)
    path.unlink()
    if changed is not None:
        path.write_bytes(changed)
    return changed != whole


def names_of(folder: Path) -> list[str]:
    """All files below a folder but the lock, an empty one."""
    every = (str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in every if name != ".lock"]


def chosen(names: list[str], turn: int) -> Iterator[str]:
    yield from (name for place, name in enumerate(names) if (place + turn) % SHARE == 0)


def told(name: str, words: str) -> None:
    """The words name the file, or the one that vouches for it, and say what to do."""
    assert "Traceback" not in words
    assert name in words or (name.endswith((".json", "current")) and Path(name).name in words), (name, words)
    assert any(mend in words for mend in MENDS), words


def look(capsys: pytest.CaptureFixture[str], command: str, run: Path, other: Path, scratch: Path) -> Answer:
    """What a command says of a run, without its paths."""
    user, item = _ids(other)
    out = scratch / "out"
    commands: dict[str, list[object]] = {
        "show user": ["show", "user", user, "--run", run],
        "show item": ["show", "item", item, "--run", run],
        "explain": ["explain", user, item, "--run", run],
        "recommend": ["recommend", "--run", run, "--out", out / "lists.parquet", "--quiet"],
        "report": ["report", run],
        "compare": ["compare", run, other],
        "replay": ["replay", run, "--users", 3, "--blend", "rule=near"],
        "publish": ["publish", run, "--store", out / "store"],
    }
    answer = tonearm(capsys, *commands[command])
    made = out / "lists.parquet"
    lists = sha256(made.read_bytes()).hexdigest() if made.exists() else ""
    assert answer.code == 0 or not out.exists() or command == "publish", "nothing is half-written"
    shutil.rmtree(out, ignore_errors=True)
    plain = [words.replace(str(run), "RUN").replace(str(scratch), "") for words in (answer.out, answer.err)]
    return Answer(answer.code, plain[0] + lists, plain[1])


def _ids(run: Path) -> tuple[int, int]:
    lists = pl.read_parquet(run / "recommendations.parquet")
    return lists["user_id"][0], lists["item_id"][0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "command", ["show user", "show item", "explain", "recommend", "report", "compare", "replay", "publish"]
)
def test_a_damaged_file_of_a_run_is_told_by_each_command(
    command: str,
    way: str,
    tiny_run: Path,
    other_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tried: Tried,
) -> None:
    monkeypatch.setattr("tonearm.report.render", lambda content: str(len(content)))
    whole = look(capsys, command, linked(tiny_run, tmp_path / "whole"), other_run, tmp_path)
    assert whole.code == 0, whole.err
    refused = 0
    for name in chosen(names_of(tiny_run), WAYS.index(way) + len(command)):
        run = linked(tiny_run, tmp_path / "run")
        if damage(run / name, way, other_run / name):
            answer = look(capsys, command, run, other_run, tmp_path)
            refused += answer.code == 2
            if answer.code == 2:
                told(Path(name).name, answer.err)
            else:
                assert command != "publish", f"{name} was published"
                assert (answer.code, answer.out) == (0, whole.out), (name, answer.err)
            tried(f"file of a run: {way}", "told" if answer.code else "not needed, output the same")
        shutil.rmtree(run)
    assert refused or not FULL


PAGES = ("/", "/search?q=a", "/listener/{user}", "/track/{item}", "/why/{user}/{item}", "/compare", "/report")


def page_of(browser: TestClient, address: str) -> tuple[int, str]:
    while (answer := browser.get(address, follow_redirects=True)).status_code == 202:
        pass
    return answer.status_code, answer.text


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_file_of_a_run_is_told_by_each_page(
    way: str, tiny_run: Path, other_run: Path, tmp_path: Path, tried: Tried
) -> None:
    user, item = _ids(tiny_run)
    pages = [page.format(user=user, item=item) for page in PAGES]
    whole = {page: page_of(TestClient(explore.app(tiny_run, other_run)), page) for page in pages}
    assert {status for status, _ in whole.values()} == {200}
    for name in chosen(names_of(tiny_run), WAYS.index(way)):
        run = linked(tiny_run, tmp_path / "run")
        if damage(run / name, way, other_run / name):
            try:
                browser = TestClient(explore.app(run, other_run))
            except DataError as error:
                told(Path(name).name, str(error))
                tried(f"file of a run: {way}", "told")
            else:
                for page in pages:
                    status, text = page_of(browser, page)
                    if status == 503:
                        told(Path(name).name, text)
                    else:
                        assert (status, text.replace(str(run), str(tiny_run))) == whole[page], (name, page)
                    tried(f"page over a file of a run: {way}", "told" if status == 503 else "not needed, page the same")
        shutil.rmtree(run)


@pytest.fixture(scope="session")
def stores(tiny_run: Path, other_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store with two versions of the run, and another with two of the other run; their second is served."""
    made = []
    for name, run in (("mine", tiny_run), ("theirs", other_run)):
        store = tmp_path_factory.mktemp(name) / "store"
        for _ in range(2):
            publish(run, store, force=True)
        open_events(None, store).close()
        made.append(store)
    return made[0], made[1]


def at_store(capsys: pytest.CaptureFixture[str], command: str, store: Path, run: Path, first: str) -> Answer:
    commands: dict[str, list[object]] = {
        "versions": ["versions", "--store", store],
        "rollback": ["rollback", "--store", store],
        "rollback --to": ["rollback", "--store", store, "--to", first],
        "publish": ["publish", run, "--store", store, "--gate", "newer=false"],
        "publish --force": ["publish", run, "--store", store, "--force"],
        "serve": ["serve", "--store", store, "--port", 0],
    }
    return tonearm(capsys, *commands[command])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", ["versions", "rollback", "rollback --to", "publish", "publish --force", "serve"])
def test_a_damaged_file_of_a_store_is_told_by_each_command(
    command: str,
    way: str,
    stores: tuple[Path, Path],
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tried: Tried,
) -> None:
    """Of the served version and of the one before; what is served afterwards is whole, or said not to be."""
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    store, other = stores
    first, served = sorted(path.name for path in (store / "versions").iterdir())
    theirs = sorted(path.name for path in (other / "versions").iterdir())
    assert current_id(store) == served
    for name in chosen([name for name in names_of(store) if not name.startswith("events")], len(command)):
        copy = linked(store, tmp_path / "store")
        source = other / name.replace(served, theirs[1]).replace(first, theirs[0])
        if name == "history.jsonl" or not damage(copy / name, way, source):
            shutil.rmtree(copy)
            continue
        of_first = first in name
        answer = at_store(capsys, command, copy, tiny_run, first)
        assert "Traceback" not in answer.err
        if answer.code == 2:
            told(Path(name).name, answer.err)
        else:
            assert answer.code == 0
            if command != "versions":
                with TestClient(app(Service(copy, open_events(None, copy)))) as one:
                    assert len(one.get("/recommendations/1?k=5").json()["items"]) == 5
        expected = {"rollback": of_first, "rollback --to": of_first, "publish": not of_first, "serve": not of_first}
        if command in expected and name != "current":
            assert (answer.code == 2) == expected[command], (name, answer)
        if command == "publish --force":
            assert answer.code == 0, (name, answer.err)
        tried(f"file of a store: {way}", "told" if answer.code else "not needed, or another version serves")
        shutil.rmtree(copy)


ROUTES = ("/recommendations/{user}", "/recommendations/{user}/online", "/similar/{item}", "/popular", "/version")


@pytest.mark.parametrize("way", WAYS)
def test_a_version_that_is_damaged_while_another_serves_is_not_gone_over_to(
    way: str, stores: tuple[Path, Path], tmp_path: Path, tried: Tried
) -> None:
    """And a service that begins on it says which file, as does the log of one that runs."""
    store, other = stores
    first, served = sorted(path.name for path in (store / "versions").iterdir())
    theirs = sorted(path.name for path in (other / "versions").iterdir())[1]
    user, item = _ids(store / "versions" / served / "run")
    for name in chosen(names_of(store / "versions" / served), WAYS.index(way)):
        copy = linked(store, tmp_path / "store")
        (copy / "current").unlink()
        (copy / "current").write_text(f"{first}\n")
        service = Service(copy, open_events(None, copy))
        changed = damage(copy / "versions" / served / name, way, other / "versions" / theirs / name)
        (copy / "current").write_text(f"{served}\n")
        with TestClient(app(service)) as one:
            try:
                service.refresh()
            except DataError as error:
                told(Path(name).name, str(error))
                assert service.version.id == first
            answers = [one.get(route.format(user=user, item=item)) for route in (*ROUTES, "/explore/report")]
            for answer in answers:
                if answer.status_code == 503:
                    told(Path(name).name, answer.text.replace("&#39;", "'"))
                else:
                    assert answer.status_code == 200, answer.text
        tried(
            f"file of a version, damaged under a service: {way}",
            "the old version serves, or told" if changed else "same",
        )
        shutil.rmtree(copy)


def test_an_event_store_that_is_damaged_is_told(
    stores: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], tried: Tried
) -> None:
    for content in (b"", os.urandom(4096), (stores[0] / "events.sqlite").read_bytes()[:5000]):
        copy = linked(stores[0], tmp_path / "store")
        (copy / "events.sqlite").unlink()
        (copy / "events.sqlite").write_bytes(content)
        answer = tonearm(capsys, "export", "--store", copy, "--out", tmp_path / "out.parquet")
        if content == b"":
            assert answer.code == 0, "an empty file is a new store"
        else:
            assert answer.code == 2
            assert "events.sqlite: events cannot be kept there" in answer.err
            assert "put a copy of it back" in answer.err
        tried("event store cut or overwritten", "told" if answer.code else "begun anew")
        shutil.rmtree(copy)


def test_a_run_is_read_from_its_own_manifest(tiny_run: Path) -> None:
    """What the matrix is about: all files but the manifest are in it."""
    assert set(Run.open(tiny_run).manifest["files"]) == {*names_of(tiny_run)} - {"manifest.json"}
