"""A run logged to MLflow."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tonearm.errors import OutputError
from tonearm.runs.directory import read_json
from tonearm.runs.tracking import Tracker


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder that MLflow keeps runs in, which it asks to be allowed by name."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return f"file:{tmp_path / 'store'}"


def test_options_figures_and_pages_are_logged(tiny_run: Path, store: str) -> None:
    found = Tracker.open(store).log(tiny_run)
    client = MlflowClient(tracking_uri=store)
    run = client.get_run(found)
    lists = read_json(tiny_run / "metrics.json")["lists"]
    assert run.data.metrics["recommendations/ndcg_at_20"] == lists["recommendations"]["ndcg@20"]
    assert run.data.metrics["personal_als/recall_at_5"] == lists["personal_als"]["recall@5"]
    assert run.data.metrics["peak_mb"] > 0
    assert run.data.params["als.factors"] == "8"
    assert run.data.params["events"].endswith("events.parquet")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == tiny_run.name
    names = {file.path for file in client.list_artifacts(found)}
    assert names == {"report.html", "metrics.json", "config.toml", "manifest.json"}
    again = Tracker.open(store)
    assert again.experiment == run.info.experiment_id, "one experiment takes all runs"


def test_an_address_where_nothing_answers_is_told_before_the_work(tmp_path: Path, store: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match=r"no run can be logged there .* Check the address\."):
        Tracker.open(f"file:{tmp_path / 'file' / 'store'}")
    with pytest.raises(OutputError, match="no run can be logged there"):
        Tracker.open("no-such-kind://somewhere")
    assert store


def test_a_store_that_is_gone_leaves_the_run(tiny_run: Path, store: str, tmp_path: Path) -> None:
    tracker = Tracker.open(store)
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(OutputError, match=r"could not be logged .* All files are in"):
        tracker.log(tiny_run)
    assert (tiny_run / "recommendations.parquet").exists()
