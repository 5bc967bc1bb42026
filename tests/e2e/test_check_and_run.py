"""What `check` says of an input is what `run` does with it."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from tests.e2e.command import tonearm
from tests.quick import QUICK

Rows = list[tuple[int, int, int]]
ORDINARY: Rows = [(1, 1, 1), (1, 2, 2), (2, 2, 1), (2, 3, 2), (1, 3, 20), (2, 1, 20)]


def exit_codes(
    given: list[str], options: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, int, str]:
    """The exit codes of check and run, and what they printed."""
    sets = [f"--set={option}" for option in (*QUICK, *options)]
    checked = tonearm(capsys, "check", *given, *sets)
    ran = tonearm(capsys, "run", *given, *sets, "--out", str(folder / "run"), "--quiet")
    return checked.code, ran.code, f"{checked.out}\n{ran.err}"


def logged(rows: Rows, folder: Path) -> list[str]:
    days = [(user, item, datetime(2022, 12, day)) for user, item, day in rows]
    table = pl.DataFrame(days, schema=["user_id", "item_id", "started_at"], orient="row")
    table.write_parquet(folder / "plays.parquet")
    return ["--events", str(folder / "plays.parquet"), "--test-from", "2022-12-16"]


def untimed(folder: Path) -> list[str]:
    for name, rows in (("train", ORDINARY[:4]), ("test", ORDINARY[4:])):
        table = pl.DataFrame([row[:2] for row in rows], schema=["user_id", "item_id"], orient="row")
        table.write_parquet(folder / f"{name}.parquet")
    return ["--train", str(folder / "train.parquet"), "--test", str(folder / "test.parquet")]


@pytest.mark.parametrize(
    "rows",
    [
        [(1, 1, 1), (2, 2, 1), (1, 2, 20), (2, 1, 20)],
        [(1, 1, 1), (2, 2, 1), (3, 1, 1), (1, 2, 20), (2, 1, 20)],
        [(1, 1, 1), (1, 2, 2), (2, 2, 1), (2, 1, 2), (1, 2, 20), (2, 1, 20)],
        [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 3, 1), (1, 3, 20), (2, 2, 20)],
        [(1, 1, 1), (2, 1, 2), (3, 2, 3), (1, 2, 20), (3, 1, 20)],
    ],
    ids=["one moment", "three users", "all heard", "one moment, two items each", "no history"],
)
def test_point_15_1_a_log_that_check_lets_pass_runs(
    rows: Rows, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check said yes to logs that run refused."""
    checked, ran, said = exit_codes(logged(rows, tmp_path), (), tmp_path, capsys)
    assert (checked, ran) == (0, 0), said


@pytest.mark.parametrize("option", ["split.label_days=500", "shape.block_items=[1,2,3]", 'shape.allow_file="gone.txt"'])
def test_point_15_1_options_that_the_log_cannot_carry_are_seen_by_check(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check looked at the options of data alone."""
    checked, ran, said = exit_codes(logged(ORDINARY, tmp_path), (option,), tmp_path, capsys)
    assert (checked, ran) == (2, 2), said
    assert "cannot be used as it is" in said


def test_point_15_1_days_of_a_log_without_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`split.label_days` was refused in one place and passed over in the other."""
    checked, ran, said = exit_codes(untimed(tmp_path), ("split.label_days=3",), tmp_path, capsys)
    assert (checked, ran) == (2, 2), said
    assert said.count("label_days cannot cut it. Set label_share instead.") == 2
    assert exit_codes(untimed(tmp_path), (), tmp_path, capsys)[:2] == (0, 0)
