"""report.html: what a run made and how good it is, as one page that works offline."""

from pathlib import Path
from typing import Any

from tonearm.report import charts, examples, log, making, results
from tonearm.report.answers import answers, lead
from tonearm.report.page import render
from tonearm.runs import directory, vouch
from tonearm.runs.lists import SIMILAR_BY
from tonearm.runs.read import Run
from tonearm.runs.vouch import REPORT
from tonearm.terminal.signals import interrupts
from tonearm.terminal.words import counted

__all__ = ["REPORT", "headline", "rebuild", "write"]

SHOWN = 12
"""Entries of an example user's history and test items."""


def write(folder: Path, manifest: dict[str, Any]) -> None:
    """Write report.html from metrics.json, profile.json, config.toml and the lists of a run's folder.

    manifest: as in manifest.json; names of items are read from the catalogue that it names, if that is still there
    """
    directory.write_whole(folder / REPORT, render(content(Run(folder, manifest))))


def attempt(folder: Path, manifest: dict[str, Any], out: Path) -> str | None:
    """`write`; where that fails, words for it, as a run is worth keeping without its report.

    out: where the run's folder will be
    """
    try:
        with interrupts():
            write(folder, manifest)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # what goes wrong within extensions may be no Exception
        (folder / REPORT).unlink(missing_ok=True)
        reason = str(error).partition("\n")[0]
        return (
            f"The report could not be made ({type(error).__name__}: {reason}). Everything else is there; "
            f"`tonearm report {out}` makes it anew."
        )
    return None


def rebuild(run: Path) -> None:
    """Write the report of a finished run anew, and its new digest into the manifest.

    Raises:
        DataError: the folder is not a finished run.
        OutputError: it cannot be written to.
    """
    opened = Run.open(run)
    page = render(content(opened))
    directory.write_whole(run / REPORT, page)
    changed = {"files": opened.manifest["files"] | {REPORT: vouch.digest(run / REPORT)}, "report_missing": None}
    directory.write_whole(run / directory.MANIFEST, vouch.sealed(opened.manifest | changed))


def content(run: Run) -> dict[str, Any]:
    """Everything that the template shows."""
    metrics, profile = run.metrics, run.profile
    manifest = run.manifest
    users, names = examples.example_users(run, profile["examples"]["users"])
    items, more = examples.example_items(run, profile["examples"]["items"])
    config = run.files.find("config.toml")
    parts = {
        "data": log.data(manifest, profile),
        "lists": results.lists(metrics),
        "funnel": results.funnel(metrics),
        "ranker": making.ranker(manifest),
        "slices": results.slices(metrics),
        "costs": making.costs(manifest),
        "facts": making.facts(manifest, "" if config is None else config.read_text(encoding="utf-8")),
    }
    return {
        "facts": headline(manifest),
        "lead": lead(metrics),
        "answers": answers(metrics),
        "funnel": metrics["funnel"],
        "warnings": metrics["warnings"],
        "notes": metrics["notes"],
        "left_out": [row["sentence"] for row in metrics.get("left_out", [])],
        "sections": parts,
        "users": users,
        "items": items,
        "similar_by": SIMILAR_BY[run.similar_by],
        "timed": profile["time"] is not None,
        "shown": SHOWN,
        "names_note": names or more,
        "charts": {f.id: f.spec for part in parts.values() for f in part.figures if f.spec is not None},
        "chart_config": charts.CONFIG,
    }


def headline(manifest: dict[str, Any]) -> list[str]:
    """What the run is, in a few words each."""
    train = manifest["found"]["train"]
    facts = [
        f"{counted(train['users'], 'user')}",
        f"{counted(train['items'], 'item')}",
        f"{counted(train['events'], 'event')} to learn from",
    ]
    if manifest["test_from"]:
        facts.append(f"test from {log.moment(manifest['test_from'])}")
    return [*facts, f"seed {manifest['seed']}", f"Tonearm {manifest['versions']['tonearm']}"]
