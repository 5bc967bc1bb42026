"""`tonearm recommend`: lists of a run for some, for new and for all listeners, with what they played since."""

from pathlib import Path

import polars as pl
import pytest
from tests.e2e.command import tonearm
from tests.quick import CUT, Log

USER = pl.col("user_id")


def lists_of(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path)


def test_some_listeners_get_the_lists_of_the_run(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = pl.read_parquet(tiny_run / "recommendations.parquet").select("user_id", "item_id", "score", "rank")
    some = said["user_id"].unique().sort()[3:6]
    (tmp_path / "some.txt").write_text("\n".join(map(str, some)), encoding="utf-8")
    some.to_frame().write_csv(tmp_path / "some.csv")
    for name in ("some.txt", "some.csv"):
        out = tmp_path / f"{name}.parquet"
        done = tonearm(capsys, "recommend", "--run", str(tiny_run), "--users", str(tmp_path / name), "--out", str(out))
        assert done.out == f"Wrote {out}: lists of 3 listeners\n"
        assert lists_of(out).equals(said.filter(USER.is_in(some.implode())))
    again = ("recommend", "--run", str(tiny_run), "--out", str(out), "--quiet")
    assert "exists already. Pass --overwrite" in tonearm(capsys, *again).err
    tonearm(capsys, *again, "--overwrite", "--k", "4")
    assert lists_of(out).equals(said.filter(pl.col("rank") <= 4))
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_newer_plays_and_new_listeners_are_taken_in(
    tiny_log: Log, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = tmp_path / "newer.parquet"
    tiny_log.test.write_parquet(newer)
    run, out = ("--run", str(tiny_run)), tmp_path / "all.parquet"
    tonearm(capsys, "recommend", *run, "--events", str(newer), "--out", str(out))
    found = lists_of(out)
    everybody = tiny_log.events["user_id"].unique()
    assert set(found["user_id"]) == set(everybody)
    assert len(found.join(tiny_log.events, on=["user_id", "item_id"], how="semi")) == 0
    idle = set(everybody) - set(tiny_log.test["user_id"])
    assert idle
    only = tmp_path / "only.parquet"
    tonearm(capsys, "recommend", *run, "--history", str(newer), "--out", str(only), "--quiet")
    mine = found.filter(USER.is_in(tiny_log.test["user_id"].unique().implode())).sort("user_id", "rank")
    assert lists_of(only).sort("user_id", "rank").equals(mine)
    both = ("--users", str(newer), "--history", str(newer))
    assert "both say who gets lists" in tonearm(capsys, "recommend", *run, *both, "--out", str(tmp_path / "x")).err
    odd = tiny_log.test[:3].with_columns(item_id=pl.lit(10**6, pl.Int32), started_at=pl.lit(CUT))
    odd.write_parquet(tmp_path / "odd.parquet")
    done = tonearm(capsys, "recommend", *run, "--history", str(tmp_path / "odd.parquet"), "--out", str(tmp_path / "x"))
    assert "plays are left out, as the model does not know their items" in done.err
    assert lists_of(tmp_path / "x")["rank"].max() == 20
