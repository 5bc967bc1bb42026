"""report.html: what a run made and how good it is, as one page that works offline."""

import os
import tempfile
from pathlib import Path
from typing import Any

from tonearm import store
from tonearm.report import charts, examples, sections
from tonearm.report.answers import answers, title
from tonearm.report.page import render
from tonearm.runs import Run

__all__ = ["rebuild", "write"]

REPORT = "report.html"


def write(folder: Path, manifest: dict[str, Any]) -> None:
    """Write report.html from metrics.json, profile.json, config.toml and the lists of a run's folder.

    manifest: as in manifest.json; names of items are read from the catalogue that it names, if that is still there
    """
    page = render(content(Run(folder, manifest)))
    handle, temporary = tempfile.mkstemp(prefix=f".{REPORT}.", dir=folder)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(page)
    Path(temporary).chmod(0o644)
    os.replace(temporary, folder / REPORT)


def rebuild(run: Path) -> None:
    """Write the report of a finished run anew, and its new digest into the manifest.

    Raises:
        DataError: the folder is not a finished run.
    """
    opened = Run.open(run)
    write(run, opened.manifest)


def content(run: Run) -> dict[str, Any]:
    """Everything that the template shows."""
    metrics, profile = run.metrics, store.read_json(run.folder / "profile.json")
    manifest = run.manifest
    users, names = examples.example_users(run, profile["examples"]["users"])
    items, more = examples.example_items(run, profile["examples"]["items"])
    config = run.folder / "config.toml"
    parts = {
        "data": sections.data(manifest, profile),
        "lists": sections.lists(metrics),
        "funnel": sections.funnel(metrics),
        "ranker": sections.ranker(manifest),
        "slices": sections.slices(metrics),
        "costs": sections.costs(manifest),
        "facts": sections.facts(manifest, config.read_text(encoding="utf-8") if config.is_file() else ""),
    }
    return {
        "inputs": manifest["inputs"],
        "facts": _headline(manifest),
        "answers": answers(metrics),
        "funnel": metrics["funnel"],
        "warnings": metrics["warnings"],
        "notes": metrics["notes"],
        "sections": parts,
        "users": users,
        "items": items,
        "names_note": names or more,
        "final": title(metrics["final"]),
        "charts": {f.id: f.spec for part in parts.values() for f in part.figures if f.spec is not None},
        "chart_config": charts.CONFIG,
    }


def _headline(manifest: dict[str, Any]) -> list[str]:
    train = manifest["found"]["train"]
    facts = [f"{train['users']:,} users", f"{train['items']:,} items", f"{train['events']:,} events to learn from"]
    if manifest["test_from"]:
        facts.append(f"test from {manifest['test_from'].replace('T00:00:00', '').replace('T', ' ')}")
    return [*facts, f"seed {manifest['seed']}", f"Tonearm {manifest['versions']['tonearm']}"]
