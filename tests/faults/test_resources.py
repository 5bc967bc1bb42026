"""A disk that is full, memory that is short, files that cannot be read, bits that flip, a clock that goes back."""

import errno
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.e2e.command import tonearm
from tests.faults.conftest import FULL, Tried, linked
from tests.faults.test_kills import SETS, log_files

from tonearm.runs.read import Run
from tonearm.serving import publish as publishing
from tonearm.serving.publish import current_id, publish, rollback, versions

__all__ = ["log_files"]

DISKS, LIMITS, FLIPS = (40, 12, 300) if FULL else (4, 2, 12)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 16 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here: that takes root and mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path, free: int) -> None:
    """Leave so many bytes."""
    (place / "filler").unlink(missing_ok=True)
    about = os.statvfs(place)
    (place / "filler").write_bytes(bytes(max(0, about.f_bavail * about.f_frsize - free)))


def written(*folders: Path) -> int:
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_the_disk_is_full_while_a_run_is_written(
    flags: list[str],
    log_files: list[str],
    tiny_run: Path,
    small_disk: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tried: Tried,
) -> None:
    """With room for any part of it: the old run stays, and one message says so."""
    monkeypatch.setattr("tonearm.report.render", lambda content: str(len(content)))
    shutil.copytree(tiny_run, small_disk / "run")
    old, size = Run.open(small_disk / "run").manifest, 2 * written(tiny_run)
    for n in range(DISKS):
        fill(small_disk, size * n // DISKS)
        answer = tonearm(
            capsys, "run", *log_files, "--out", small_disk / "run", "--overwrite", "--quiet", *flags, *SETS
        )
        assert "Traceback" not in answer.err
        Run.open(small_disk / "run").files.check()
        assert not list(small_disk.glob("*-partial"))
        if answer.code:
            assert answer.code == 2
            assert "No space left on device" in answer.err, answer.err
            assert "Free some space" in answer.err or "choose another" in answer.err.lower()
            assert Run.open(small_disk / "run").manifest == old
        tried("disk full while a run is written", "the old run, told" if answer.code else "room enough")
        if answer.code == 0:
            break
    fill(small_disk, 10**9)
    answer = tonearm(capsys, "run", *log_files, "--out", small_disk / "run", "--overwrite", "--quiet", *flags, *SETS)
    assert answer.code == 0, answer.err
    assert {path.name for path in small_disk.iterdir()} == {"filler", "run"}


@pytest.mark.parametrize("command", ["publish", "recommend", "export", "report", "rollback"])
def test_the_disk_is_full_while_something_else_is_written(
    command: str,
    tiny_run: Path,
    small_disk: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tried: Tried,
) -> None:
    monkeypatch.setattr("tonearm.report.render", lambda _content: "page" * 20_000)
    shutil.copytree(tiny_run, small_disk / "run")
    store = small_disk / "store"
    first = publish(tiny_run, store).id
    publish(tiny_run, store, force=True)
    served = current_id(store)
    given: dict[str, list[object]] = {
        "publish": ["publish", tiny_run, "--store", store, "--force"],
        "recommend": ["recommend", "--run", tiny_run, "--out", small_disk / "lists.parquet", "--quiet"],
        "export": ["export", "--store", store, "--out", small_disk / "new.parquet"],
        "report": ["report", small_disk / "run"],
        "rollback": ["rollback", "--store", store, "--to", first],
    }
    for free in (0, 8192, *(2 * written(tiny_run) * n // DISKS for n in range(1, DISKS))):
        fill(small_disk, free)
        answer = tonearm(capsys, *given[command])
        assert "Traceback" not in answer.err
        assert answer.code in (0, 2)
        assert current_id(store) in versions(store)["id"].to_list()
        if answer.code:
            assert "No space left on device" in answer.err or "See to its room" in answer.err, answer.err
            assert current_id(store) == served
            assert not (small_disk / "lists.parquet").exists()
            assert not (small_disk / "new.parquet").exists()
        tried("disk full while something else is written", "as it was, told" if answer.code else "room enough")
        if answer.code == 0:
            break


def test_memory_is_short(log_files: list[str], tiny_run: Path, tmp_path: Path, tried: Tried) -> None:
    """Below what a run needs: it says so or is ended by the system, and the old run stays."""
    out = linked(tiny_run, tmp_path / "run")
    old = Run.open(out).manifest
    draw = random.Random(5)
    for _ in range(LIMITS):
        limit = draw.randrange(2200, 3400) << 20
        process = subprocess.Popen(
            begun_command("run", *log_files, "--out", out, "--overwrite", "--quiet", *SETS),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),  # type: ignore[misc]
        )
        said = process.communicate()[1]
        Run.open(out).files.check()
        if process.returncode == 0:
            tried("2.2 to 3.4 GB of address space", "enough")
            shutil.rmtree(out)
            linked(tiny_run, out)
            continue
        assert Run.open(out).manifest == old
        assert "Traceback" not in said, said
        if process.returncode == 2:
            how = "told"
            assert "Error: " in said
        elif process.returncode == 1:
            how = "ended by OpenBLAS in its own words"
            assert said.startswith("OpenBLAS error: Memory allocation"), said
        else:
            how = "ended by the system"
            assert process.returncode < 0 or process.returncode > 128, said
        tried("2.2 to 3.4 GB of address space", f"the old run, {how}")


def begun_command(*arguments: object) -> list[str]:
    import sys

    return [sys.executable, "-m", "tonearm", *map(str, arguments)]


def test_a_file_cannot_be_read(
    log_files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], tried: Tried
) -> None:
    """Every read of this file is an error of input and output, as from a failing disk."""
    bad = tmp_path / "bad.parquet"
    bad.symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), bad.open("rb") as file:
        file.read(8)
    for at in (1, 3):
        given = [str(bad) if place == at else value for place, value in enumerate(log_files)]
        for command in (["check", *given], ["run", *given, "--out", str(tmp_path / "run"), "--quiet", *SETS]):
            answer = tonearm(capsys, *command)
            assert answer.code == 2
            assert "bad.parquet" in answer.out + answer.err
            assert "Traceback" not in answer.err
            tried("input that cannot be read", "told")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["events", "items"])
def test_bits_of_an_input_flip(
    name: str, log_files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], tried: Tried
) -> None:
    """What is told is told in one message; what no reader can see is read as it is."""
    place = log_files.index(f"--{name}") + 1
    whole, draw = Path(log_files[place]).read_bytes(), random.Random(name)
    for n in range(FLIPS):
        content = bytearray(whole)
        if n % 3:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        else:
            del content[draw.randrange(len(content)) :]
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(content)
        given = [str(path) if at == place else value for at, value in enumerate(log_files)]
        answer = tonearm(capsys, "check", *given)
        assert answer.code in (0, 2)
        assert "Traceback" not in answer.err
        if answer.code == 2:
            assert f"{name}.parquet" in answer.out + answer.err
        tried(f"{name}.parquet cut or with a bit flipped", "told" if answer.code else "read as it is")


def test_the_clock_goes_back(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried) -> None:
    """A version that is published later comes after the earlier ones whatever the clock says."""
    store, hours = tmp_path / "store", iter([0, -5, -1, -30, 2])

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            del tz
            return datetime.now(UTC) + timedelta(hours=next(hours))

    monkeypatch.setattr(publishing, "datetime", Clock)
    published = [publish(tiny_run, store, force=True).id for _ in range(4)]
    assert versions(store)["id"].to_list() == published[::-1]
    assert current_id(store) == published[-1]
    assert rollback(store) == published[-2]
    tried("clock that goes back between publishes", "versions in the order of publishing")
