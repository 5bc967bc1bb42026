"""The same measurement at several cuts."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.e2e.command import tonearm
from tests.quick import QUICK, Log, quick_config, run_inputs, stub_report

from tonearm import pipeline
from tonearm.errors import ConfigError, DataError
from tonearm.pipeline import Inputs
from tonearm.report import results
from tonearm.runs.directory import read_json

CUT = datetime(2022, 12, 16)


def measured(inputs: Inputs, out: Path, folds: int = 1) -> dict[str, Any]:
    with stub_report():
        return pipeline.run(inputs, out, quick_config(), folds=folds)


@pytest.fixture(scope="module")
def folded(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Metrics and place of a run with three folds."""
    out = tmp_path_factory.mktemp("folds") / "run"
    return measured(Inputs(events=tiny_log.events, items=tiny_log.items, test_from=CUT), out, folds=3), out


def test_each_fold_is_what_a_run_of_its_own_measures(
    folded: tuple[dict[str, Any], Path], tiny_log: Log, tmp_path: Path
) -> None:
    """A run that was given nothing but the log before the second cut's end gives the second fold's figures."""
    metrics, _ = folded
    cut = datetime.fromisoformat(metrics["folds"]["cuts"][1]["cut"]).replace(tzinfo=None)
    alone = run_inputs(Inputs(events=tiny_log.train, items=tiny_log.items, test_from=cut), tmp_path / "alone")
    for name, figures in alone["lists"].items():
        for key in ("ndcg@20", "recall@5", "precision@20", "coverage"):
            assert metrics["folds"]["lists"][name][key]["by_fold"][1] == pytest.approx(figures[key], abs=1e-12), key
    users = metrics["folds"]["cuts"][1]["evaluated_users"]
    assert users == alone["population"]["evaluated_users"]


def test_folds_stand_as_far_apart_as_the_test_is_long(folded: tuple[dict[str, Any], Path], tiny_log: Log) -> None:
    metrics, _ = folded
    cuts = [datetime.fromisoformat(cut["cut"]).replace(tzinfo=None) for cut in metrics["folds"]["cuts"]]
    length = tiny_log.events["started_at"].max() - CUT + timedelta(seconds=1)  # type: ignore[operator]
    assert cuts == [CUT, CUT - length, CUT - 2 * length]


def test_mean_and_spread_are_those_of_the_folds(folded: tuple[dict[str, Any], Path]) -> None:
    metrics, out = folded
    for name, figures in metrics["folds"]["lists"].items():
        for key in ("ndcg@20", "recall@20", "coverage"):
            by_fold = figures[key]["by_fold"]
            assert len(by_fold) == 3
            assert by_fold[0] == metrics["lists"][name][key]
            assert figures[key]["mean"] == pytest.approx(np.mean(by_fold))
            assert figures[key]["sd"] == pytest.approx(np.std(by_fold, ddof=1))
    assert read_json(out / "metrics.json")["folds"] == metrics["folds"]
    (table,) = [table for table in results.lists(metrics).tables if table.caption == "ndcg@20 at 3 cuts"]
    assert [row["mean"] for row in table.rows] == [
        figures["ndcg@20"]["mean"] for figures in metrics["folds"]["lists"].values()
    ]


def test_lists_and_models_are_those_of_a_run_with_one_cut(
    folded: tuple[dict[str, Any], Path], tiny_log: Log, tmp_path: Path
) -> None:
    _, out = folded
    run_inputs(Inputs(events=tiny_log.events, items=tiny_log.items, test_from=CUT), tmp_path / "one")
    for name in ("recommendations.parquet", "personal_als.parquet", "models/cb_model.cbm"):
        assert (out / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name


def test_what_cannot_be_folded_is_told_before_the_work(tiny_log: Log, tmp_path: Path) -> None:
    log = tiny_log.events
    with pytest.raises(DataError, match=r"leaves nothing to learn from\. Set folds to \d+ or less"):
        measured(Inputs(events=log, test_from=CUT), tmp_path / "far", folds=1000)
    with pytest.raises(ConfigError, match="Set folds to 1 or more"):
        measured(Inputs(events=log, test_from=CUT), tmp_path / "none", folds=0)
    untimed = Inputs(train=tiny_log.train.drop("started_at"), test=tiny_log.test.drop("started_at"))
    with pytest.raises(DataError, match="has no started_at"):
        measured(untimed, tmp_path / "untimed", folds=2)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_mean_and_spread(tiny_log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_log.events.write_parquet(tmp_path / "plays.parquet")
    given = ["--events", tmp_path / "plays.parquet", "--test-from", "2022-12-16", "--out", tmp_path / "run"]
    with stub_report():
        answer = tonearm(capsys, "run", *given, "--folds", 2, "--quiet", *(f"--set={option}" for option in QUICK))
    assert answer.code == 0, answer.err
    assert "over 2 cuts recommendations has ndcg@20" in answer.out
    assert "standard deviation" in answer.out
    assert "from 2022-12-16" in answer.out
