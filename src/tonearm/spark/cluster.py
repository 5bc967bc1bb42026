"""The cluster: how it is reached, how work on the shards is spread over it and summed, and what that cost."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
import pyarrow as pa

from tonearm.config import SparkOptions
from tonearm.errors import ConfigError, MissingExtra
from tonearm.kernels.machine.threads import threads
from tonearm.parts.lists import ListTask
from tonearm.parts.shard import Shard
from tonearm.parts.work import Arrays, add_to, pack, put_together, unpack, working_in
from tonearm.runs import directory
from tonearm.terminal.progress import Progress, no_progress
from tonearm.terminal.words import counted
from tonearm.types import AnyArray

SLICE = 1 << 24
"""Bytes of an array that are summed by one task, at most."""

TOGETHER = 1 << 28
"""Bytes of the slices that one task sums, of all other tasks' together."""

LARGE = 1 << 28
"""Bytes up to which sums of tasks are brought here before they are summed."""

LITTLE = 1 << 20
"""Bytes up to which what a task has made goes on through Java; more of it goes as a file of the run."""

STATE = "state"
"""The name of the rows that meters make, beside those of lists."""

PACKED = "shard int, data binary"
SUMS = "name string, place int, task int, data binary"

_DATA = pa.field("data", pa.large_binary())
_PACKED = pa.schema([("shard", pa.int32()), _DATA])
_SUMS = pa.schema([("name", pa.large_string()), ("place", pa.int32()), ("task", pa.int32()), _DATA])

