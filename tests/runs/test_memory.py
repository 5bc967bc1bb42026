"""What a run will take, told before it starts, and kept to by the size of blocks."""

from pathlib import Path

import pytest
from tests.quick import CUT, Log, quick_config, stub_report, tiny_log

from tonearm import pipeline
from tonearm.errors import ConfigError
from tonearm.pipeline import Inputs
from tonearm.runs import memory
from tonearm.runs.read import Run
from tonearm.terminal.progress import no_progress

__all__ = ["tiny_log"]


@pytest.fixture
def inputs(tiny_log: Log) -> Inputs:
    return Inputs(events=tiny_log.events, items=tiny_log.items, test_from=CUT)


@pytest.mark.parametrize(
    ("text", "size"), [("8G", 8 << 30), ("500M", 500 << 20), ("1.5GiB", 3 << 29), ("64kb", 1 << 16), ("1024", 1024)]
)
def test_a_budget_is_a_size(text: str, size: int) -> None:
    assert memory.budget_of(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1G", "0", "8GG", "1e9", "8 bananas"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no size\. Write it as 8G or 500M"):
        memory.budget_of(text)


def test_without_a_budget_it_is_a_share_of_what_there_is() -> None:
    assert memory.budget_of(None) == int(memory.SHARE * memory.available())
    assert memory.available() > 1 << 28


def test_blocks_are_as_large_as_the_budget_allows(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    config = quick_config("block=4096", "candidates=10000")
    loaded = inputs.load(config, no_progress)
    much = memory.plan(loaded, config, 1 << 40)
    assert (much.block, much.stage) == (4096, "lists")
    less = memory.plan(loaded, config, much.predicted - (20 << 20))
    assert 64 <= less.block < 192
    assert less.predicted <= less.budget
    with pytest.raises(ConfigError, match=r"memory: 10 MB are allowed.*Pass --memory \d+00M"):
        memory.plan(loaded, config, 10 << 20)
    least = max(memory.predicted(loaded, config, memory.SMALLEST).values())
    assert memory.plan(loaded, config, least).block == memory.SMALLEST
    monkeypatch.setattr(memory, "BASE", 1 << 40)
    with pytest.raises(ConfigError, match="look at some listeners by --sample"):
        memory.plan(loaded, config, 1 << 39)


def test_a_run_says_what_it_will_take_and_is_the_same(inputs: Inputs, tmp_path: Path) -> None:
    with stub_report():
        for name, size in (("much", "100G"), ("little", None)):
            pipeline.run(inputs, tmp_path / name, quick_config(), memory=size)
        with pytest.raises(ConfigError, match="memory: 1 MB are allowed"):
            pipeline.run(inputs, tmp_path / "none", quick_config(), memory="1M")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["little", "much"]
    about = Run.open(tmp_path / "much").manifest["memory"]
    assert about["budget_mb"] == 100 * 1024
    assert 300 < about["predicted_mb"] < 2000
    files = [Run.open(tmp_path / name).manifest["files"] for name in ("much", "little")]
    assert files[0]["recommendations.parquet"] == files[1]["recommendations.parquet"]
