"""What a run keeps of its log, so that the log may go: histories, test, catalogue and counts, as mapped arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.times import parse_moment, to_seconds
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError
from tonearm.loading.items import TAGS
from tonearm.loading.load import Test
from tonearm.runs import directory
from tonearm.runs.vouch import Files
from tonearm.types import AnyArray, Float32s, Int32s

TRAIN, TEST, ITEMS = "data/train.npz", "data/test.npz", "data/items.npz"

Arrays = Mapping[str, AnyArray]


def write_data(folder: Path, train: Dataset, test: Test | None, features: Float32s) -> None:
    """data/: train and, where there is one, test event by event, and what is known and was counted of every item.

    features: (n_items, n) what `Features` holds of the items
    """
    against = {} if train.against is None else {f"against_{n}": array for n, array in of_log(train.against).items()}
    directory.save_arrays(folder / TRAIN, of_log(train.log) | against | of_ids("users", train.users.ids))
    directory.save_arrays(folder / ITEMS, _of_items(train) | {"features": features})
    if test is not None:
        logs = {"warm": test.log, "cold": test.cold}
        both = {f"{part}_{name}": array for part, log in logs.items() for name, array in of_log(log).items()}
        ids = of_ids("cold_users", test.cold_users) | of_ids("new_items", test.new_items)
        directory.save_arrays(folder / TEST, both | ids | {"unknown_events": np.array(test.unknown_events)})


@dataclass(frozen=True)
class Kept:
    """The log and the catalogue of a finished run, left on the disk until they are looked at.

    files: those of the run; manifest: what its `manifest.json` holds, or will hold
    """

    files: Files
    manifest: Mapping[str, Any]

    @cached_property
    def train(self) -> Dataset:
        """What the run learnt from, with what counting it takes long.

        Raises:
            DataError: a file is missing or cannot be read.
        """
        events, items = self._arrays(TRAIN), self._arrays(ITEMS)
        genres, artists, albums = (_tags(tag, items) for tag in TAGS)
        name = ids_of("name", items) if "name_ends" in items else None
        catalogue = Catalogue(Vocabulary(ids_of("items", items)), name, genres, artists, albums)
        log = log_of(events, "", len(catalogue))
        cutoff = self.manifest["cutoff"]
        now = 0 if cutoff is None else _seconds(cutoff)
        against = log_of(events, "against_", len(catalogue)) if "against_indptr" in events else None
        data = Dataset(Vocabulary(ids_of("users", events)), catalogue, log, now, against=against)
        counted = {"_counts": (items["events"], items["listeners"]), "plays": items.get("plays", items["events"])}
        data.__dict__.update(counted | {"plays_now": items["plays_now"]})  # where `cached_property` looks
        return data

    @cached_property
    def test(self) -> Test | None:
        """What it was measured by; None where there was no test."""
        if self.files.find(TEST) is None:
            return None
        arrays, n = self._arrays(TEST), len(self.train.catalogue)
        new = ids_of("new_items", arrays)
        warm, cold = (log_of(arrays, f"{part}_", n + len(new)) for part in ("warm", "cold"))
        return Test(warm, ids_of("cold_users", arrays), cold, new, int(arrays["unknown_events"]))

    @property
    def item_features(self) -> Float32s:
        """(n_items, n) float32, what `Features` holds of the items."""
        features: Float32s = self._arrays(ITEMS)["features"]
        return features

    def item_ids(self, index: Int32s) -> pl.Series:
        """The ids of items by index; those that only test knows come after all others."""
        items, test = self.train.catalogue.items, self.test
        if test is None or int(index.max(initial=-1)) < len(items):
            return items.decode(index)
        return pl.concat([items.ids, test.new_items.rename(items.ids.name)]).gather(index)

    def item_place(self, item: int | str) -> int | None:
        """The index of an item by id as a person types it; None where neither train nor test know it."""
        items, test = self.train.catalogue.items, self.test
        place = items.place(item)
        if place is None and test is not None:
            new = Vocabulary(test.new_items).place(item)
            place = None if new is None else len(items) + new
        return place

    def _arrays(self, name: str) -> Arrays:
        path = self.files.find(name)
        if path is None:
            raise DataError(
                f"{self.files.folder}: holds no histories of its own, as runs of earlier versions. Make the run anew."
            )
        return directory.map_arrays(path)


def _seconds(moment: str) -> int:
    return to_seconds(parse_moment(moment))


def of_log(log: Log) -> dict[str, AnyArray]:
    """A log's own events, users in turn."""
    own = log.packed()
    columns = {"item": own.item, "time": own.time, "weight": own.weight}
    indptr = np.append(own.start, own.n_events)
    return {"indptr": indptr} | {name: values for name, values in columns.items() if values is not None}


def log_of(arrays: Arrays, before: str, n_items: int) -> Log:
    indptr, time, weight = arrays[f"{before}indptr"], arrays.get(f"{before}time"), arrays.get(f"{before}weight")
    return Log(indptr[:-1], indptr[1:], arrays[f"{before}item"], time, weight, n_items)


def _of_items(data: Dataset) -> dict[str, AnyArray]:
    """Ids, name, labels, and counts of every item."""
    catalogue, arrays = data.catalogue, of_ids("items", data.catalogue.items.ids)
    if catalogue.name is not None:
        arrays |= of_ids("name", catalogue.name)
    for tag in TAGS:
        tags: Tags | None = getattr(catalogue, tag)
        if tags is not None:
            arrays[f"{tag}_indptr"], arrays[f"{tag}_index"] = tags.indptr, tags.index
            arrays |= of_ids(tag, tags.labels.ids)
    counts: dict[str, AnyArray] = {"events": data.events, "listeners": data.listeners, "plays_now": data.plays_now}
    return arrays | counts if data.log.weight is None else arrays | counts | {"plays": data.plays}


def _tags(tag: str, arrays: Arrays) -> Tags | None:
    if f"{tag}_indptr" not in arrays:
        return None
    return Tags(arrays[f"{tag}_indptr"], arrays[f"{tag}_index"], Vocabulary(ids_of(tag, arrays)))


def of_ids(name: str, ids: pl.Series) -> dict[str, AnyArray]:
    """Integers as they are; strings as UTF-8 end to end, where each ends, and which are null where some are."""
    if ids.dtype.is_integer():
        return {name: np.asarray(ids)}
    text = ids.fill_null("")
    ends: AnyArray = np.cumsum(text.str.len_bytes().to_numpy(), dtype=np.int64)
    arrays: dict[str, AnyArray] = {
        f"{name}_ends": ends,
        f"{name}_text": np.frombuffer("".join(text.to_list()).encode(), np.uint8),
    }
    return arrays | {f"{name}_null": ids.is_null().to_numpy()} if ids.null_count() else arrays


def ids_of(name: str, arrays: Arrays) -> pl.Series:
    """What `of_ids` took apart."""
    if name in arrays:
        return pl.Series(name, arrays[name])
    ends, text = np.append(0, arrays[f"{name}_ends"]), arrays[f"{name}_text"]
    joined = pa.LargeStringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(text))
    ids = pl.Series(name, joined)
    return ids.set(pl.Series(arrays[f"{name}_null"]), None) if f"{name}_null" in arrays else ids
