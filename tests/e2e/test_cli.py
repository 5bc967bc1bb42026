"""Each command once, as a newcomer types it, on a tiny log."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.contract.run_contract import check_run
from tests.e2e.command import tonearm
from tests.quick import QUICK, Log, stub_report

SETTINGS = [f"--set={option}" for option in QUICK]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to type commands in; tables are printed wide."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_synth_then_check_then_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tonearm(capsys, "synth", "--preset", "tiny", "--seed", 1, "--out", "log")
    assert made.code == 0
    assert made.out == "Wrote log\n"
    log = ["--events", "log/events.parquet", "--items", "log/items.parquet", "--test-from", "2022-12-16"]

    checked = tonearm(capsys, "check", *log)
    assert checked.code == 0
    assert checked.err == ""
    for words in ("6,000", "2022-01-", "2022-12-31", "0 errors, 0 warnings"):
        assert words in checked.out, words

    with stub_report():
        done = tonearm(capsys, "run", *log, "--out", "out/run", *SETTINGS)
    assert done.code == 0
    for words in ("recommendations", "personal_als", "top_popular", "ndcg@20", "Report: out/run/report.html"):
        assert words in done.out, words
    for stage in ("load", "lists", "evaluate"):
        assert stage in done.err, stage
    events = pl.read_parquet("log/events.parquet")
    check_run(home / "out/run", events.filter(pl.col("started_at") < pl.datetime(2022, 12, 16)), k=20)
    manifest = json.loads((home / "out/run/manifest.json").read_text())
    assert manifest["inputs"]["events"] == str(home / "log/events.parquet")
    assert sorted(path.name for path in home.iterdir()) == ["log", "out"]


def test_the_options_file_and_the_flags_that_win_over_it(
    home: Path, tiny_log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_log.train.write_parquet("train.parquet")
    tiny_log.test.write_parquet("test.parquet")
    Path("my.toml").write_text("[als]\nfactors = 9\niterations = 2\n")
    quick = [option for option in SETTINGS if "als." not in option]
    sets = ["--train", "train.parquet", "--test", "test.parquet"]
    with stub_report():
        args = [*sets, "--out", "run", "--quiet", "--config", "my.toml", *quick, "--set", "als.factors=5"]
        answer = tonearm(capsys, "run", *args)
        assert answer.code == 0
        assert answer.err == ""
        again = tonearm(capsys, "run", *args, "--set", "seed=3", "--overwrite")
    assert again.code == 0
    text = Path("run/config.toml").read_text()
    assert "factors = 5" in text
    assert "iterations = 2" in text
    assert "seed = 3" in text
    assert not list(home.glob(".run*"))


def test_evaluate_gives_the_figures_of_the_run(
    home: Path, tiny_log: Log, tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_log.train.write_parquet("train.parquet")
    tiny_log.test.write_parquet("test.parquet")
    lists = tiny_run / "recommendations.parquet"
    files = ["--lists", lists, "--truth", "test.parquet", "--train", "train.parquet"]
    answer = tonearm(capsys, "evaluate", *files, "--k", 5, "--k", 20, "--out", "figures.json")
    assert answer.code == 0
    assert "recommendations" in answer.out
    figures = json.loads((home / "figures.json").read_text())["lists"]["recommendations"]
    ours = json.loads((tiny_run / "metrics.json").read_text())["lists"]["recommendations"]
    for name in ("precision@5", "recall@20", "ndcg@20", "hit_rate@5", "mrr@20", "map@20"):
        assert figures[name] == pytest.approx(ours[name], abs=1e-12), name


def test_compare_report_and_show(home: Path, tiny_log: Log, tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in tiny_run.iterdir())
    compared = tonearm(capsys, "compare", tiny_run, tiny_run)
    assert compared.code == 0
    assert "Settings: the same." in compared.out
    assert "metrics are the same in both." in compared.out

    user, item = tiny_log.train["user_id"][0], tiny_log.train["item_id"][0]
    shown = tonearm(capsys, "show", "user", user, "--run", tiny_run, "--k", 3)
    assert shown.code == 0
    names = tiny_log.items.join(
        pl.read_parquet(tiny_run / "recommendations.parquet").filter(user_id=user, rank=1), on="item_id"
    )["name"]
    assert str(names[0])[:12] in shown.out
    alike = tonearm(capsys, "show", "item", item, "--run", tiny_run, "--k", 3)
    assert alike.code == 0
    assert str(tiny_log.items.filter(item_id=item)["name"][0])[:12] in alike.out

    for words in (("user", 10**9), ("item", 10**9), ("user", "nobody")):
        unknown = tonearm(capsys, "show", words[0], words[1], "--run", tiny_run)
        assert unknown.code == 2
        assert str(words[1]) in unknown.err
        assert len(unknown.err.strip().splitlines()) == 1
    assert sorted(path.name for path in tiny_run.iterdir()) == before
    assert list(home.iterdir()) == []


def test_report_is_written_anew(home: Path, tiny_log: Log, tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(tiny_run, "copy")
    (home / "copy" / "report.html").unlink()
    pages = []
    for _ in range(2):
        rebuilt = tonearm(capsys, "report", "copy")
        assert rebuilt.code == 0
        assert rebuilt.out == "Report: copy/report.html\n"
        pages.append((home / "copy" / "report.html").read_bytes())
    assert pages[0] == pages[1]
    assert len(pages[0]) > 100_000
    check_run(home / "copy", tiny_log.train, k=20)


def test_prepare_gives_what_synth_gives(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tonearm(capsys, "synth", "--preset", "tiny", "--raw", "--out", "raw").code == 0
    assert tonearm(capsys, "synth", "--preset", "tiny", "--out", "log").code == 0
    raw = ["--tracks", "raw/tracks.parquet", "--catalog", "raw/catalog_names.parquet"]
    answer = tonearm(capsys, "prepare", "yandex", *raw, "--interactions", "raw/interactions.parquet", "--out", "made")
    assert answer.code == 0
    for name in ("events", "items"):
        made = pl.read_parquet(home / "made" / f"{name}.parquet")
        assert made.equals(pl.read_parquet(home / "log" / f"{name}.parquet")), name


def test_the_module_answers_help_at_once_and_loads_nothing_heavy() -> None:
    heavy = "{'numba', 'catboost', 'polars', 'pandas', 'scipy'}"
    code = f"import sys, tonearm.cli; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
    answer = subprocess.run([sys.executable, "-m", "tonearm", "--version"], capture_output=True, text=True, check=False)
    assert answer.returncode == 0
    assert answer.stdout.strip() == "0.1.0"


@pytest.mark.parametrize(
    "error",
    ["MemoryError()", "SystemError('error return without exception set')", 'RuntimeError("can\'t start new thread")'],
)
def test_memory_that_has_run_out_is_one_message(error: str) -> None:
    """Where even the error finds no room, Python has a SystemError of these words; nothing is said on the way out."""
    code = f"""
from tonearm import cli
class Room:
    def __del__(self):
        raise MemoryError
def app(*_, **__):
    Room()
    raise {error}
cli.app = app
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("DataError: the machine ran out of memory")
    assert done.stderr.count("\n") <= 2
    assert "Traceback" not in done.stderr
