"""Look into a finished run: a few rows of its lists, histories, and names.

Nothing is loaded whole: lists hold a hundred rows for each user, and a run may have more than a million users.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.loading.files import local_path
from tonearm.loading.inputs import reading
from tonearm.runs import directory, vouch
from tonearm.runs.data import Kept
from tonearm.runs.lists import FILES, POPULAR, POPULAR_FILE, SIMILAR_FILE
from tonearm.types import Int64s

EXAMPLES = 5
"""Ids that a message about an unknown one names."""

Id = int | str


@dataclass(frozen=True)
class Run:
    """A run directory.

    manifest: what `manifest.json` holds, or will hold once the run is finished
    mend: what to do where a file is not the one that the run wrote
    """

    folder: Path
    manifest: dict[str, Any]
    mend: str = vouch.ANEW

    @classmethod
    def open(cls, folder: Path, mend: str = vouch.ANEW) -> "Run":
        """A finished run.

        Raises:
            DataError: the folder is not one, or its manifest is damaged.
        """
        folder = local_path(str(folder))
        path = directory.open_run(folder) / directory.MANIFEST
        manifest = vouch.read_sealed(path, mend)
        if not isinstance(manifest.get("files"), dict):
            raise DataError(f"{path}: does not say which files the run has. {mend}")
        return cls(folder, manifest, mend)

    @property
    def files(self) -> vouch.Files:
        """Its files, each held against its digest before it is opened."""
        return vouch.Files(self.folder, self.manifest.get("files"), self.mend)

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json."""
        return directory.read_json(self.files.need("metrics.json"))

    @property
    def profile(self) -> dict[str, Any]:
        """The content of profile.json."""
        return directory.read_json(self.files.need("profile.json"))

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        path = self.files.find("config.toml")
        return {} if path is None else tomllib.loads(path.read_text(encoding="utf-8"))

    def scan(self, file: str) -> pl.LazyFrame | None:
        """One of the run's tables, lazily; None where the run has none of that name."""
        found = self.files.parts(file)
        return None if found is None else pl.scan_parquet(found, glob=False)

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
        rows = self.rows(SIMILAR_FILE, "item_id_1", item, k)
        return None if rows is None else rows.select(pl.col("item_id_2").alias("item_id"), "score", "rank")

    @property
    def similar_by(self) -> str:
        """What similar items go by, as `SIMILAR_BY` has it."""
        by: str = self.manifest.get("similar", {}).get("by", "als")
        return by

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

    @cached_property
    def kept(self) -> Kept:
        """The log and the catalogue that it holds."""
        return Kept(self.files, self.manifest)

    def describe(self, ids: Sequence[Id]) -> tuple[dict[Id, dict[str, Any]], str | None]:
        """name, genres, artists and albums of items by id, and words where none has any."""
        catalogue = self.kept.train.catalogue
        if catalogue.bare:
            return {}, "The run had no catalogue, so items are shown by their ids."
        places = {item: catalogue.items.place(item) for item in dict.fromkeys(ids)}
        known = {item: place for item, place in places.items() if place is not None}
        about = catalogue.describe(np.array([*known.values()], np.int32)).to_dicts()
        return dict(zip(known, about, strict=True)), None

    def unknown(self, what: str, column: str, file: str, given: Id) -> str:
        """Words for an id that the run does not have, with some that it has in a column of one of its lists."""
        table = self.scan(file)
        if table is None:
            return f"{self.folder}: has no {file}."
        known = pl.Series(self.ids_near(column, file, given), dtype=table.collect_schema()[column])
        return f"{self.folder}: {unknown(what, given, Vocabulary(known))}"

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

    def events_of(self, value: Id, column: str = "user_id") -> tuple[pl.DataFrame, pl.DataFrame]:
        """One user's or one item's events in train and in test: the other id, time (seconds) and weight as the log has.

        column: user_id or item_id

        Raises:
            DataError: the run holds no histories.
        """
        data, test = self.kept.train, self.kept.test
        find = self._of_user if column == "user_id" else self._of_item
        train = find(data.log, data.users, value)
        if test is None:
            return train, train.clear()
        parts = [find(test.log, data.users, value), find(test.cold, Vocabulary(test.cold_users), value)]
        return train, next((rows for rows in parts if len(rows)), parts[0]) if column == "user_id" else pl.concat(parts)

    def _of_user(self, log: Log, users: Vocabulary, value: Id) -> pl.DataFrame:
        place = _place(users, value)
        own = slice(0, 0) if place is None else slice(int(log.start[place]), int(log.stop[place]))
        return _events({"item_id": self.kept.item_ids(log.item[own])}, log, own)

    def _of_item(self, log: Log, users: Vocabulary, value: Id) -> pl.DataFrame:
        place = self.kept.item_place(value)
        own = np.flatnonzero(log.item == place) if place is not None else np.empty(0, np.int64)
        user = (np.searchsorted(log.start, own, side="right") - 1).astype(np.int32)
        return _events({"user_id": users.decode(user)}, log, own)

    def listener(self, user: Id, k: int) -> "Listener | None":
        """What the run holds of a user; None where neither its lists nor its log know one of that id."""
        lists = {name: rows for name, rows in self.lists_of(user, k).items() if len(rows)}
        train, test = (summed(rows, "item_id") for rows in self.events_of(user))
        if not lists and len(test) == 0:
            return None
        heard = train["item_id"].to_list()
        return Listener(lists | {POPULAR: self._popular_for(heard, k)}, train, test)

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
    train, test: as `summed` makes them, item by item
    """

    lists: dict[str, pl.DataFrame]
    train: pl.DataFrame
    test: pl.DataFrame


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


def unknown(what: str, given: Id, known: Vocabulary) -> str:
    """Words for an id that is not known, with some that are."""
    kind = "whole numbers" if known.ids.dtype.is_integer() else "strings"
    return f"train has no {what} {given}. Ids are {kind}, such as {', '.join(map(str, known.ids.head(EXAMPLES)))}."


def _place(ids: Vocabulary, value: Id) -> int | None:
    typed = as_id(value, ids.ids.dtype)
    return None if typed is None else ids.place(typed)


def _events(ids: dict[str, pl.Series], log: Log, own: slice | Int64s) -> pl.DataFrame:
    more = {"time": log.time, "weight": log.weight}
    return pl.DataFrame(ids | {name: values[own] for name, values in more.items() if values is not None})
