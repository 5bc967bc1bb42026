"""The same run by both engines: on this machine, and on a cluster of a master and two workers, one of which is killed.

A longer one: TONEARM_SPARK=small takes the small preset instead of the tiny one, TONEARM_SPARK=hetrec the real log.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from tests.conftest import SHARED
from tests.quick import QUICK

from tonearm.cli import app
from tonearm.errors import ConfigError, DataError
from tonearm.evaluation.words import shown
from tonearm.pipeline import Inputs
from tonearm.runs import directory
from tonearm.runs.read import Run
from tonearm.serving.publish import publish
from tonearm.serving.version import Version
from tonearm.spark.cluster import Cluster
from tonearm.synth import generate

ROOT = Path(__file__).resolve().parents[2]
SIZE = os.environ.get("TONEARM_SPARK", "tiny")

pytest.importorskip("pyspark", reason="PySpark is not installed: pip install 'tonearm[spark]'")
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="Java 17 is not installed: bash tools/java.sh")

SAME = ('sources=["popular", "als", "content", "item_item", "ease", "spectral", "recent", "trend"]', "ease.coverage=0")
"""What both engines can do."""

QUICKER = (
    *QUICK,
    "evaluation.resamples=1000",
    "split.windows=1",
    "als.iterations=4",
    "als.more_iterations=2",
    "spark.partitions=4",
)


class Runs(NamedTuple):
    """A run of each engine on the same log with the same options."""

    local: Path
    spark: Path


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Runs:
    """Both engines on one log, once for all processes of pytest; a worker of the cluster is killed on the way."""
    shared = tmp_path_factory.getbasetemp()
    folder = (shared if worker_id == "master" else shared.parent) / "engines"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "spark").exists():
            make_runs(folder)
    return Runs(folder / "local", folder / "spark")


def make_runs(folder: Path) -> None:
    """FOLDER/local and FOLDER/spark; the worker is killed when the training table is there."""
    if SIZE == "hetrec":
        data = SHARED / "hetrec_lastfm"
        if not data.exists():
            pytest.skip(f"real data missing: {data}")
        log = ["--events", str(data / "events.parquet"), "--items", str(data / "items_dbpedia_genres.parquet")]
        log += ["--test-from", "2010-11-30T23:00:00"]
    else:
        generate(SIZE, folder / "log", seed=1)
        log = ["--events", str(folder / "log/events.parquet"), "--items", str(folder / "log/items.parquet")]
        log += ["--test-from", "2022-12-16"]
    options = [*SAME, *(QUICKER if SIZE == "tiny" else ("spark.partitions=6",))]
    sets = [word for option in options for word in ("--set", option)]
    command = [sys.executable, "-m", "tonearm", "run", *log, *sets]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    for engine in ("local", "spark"):
        out = ["--out", str(folder / engine), "--engine", engine]
        if engine == "spark":
            tool = [str(ROOT / "tools/spark_cluster.py"), "--memory", "1g", "--kill-at", "ranker", "--"]
            done = subprocess.run(
                [sys.executable, *tool, *command, *out], env=environment, capture_output=True, text=True
            )
            assert "-- killed a worker" in done.stderr
        else:
            done = subprocess.run([*command, *out], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]


@needs_java
def test_counts_are_the_same(runs: Runs) -> None:
    local, spark = (Run.open(run).manifest["found"] for run in runs)
    assert spark["train"] == local["train"]
    assert spark["test"] == local["test"]
    assert spark["catalogue"] == local["catalogue"]
    assert spark["logs"]["events"] == local["logs"]["events"]


@needs_java
@pytest.mark.parametrize("file", ["top_popular.parquet", "genres.parquet"])
def test_popular_list_and_genres_are_the_same(runs: Runs, file: str) -> None:
    local, spark = (pl.read_parquet(run / file) for run in runs)
    assert spark.equals(local)


@needs_java
@pytest.mark.parametrize("file", ["data/train.npz", "data/test.npz"])
def test_the_split_is_the_same(runs: Runs, file: str) -> None:
    """Every history and every test event, byte for byte."""
    assert (runs.spark / file).read_bytes() == (runs.local / file).read_bytes()


@needs_java
@pytest.mark.parametrize("source", ["popular", "content", "item_item", "ease"])
def test_cooccurrence_and_counts_are_learnt_to_the_same_numbers(runs: Runs, source: str) -> None:
    local, spark = (directory.map_arrays(run / f"models/{source}_model.npz") for run in runs)
    assert spark.keys() == local.keys()
    for name, array in local.items():
        if SIZE == "hetrec" and (source, name) == ("ease", "weight"):
            # one machine inverts the matrix of users, where these are fewer than items
            np.testing.assert_allclose(spark[name], array, rtol=0, atol=1e-6)
        else:
            np.testing.assert_array_equal(spark[name], array, err_msg=name)


@needs_java
def test_tables_have_the_same_columns(runs: Runs) -> None:
    def schema(run: Path) -> dict[str, Any]:
        tables = [path for path in run.iterdir() if path.suffix == ".parquet"]
        return {path.name: pl.read_parquet_schema(directory.part_files(path)[0]) for path in tables}

    assert schema(runs.spark) == schema(runs.local)


@needs_java
def test_every_figure_of_the_final_list_is_within_its_interval(runs: Runs) -> None:
    local, spark = (Run.open(run).metrics for run in runs)
    intervals, figures = local["intervals"]["recommendations"], spark["lists"]["recommendations"]
    outside = {
        name: (figures[name], interval)
        for name, interval in intervals.items()
        if interval is not None and not interval[0] <= figures[name] <= interval[1]
    }
    assert outside == {}
    assert spark["population"] == local["population"]
    assert spark["cold"] == pytest.approx(local["cold"])
    assert figures["listed_users"] == local["lists"]["recommendations"]["listed_users"]
    assert spark["lists"]["content"] == pytest.approx(local["lists"]["content"])


@needs_java
def test_a_list_is_that_of_the_restored_run(runs: Runs) -> None:
    """Who restores the run gets the lists that the cluster made, to the last bit; each is ranked without gaps."""
    from tonearm.runs.restore import restore

    table = pl.read_parquet(runs.spark / "recommendations.parquet/*.parquet").sort("user_id", "rank")
    restored = restore(runs.spark)
    block = restored.data.block(0, 40, restored.config.filter_seen)
    made = restored.lists(block).lists
    users = restored.data.users.decode(block.users[made.row])
    own = table.filter(pl.col("user_id").is_in(users.implode()))
    assert own["item_id"].to_list() == restored.data.catalogue.items.decode(made.item).to_list()
    np.testing.assert_array_equal(own["score"], made.score)
    assert table.group_by("user_id").agg((pl.col("rank").max() == pl.len()).alias("dense"))["dense"].all()


@needs_java
def test_the_run_is_looked_at_and_published_as_any(runs: Runs, tmp_path: Path) -> None:
    published = publish(runs.spark, tmp_path / "store", force=True)
    version = Version.open(tmp_path / "store" / "versions" / published.id)
    assert len(version.listed(0)[0]) > 0
    run = Run.open(runs.spark)
    user = run.kept.train.users.ids[0]
    listener = run.listener(user, 5)
    assert listener is not None
    assert set(listener.lists) >= {"recommendations", "personal_als", "content", "top_popular"}
    assert shown(run.metrics, 100, False) is not None
    assert (runs.spark / "report.html").is_file()
    assert run.manifest["report_missing"] is None


@needs_java
def test_the_manifest_tells_what_the_cluster_did(runs: Runs) -> None:
    cluster = Run.open(runs.spark).manifest["cluster"]
    assert cluster["master"].startswith("spark://127.0.0.1")
    assert len(cluster["stages"]) > 10
    assert sum(stage["shuffle_bytes"] for stage in cluster["stages"]) > 0
    assert {"tasks", "failed_tasks", "task_seconds", "input_bytes", "spilled_bytes"} <= cluster["stages"][0].keys()
    assert not [path for path in runs.spark.rglob("*") if path.name.startswith((".", "_"))]


def test_this_machine_alone_needs_no_spark(tmp_path: Path) -> None:
    """A run by the local engine imports neither PySpark nor what speaks to it."""
    generate("tiny", tmp_path / "log", seed=1)
    code = (
        "import sys; from tonearm.engine import run; from tonearm.pipeline import Inputs; "
        "from tonearm.config import load_config; from pathlib import Path; log = Path(sys.argv[1]); "
        "run(Inputs(events=log / 'events.parquet', test_from='2022-12-16'), log.parent / 'run', "
        "load_config(overrides=sys.argv[2:])); "
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in ('pyspark', 'py4j') "
        "or name.startswith(('tonearm.spark', 'tonearm.parts'))))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "log"), *QUICK, "sources=['popular', 'als']"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]


def test_only_the_engine_and_its_switch_speak_of_spark() -> None:
    source = ROOT / "src" / "tonearm"
    files = {path.relative_to(source) for path in source.rglob("*.py") if "spark" in path.read_text().lower()}
    others = {str(path) for path in files if path.parts[0] != "spark"}
    assert others == {"cli.py", "config.py", "engine.py"}
    lines = sum(len(path.read_text().splitlines()) for path in (source / "spark").glob("*.py"))
    assert lines <= 900


def test_what_is_of_one_machine_is_told() -> None:
    from tonearm.config import load_config
    from tonearm.engine import run

    spark = load_config(overrides=["engine=spark"])
    inputs = Inputs(events="events.parquet", test_from="2022-12-16")
    with pytest.raises(ConfigError, match='refit, folds, resume and memory are of engine = "local"'):
        run(inputs, "run", spark, folds=2)
    with pytest.raises(ConfigError, match="refit, folds, resume and memory"):
        run(inputs, "run", spark, refit=True)
    with pytest.raises(ConfigError, match="refit, folds, resume and memory"):
        run(inputs, "run", spark, resume=True)


@needs_java
def test_a_log_that_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One session of this process, for what goes wrong before any work."""
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    from tonearm.config import load_config
    from tonearm.engine import run

    table = pl.DataFrame({"user_id": [1, 2, None], "item_id": [1, 2, 3], "started_at": ["a", "b", "c"]})
    table.write_parquet(tmp_path / "text.parquet")
    days = pl.Series(["2022-12-01", "2022-12-02", "2022-12-20"]).str.to_date()
    table.with_columns(started_at=days).write_parquet(tmp_path / "nulls.parquet")
    table.drop("started_at").write_parquet(tmp_path / "untimed.parquet")
    table.with_columns(started_at=days, kind=pl.lit("skip")).write_parquet(tmp_path / "kinds.parquet")
    config = load_config(overrides=["engine=spark", "spark.master=local[1]", "spark.partitions=2"])
    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        for file, words in (
            ("none.parquet", "cannot be read as parquet"),
            ("text.parquet", "started_at is text"),
            ("untimed.parquet", "has no column started_at"),
            ("nulls.parquet", "1 row without a value that is needed, of 3"),
        ):
            with pytest.raises(DataError, match=words):
                run(Inputs(events=tmp_path / file, test_from="2022-12-16"), tmp_path / "out", config)
        some = load_config(overrides=["engine=spark", "spark.master=local[1]", "data.sample=0.5"])
        with pytest.raises(ConfigError, match=r"data\.sample, data\.users_file and data\.vectors"):
            run(Inputs(events=tmp_path / "nulls.parquet", test_from="2022-12-16"), tmp_path / "out", some)
        with pytest.raises(ConfigError, match="has kinds of feedback"):
            run(Inputs(events=tmp_path / "kinds.parquet", test_from="2022-12-16"), tmp_path / "out", config)
        with pytest.raises(ConfigError, match="reads a log of parquet files"):
            run(Inputs(events=tmp_path / "nulls.parquet"), tmp_path / "out", config)
        with pytest.raises(ConfigError, match="2 of 2 tasks of the cluster did not find the new run in it"):
            Cluster(session, tmp_path / "out" / "work").check()
    finally:
        session.stop()
    assert not (tmp_path / "out").exists()


def test_machines_without_the_package_are_told(tmp_path: Path) -> None:
    class Lacking:
        defaultParallelism = 2

        def __getattr__(self, _: str) -> Any:
            def fail(*_args: Any, **_named: Any) -> Any:
                raise RuntimeError("Task 0 failed\n  File a\nModuleNotFoundError: No module named 'tonearm'\n\tat java")

            return fail

    session = SimpleNamespace(sparkContext=Lacking())
    with pytest.raises(ConfigError, match=r"lacks what tasks need \(No module named 'tonearm'\)"):
        Cluster(session, tmp_path).check()


def test_the_command_takes_the_engine() -> None:
    assert app.name[0] == "tonearm"
    command, bound, _ = app.parse_args(["run", "--out", "r", "--engine", "spark"])
    assert command.__name__ == "run"
    assert bound.arguments["engine"] == "spark"
