"""`~` is the home folder in every path, also where a shell leaves it, as in `--out=~/run`."""

from pathlib import Path

import polars as pl
import pytest
from tests.e2e.command import tonearm

import tonearm as library
from tonearm.config import load_config
from tonearm.runs.read import Run


def test_point_16_home_in_paths_of_options(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the inputs knew the home folder: `--out=~/x` made a folder named `~`."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.toml").write_text("[data]\non_null = 3\n")
    (tmp_path / "run").symlink_to(tiny_run)
    assert tonearm(capsys, "synth", "--preset=tiny", "--out=~/log").code == 0
    assert "my.toml: data.on_null" in tonearm(capsys, "check", "--events=~/log", "--config=~/my.toml").err
    assert "exists already" in tonearm(capsys, "run", "--events=~/log", "--out=~/run").err
    item = pl.read_parquet(tiny_run / "similar.parquet")["item_id_1"][0]
    assert tonearm(capsys, "show", "item", str(item), "--run=~/run").code == 0
    lists = ["--lists=~/run/recommendations.parquet", "--truth=~/log/events.parquet"]
    assert tonearm(capsys, "evaluate", *lists, "--out=~/metrics.json").code == 0
    assert (tmp_path / "metrics.json").is_file()
    assert tonearm(capsys, "compare", "~/run", "~/run").code == 0
    assert list((tmp_path / "here").iterdir()) == []


def test_point_16_home_in_paths_from_python(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny_run.parent))
    assert Run.open(Path("~/run")).folder == tiny_run
    assert load_config(Path("~/run/config.toml")).output.features == "all"
    with pytest.raises(library.OutputError, match="exists already"):
        library.run(library.Inputs(events="x", test_from="2022-12-16"), "~/run", library.Config())
