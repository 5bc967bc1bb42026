"""What tasks do with rows of shards, and how arrays go from one machine to another."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from tonearm.kernels.machine.threads import threads
from tonearm.parts.lists import ListTask
from tonearm.parts.shard import Shard
from tonearm.parts.work import Arrays, add_to, looked_at, pack, put_together, told, unpack, working_in
from tonearm.types import AnyArray

STATE = "state"
"""The name of the rows that meters make, beside those of lists."""

PACKED = "shard int, data binary"
SUMS = "name string, place int, task int, data binary"

_DATA = pa.field("data", pa.large_binary())
_PACKED = pa.schema([("shard", pa.int32()), _DATA])
SUM_ROW = pa.schema([("name", pa.large_string()), ("place", pa.int32()), ("task", pa.int32()), _DATA])


def reaches(folder: Path, _task: int) -> bool:
    """Whether the machine of a task finds a folder."""
    return folder.is_dir()


def sum_row(name: str, place: int, task: int, data: bytes) -> pa.RecordBatch:
    """A row of `SUMS`."""
    return pa.record_batch([[name], [place], [task], [data]], schema=SUM_ROW)


def packed_row(shard: int, data: bytes) -> pa.RecordBatch:
    """A row of `PACKED`."""
    return pa.record_batch([[shard], [data]], schema=_PACKED)


def _shards(batches: Iterator[pa.RecordBatch]) -> Iterator[Shard]:
    """The shards of a task, while it works in the folder that the machine has for this session, on one thread."""
    from pyspark import SparkFiles

    with threads(1), working_in(Path(SparkFiles.getRootDirectory())):
        for batch in batches:
            for place, data in zip(batch["shard"], batch["data"], strict=True):
                yield Shard.of(place.as_py(), unpack(data.as_py()))


def _sum_rows(arrays: Arrays, task: int, most: int) -> Iterator[pa.RecordBatch]:
    """Arrays as rows of `SUMS`, cut along their first axis, but for those that follow one another.

    most: bytes of a slice
    """
    for name, given in arrays.items():
        array = np.atleast_1d(given)
        if name.startswith("each"):
            yield sum_row(name, task, task, pack({"of": array}))
            continue
        size = max(1, most // max(1, array[:1].nbytes))
        for place, lo in enumerate(range(0, max(1, len(array)), size)):
            yield sum_row(name, place, task, pack({"of": array[lo : lo + size]}))


def fold(
    made: Callable[[Iterator[pa.RecordBatch]], Iterator[Arrays]], most: int, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The sums of what is made of a task's rows."""
    from pyspark import TaskContext

    sums: Arrays = {}
    for arrays in made(batches):
        add_to(sums, arrays)
    yield from _sum_rows(sums, TaskContext.get().partitionId(), most)


def of_shards(task: Callable[[Shard], Arrays], batches: Iterator[pa.RecordBatch]) -> Iterator[Arrays]:
    """What a task makes of every shard."""
    return (task(shard) for shard in _shards(batches))


def of_earlier(batches: Iterator[pa.RecordBatch]) -> Iterator[Arrays]:
    """What earlier tasks left, in their order."""
    rows = [row for batch in batches for row in batch.to_pylist()]
    return (looked_at(row["data"]) for row in sorted(rows, key=lambda row: row["task"]))


def packed(
    folder: Path, task: Callable[[Shard], Arrays], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """A row for each shard, with what a task makes of it."""
    for shard in _shards(batches):
        yield packed_row(shard.place, told(folder, task(shard)))


def emitted(
    folder: Path, task: Callable[[Shard], Iterator[tuple[int, Arrays]]], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """A row for each group that a shard has something for."""
    for shard in _shards(batches):
        for place, arrays in task(shard):
            yield sum_row("", place, shard.place, told(folder, arrays))


def listed(
    folder: Path, task: ListTask, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Rows of all files of lists, and one for each shard with what meters have counted."""
    for shard in _shards(batches):
        for made in task(shard):
            if isinstance(made, tuple):
                name, table = made
            else:
                name, table = STATE, pl.DataFrame(sum_row("", 0, shard.place, told(folder, made)))
            arrow = table.with_columns(pl.lit(name).alias("list")).to_arrow()
            there = set(arrow.column_names)
            columns = [arrow[f.name].cast(f.type) if f.name in there else pa.nulls(len(arrow), f.type) for f in schema]
            yield from pa.Table.from_arrays(columns, schema=schema).to_batches()


def in_order(name: str, parts: list[tuple[int, AnyArray]]) -> AnyArray:
    """In the order of tasks, so that a task that runs twice changes nothing."""
    return put_together(name, [array for _, array in sorted(parts, key=lambda part: part[0])])


def pieces(table: pa.Table) -> list[tuple[int, Arrays]]:
    """What tasks made for a group, in their order."""
    rows = zip(table["task"].to_pylist(), table["data"], strict=True)
    return sorted(((task, looked_at(data.as_py())) for task, data in rows), key=lambda part: part[0])


def summed(folder: Path, table: pa.Table) -> pa.Table:
    """Slices of one name and place as one."""
    name, place = table["name"][0].as_py(), table["place"][0].as_py()
    whole = put_together(name, [arrays["of"] for _, arrays in pieces(table)])
    return pa.Table.from_batches([sum_row(name, place, 0, told(folder, {"of": whole}))])