SETTINGS = {
    "spark.app.name": "tonearm",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.useLargeVarTypes": "true",
    "spark.sql.files.openCostInBytes": str(1 << 27),  # one task for each file
    "spark.sql.maxConcurrentOutputFileWriters": "64",  # else rows are sorted before they are written
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
"""What a session is told before the caller's own settings."""


class Cluster:
    """A session, and the shards on it once they are there: what `Parts` asks for.

    folder: for what lies between stages, which every machine reaches; shards: a table of `PACKED`
    """

    def __init__(self, session: Any, folder: Path) -> None:
        self.session, self.context, self.folder = session, session.sparkContext, folder
        self.tasks: int = max(2, self.context.defaultParallelism)
        self.progress: Progress = no_progress
        self.run = uuid4().hex[:8]
        self.shards: Any = None

    @classmethod
    @contextmanager
    def connect(cls, options: SparkOptions, folder: Path) -> Iterator["Cluster"]:
        """A session for the time of a block; one that is there already is used, and stays.

        Raises:
            MissingExtra: PySpark is not installed.
            ConfigError: the cluster cannot be reached, or does not reach the folder.
        """
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise MissingExtra('engine = "spark" needs PySpark: pip install "tonearm[spark]".') from error
        there = SparkSession.getActiveSession()
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = SparkSession.builder
        if options.master:
            builder = builder.master(options.master)
        for name, value in (SETTINGS | options.settings).items():
            builder = builder.config(name, value)
        try:
            session = builder.getOrCreate()
        except Exception as error:  # Java's, in many shapes
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"spark.master = '{options.master}' cannot be reached ({reason}). Start the cluster, and see that Java "
                "17 is installed here."
            ) from error
        session.sparkContext.setLogLevel("ERROR")
        one = cls(session, folder)
        if "spark.sql.shuffle.partitions" not in options.settings:
            session.conf.set("spark.sql.shuffle.partitions", str(4 * one.tasks))
        try:
            one.check()
            yield one
        finally:
            if there is None:
                session.stop()

    def check(self) -> None:
        """See that tasks find this package and the folder.

        Raises:
            ConfigError: they do not.
        """
        try:
            found = self.context.range(self.tasks, numSlices=self.tasks).map(partial(_reaches, self.folder)).collect()
        except Exception as error:  # Python's, told by Java
            if "ModuleNotFoundError" not in str(error):
                raise
            missing = str(error).rpartition("ModuleNotFoundError: ")[2].partition("\n")[0]
            raise ConfigError(
                f"Python on the machines of the cluster lacks what tasks need ({missing}). Give them the environment "
                "that is here: an image, or spark.archives."
            ) from error
        if not all(found):
            raise ConfigError(
                f"{self.folder.parent}: {found.count(False)} of {counted(len(found), 'task')} of the cluster did not "
                "find it. Choose an --out that every machine reaches under the same name."
            )

    def share(self, value: AnyArray | tuple[AnyArray, ...]) -> "Shared":
        """As `Parts.share`; each machine maps the arrays."""
        several = isinstance(value, tuple)
        path = self.folder / f"{uuid4().hex}.npz"
        directory.save_arrays(path, {str(i): array for i, array in enumerate(value if several else (value,))})
        return Shared(path, several)

    def total(self, task: Callable[[Shard], Arrays], size: int = 0) -> Arrays:
        """As `Parts.total`: each task sums its shards, and what they come to is summed again."""
        return self.added(self.shards, partial(_done, task), size * self.tasks > LARGE)

    def added(self, table: Any, made: Callable[[Iterator[pa.RecordBatch]], Iterator[Arrays]], wide: bool) -> Arrays:
        """The sums of what is made of the rows of a table; wide ones are summed by several tasks."""
        size = min(SLICE, TOGETHER // self.tasks)
        rows = table.coalesce(self.tasks).mapInArrow(partial(_fold, made, size), SUMS)
        if wide:
            folder = self.folder  # a task does not take the session with it

            def summed(table: pa.Table) -> pa.Table:
                return _summed(folder, table)

            rows = rows.groupBy("name", "place").applyInArrow(summed, SUMS)
        found: dict[str, dict[int, list[tuple[int, AnyArray]]]] = {}
        for row in self.collect(rows):
            places = found.setdefault(row["name"], {})
            places.setdefault(row["place"], []).append((row["task"], heard(row["data"])["of"]))
        return {
            name: np.concatenate([_in_order(name, parts) for _, parts in sorted(found.pop(name).items())])
            for name in list(found)
        }

    def gather(self, task: Callable[[Shard], Arrays]) -> list[tuple[int, Arrays]]:
        """As `Parts.gather`."""
        rows = self.collect(self.shards.mapInArrow(partial(_packed, self.folder, task), PACKED))
        return [(row["shard"], heard(row["data"])) for row in sorted(rows, key=lambda row: row["shard"])]

    def grouped(
        self,
        task: Callable[[Shard], Iterator[tuple[int, Arrays]]],
        more: Sequence[tuple[int, Arrays]],
        join: Callable[[int, list[Arrays]], Arrays],
    ) -> list[Arrays]:
        """As `Parts.grouped`."""
        folder, between = self.folder, self.folder / uuid4().hex
        between.mkdir()
        rows = self.shards.mapInArrow(partial(_emitted, between, task), SUMS)
        if more:
            last = int(np.iinfo(np.int32).max)
            own = [("", place, last, told(between, arrays)) for place, arrays in more]
            rows = rows.unionAll(self.session.createDataFrame(own, SUMS))

        def of_group(table: pa.Table) -> pa.Table:
            place = table["place"][0].as_py()
            with threads(1):
                arrays = join(place, [arrays for _, arrays in _parts(table)])
            return pa.Table.from_batches([packed_row(place, told(folder, arrays))])

        made = sorted(self.collect(rows.groupBy("place").applyInArrow(of_group, PACKED)), key=lambda row: row["shard"])
        rmtree(between)
        return [heard(row["data"]) for row in made]

    def write_lists(self, task: ListTask, columns: pa.Schema, folder: Path, staging: Path) -> Arrays:
        """Write the files of lists, each a folder of parts, and return what the meters counted.

        columns: all that any of the files has; staging: a folder for what lies between
        """
        from pyspark.sql.pandas.types import from_arrow_schema

        schema = pa.schema([("list", pa.large_string()), *columns, *_SUMS])
        rows = self.shards.mapInArrow(partial(_listed, self.folder, task, schema), from_arrow_schema(schema))
        with self.watched():
            rows.write.partitionBy("list").parquet(str(staging), compression="lz4")
        for path in sorted(staging.glob("list=*.parquet")):
            table = self.session.read.parquet(str(path))
            own = [name for name in columns.names if task.holds(path.name.removeprefix("list="), name)]
            with self.watched():
                place = str(folder / path.name.removeprefix("list="))
                table.select(*own).write.parquet(place, compression="zstd")
        states = self.session.read.parquet(str(staging / f"list={STATE}")).select("task", "data")
        return self.added(states, _left, True)

    def collect(self, table: Any) -> Iterator[Any]:
        """The rows of a table, in any order, each let go once it is taken; the bar moves on until they are here."""
        with self.watched():
            rows = table.collect()
        while rows:
            yield rows.pop()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Tell how many tasks of the running stages are done."""
        done, tracker = Event(), self.context.statusTracker()

        def watch() -> None:
            while not done.wait(0.5):
                stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
                running = [stage for stage in stages if stage is not None]
                if running:
                    self.progress("tasks", sum(s.numCompletedTasks for s in running), sum(s.numTasks for s in running))

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def costs(self) -> list[dict[str, Any]]:
        """Every finished stage: tasks, their seconds, bytes read, shuffled and spilled, and how many tasks failed."""
        java, gateway = self.context._jvm, self.context._gateway
        store, none = self.context._jsc.sc().statusStore(), gateway.new_array(gateway.jvm.double, 0)
        stages = store.stageList(None, False, False, none, java.java.util.ArrayList())
        rows = [
            {
                "stage": stage.stageId(),
                "tasks": stage.numTasks(),
                "failed_tasks": stage.numFailedTasks(),
                "task_seconds": round(stage.executorRunTime() / 1000, 3),
                "input_bytes": stage.inputBytes(),
                "shuffle_bytes": stage.shuffleWriteBytes(),
                "spilled_bytes": stage.diskBytesSpilled(),
            }
            for stage in (stages.apply(i) for i in range(stages.size()))
            if stage.status().toString() == "COMPLETE"
        ]
        return sorted(rows, key=lambda row: row["stage"])


@dataclass(frozen=True)
class Shared:
    """Arrays in a file that every machine reaches; one, or several."""

    path: Path
    several: bool

    @property
    def value(self) -> Any:
        """The arrays, mapped."""
        arrays = tuple(directory.map_arrays(self.path).values())
        return arrays if self.several else arrays[0]

    def destroy(self) -> None:
        """Delete the file; whoever has mapped it keeps it until it lets go."""
        self.path.unlink()


def _reaches(folder: Path, _task: int) -> bool:
    return folder.is_dir()


def sum_row(name: str, place: int, task: int, data: bytes) -> pa.RecordBatch:
    """A row of `SUMS`."""
    return pa.record_batch([[name], [place], [task], [data]], schema=_SUMS)


def packed_row(shard: int, data: bytes) -> pa.RecordBatch:
    """A row of `PACKED`."""
    return pa.record_batch([[shard], [data]], schema=_PACKED)


def told(folder: Path, arrays: Arrays) -> bytes:
    """Arrays on their way to another machine: themselves, or the name of a file in a folder that it reaches."""
    if sum(array.nbytes for array in arrays.values()) <= LITTLE:
        return pack(arrays)
    path = folder / f"{uuid4().hex}.npz"
    directory.save_arrays(path, arrays)
    return str(path).encode()


def heard(data: bytes) -> Arrays:
    """The arrays that were told; those of a file are mapped, and it is gone with them."""
    arrays = looked_at(data)
    if data.startswith(b"/"):
        Path(data.decode()).unlink()
    return arrays


def looked_at(data: bytes) -> Arrays:
    """As `heard`, by a task that may run twice: the file stays."""
    return directory.map_arrays(Path(data.decode())) if data.startswith(b"/") else unpack(data)


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


def _fold(
    made: Callable[[Iterator[pa.RecordBatch]], Iterator[Arrays]], most: int, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The sums of what is made of a task's rows."""
    from pyspark import TaskContext

    sums: Arrays = {}
    for arrays in made(batches):
        add_to(sums, arrays)
    yield from _sum_rows(sums, TaskContext.get().partitionId(), most)


def _done(task: Callable[[Shard], Arrays], batches: Iterator[pa.RecordBatch]) -> Iterator[Arrays]:
    """What a task makes of every shard."""
    return (task(shard) for shard in _shards(batches))


def _left(batches: Iterator[pa.RecordBatch]) -> Iterator[Arrays]:
    """What earlier tasks left, in their order."""
    rows = [row for batch in batches for row in batch.to_pylist()]
    return (looked_at(row["data"]) for row in sorted(rows, key=lambda row: row["task"]))


def _packed(
    folder: Path, task: Callable[[Shard], Arrays], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for shard in _shards(batches):
        yield packed_row(shard.place, told(folder, task(shard)))


def _emitted(
    folder: Path, task: Callable[[Shard], Iterator[tuple[int, Arrays]]], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for shard in _shards(batches):
        for place, arrays in task(shard):
            yield sum_row("", place, shard.place, told(folder, arrays))


def _listed(
    folder: Path, task: ListTask, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
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


def _in_order(name: str, parts: list[tuple[int, AnyArray]]) -> AnyArray:
    """In the order of tasks, so that a task that runs twice changes nothing."""
    return put_together(name, [array for _, array in sorted(parts, key=lambda part: part[0])])


def _parts(table: pa.Table) -> list[tuple[int, Arrays]]:
    rows = zip(table["task"].to_pylist(), table["data"], strict=True)
    return sorted(((task, looked_at(data.as_py())) for task, data in rows), key=lambda part: part[0])


def _summed(folder: Path, table: pa.Table) -> pa.Table:
    name, place = table["name"][0].as_py(), table["place"][0].as_py()
    whole = put_together(name, [arrays["of"] for _, arrays in _parts(table)])
    return pa.Table.from_batches([sum_row(name, place, 0, told(folder, {"of": whole}))])
