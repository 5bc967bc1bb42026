"""One user or item in the terminal: names, hits, ids of either kind, and what is said where the log is gone."""

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console, RenderableType
from tests.quick import vouched_for

from tonearm import cli
from tonearm.errors import ConfigError, DataError
from tonearm.explanation.show import next_steps, show_item, show_user
from tonearm.runs.read import Run


def text(what: RenderableType) -> str:
    console = Console(width=220, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_a_user_is_shown_with_history_lists_and_hits(make_run: Callable[..., Path], small_log: pl.DataFrame) -> None:
    run = make_run()
    shown = text(show_user(run, "203", k=4))
    own = small_log.filter((pl.col("user_id") == 203) & (pl.col("started_at").dt.month() < 9))
    assert f"History: {own['item_id'].n_unique()} items, the latest first" in shown
    assert "2022-08-22" in shown
    tested = small_log.filter((pl.col("user_id") == 203) & (pl.col("started_at").dt.month() >= 9))["item_id"].to_list()
    listed = pl.read_parquet(run / "personal_als.parquet").filter((pl.col("user_id") == 203) & (pl.col("rank") <= 4))
    hits = len(set(tested) & set(listed["item_id"].to_list()))
    table = shown[shown.index("The first 4 of each list") :]
    assert f"{hits} of 4 hit" in table
    assert table.count("✓") == sum(int(n) for n in re.findall(r"(\d+) of 4 hit", table)) > 0
    assert "Went on to choose 2 items" in shown
    assert " – Band " in shown


def test_history_counts_plays_and_begins_with_the_latest(make_run: Callable[..., Path]) -> None:
    lines = text(show_user(make_run(), "201")).splitlines()
    first = next(line for line in lines if "2022-08-20" in line)
    assert first.split("│")[1].strip() == "500", "the item of the latest event"
    assert first.split("│")[4].strip() == "2", "it was played in January too"
    assert "<script>alert(1)</script>" in first


def test_a_cold_user_gets_the_popular_list(make_run: Callable[..., Path]) -> None:
    shown = text(show_user(make_run(), "209", k=12))
    assert "a cold user, who gets the popular list" in shown
    assert "2 of 12 hit" in shown or "2 of 11 hit" in shown
    assert "ALS" not in shown


@pytest.mark.parametrize("typed", ["999", "bob", "99999999999999999999999"])
def test_an_unknown_id_names_some_that_are_known(make_run: Callable[..., Path], typed: str) -> None:
    run = make_run()
    with pytest.raises(DataError, match=rf"train has no user {typed}\. Ids are whole numbers, such as 201, 202, 203"):
        show_user(run, typed)
    with pytest.raises(DataError, match=rf"train has no item {typed}\. Ids are whole numbers, such as 500, 501, 502"):
        show_item(run, typed)


def test_an_unknown_id_names_those_that_follow_it(make_run: Callable[..., Path]) -> None:
    run = make_run()
    lists = pl.read_parquet(run / "recommendations.parquet")
    lists.filter(pl.col("user_id") != 204).write_parquet(run / "recommendations.parquet")
    vouched_for(run)
    said = Run.open(run).unknown("user", "user_id", "recommendations.parquet", "204")
    assert said.endswith("no user 204. Ids are whole numbers, such as 205, 206, 207, 208.")


def test_a_log_and_a_catalogue_that_are_gone_are_not_missed(
    make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    before = text(show_user(run, "203"))
    for name in ("events", "items"):
        (tmp_path / "input" / f"{name}.parquet").unlink()
    assert text(show_user(run, "203")) == before
    assert "Went on to choose 2 items" in before
    words = [
        "tonearm",
        "show",
        "user",
        "203",
        "--run",
        str(run),
        "--events",
        "gone.parquet",
    ]  # as scripts may still say
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert "User 203" in capsys.readouterr().out


def test_without_time_or_catalogue_ids_stand_for_names(make_run: Callable[..., Path]) -> None:
    run = make_run(timed=False, catalogue=False)
    shown = text(show_user(run, "205"))
    assert "the most played first" in shown
    assert "items are shown by their ids" in shown
    assert "items are shown by their ids" in text(show_item(run, "503"))


def test_an_item_is_shown_with_its_place_and_neighbours(make_run: Callable[..., Path]) -> None:
    run = make_run()
    shown = text(show_item(run, "501"))
    top = pl.read_parquet(run / "top_popular.parquet").filter(pl.col("item_id") == 501).row(0, named=True)
    assert shown.startswith("Item 501: שלום עולם – Band 0 (pop, rock)")
    assert f"{top['plays']} events of {top['users']} users, place {top['rank']} in the popular list." in shown
    lines = [line for line in shown.splitlines() if "Мелодия" in line or "Track 3" in line]
    assert ["1.000" in lines[0], "0.500" in lines[1]] == [True, True]
    assert len([line for line in text(show_item(run, "501", k=1)).splitlines() if "│" in line]) == 1


def test_only_a_finished_run_can_be_shown(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a finished run"):
        show_user(tmp_path, "1")


@pytest.mark.parametrize("k", [0, -1])
def test_point_20_a_k_below_one_is_refused_by_name(make_run: Callable[..., Path], k: int) -> None:
    """Point 20: `show item 1 --k 0` said that train has no item 1."""
    run = make_run()
    for show, given in ((show_item, "501"), (show_user, "203")):
        with pytest.raises(ConfigError, match=f"--k is {k}; it must be a whole number from 1 up"):
            show(run, given, k=k)


def test_point_20_ids_may_begin_with_a_dash(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Point 20: the command line took such an id for an option."""
    run = str(make_run())
    for words, said in (
        (("show", "user", "-5"), "no user -5"),
        (("show", "item", "-7"), "no item -7"),
        (("explain", "-5", "-7"), "_model.npz: is missing"),
    ):
        monkeypatch.setattr(sys, "argv", ["tonearm", *words, "--run", run])
        with pytest.raises(SystemExit):
            cli.main()
        assert said in capsys.readouterr().err


def test_point_19_the_next_commands_are_of_a_listener_of_the_run(make_run: Callable[..., Path]) -> None:
    """Point 19: a run ended without a word of what to look at."""
    run = make_run("odd name")
    explore, show, explain = (shlex.split(step.removeprefix("Next:")) for step in next_steps(run))
    assert explore == ["tonearm", "explore", str(run)]
    assert show[:3] == ["tonearm", "show", "user"]
    assert show[4:] == ["--run", str(run)]
    assert f"User {show[3]}" in text(show_user(run, show[3]))
    first = pl.read_parquet(run / "recommendations.parquet").filter(
        (pl.col("user_id") == int(explain[2])) & (pl.col("rank") == 1)
    )
    assert explain == ["tonearm", "explain", show[3], str(first["item_id"][0]), "--run", str(run)]
