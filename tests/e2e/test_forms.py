"""A run on text with other names and one on parquet give the same lists and models; so do check and evaluate."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from tests.e2e.command import tonearm
from tests.e2e.same import assert_same_but_ids
from tests.quick import CUT, Log, run_inputs

from tonearm.pipeline import Inputs

COLUMNS = {"user": "UserID", "item": "sku", "time": "ts", "genres": "style"}
NAMES = {"user_id": "UserID", "item_id": "sku", "started_at": "ts", "genres": "style"}


def test_a_run_on_packed_csv_makes_the_same_lists(tiny_log: Log, tiny_run: Path, tmp_path: Path) -> None:
    milliseconds = pl.col("started_at").dt.epoch("ms")
    events = tiny_log.events.with_columns(milliseconds).rename(NAMES, strict=False)
    labels = pl.col("genres", "artists", "albums").list.join("|")
    items = tiny_log.items.with_columns(labels).rename(NAMES, strict=False)
    for name, table in (("plays", events), ("tracks", items)):
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(table.write_csv().encode()))
    inputs = Inputs(events=str(tmp_path / "plays.csv.gz"), items=str(tmp_path / "tracks.csv.gz"), test_from=CUT)
    named = [f"data.columns.{ours}={theirs}" for ours, theirs in COLUMNS.items()]
    run_inputs(inputs, tmp_path / "run", *named, "output.features=all")
    assert_same_but_ids(tiny_run, tmp_path / "run", lambda ids: ids, lambda ids: ids)
    found = json.loads((tmp_path / "run" / "manifest.json").read_text())["found"]["logs"]["events"]
    assert (found["unit"], found["columns"]) == ("milliseconds", {k: v for k, v in NAMES.items() if k != "genres"})


def test_lists_and_truth_of_any_form_and_names(
    tiny_log: Log, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = pl.read_parquet(tiny_run / "recommendations.parquet").select("user_id", "item_id", "rank")
    written = {"lists": lists.rename({"rank": "place"}), "train": tiny_log.train, "truth": tiny_log.test}
    flags = []
    for name, table in written.items():
        table.write_parquet(tmp_path / f"{name}.parquet")
        table.rename(NAMES, strict=False).write_csv(tmp_path / f"{name}.tsv", separator="\t")
        flags += [f"--{name}", tmp_path / f"{name}.tsv"]
    named = ["--columns", "user=UserID,item=sku,time=ts,rank=place"]
    answer = tonearm(capsys, "evaluate", *flags, *named, "--out", tmp_path / "text.json")
    assert answer.code == 0, answer.err
    flags = [flag.with_suffix(".parquet") if isinstance(flag, Path) else flag for flag in flags]
    tonearm(capsys, "evaluate", *flags, "--columns", "rank=place", "--out", tmp_path / "parquet.json")
    mine, theirs = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("text", "parquet"))
    assert mine["lists"] == theirs["lists"]
    wrong = tonearm(capsys, "evaluate", *flags, "--columns", "rank=place,user=nobody")
    assert wrong.code == 2
    assert "no table has 'nobody', which is to be user_id" in wrong.err
