"""The service as a process: it begins, goes over to a new version, ends gently, and loses nothing when it is killed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.command import tonearm

from tonearm.serving.events import open_events
from tonearm.serving.publish import publish


def log_of(store: Path) -> Path:
    """Where the server of a store logs."""
    return store.parent / "serve.log"


@contextmanager
def serving(store: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of its own, and its address; it logs into a file, as a pipe that nobody reads would halt it."""
    command = [sys.executable, "-m", "tonearm", "serve", "--store", str(store), "--port", "0", *flags]
    with log_of(store).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        said = re.search(r"http://\S+?:\d+", process.stdout.readline())
        assert said is not None, log_of(store).read_text(encoding="utf-8")
        yield process, said[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ask(address: str, body: object = None, timeout: float = 60) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def up(address: str) -> None:
    for _ in range(300):
        try:
            ask(f"{address}/ready", timeout=2)
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


def workers_with(process: subprocess.Popen[str], store: Path) -> int:
    """Children of a process that have files of a store mapped: a worker may begin long after another answers."""
    found = 0
    for children in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for child in children.read_text().split():
            with suppress(OSError):
                found += str(store) in Path(f"/proc/{child}/maps").read_text()
    return found


def test_it_goes_over_to_a_new_version_without_a_failed_request(store: Path, altered: Callable[..., Path]) -> None:
    run = altered("next")
    with serving(store, "--workers", "2") as (process, address):
        up(address)
        for _ in range(600):
            if workers_with(process, store) == 2:
                break
            time.sleep(0.1)
        seen, failed, stop = set(), [], threading.Event()

        def ask_on() -> None:
            while not stop.is_set():
                try:
                    seen.add(ask(f"{address}/recommendations/{random.randrange(250)}?k=5")["version"])
                except OSError as error:
                    failed.append(error)

        threads = [threading.Thread(target=ask_on) for _ in range(4)]
        for thread in threads:
            thread.start()
        second = publish(run, store).id
        for _ in range(300):
            time.sleep(0.1)
            if {ask(f"{address}/version")["version"] for _ in range(8)} == {second}:
                break
        stop.set()
        for thread in threads:
            thread.join()
        assert not failed
        assert len(seen) == 2
        for _ in range(300):  # one worker may answer often before the other has looked
            with urllib.request.urlopen(f"{address}/metrics") as answer:
                both = re.search(r"^tonearm_versions_total 2\.0$", answer.read().decode(), re.MULTILINE)
            if both:
                break
            time.sleep(0.1)
        assert both, "both workers are counted"
        process.terminate()
        process.wait(timeout=60)
        assert process.returncode in (0, 143)
        line = json.loads(log_of(store).read_text(encoding="utf-8").splitlines()[0])
        assert {"at", "method", "route", "status", "ms"} <= set(line)


def test_what_cannot_be_served_is_told(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*args: object) -> str:
        answer = tonearm(capsys, "serve", *args)
        assert answer.code == 2
        return answer.err

    assert "nothing was published there" in refused("--store", tmp_path / "none")
    assert "there are no keys" in refused("--store", store, "--host", "0.0.0.0")
    (tmp_path / "keys").write_text("\n")
    assert "holds no key" in refused("--store", store, "--keys", tmp_path / "keys")
    (tmp_path / "serve.toml").write_text("[blend]\nrul = 'near'\n")
    assert "Did you mean 'rule'" in refused("--store", store, "--config", tmp_path / "serve.toml")


def test_the_commands_of_a_store(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import polars as pl

    from tonearm.serving.events import Event

    store = tmp_path / "shop"
    assert "Published" in tonearm(capsys, "publish", tiny_run, "--store", store).out
    again = tonearm(capsys, "publish", tiny_run, "--store", store)
    assert (again.code, "REFUSED newer" in again.err) == (2, True)
    same = tonearm(capsys, "publish", tiny_run, "--store", store, "--gate", "newer=false", "--gate", "min_users=1")
    assert same.code == 0
    assert "write it as option=value" in tonearm(capsys, "publish", tiny_run, "--store", store, "--gate", "newer").err
    listed = tonearm(capsys, "versions", "--store", store).out.splitlines()
    assert [line[0] for line in listed] == ["*", " "]
    assert listed[1].split()[0] in tonearm(capsys, "rollback", "--store", store).out
    assert tonearm(capsys, "versions", "--store", store).out.splitlines()[1].startswith("*")
    events = open_events(None, store)
    events.add(
        [Event("a", "7", "9", 1_700_000_000.25), Event("b", "seven", "9", 1.0), Event("c", "8", "9", 5.0, "like", 2)]
    )
    events.close()
    told = tonearm(capsys, "export", "--store", store, "--out", tmp_path / "out" / "new.parquet").out
    assert "2 events" in told
    assert "1 event with ids that are no whole numbers" in told
    table = pl.read_parquet(tmp_path / "out" / "new.parquet")
    assert table.columns == ["user_id", "item_id", "started_at", "kind", "weight"]
    assert table["user_id"].to_list() == [8, 7]
    assert str(table["started_at"][1]) == "2023-11-14 22:13:20.250000"
