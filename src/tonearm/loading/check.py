"""Look at the inputs without running anything: what was counted, what is worth knowing, what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tonearm.config import Config
from tonearm.errors import TonearmError
from tonearm.loading.guess import guess_all
from tonearm.loading.inputs import Source
from tonearm.loading.items import CatalogueFound
from tonearm.loading.load import gather, survey
from tonearm.loading.summary import Found, LogFound, SideFound, TestFound, log_found, notes
from tonearm.loading.vectors import VectorsFound
from tonearm.split import check_window
from tonearm.terminal.printing import shortened
from tonearm.terminal.progress import Progress, no_progress
from tonearm.terminal.words import counted


@dataclass(frozen=True)
class Checked:
    """What a check found.

    found: the counts; train and test are None where errors kept their events from being put in order
    errors: what would stop a run
    warnings: what a run would say and go on
    columns: what --columns seems to need, where a column is missing and another looks like it
    """

    found: Found
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    columns: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers, ready for JSON."""
        said = {"errors": self.errors, "warnings": self.warnings, "columns": self.columns}
        return {"found": self.found.as_dict(), **said}


def check(
    logs: Mapping[str, Source],
    items: Source | None,
    test_from: datetime | None = None,
    config: Config | None = None,
    today: datetime | None = None,
    progress: Progress = no_progress,
) -> Checked:
    """Read the inputs as a run would and report everything found, all errors at once.

    logs: {"events": source}, or {"train": source, "test": source}
    test_from: look at the split at this moment too; None takes the whole of `events` as train
    """
    config = config or Config()
    seen = survey(logs, items, test_from, config.data, today)
    errors = list(seen.problems)
    lacking = any(" no column " in error for error in errors)
    columns = guess_all(logs, items, config.data.columns) if lacking else None
    found = Found({name: log_found(*pair, seen.options, None) for name, pair in seen.logs.items()}, seen.catalogue)
    if not errors:
        try:
            loaded = gather(seen, progress)
            found = loaded.found
            check_window(loaded.train, config.split)
            config.shape.fit(loaded.train, items, columns=config.data.columns)
        except TonearmError as error:
            errors += str(error).split("\n")
    return Checked(found, errors, found.notes or notes(found), columns)


def render(checked: Checked) -> RenderableType:
    """Tables of the counts, then warnings, then errors, then one line that sums up."""
    found = checked.found
    parts: list[RenderableType] = [_log_table(name, log) for name, log in found.logs.items()]
    if found.catalogue is not None:
        parts.append(_catalogue_table(found.catalogue, found.orphan_items))
    if found.vectors is not None:
        parts.append(_vectors_table(found.vectors))
    if found.train is not None:
        parts.append(_train_table(found.train))
    if found.test is not None:
        parts.append(_test_table(found.test))
    parts += [Text.assemble(("warning ", "yellow"), shortened(text)) for text in checked.warnings]
    parts += [Text.assemble(("error ", "bold red"), shortened(text)) for text in checked.errors]
    n_errors, n_warnings = len(checked.errors), len(checked.warnings)
    verdict = "can be used" if n_errors == 0 else "cannot be used as it is"
    parts.append(Text(f"{counted(n_errors, 'error')}, {counted(n_warnings, 'warning')}: the input {verdict}."))
    return Group(*parts)


def _log_table(name: str, log: LogFound) -> Table:
    table = _table(f"{name}: {log.path}")
    renamed = [f"{theirs} as {ours}" for ours, theirs in log.columns.items() if ours != theirs]
    _row(table, "rows", log.rows)
    for column in log.columns:
        _row(table, f"rows without {log.columns[column]}", log.nulls.get(column, 0))
    if "started_at" in log.columns:
        _row(table, "rows later than now", log.futures)
        _row(table, "exact duplicates", log.duplicates)
    _row(table, "rows of items that the catalogue lacks", log.orphans)
    for kind, n in log.kinds.items():
        _row(table, f"rows of kind {kind}", n)
    for rule, n in log.dropped.items():
        _row(table, f"left out by data.{rule}", n)
    _row(table, "kept", log.kept)
    _row(table, "first", log.first)
    _row(table, "last", log.last)
    if log.unit is not None:
        _row(table, "times read as", f"{log.unit} since 1970")
    if renamed:
        _row(table, "columns read", ", ".join(renamed))
    return table


def _catalogue_table(catalogue: CatalogueFound, orphan_items: int | None) -> Table:
    table = _table(f"items: {catalogue.path}")
    _row(table, "items", catalogue.rows - catalogue.null_ids)
    _row(table, "rows without item_id", catalogue.null_ids)
    for column in ("name", "genres", "artists", "albums"):
        if column in catalogue.missing:
            _row(table, f"items without {column}", "no such column")
        else:
            without = catalogue.rows - catalogue.null_ids - catalogue.filled.get(column, 0)
            _row(table, f"items without {column}", without)
    _row(table, "train items that it lacks", orphan_items)
    return table


def _vectors_table(vectors: VectorsFound) -> Table:
    table = _table(f"vectors: {vectors.path}")
    _row(table, "items with a vector", vectors.items)
    _row(table, "numbers in each", vectors.numbers)
    return table


def _train_table(train: SideFound) -> Table:
    table = _table("train")
    _row(table, "events", train.events)
    _row(table, "of these repeats of the same user and item", train.repeats)
    _row(table, "users", train.users)
    _row(table, "users with one event", train.users_with_one)
    _row(table, "events a user, median", train.median_per_user)
    _row(table, "events a user, most", train.max_per_user)
    _row(table, "items", train.items)
    _row(table, "items with one event", train.items_with_one)
    _row(table, "events an item, median", train.median_per_item)
    _row(table, "events an item, most", train.max_per_item)
    _row(table, "first", train.first)
    _row(table, "last", train.last)
    return table


def _test_table(test: TestFound) -> Table:
    table = _table("test")
    _row(table, "events", test.events)
    _row(table, "of these of items that nothing knows", test.unknown_events)
    _row(table, "users", test.users)
    _row(table, "warm users (in train)", test.warm_users)
    _row(table, "cold users", test.cold_users)
    _row(table, "first", test.first)
    _row(table, "last", test.last)
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_column("what")
    table.add_column("value", justify="right")
    return table


def _row(table: Table, what: str, value: float | str | None) -> None:
    """A row; none where the value is unknown."""
    if value is not None:
        table.add_row(what, value if isinstance(value, str) else f"{value:,}")
