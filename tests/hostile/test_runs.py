"""Runs and stores that somebody made to do harm: each file is vouched for by its manifest, and yet means no good."""

import io
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.e2e.command import tonearm
from tests.hostile.refused import assert_refused, bounded

from tonearm.errors import DataError
from tonearm.runs import directory, vouch
from tonearm.serving.publish import CURRENT, VERSIONS, current, publish

Change = Callable[[Path], object]
HUGE = "(99999999999,)"


class Harm:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("harmed"),)  # type: ignore[return-value]


def text(name: str, content: str | bytes) -> Change:
    """A file with other content."""
    data = content.encode() if isinstance(content, str) else content
    return lambda run: (run / name).write_bytes(data)


def key(name: str, value: Any, *path: str) -> Change:
    """A JSON file with another value somewhere."""

    def change(run: Path) -> None:
        tree = json.loads((run / name).read_text())
        inner = tree
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value
        (run / name).write_text(json.dumps(tree))

    return change


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An array whose header says what we like."""
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode() + data


def member(name: str, content: bytes, inside: str = "item_factors.npy", kind: int = zipfile.ZIP_STORED) -> Change:
    """A file of arrays of which one has other content."""

    def change(run: Path) -> None:
        with zipfile.ZipFile(run / name) as archive:
            parts = {one: archive.read(one) for one in archive.namelist()}
        with zipfile.ZipFile(run / name, "w", kind) as archive:
            for one, data in (parts | {inside: content}).items():
                archive.writestr(one, data)

    return change


def arrays(name: str, **other: Any) -> Change:
    """A file of arrays with some others."""

    def change(run: Path) -> None:
        directory.save_arrays(run / name, directory.load_arrays(run / name) | other)

    return change


def pickled() -> bytes:
    """An array of objects, which runs what it likes when it is unpickled."""
    sink = io.BytesIO()
    np.save(sink, np.array([Harm()], dtype=object), allow_pickle=True)
    return sink.getvalue()


ALS, TRAIN, ITEMS = "models/als_model.npz", "data/train.npz", "data/items.npz"
RANKER, MANIFEST = "models/ranker.json", "manifest.json"
HEAD = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n"
DEEP = "[" * 100_000

MODELS: dict[str, Change] = {
    "arrays: nothing": text(ALS, ""),
    "arrays: a pickle": text(ALS, b"\x80\x04\x95c\x00posix\x8c\x06system\x8c\x02id\x85R."),
    "arrays: pickled objects": member(ALS, pickled()),
    "arrays: no zip": text(ALS, b"PK\x03\x04" + b"\x00" * 100),
    "arrays: an empty zip": text(ALS, b"PK\x05\x06" + b"\x00" * 18),
    "arrays: packed": member(ALS, npy(HEAD, b"\x00" * 12), kind=zipfile.ZIP_DEFLATED),
    "arrays: no header": member(ALS, b""),
    "arrays: half a header": member(ALS, b"\x93NUMPY\x01"),
    "arrays: another version": member(ALS, npy(HEAD, version=b"\x09\x00")),
    "arrays: a header of code": member(ALS, npy("__import__('os').system('touch harmed')")),
    "arrays: a header that is no dict": member(ALS, npy("[1, 2]\n")),
    "arrays: a header of brackets": member(ALS, npy("(" * 5000)),
    "arrays: a type of objects": member(ALS, npy(HEAD.replace("<f4", "|O"), b"\x00" * 24)),
    "arrays: a type that is none": member(ALS, npy(HEAD.replace("<f4", "nonsense"))),
    "arrays: more than there is": member(ALS, npy(HEAD.replace("(3,)", HUGE))),
    "arrays: less than nothing": member(ALS, npy(HEAD.replace("(3,)", "(-3,)"))),
    "arrays: shapes beyond 64 bits": member(ALS, npy(HEAD.replace("(3,)", "(2**40, 2**40)"))),
    "arrays: a shape beyond 64 bits": member(ALS, npy(HEAD.replace("(3,)", f"({2**62}, 4)"))),
    "arrays: other sizes": arrays(ALS, item_factors=np.zeros((2, 3), np.float32)),
    "arrays: no size": arrays(ALS, item_factors=np.float32(1)),
    "arrays: text for numbers": arrays(ALS, item_factors=np.array(["a", "b"])),
    "arrays: built on themselves": arrays("models/trend_model.npz", base=np.array("trend")),
    "arrays: built on a path": arrays("models/trend_model.npz", base=np.array("../../../../etc/passwd")),
    "data: pickled objects": member(TRAIN, pickled(), "item.npy"),
    "data: bounds beyond the end": arrays(TRAIN, indptr=np.array([0, 10**12], np.int64)),
    "data: bounds that fall": arrays(TRAIN, indptr=np.array([5, 0, -3], np.int64)),
    "data: items that are none": arrays(TRAIN, item=np.full(6000, 2**31 - 1, np.int32)),
    "data: items below nought": arrays(TRAIN, item=np.full(6000, -5, np.int32)),
    "data: fewer items": arrays(ITEMS, items=np.arange(3)),
    "ranker: nothing": text(RANKER, ""),
    "ranker: a list": text(RANKER, "[]"),
    "ranker: a number": text(RANKER, "1"),
    "ranker: lists in lists": text(RANKER, DEEP),
    "ranker: no UTF-8": text(RANKER, b"\xff\xfe"),
    "ranker: no names": key(RANKER, [], "names"),
    "ranker: names of numbers": key(RANKER, [1, 2], "names"),
    "ranker: columns that are none": key(RANKER, [10**6], "z"),
    "ranker: columns of text": key(RANKER, "z", "z"),
    "ranker: weights of text": key(RANKER, ["a"], "blend"),
    "ranker: a share of text": key(RANKER, "half", "mix"),
    "ranker: a share of no number": text(RANKER, '{"names": [], "z": [], "blend": [], "mix": NaN, "trees": true}'),
    "ranker: trees that are none": text("models/cb_model.cbm", b"CBM1" + b"\xff" * 64),
    "ranker: trees of nothing": text("models/cb_model.cbm", b""),
    "ranker: trees of a pickle": text("models/cb_model.cbm", b"\x80\x04\x95."),
    "options: nonsense": text("config.toml", "[[["),
    "options: no UTF-8": text("config.toml", b"\xff"),
    "options: an unknown one": text("config.toml", "harm = true"),
    "options: brackets": text("config.toml", "seed = " + DEEP),
    "manifest: nothing": text(MANIFEST, ""),
    "manifest: a list": text(MANIFEST, "[]"),
    "manifest: text": text(MANIFEST, '"run"'),
    "manifest: lists in lists": text(MANIFEST, DEEP),
    "manifest: a number of 5,000 digits": text(MANIFEST, '{"files": ' + "9" * 5000 + "}"),
    "manifest: an empty object": text(MANIFEST, "{}"),
    "manifest: no files": key(MANIFEST, None, "files"),
    "manifest: files of numbers": key(MANIFEST, {"models/als_model.npz": 1}, "files"),
    "manifest: a moment that is none": key(MANIFEST, "never", "cutoff"),
    "manifest: a moment of numbers": key(MANIFEST, 17, "cutoff"),
    "manifest: no UTF-8": text(MANIFEST, b"\xff\xfe{}"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that we work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def vouched(run: Path) -> None:
    """Have the manifest say that the files are as they are, and seal it."""
    try:
        manifest = json.loads((run / MANIFEST).read_text())
    except (ValueError, RecursionError):
        return
    if not isinstance(manifest, dict):
        return
    files = manifest.get("files")
    if isinstance(files, dict) and all(isinstance(said, dict) for said in files.values()):
        manifest["files"] = {name: said for name, said in vouch.digests(run).items() if name != MANIFEST}
    manifest.pop(vouch.SEAL, None)
    vouch.write_sealed(run / MANIFEST, manifest)


@pytest.mark.parametrize("name", MODELS)
def test_a_run(name: str, tiny_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = here / "run"
    shutil.copytree(tiny_run, run)
    MODELS[name](run)
    vouched(run)
    with bounded():
        assert_refused(tonearm(capsys, "recommend", "--run", "run", "--out", "lists.parquet", "--quiet"), "run")
    assert {path.name for path in here.iterdir()} == {"run"}


POINTERS: dict[str, bytes] = {
    "nothing": b"",
    "a folder above": b"../..\n",
    "a path": b"/etc\n",
    "the folder itself": b".\n",
    "a null byte": b"a\x00b\n",
    "no UTF-8": b"\xff\xfe",
    "a long name": b"x" * 5000,
    "a version that is none": b"20200101T000000000000-00000000\n",
    "several lines": b"a\nb\n",
    "a terminal's escape": b"\x1b[2J\n",
}

ABOUT: dict[str, str] = {
    "nothing": "",
    "a list": "[]",
    "text": '"x"',
    "lists in lists": DEEP,
    "an empty object": "{}",
    "files of numbers": '{"files": {"lists.npz": 1}, "published": "x", "forced": false, "run": "x"}',
    "files as a list": '{"files": ["lists.npz"], "published": "x", "forced": false, "run": "x"}',
    "a path": '{"files": {"../../../secret": {"bytes": 7}}, "published": "x", "forced": false, "run": "x"}',
}


@pytest.mark.parametrize("name", POINTERS)
def test_what_names_the_served_version(
    name: str, tiny_run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = publish(tiny_run, here / "store").id
    (here / "store" / CURRENT).write_bytes(POINTERS[name])
    with bounded():
        if name != "a version that is none":
            assert_refused(tonearm(capsys, "versions", "--store", "store"), "store")
        with pytest.raises(DataError, match="store"):
            current(here / "store")
        assert tonearm(capsys, "rollback", "--store", "store", "--to", version).code == 0
        assert tonearm(capsys, "versions", "--store", "store").code == 0


@pytest.mark.parametrize("name", ABOUT)
def test_what_a_version_says_of_itself(
    name: str, tiny_run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = publish(tiny_run, here / "store").id
    content = vouch.sealed(json.loads(ABOUT[name])) if ABOUT[name].startswith("{") else ABOUT[name]
    (here / "store" / VERSIONS / version / "version.json").write_text(content)
    (here / "secret").write_text("x")
    with bounded():
        if "published" not in ABOUT[name]:
            assert_refused(tonearm(capsys, "versions", "--store", "store"), "version.json")
        with pytest.raises(DataError, match="store"):
            current(here / "store")


def test_an_array_named_like_a_path_goes_nowhere(
    tiny_run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_run, here / "run")
    member(ALS, npy(HEAD, b"\x00" * 12), inside="../../harmed.npy")(here / "run")
    vouched(here / "run")
    assert tonearm(capsys, "recommend", "--run", "run", "--out", "lists.parquet", "--quiet").code == 0
    assert {path.name for path in here.rglob("*harmed*")} == set()


@pytest.mark.parametrize("name", ["../..", "/etc", ".", "", "a\x00b", "\x1b[2J", "x" * 5000])
def test_no_version_is_brought_back_from_elsewhere(
    name: str, tiny_run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tiny_run, here / "store")
    with bounded():
        assert_refused(tonearm(capsys, "rollback", "--store", "store", f"--to={name}"), "version")
