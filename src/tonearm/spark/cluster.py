"""The cluster: how it is reached, how work on the shards is spread over it and summed, and what that cost."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import rmtree
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa

from tonearm.config import SparkOptions
from tonearm.errors import ConfigError, MissingExtra
from tonearm.kernels.machine.threads import threads
from tonearm.parts.lists import ListTask
from tonearm.parts.shard import Shard
from tonearm.parts.work import Arrays, InFile, heard, told
from tonearm.spark.rows import (
    PACKED,
    STATE,
    SUM_ROW,
    SUMS,
    emitted,
    fold,
    in_order,
    listed,
    of_earlier,
    of_shards,
    packed,
    packed_row,
    pieces,
    reaches,
    summed,
)
from tonearm.terminal.progress import Progress, no_progress
from tonearm.terminal.words import counted
from tonearm.types import AnyArray

SLICE = 1 << 24
"""Bytes of an array that are summed by one task, at most."""

TOGETHER = 1 << 28
"""Bytes of the slices that one task sums, of all other tasks' together."""

LARGE = 1 << 28
"""Bytes up to which sums of tasks are brought here before they are summed."""

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
            found = self.context.range(self.tasks, numSlices=self.tasks).map(partial(reaches, self.folder)).collect()
        except Exception as error:  # Python's, told by Java
            if "ModuleNotFoundError" not in str(error):
                raise
            missing = str(error).rpartition("ModuleNotFoundError: ")[2].partition("\n")[0]
            raise ConfigError(
                f"Python on the machines of the cluster lacks what tasks need ({missing}). Give them the environment "
                "that is here: an image, spark.archives, or PYSPARK_PYTHON."
            ) from error
        if not all(found):
            raise ConfigError(
                f"{self.folder.parents[1]}: {found.count(False)} of {counted(len(found), 'task')} of the cluster did "
                "not find the new run in it. Choose an --out that every machine reaches under the same name."
            )

    def share(self, value: AnyArray | tuple[AnyArray, ...]) -> InFile:
        """As `Parts.share`; each machine maps the arrays."""
        return InFile.of(self.folder, value)

    def total(self, task: Callable[[Shard], Arrays], size: int = 0) -> Arrays:
        """As `Parts.total`: each task sums its shards, and what they come to is summed again."""
        return self.added(self.shards, partial(of_shards, task), size * self.tasks > LARGE)

    def added(self, table: Any, made: Callable[[Iterator[pa.RecordBatch]], Iterator[Arrays]], wide: bool) -> Arrays:
        """The sums of what is made of the rows of a table; wide ones are summed by several tasks."""
        size = min(SLICE, TOGETHER // self.tasks)
        rows = table.coalesce(self.tasks).mapInArrow(partial(fold, made, size), SUMS)
        if wide:
            folder = self.folder  # a task does not take the session with it

            def of_slices(table: pa.Table) -> pa.Table:
                return summed(folder, table)

            rows = rows.groupBy("name", "place").applyInArrow(of_slices, SUMS)
        found: dict[str, dict[int, list[tuple[int, AnyArray]]]] = {}
        for row in self.collect(rows):
            places = found.setdefault(row["name"], {})
            places.setdefault(row["place"], []).append((row["task"], heard(row["data"])["of"]))
        return {
            name: np.concatenate([in_order(name, parts) for _, parts in sorted(found.pop(name).items())])
            for name in list(found)
        }

    def gather(self, task: Callable[[Shard], Arrays]) -> list[tuple[int, Arrays]]:
        """As `Parts.gather`."""
        rows = self.collect(self.shards.mapInArrow(partial(packed, self.folder, task), PACKED))
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
        rows = self.shards.mapInArrow(partial(emitted, between, task), SUMS)
        if more:
            last = int(np.iinfo(np.int32).max)
            own = [("", place, last, told(between, arrays)) for place, arrays in more]
            rows = rows.unionAll(self.session.createDataFrame(own, SUMS))

        def of_group(table: pa.Table) -> pa.Table:
            place = table["place"][0].as_py()
            with threads(1):
                arrays = join(place, [arrays for _, arrays in pieces(table)])
            return pa.Table.from_batches([packed_row(place, told(folder, arrays))])

        made = sorted(self.collect(rows.groupBy("place").applyInArrow(of_group, PACKED)), key=lambda row: row["shard"])
        rmtree(between)
        return [heard(row["data"]) for row in made]

    def write_lists(self, task: ListTask, columns: pa.Schema, folder: Path, staging: Path) -> Arrays:
        """Write the files of lists, each a folder of parts, and return what the meters counted.

        columns: all that any of the files has; staging: a folder for what lies between
        """
        from pyspark.sql.pandas.types import from_arrow_schema

        schema = pa.schema([("list", pa.large_string()), *columns, *SUM_ROW])
        rows = self.shards.mapInArrow(partial(listed, self.folder, task, schema), from_arrow_schema(schema))
        with self.watched():
            rows.write.partitionBy("list").parquet(str(staging), compression="lz4")
        for path in sorted(staging.glob("list=*.parquet")):
            table = self.session.read.parquet(str(path))
            own = [name for name in columns.names if task.holds(path.name.removeprefix("list="), name)]
            with self.watched():
                place = str(folder / path.name.removeprefix("list="))
                table.select(*own).write.parquet(place, compression="zstd")
        states = self.session.read.parquet(str(staging / f"list={STATE}")).select("task", "data")
        return self.added(states, of_earlier, True)

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
