"""Look into a finished run: a few rows of its lists, and names from the files that it was made of.

Nothing is loaded whole: lists hold a hundred rows for each user, and a run may have more than a million users.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tonearm.data.times import parse_moment, to_seconds
from tonearm.errors import DataError
from tonearm.loading.count import DataOptions, kept_rows
from tonearm.loading.files import local_path
from tonearm.loading.inputs import find_column, is_id, open_events, open_input, reading
from tonearm.loading.items import open_items
from tonearm.runs import directory
from tonearm.runs.lists import FILES, POPULAR, POPULAR_FILE

FACTS = {"name": pl.String(), "genres": pl.List(pl.String), "artists": pl.List(pl.String)}

EXAMPLES = 5
"""Ids that a message about an unknown one names."""

Id = int | str


@dataclass(frozen=True)
class Run:
    """A run directory.

    manifest: what `manifest.json` holds, or will hold once the run is finished
    """

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """A finished run.

        Raises:
            DataError: the folder is not one.
        """
        folder = local_path(str(folder))
        return cls(folder, directory.read_json(directory.open_run(folder) / directory.MANIFEST))

    @property
    def today(self) -> datetime | None:
        """Events later than this were in the future; None in runs that did not write it down."""
        said = self.manifest.get("today")
        return None if said is None else parse_moment(said)

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json."""
        return directory.read_json(self.folder / "metrics.json")

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        path = self.folder / "config.toml"
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def scan(self, file: str) -> pl.LazyFrame | None:
        """One of the run's tables, lazily; None where the run has none of that name."""
        path = self.folder / file
        return pl.scan_parquet(path, glob=False) if path.is_file() else None

    def lists_of(self, user: Id, k: int) -> dict[str, pl.DataFrame]:
        """The first k entries of each list that is in a file, by name; empty for an unknown user."""
        found = {}
        for name, file in FILES.items():
            rows = self.rows(file, "user_id", user, k)
            if rows is not None:
                found[name] = rows
        return found

    def similar_to(self, item: Id, k: int) -> pl.DataFrame | None:
        """item_id, score and rank of the k items most similar to one."""
        rows = self.rows("similar.parquet", "item_id_1", item, k)
        return None if rows is None else rows.select(pl.col("item_id_2").alias("item_id"), "score", "rank")

    def popular(self) -> pl.DataFrame:
        """The popular list, best first."""
        table = self.scan(POPULAR_FILE)
        if table is None:
            raise DataError(f"{self.folder}: has no {POPULAR_FILE}. Make the run anew.")
        return table.collect().sort("rank")

    def rows(self, file: str, column: str, value: Id, k: int) -> pl.DataFrame | None:
        """The rows of one id with a rank of at most k, best first; None where there is no such file."""
        table = self.scan(file)
        if table is None:
            return None
        with reading(str(self.folder / file)):
            typed = as_id(value, table.collect_schema()[column])
            wanted = (pl.col(column) == typed) & (pl.col("rank") <= k) if typed is not None else pl.lit(False)
            return table.filter(wanted).collect().sort("rank")

    def describe(self, ids: Sequence[Id]) -> tuple[dict[Id, dict[str, Any]], str | None]:
        """name, genres and artists of items by id, and words where they are not to be had."""
        address = self.manifest["inputs"].get("items")
        if address is None:
            return {}, "The run had no catalogue, so items are shown by their ids."
        if not ids:
            return {}, None
        try:
            return _facts(address, list(dict.fromkeys(ids))), None
        except DataError as error:
            return {}, f"Items are shown by their ids: the catalogue cannot be read any more ({error})"

    def has_event(self, item: Id, events: str | None = None) -> bool:
        """Whether the log, or the test set of a ready-made split, has an event of an item.

        events: the log, where it is no longer at the place the run read it from
        """
        name = "test" if "test" in self.manifest["inputs"] else "events"
        return len(self._events(name, None if name == "test" else events, "item_id", item)) > 0

    def unknown(self, what: str, column: str, file: str, given: Id) -> str:
        """Words for an id that the run does not have, with some that it has in a column of one of its lists."""
        table = self.scan(file)
        if table is None:
            return f"{self.folder}: has no {file}."
        kind = "whole numbers" if table.collect_schema()[column].is_integer() else "strings"
        known = ", ".join(str(item) for item in self.ids_near(column, file, given))
        return f"{self.folder}: train has no {what} {given}. Ids are {kind}, such as {known}."

    def ids_near(self, column: str, file: str, given: Id) -> list[Id]:
        """A few ids in a column of one of the lists, from the one given on, else from the first."""
        table = self.scan(file)
        if table is None:
            return []
        ids = table.filter(pl.col("rank") == 1).select(column)
        typed = as_id(given, table.collect_schema()[column])
        after = ids.filter(pl.col(column) >= typed) if typed is not None else ids
        found: list[Id] = after.head(EXAMPLES).collect()[column].to_list()
        return found or ids.head(EXAMPLES).collect()[column].to_list()

    def events_of(
        self, value: Id, events: str | None = None, column: str = "user_id"
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """One user's or one item's events in train and in test: the other id, time (seconds) and weight as the log has.

        events: the log, where it is no longer at the place the run read it from
        column: user_id or item_id

        Raises:
            DataError: the log cannot be read.
        """
        if "train" in self.manifest["inputs"]:
            return self._events("train", events, column, value), self._events("test", None, column, value)
        rows = self._events("events", events, column, value)
        test = pl.col("time") >= to_seconds(parse_moment(self.manifest["test_from"]))
        return rows.filter(~test), rows.filter(test)

    def listener(self, user: Id, k: int, events: str | None = None) -> "Listener | None":
        """What the run and its log hold of a user; None where neither knows one of that id.

        events: the log, where it is no longer at the place the run read it from
        """
        lists = {name: rows for name, rows in self.lists_of(user, k).items() if len(rows)}
        try:
            train, test = (summed(rows, "item_id") for rows in self.events_of(user, events))
        except DataError as error:
            note = f"No history and no hits, as the log cannot be read. {error} Name it by --events."
            if not lists:
                return None
            return Listener(lists | {POPULAR: self._popular_for([], k)}, None, None, note)
        if not lists and len(test) == 0:
            return None
        heard = train["item_id"].to_list()
        return Listener(lists | {POPULAR: self._popular_for(heard, k)}, train, test, None)

    def _events(self, name: str, address: str | None, column: str, value: Id) -> pl.DataFrame:
        """The events of one id in one of the run's logs that its data rules kept."""
        events = open_events(address or self.manifest["inputs"][name])
        rules = DataOptions(**self.config.get("data", {}))
        rows = kept_rows(events, rules, to_seconds(self.today or datetime.now(UTC) + timedelta(hours=14)), None)
        typed = as_id(value, rows.collect_schema()[column])
        wanted = pl.col(column) == typed if typed is not None else pl.lit(False)
        with reading(events.input.address):
            found = rows.filter(wanted).collect()
        items = self.manifest["inputs"].get("items")
        if items is not None and rules.on_orphan == "drop":
            known = open_items(items, events.item_type, rules.on_null == "drop")[0].ids
            found = found.filter(pl.col("item_id").is_in(known.implode()))
        if events.timed and rules.drops_repeats(self.manifest["found"]["logs"][name].get("days", False)):
            found = found.unique(maintain_order=True)
        return found.drop(column)

    def _popular_for(self, heard: Sequence[Id], k: int) -> pl.DataFrame:
        """The popular list as a user sees it who heard some items."""
        rows = self.popular()
        if self.metrics["filter_seen"]:
            rows = rows.filter(~pl.col("item_id").is_in(pl.Series(heard, dtype=rows["item_id"].dtype).implode()))
        return rows.select("item_id", "rank").head(k)


@dataclass(frozen=True)
class Listener:
    """One user of a run.

    lists: item_id and rank of the first entries of each list, by name; the popular list as this user sees it
    train, test: as `summed` makes them, item by item; None where the log cannot be read, and `note` says why
    """

    lists: dict[str, pl.DataFrame]
    train: pl.DataFrame | None
    test: pl.DataFrame | None
    note: str | None


def summed(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """One row an id of a column, with plays, and last (seconds) where there is time: latest first, then most played."""
    timed = "time" in rows.columns
    plays = pl.col("weight").sum() if "weight" in rows.columns else pl.len()
    more = [pl.col("time").max().alias("last")] if timed else []
    order = ["last", "plays", column] if timed else ["plays", column]
    return rows.group_by(column).agg(plays.alias("plays"), *more).sort(order, descending=[c != column for c in order])


def title(item: Id, about: Mapping[str, Any]) -> str:
    """An item's name with its artists, or its id where it has no name.

    about: name and artists, as far as known
    """
    name, artists = about.get("name"), about.get("artists") or []
    if not name:
        return str(item)
    return name if not artists or artists == [name] else f"{name} – {', '.join(artists)}"


def as_id(value: Id, dtype: pl.DataType) -> Id | None:
    """An id, as a person or JSON gives it, as a file's type holds it; None where that type cannot hold it."""
    if not dtype.is_integer():
        return str(value)
    try:
        return int(pl.Series([int(value)]).cast(dtype)[0])
    except (ValueError, OverflowError, pl.exceptions.PolarsError):
        return None


def _facts(address: str, ids: list[Id]) -> dict[Id, dict[str, Any]]:
    source = open_input(address, ("item_id", *FACTS))
    column = find_column(source, "item_id")
    if column is None or not is_id(source.schema[column]):
        raise DataError(f"{address}: no column item_id")
    dtype = source.schema[column] if source.schema[column].is_integer() else pl.String()
    typed = pl.Series([t for t in (as_id(value, dtype) for value in ids) if t is not None], dtype=dtype)
    facts = [
        pl.col(name).cast(kind) if name in source.schema else pl.lit(None, dtype=kind).alias(name)
        for name, kind in FACTS.items()
    ]
    rows = source.scan().select(pl.col(column).cast(dtype).alias("item_id"), *facts)
    with reading(address):
        found = rows.filter(pl.col("item_id").is_in(typed.implode())).collect()
    return {row["item_id"]: row for row in found.to_dicts()}
