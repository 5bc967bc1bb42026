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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from tonearm.errors import ConfigError, DataError, OutputError, Refused
from tonearm.runs import directory
from tonearm.runs.read import Run
from tonearm.serving.forget import copy_without
from tonearm.serving.gate import Check, Gate, examine
from tonearm.serving.version import ABOUT, RUN, Version, write_version

CURRENT, VERSIONS, HISTORY = "current", "versions", "history.jsonl"

NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,99}")
"""What a version may be called."""


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
    _vouch(source)
    with _locked(store):
        served = current(store)
        at = datetime.now(UTC)
        name = f"{at:%Y%m%dT%H%M%S%f}-{directory.sha256(source.folder / directory.MANIFEST)[:8]}"
        with directory.new_directory(store / VERSIONS / name) as folder:
            copy_without(source, folder / RUN, forgotten)
            write_version(folder)
            checks = examine(Version.open(folder), served, gate or Gate())
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
            about = {"published": at.isoformat(), "forced": forced, **record, "files": _sizes(folder)}
            directory.write_json(folder / ABOUT, about)
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
        DataError: what should name it names something else.
    """
    pointer = store / CURRENT
    try:
        name = pointer.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{pointer}: cannot be read ({error}). Name a version by tonearm rollback --to.") from error
    if not NAME.fullmatch(name):  # a path would lead out of the store
        raise DataError(f"{pointer}: names no version. Name one by tonearm rollback --to.")
    return name


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
        about = directory.read_json(place)
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
        Version.open(store / VERSIONS / name)
        _point(store, name)
        _remember(store, datetime.now(UTC), "rollback", name, {"from": served})
    return name


def _ids(store: Path) -> list[str]:
    """Newest first."""
    folder = store / VERSIONS
    if not folder.is_dir():
        raise DataError(f"{store}: is not a store, as nothing was published there. Publish a run by tonearm publish.")
    return sorted((path.name for path in folder.iterdir() if (path / ABOUT).is_file()), reverse=True)


def _vouch(run: Run) -> None:
    """Every file of the run is the one that it wrote."""
    for name, said in run.manifest["files"].items():
        path = run.folder / name
        if not path.is_file() or path.stat().st_size != said["bytes"] or directory.sha256(path) != said["sha256"]:
            raise DataError(f"{path}: is not the file that the run wrote. Make the run anew.")


def _sizes(folder: Path) -> dict[str, dict[str, Any]]:
    """The files of the version's own; those of the run are vouched for by its manifest."""
    files = sorted(folder.glob("*.npz"))
    return {path.name: {"sha256": directory.sha256(path), "bytes": path.stat().st_size} for path in files}


def _point(store: Path, name: str) -> None:
    """From here on it is served."""
    directory.write_whole(store / CURRENT, f"{name}\n")


def _prune(store: Path, keep: int) -> None:
    """Remove the oldest versions; a process that reads one goes on reading it."""
    served = current_id(store)
    others = [name for name in _ids(store) if name != served]
    for name in others[keep - 1 :]:
        (store / VERSIONS / name / ABOUT).unlink()
        shutil.rmtree(store / VERSIONS / name)


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
