"""A finished run in MLflow: its options, figures and pages, beside those of other runs."""

import os
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tonearm.errors import MissingExtra, OutputError
from tonearm.runs.directory import MANIFEST, read_json

EXPERIMENT = "tonearm"
"""The experiment, unless MLFLOW_EXPERIMENT_NAME names another."""

FILES = ("report.html", "metrics.json", "config.toml", MANIFEST)

MOST = 100
"""Entries that MLflow takes at once."""


@dataclass(frozen=True)
class Tracker:
    """An MLflow server, database or folder that answered.

    client: MLflow's; experiment: the id of the experiment that runs go to
    """

    uri: str
    client: Any
    experiment: str

    @classmethod
    def open(cls, uri: str) -> "Tracker":
        """Ask before hours of work whether runs can be logged there.

        uri: as MLflow takes them: https://…, sqlite:///…, databricks

        Raises:
            MissingExtra: MLflow is not installed.
            OutputError: nothing answers there.
        """
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise MissingExtra("--mlflow needs MLflow. Install it by pip install 'tonearm[mlflow]'.") from error
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        try:
            client = MlflowClient(tracking_uri=uri)
            found = client.get_experiment_by_name(name)
            return cls(uri, client, found.experiment_id if found is not None else client.create_experiment(name))
        except Exception as error:  # whatever a store, a driver or a network gives
            raise OutputError(
                f"--mlflow {uri}: no run can be logged there ({_first(error)}). Check the address."
            ) from error

    def log(self, run: Path) -> str:
        """Log a finished run; returns its id in MLflow.

        Raises:
            OutputError: the connection was lost. The run directory is whole all the same.
        """
        try:
            return self._log(run)
        except Exception as error:
            raise OutputError(
                f"--mlflow {self.uri}: the run could not be logged ({_first(error)}). All files are in {run}."
            ) from error

    def _log(self, run: Path) -> str:
        from mlflow.entities import Metric, Param

        metrics, manifest = read_json(run / "metrics.json"), read_json(run / MANIFEST)
        options = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
        now = int(time.time() * 1000)
        figures = [Metric(name, value, now, 0) for name, value in _figures(metrics, manifest)]
        given = [Param(name, str(value)) for name, value in (*_flat(options), *manifest["inputs"].items())]
        version = {"tonearm": manifest["versions"]["tonearm"]}
        made = self.client.create_run(self.experiment, run_name=run.name, tags=version).info.run_id
        for lo in range(0, max(len(figures), len(given)), MOST):
            self.client.log_batch(made, metrics=figures[lo : lo + MOST], params=given[lo : lo + MOST])
        for name in FILES:
            if (run / name).exists():
                self.client.log_artifact(made, str(run / name))
        self.client.set_terminated(made)
        return str(made)


def _figures(metrics: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every figure of every list, and what the run took; MLflow's names have no @."""
    for of, figures in metrics["lists"].items():
        for name, value in figures.items():
            if isinstance(value, (int, float)):
                yield f"{of}/{name.replace('@', '_at_')}", float(value)
    yield "seconds", sum(stage["seconds"] for stage in manifest["stages"])
    yield "peak_mb", max(stage["peak_mb"] for stage in manifest["stages"])


def _flat(options: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Options by the names that --set takes."""
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0]
