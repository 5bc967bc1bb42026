"""Whatever is wrong with the input: one clear message, exit code 2, no traceback, and nothing left behind."""

import errno
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.e2e.command import Answer, tonearm
from tests.quick import CUT, QUICK, Log

Make = Callable[[Path, Log], list[str]]
"""Writes what is wrong into a folder and returns the arguments that lead there."""


def events(change: Callable[[pl.DataFrame], pl.DataFrame], test_from: str = "2022-12-16") -> Make:
    """A changed log."""

    def make(folder: Path, log: Log) -> list[str]:
        change(log.events).write_parquet(folder / "plays.parquet")
        return ["--events", str(folder / "plays.parquet"), "--test-from", test_from]

    return make


def address(name: str) -> Make:
    """A log at an address where there is none."""
    return lambda folder, _: ["--events", str(folder / name), "--test-from", "2022-12-16"]


def ready_made(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Make:
    """A changed test set beside the train set."""

    def make(folder: Path, log: Log) -> list[str]:
        log.train.write_parquet(folder / "train.parquet")
        change(log.test).write_parquet(folder / "test.parquet")
        return ["--train", str(folder / "train.parquet"), "--test", str(folder / "test.parquet")]

    return make


def catalogue(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Make:
    """A good log and a changed catalogue."""

    def make(folder: Path, log: Log) -> list[str]:
        change(log.items).write_parquet(folder / "songs.parquet")
        return [*good(folder, log), "--items", str(folder / "songs.parquet")]

    return make


def good(folder: Path, log: Log) -> list[str]:
    """Nothing wrong."""
    return events(lambda table: table)(folder, log)


def settings(*overrides: str) -> Make:
    """A good log and bad options."""
    return lambda folder, log: [*good(folder, log), *(f"--set={o}" for o in overrides)]


def toml(text: str) -> Make:
    """A good log and a bad options file."""

    def make(folder: Path, log: Log) -> list[str]:
        (folder / "my.toml").write_text(text)
        return [*good(folder, log), "--config", str(folder / "my.toml")]

    return make


def flags(*args: str) -> Make:
    """A good log and other arguments."""
    return lambda folder, log: [*good(folder, log), *args]


def file(name: str, content: bytes) -> Make:
    """A log that is some other file."""

    def make(folder: Path, log: Log) -> list[str]:
        (folder / name).write_bytes(content)
        return address(name)(folder, log)

    return make


def empty_folder(folder: Path, log: Log) -> list[str]:
    """A folder without a file."""
    (folder / "empty").mkdir()
    return address("empty")(folder, log)


def cut_off(folder: Path, log: Log) -> list[str]:
    """A parquet file that lost its end."""
    args = good(folder, log)
    path = folder / "plays.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    return args


def null_at(column: str, row: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """No value in a row, counted from 1."""
    return lambda t: t.with_columns(
        pl.when(pl.int_range(pl.len()) != row - 1).then(pl.col(column)).otherwise(None).alias(column)
    )


LATE = timedelta(days=400)
CASES: dict[str, tuple[Make, list[str]]] = {
    "missing file": (address("nowhere.parquet"), ["DataError", "nowhere.parquet", "no such file", "Check the path"]),
    "empty folder": (empty_folder, ["DataError", "empty: the folder holds no .parquet, ", "Point at"]),
    "glob without match": (address("part-*.parquet"), ["DataError", "part-*.parquet: no file matches", "Check"]),
    "another scheme": (
        lambda *_: ["--events", "ftp://x/y.parquet", "--test-from", "2022-12-16"],
        ["DataError", "ftp://x/y.parquet: only local paths and s3://", "Copy"],
    ),
    "not parquet": (
        file("log.parquet", b"user_id,item_id\n1,2\n3,4\n"),
        ["DataError", "log.parquet: not a parquet", "Write"],
    ),
    "empty file": (file("log.parquet", b""), ["DataError", "log.parquet: the file is empty"]),
    "cut off": (cut_off, ["DataError", "plays.parquet: the parquet file is cut off", "Write"]),
    "missing column": (
        events(lambda t: t.rename({"user_id": "listener"})),
        ["DataError", "plays.parquet: no column user_id. It has listener, item_id, started_at", "Rename"],
    ),
    "no time": (events(lambda t: t.drop("started_at")), ["DataError", "plays.parquet: no column started_at", "Rename"]),
    "wrong type": (
        events(lambda t: t.with_columns(pl.col("started_at").dt.strftime("%d.%m.%Y"))),
        ["DataError", "plays.parquet: ", "have a started_at that is not a date", "Correct"],
    ),
    "fractional id": (
        events(lambda t: t.with_columns(pl.col("user_id") + 0.5)),
        ["DataError", "plays.parquet: user_id is of type Float64", "Cast"],
    ),
    "null id": (
        events(null_at("item_id", 1234)),
        ["DataError", "plays.parquet: 1 of 6,000 rows have no item_id (first: row 1,234)", 'data.on_null = "drop"'],
    ),
    "empty log": (events(lambda t: t.head(0)), ["DataError", "plays.parquet: the table has no rows", "Give a log"]),
    "all before the date": (
        events(lambda t: t, "2023-06-01"),
        ["DataError", "plays.parquet: all 6,000 events are before 2023-06-01; they span 2022-01", "Choose a test_from"],
    ),
    "all after the date": (
        events(lambda t: t, "2019-01-01"),
        ["DataError", "plays.parquet: all 6,000 events are at or after 2019-01-01", "Choose a test_from"],
    ),
    "one user": (
        events(lambda t: t.with_columns(pl.lit(7).alias("user_id"))),
        ["DataError", "plays.parquet: train holds one user only (7, 5,520 events)", "Give a log of several users"],
    ),
    "one item": (
        events(lambda t: t.with_columns(pl.lit(7).alias("item_id"))),
        ["DataError", "plays.parquet: train holds one item only (7, 5,520 events)", "Give a log of several items"],
    ),
    "no user in both": (
        ready_made(lambda t: t.with_columns(pl.col("user_id") + 100_000)),
        ["DataError", "test.parquet: none of the 110 users of test is in train", "Check"],
    ),
    "no item in both": (
        ready_made(lambda t: t.with_columns(pl.col("item_id") + 100_000)),
        ["DataError", "test.parquet: none of the", "items of test is in train", "Check"],
    ),
    "ids of two types": (
        ready_made(lambda t: t.with_columns(pl.col("item_id").cast(pl.String))),
        ["DataError", "item_id is Int32 in train and String in test", "Cast"],
    ),
    "weight that is no number": (
        events(lambda t: t.with_columns(pl.Series("weight", [1.0, 2.0, float("nan")] * 2000))),
        ["DataError", "plays.parquet: 2,000 of 6,000 rows have a weight that is not a finite", "row 3", "drop"],
    ),
    "repeated ids in the catalogue": (
        catalogue(lambda t: pl.concat([t, t[4:6]])),
        ["DataError", "songs.parquet: 2 ", "Keep one row"],
    ),
    "catalogue without ids": (
        catalogue(lambda t: t.rename({"item_id": "song"})),
        ["DataError", "songs.parquet: no column item_id", "Rename"],
    ),
    "genres that are no list": (
        catalogue(lambda t: t.with_columns(pl.col("genres").list.len())),
        ["DataError", "songs.parquet: genres is of type UInt32", "Cast it, or leave it out"],
    ),
    "missing catalogue": (flags("--items", "lost.parquet"), ["DataError", "lost.parquet: no such file", "Check"]),
    "unknown option": (
        toml("[als]\nfactor = 3\n"),
        ["ConfigError", "my.toml: [als] has no option 'factor'. Did you mean 'factors'?"],
    ),
    "unknown section": (
        toml("[alps]\nfactors = 3\n"),
        ["ConfigError", "my.toml: there is no section [alps]. Did you mean 'als'?"],
    ),
    "section as a value": (toml("als = 3\n"), ["ConfigError", "my.toml: 'als' is a section. Set the options in it"]),
    "impossible value": (settings("als.factors=-1"), ["ConfigError", "als.factors = -1", "greater than or equal to 1"]),
    "wrong type of value": (settings("als.factors=many"), ["ConfigError", "als.factors = 'many'", "valid integer"]),
    "no such choice": (
        settings("output.features=some"),
        ["ConfigError", "output.features = 'some'", "'few' or 'all'"],
    ),
    "setting without a value": (settings("als.factors"), ["ConfigError", "--set als.factors: write it as section."]),
    "bad TOML": (toml("[als\nfactors = 3\n"), ["ConfigError", "my.toml: is not TOML", "line 1"]),
    "missing options file": (flags("--config", "gone.toml"), ["ConfigError", "gone.toml: there is no such file"]),
    "unknown preset": (flags("--preset", "notebok"), ["ConfigError", "no preset 'notebok'. Did you mean 'notebook'?"]),
    "bad date": (events(lambda t: t, "16.12.2022"), ["ConfigError", "'16.12.2022' is not a date", "Write it as 2022-"]),
    "impossible window": (
        settings("split.label_days=5000"),
        ["DataError", "leaves the history empty", "Set split.label_days"],
    ),
    "neither events nor train": (
        lambda *_: [],
        ["ConfigError", "--events, with --test-from where there is a test, or --train and"],
    ),
    "train without test": (
        lambda folder, log: ready_made(lambda t: t)(folder, log)[:2],
        ["ConfigError", "--events, with --test-from where there is a test, or --train and"],
    ),
    "unknown flag": (flags("--evnts", "x"), ["ConfigError", "--evnts"]),
    "flag without its value": (flags("--items"), ["ConfigError", "--items"]),
    "too many words": (flags("now"), ["ConfigError", "now"]),
}


def snapshot(folder: Path) -> dict[Path, bytes | None]:
    """Every path below a folder with its content."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def check(answer: Answer, fragments: list[str]) -> None:
    """One message on standard error that says all of this, and exit code 2."""
    assert answer.code == 2, answer
    assert answer.out == ""
    lines = answer.err.strip().splitlines()
    assert len(lines) == 1, answer.err
    assert "Traceback" not in answer.err
    missing = [part for part in fragments if part not in lines[0]]
    assert missing == [], f"{lines[0]!r} does not say {missing}"


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with quick options."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], args: list[str], *more: object) -> Answer:
    return tonearm(capsys, "run", "--quiet", *(f"--set={option}" for option in QUICK), *args, *more)


@pytest.mark.parametrize("name", list(CASES))
def test_bad_input_gives_one_message(name: str, tiny_log: Log, quiet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, fragments = CASES[name]
    args = make(quiet, tiny_log)
    before = snapshot(quiet)
    check(run(capsys, args, "--out", "new/run"), fragments)
    assert snapshot(quiet) == before


def test_there_are_twenty_kinds_and_more() -> None:
    assert len(CASES) >= 20


def test_no_place_for_the_output(tiny_log: Log, quiet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = good(quiet, tiny_log)
    (quiet / "mine").mkdir()
    (quiet / "mine" / "notes.txt").write_text("keep")
    (quiet / "old").mkdir()
    (quiet / "old" / "manifest.json").write_text("{}")
    before = snapshot(quiet)
    check(run(capsys, args), ["ConfigError", "--out"])
    check(
        run(capsys, args, "--out", "plays.parquet"), ["OutputError", "plays.parquet: exists already", "another --out"]
    )
    check(run(capsys, args, "--out", "mine"), ["OutputError", "mine: exists already. Choose another --out"])
    check(run(capsys, args, "--out", "mine", "--overwrite"), ["OutputError", "mine: exists already. Choose another"])
    check(run(capsys, args, "--out", "old"), ["OutputError", "old: exists already. Pass --overwrite"])
    check(run(capsys, args, "--out", "plays.parquet/run"), ["OutputError", "plays.parquet", "another --out"])
    assert snapshot(quiet) == before


def test_no_permission(
    tiny_log: Log, quiet: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so that the answer of the system is simulated."""
    args = good(quiet, tiny_log)
    before = snapshot(quiet)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        check(run(capsys, args, "--out", "run"), ["OutputError", "cannot be written to", "change its permissions"])

    def denied(*_: Any, **__: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", denied)
    check(run(capsys, args, "--out", "new/run"), ["OutputError", "Permission denied", "Choose another --out"])
    assert snapshot(quiet) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write anything")
def test_no_permission_for_real(tiny_log: Log, quiet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = good(quiet, tiny_log)
    (quiet / "plays.parquet").chmod(0)
    check(run(capsys, args, "--out", "run"), ["DataError", "plays.parquet: no permission to read it", "mode"])
    (quiet / "plays.parquet").chmod(0o600)
    (quiet / "locked").mkdir(mode=0o500)
    check(run(capsys, args, "--out", "locked/run"), ["OutputError", "locked cannot be written to", "permissions"])


def test_no_space(
    tiny_log: Log, quiet: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    args = good(quiet, tiny_log)
    before = snapshot(quiet)
    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
    check(run(capsys, args, "--out", "run"), ["OutputError", "run: writing failed (No space left", "Free some space"])
    assert snapshot(quiet) == before


def test_an_interrupt_says_so(
    tiny_log: Log, quiet: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    args = good(quiet, tiny_log)
    before = snapshot(quiet)
    monkeypatch.setattr("tonearm.pipeline.learn_to_rank", stopped)
    answer = run(capsys, args, "--out", "run")
    assert answer.code == 130
    assert answer.err.startswith("Stopped. Nothing was left behind")
    assert snapshot(quiet) == before


@pytest.mark.parametrize(
    ("command", "fragments"),
    [
        (["check"], ["ConfigError", "events, or train and test"]),
        (["evaluate", "--lists", "gone.parquet", "--truth", "plays.parquet"], ["DataError", "gone.parquet"]),
        (["evaluate", "--lists", "plays.parquet", "--truth", "plays.parquet"], ["DataError", "plays.parquet", "rank"]),
        (["report", "."], ["DataError", "is not a finished run", "--out of `tonearm run`"]),
        (["synth", "--out", "."], ["OutputError", "exists already", "another --out"]),
        (["synth", "--preset", "huge", "--out", "x"], ["ConfigError", "huge", "tiny"]),
        (
            ["prepare", "yandex", "--tracks", "a", "--catalog", "b", "--interactions", "c", "--out", "x"],
            ["DataError", "a: no such file"],
        ),
        (["rnu"], ["ConfigError", "rnu", "run"]),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) and len(value) else "",
)
def test_bad_input_to_other_commands(
    command: list[str], fragments: list[str], tiny_log: Log, quiet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good(quiet, tiny_log)
    before = snapshot(quiet)
    check(tonearm(capsys, *command), fragments)
    assert snapshot(quiet) == before


def test_check_finds_the_same_and_prints_it(tiny_log: Log, quiet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong is what check was asked for, so it stands on standard output."""
    for name in ("missing file", "wrong type", "null id", "one user", "all after the date"):
        folder = quiet / name.replace(" ", "-")
        folder.mkdir()
        make, fragments = CASES[name]
        answer = tonearm(capsys, "check", *make(folder, tiny_log))
        assert answer.code == 2, name
        assert answer.err == ""
        words = " ".join(answer.out.split())
        assert [part for part in fragments[1:] if part not in words] == [], answer.out


def test_the_cut_of_these_tests_is_that_of_the_log() -> None:
    assert CUT.date().isoformat() == "2022-12-16"
