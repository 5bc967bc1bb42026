"""kill -9 at random moments: the old state or the new one is there, whole, and the next call works."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import pytest
from tests.faults.conftest import FULL, Tried, linked
from tests.quick import QUICK, Log
from tests.serving.test_server import ask, serving, up

from tonearm.runs.read import Run
from tonearm.runs.resume import SUFFIX as KEPT
from tonearm.serving.events import open_events
from tonearm.serving.publish import current, publish, versions

RUNS, PUBLISHES, SERVES, TUNES = (80, 60, 100, 10) if FULL else (3, 3, 2, 1)

SETS = [f"--set={option}" for option in (*QUICK, "output.fresh=3")]


def begun(*arguments: object) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "tonearm", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> str:
    """By -9, where it has not ended; what it had said."""
    process.kill()
    return process.communicate()[1]


def wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    """Until something is so, or the process has ended."""
    while process.poll() is None and not until():
        time.sleep(0.005)


@pytest.fixture(scope="session")
def log_files(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name the log."""
    folder = tmp_path_factory.mktemp("log")
    tiny_log.events.write_parquet(folder / "events.parquet")
    tiny_log.items.write_parquet(folder / "items.parquet")
    files = ["--events", str(folder / "events.parquet"), "--items", str(folder / "items.parquet")]
    return [*files, "--test-from", "2022-12-16"]


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.glob(".*") if path.name.endswith("-partial")]


