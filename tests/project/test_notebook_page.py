"""The notebook of docs/use/python.md gives the lists of `tonearm run`, whichever library its tables are of."""

import pydoc
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.project.test_docs import ROOT, python_blocks
from tests.quick import QUICK, stub_report

import tonearm
from tonearm.config import load_config
from tonearm.synth import generate


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    """The lists of `tonearm run` on the page's log, options but for quick ones, and cut."""
    monkeypatch.chdir(tmp_path)
    generate("tiny", tmp_path / "log")
    inputs = tonearm.Inputs(events="log/events.parquet", items="log/items.parquet", test_from="2022-12-16")
    with stub_report():
        tonearm.run(inputs, "run", load_config(overrides=QUICK))
    monkeypatch.setattr("tonearm.synth.generate", lambda *_: None)
    monkeypatch.setattr("tonearm.config.load_config", lambda path=None, **_: load_config(path, () if path else QUICK))
    return pl.read_parquet("run/recommendations.parquet").select("user_id", "item_id", "score", "rank")


def test_every_library_gives_the_lists_of_a_run(said: pl.DataFrame) -> None:
    page = python_blocks(ROOT / "docs" / "use" / "python.md")[0]
    assert len([line for line in page.splitlines() if line]) <= 15
    for library in ("", ".to_pandas()", ".to_arrow()"):
        lines = page.replace("tonearm.fit(events, items,", f"tonearm.fit(events{library}, items{library},")
        assert (lines != page) == (library != "")
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(lines, f"python.md{library}", "exec"), names)
        assert names["lists"].equals(said), library
        some = said.filter(pl.col("user_id").is_in(names["some"].implode()) & (pl.col("rank") <= 5))
        assert names["same"].equals(some)
        shutil.rmtree("model")


def test_pyright_passes_a_project_that_uses_it() -> None:
    pyright = Path(sys.executable).with_name("pyright")
    if not pyright.exists() or subprocess.run([pyright, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("pyright does not start (it needs Node, or may not fetch it); mypy looks at the same file")
    command = [str(pyright), "--pythonpath", sys.executable, str(Path(__file__).with_name("consumer.py"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_help_reads_like_documentation() -> None:
    said = " ".join(pydoc.plain(pydoc.render_doc(tonearm.fit)).split())
    assert "fit(events: str | pathlib.Path | collections.abc.Sequence[str | pathlib.Path]" in said
    for words in ("Learn from a log of plays", "events: a table of pandas", "items: the catalogue", "Raises:"):
        assert words in said
