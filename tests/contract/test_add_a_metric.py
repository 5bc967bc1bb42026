"""The patch of docs/develop/add-a-metric.md touches three files, and is all that a metric needs."""

import re
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue
from tonearm.data.lists import Lists
from tonearm.data.log import Pairs
from tonearm.data.truth import Truth
from tonearm.data.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "develop" / "add-a-metric.md"
FILES = ["docs/use/metrics.md", "src/tonearm/evaluation/meters.py", "src/tonearm/evaluation/summary.py"]


def git_apply(folder: Path, *options: str) -> str:
    [patch] = re.findall(r"^```diff\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    done = subprocess.run(["git", "apply", *options], input=patch, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patched")
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    git_apply(folder)
    return folder


def module(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"patched_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_it_touches_three_files(tmp_path: Path) -> None:
    rows = [line.split("\t") for line in git_apply(tmp_path, "--numstat").splitlines()]
    assert sorted(name for *_, name in rows) == FILES
    assert sum(int(added) for added, _, _ in rows) <= 5
    assert [removed for _, removed, _ in rows] == ["0"] * 3


def test_it_is_measured_by_hand(patched: Path) -> None:
    meters = module(patched / FILES[1])
    plays = np.array([50, 30, 15, 5, 0], np.int64)  # head, torso, and two of the tail
    items = meters.describe_items(plays, Catalogue(Vocabulary(pl.Series([1, 2, 3, 4, 5]))))
    one_each = np.array([0, 1, 2], np.int64), np.array([3, 0], np.int32), np.ones(2, np.int64)
    truth = Truth(np.array([0, 1], np.int32), *one_each, False, {})
    meter = meters.ListMeter(truth, items, (1, 3))
    lists = Lists(np.array([0, 3, 5]), np.array([2, 0, 4, 1, 3], np.int32), np.arange(5, 0, -1).astype(np.float32))
    nothing = Pairs(np.zeros(3, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), None, 5)
    meter.add(np.array([0, 1], np.int32), lists, nothing)
    said = meter.summary()
    assert (said["tail_share@1"], said["tail_share@3"]) == (1 / 2, 2 / 5)
    empty = meters.ListMeter(truth, items, (1,)).summary()
    assert empty["tail_share@1"] is None


def test_it_is_defined_and_explained(patched: Path) -> None:
    definitions = module(patched / FILES[2]).DEFINITIONS
    assert definitions["tail_share"].startswith("share of the entries")
    page = (patched / FILES[0]).read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("| `tail_share@k` |")] != []