@pytest.fixture(scope="session")
def finished(log_files: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The run that every other shall be, and the seconds from its first file to its end."""
    out = tmp_path_factory.mktemp("finished") / "run"
    process = begun("run", *log_files, "--out", out, "--quiet", *SETS)
    wait(process, lambda: bool(hidden(out.parent)))
    start = time.monotonic()
    said = process.communicate()[1]
    assert process.returncode == 0, said
    return out, time.monotonic() - start


def lists_of(run: Path) -> dict[str, str]:
    """The digests of everything that does not tell the time."""
    files = Run.open(run).files
    files.check()
    timed = ("report.html",)
    return {name: str(said["sha256"]) for name, said in (files.said or {}).items() if name not in timed}


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_is_killed(
    resume: bool, log_files: list[str], finished: tuple[Path, float], tiny_run: Path, tmp_path: Path, tried: Tried
) -> None:
    """In the place of an older run, which stays until the new one is whole; by --resume the next call goes on."""
    whole, seconds = finished
    draw, out = random.Random(int(resume)), tmp_path / "run"
    linked(tiny_run, out)
    old, new = lists_of(tiny_run), lists_of(whole)
    flags = ["--overwrite", "--quiet", *(["--resume"] if resume else []), *SETS]
    fault = f"kill -9 of run{' --resume' if resume else ''}"
    for _ in range((RUNS + 1) // 2):
        process = begun("run", *log_files, "--out", out, *flags)
        wait(process, lambda: bool(hidden(tmp_path)))
        time.sleep(draw.uniform(0, seconds))
        said = kill(process)
        assert "Traceback" not in said, said
        there = lists_of(out)
        assert there in (old, new)
        tried(fault, "the old run" if there == old else "the new run")
        if there == new:
            shutil.rmtree(out)
            linked(tiny_run, out)
    process = begun("run", *log_files, "--out", out, *flags)
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert lists_of(out) == new
    assert [path.name for path in tmp_path.iterdir()] == ["run"], "what was killed is swept"
    tried(f"{fault}, then run again", "the new run, byte for byte, and nothing else")


def test_a_publish_is_killed(tiny_run: Path, other_run: Path, tmp_path: Path, tried: Tried) -> None:
    draw, store, made = random.Random(2), tmp_path / "store", tmp_path / "store" / "versions"
    before = publish(tiny_run, store).id
    for turn in range(PUBLISHES):
        run = (other_run, tiny_run)[turn % 2]
        process = begun("publish", run, "--store", store, "--force", "--keep", 3)
        wait(process, lambda: bool(hidden(made)))
        time.sleep(draw.uniform(0, 0.6))
        kill(process)
        served = current(store)
        assert served is not None
        served.check()
        assert len(served.listed(0)[0]) > 0
        assert served.id in versions(store)["id"].to_list()
        tried("kill -9 of publish", "the old version" if served.id == before else "the new version")
        before = served.id
    last = publish(tiny_run, store, force=True, keep=2).id
    assert {path.name for path in made.iterdir()} == set(versions(store)["id"])
    assert versions(store)["id"][0] == last
    tried("kill -9 of publish, then publish again", "the new version, and nothing else")


def test_a_service_is_killed(tiny_run: Path, other_run: Path, tmp_path: Path, tried: Tried) -> None:
    """While events come in and versions go over: nothing that was acknowledged is lost."""
    draw, store, acknowledged = random.Random(3), tmp_path / "store", set[str]()
    publish(tiny_run, store)
    for turn in range(SERVES):
        with serving(store, "--quiet") as (process, address):
            up(address)

            def send(worker: int, address: str = address, turn: int = turn) -> None:
                for i in range(10_000):
                    name = f"{turn}-{worker}-{i}"
                    try:
                        ask(f"{address}/events", {"event_id": name, "user_id": worker, "item_id": i})
                    except (OSError, ValueError, HTTPException):  # killed before or while it answered
                        return
                    acknowledged.add(name)

            threads = [threading.Thread(target=send, args=(worker,)) for worker in range(4)]
            for thread in threads:
                thread.start()
            publisher = begun("publish", (other_run, tiny_run)[turn % 2], "--store", store, "--force")
            time.sleep(draw.uniform(0.5, 3))
            os.killpg(process.pid, signal.SIGKILL)
            kill(publisher)
            for thread in threads:
                thread.join()
        version = current(store)
        assert version is not None
        version.check()
        assert version.id in versions(store)["id"].to_list()
        events = open_events(None, store)
        kept = {event.event_id for event in events.events()}
        events.close()
        assert acknowledged <= kept
        tried("kill -9 of serve and publish at once", "a whole version, no event lost")
    assert len(acknowledged) > SERVES


def test_a_tuning_is_killed(log_files: list[str], tmp_path: Path, tried: Tried) -> None:
    """And goes on to the same settings as one that was not."""
    draw = random.Random(4)
    sets = [*SETS, '--set=sources=["recent"]']
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    given = ["tune", *log_files, "--trials", 2, "--quiet", *sets]
    process = begun(*given, "--out", tmp_path / "whole" / "best.toml")
    assert process.communicate()[1] == ""
    for _ in range(TUNES):
        process = begun(*given, "--out", tmp_path / "killed" / "best.toml")
        wait(process, lambda: (tmp_path / "killed" / "best.study.db").exists())
        time.sleep(draw.uniform(0, 3))
        said = kill(process)
        assert "Traceback" not in said, said
        tried("kill -9 of tune", "settings as far as tried")
    process = begun(*given, "--out", tmp_path / "killed" / "best.toml")
    assert process.communicate()[1] == ""
    whole, killed = ((tmp_path / folder / "best.toml").read_text() for folder in ("whole", "killed"))
    options = [text[text.index("\n\n") :] for text in (whole, killed)]
    assert options[0] == options[1]
    tried("kill -9 of tune, then tune again", "the same settings as without")


def test_two_runs_into_one_place(log_files: list[str], tmp_path: Path, tried: Tried) -> None:
    out = tmp_path / "run"
    for flags in ([], ["--overwrite"], ["--resume"]):
        both = [begun("run", *log_files, "--out", out, "--quiet", *SETS, *flags) for _ in range(2)]
        said = [process.communicate()[1] for process in both]
        codes = sorted(process.returncode for process in both)
        assert codes in ([0, 0], [0, 2]), said
        assert not any("Traceback" in words for words in said)
        assert all(words.startswith("OutputError: ") and words.count("\n") == 1 for words in said if words), said
        Run.open(out).files.check()
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        tried("two runs into one place", "one run, the other told" if codes[1] else "one run after the other")
        shutil.rmtree(out)


def test_what_a_run_keeps_is_named_as_docs_say() -> None:
    assert KEPT == ".tonearm-unfinished"
