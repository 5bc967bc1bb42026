"""Publish a run: a version of it in the store, held against the gate, and one pointer that is swapped to it at once.

STORE/versions/ID holds a version, STORE/current the name of the one that is served, STORE/history.jsonl a line for each
that was published, refused or brought back.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tonearm.errors import ConfigError, DataError, OutputError, Refused
from tonearm.runs import directory, vouch
from tonearm.runs.read import Run
from tonearm.serving.forget import copy_without
from tonearm.serving.gate import Check, Gate, examine
from tonearm.serving.version import ABOUT, RUN, Version, write_version

CURRENT, VERSIONS, HISTORY = "current", "versions", "history.jsonl"

NAME = re.compile(r"\d{8}T\d{12}-[0-9a-f]{8}")
"""What versions are called: when they were published, and the beginning of the digest of their run."""

STAMP = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True)
class Published:
    """A version that is served from now on, and what the gate said."""

    id: str
    checks: list[Check]
    forced: bool


def publish(
    run: Path,
    store: Path,
    gate: Gate | None = None,
    *,
    force: bool = False,
    keep: int = 5,
    forgotten: Collection[str] = (),
) -> Published:
    """Serve a run from now on.

    gate: the least that it must show, by default as `Gate` says; force: serve it whatever it shows
    keep: versions that stay, the served one among them
    forgotten: fingerprints of users of whom nothing is published

    Raises:
        Refused: the run does not pass; nothing has changed but a line in the store's history.
        DataError: the folder is not a finished run, or its files are not those that it wrote.
        OutputError: the store cannot be written to.
    """
    if keep < 1:
        raise ConfigError(f"keep = {keep} would leave no version. Keep at least 1.")
    source = Run.open(run)
    source.files.check()
    with _locked(store):
        served = _served(store, force)
        at = _after(store)
        name = f"{at:{STAMP}}-{vouch.sha256(source.folder / directory.MANIFEST)[:8]}"
        with directory.new_directory(store / VERSIONS / name) as folder:
            copy_without(source, folder / RUN, forgotten)
            write_version(folder)
            checks = examine(Version.open(folder, making=True), served, gate or Gate())
            failed = [check for check in checks if not check.passed]
            record = {"run": str(source.folder.resolve()), "checks": [asdict(check) for check in checks]}
            if failed and not force:
                _remember(store, at, "refused", name, record)
                told = "\n".join(str(check) for check in failed)
                raise Refused(
                    f"{run}: does not pass the gate, and nothing was published.\n{told}\nSee to the run, or "
                    "set the option of that name; --force publishes it as it is."
                )
            forced = bool(failed)
            files = {path.name: vouch.digest(path) for path in sorted(folder.glob("*.npz"))}
            about = {"published": at.isoformat(), "forced": forced, **record, "files": files}
            vouch.write_sealed(folder / ABOUT, about)
        _point(store, name)
        _remember(store, at, "forced" if forced else "published", name, record)
        _prune(store, keep)
    return Published(name, checks, forced)


def current(store: Path) -> Version | None:
    """The version that is served; None before the first.

    Raises:
        DataError: the folder is not a store, or a file of the version is damaged.
    """
    name = current_id(store)
    return None if name is None else Version.open(store / VERSIONS / name)


def current_id(store: Path) -> str | None:
    """The name of the version that is served; None before the first.

    Raises:
        DataError: the file that says so is damaged, or gone although there are versions.
    """
    path, why = store / CURRENT, "is missing"
    try:
        name = path.read_text(encoding="utf-8").strip()
        if NAME.fullmatch(name) and (store / VERSIONS / name).is_dir():
            return name
        why = "does not name a version that is there"
    except FileNotFoundError:
        if not (store / VERSIONS).is_dir() or not _ids(store):
            return None
    except (OSError, UnicodeDecodeError) as error:
        why = f"cannot be read ({error})"
    known = ", ".join(_ids(store)[:5])
    raise DataError(f"{path}: {why}. Name one by tonearm rollback --store {store} --to VERSION; there are {known}.")


def versions(store: Path) -> pl.DataFrame:
    """The versions of a store, newest first: id, served, published, forced, users, run.

    Raises:
        DataError: the folder is not a store.
    """
    ids = _ids(store)
    served = current_id(store)
    rows = []
    for name in ids:
        place = store / VERSIONS / name / ABOUT
        about = vouch.read_sealed(place, vouch.AGAIN)
        row = about.get("published"), about.get("forced"), about.get("run")
        if [type(value) for value in row] != [str, bool, str]:
            raise DataError(f"{place}: is not what was published. Remove the version, and publish the run anew.")
        rows.append((name, name == served, *row))
    schema = {"id": pl.String, "served": pl.Boolean, "published": pl.String, "forced": pl.Boolean, "run": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def rollback(store: Path, to: str | None = None) -> str:
    """Serve an earlier version again; returns its name.

    to: its name; by default the one before the version that is served

    Raises:
        DataError: the folder is not a store, or has no such version.
    """
    with _locked(store):
        ids = _ids(store)
        try:
            served = current_id(store)
        except DataError:
            if to is None:
                raise
            served = None
        earlier = [name for name in ids if served is not None and name < served]
        if to is None and not earlier:
            raise DataError(f"{store}: holds no version before {served}, so there is nothing to go back to.")
        name = earlier[0] if to is None else to
        if name not in ids:
            raise DataError(f"{store}: has no version {name}. It has {', '.join(ids)}.")
        Version.open(store / VERSIONS / name).check()
        _point(store, name)
        _remember(store, datetime.now(UTC), "rollback", name, {"from": served})
    return name


def _after(store: Path) -> datetime:
    """Now, or just after the latest version where the clock went back, so that names stay in order."""
    ids = _ids(store) if (store / VERSIONS).is_dir() else []
    last = [datetime.strptime(name[:21], STAMP).replace(tzinfo=UTC) + timedelta(microseconds=1) for name in ids[:1]]
    return max([datetime.now(UTC), *last])


def _ids(store: Path) -> list[str]:
    """Newest first."""
    folder = store / VERSIONS
    if not folder.is_dir():
        raise DataError(f"{store}: is not a store, as nothing was published there. Publish a run by tonearm publish.")
    return sorted((path.name for path in folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)


def _served(store: Path, force: bool) -> Version | None:
    """What the gate holds a run against; by force nothing, where that is damaged."""
    try:
        served = current(store)
        if served is not None:
            served.check()
        return served
    except DataError as error:
        if force:
            return None
        raise DataError(f"{error} By --force a run is published without a look at the served version.") from error


def _point(store: Path, name: str) -> None:
    """From here on it is served."""
    directory.write_whole(store / CURRENT, f"{name}\n")


def _prune(store: Path, keep: int) -> None:
    """Remove the oldest versions; a process that reads one goes on reading it."""
    served = current_id(store)
    others = [name for name in _ids(store) if name != served]
    for name in others[keep - 1 :]:
        gone = store / VERSIONS / f".{name}.removed_{directory.SUFFIX}"  # swept where this ends half-way
        (store / VERSIONS / name).rename(gone)
        shutil.rmtree(gone)


def _remember(store: Path, at: datetime, what: str, version: str, more: dict[str, Any]) -> None:
    line = json.dumps({"at": at.isoformat(), "what": what, "version": version, **more}, ensure_ascii=False)
    with (store / HISTORY).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """One change of the store at a time."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        file = (store / ".lock").open("w")
    except OSError as error:
        raise OutputError(f"{store}: cannot be written to ({error.strerror}). Choose another --store.") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
