"""From a log of any size to shards of users on the cluster, and to what is known of every item here."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from tonearm.config import Config
from tonearm.data.catalogue import Catalogue
from tonearm.data.log import Log
from tonearm.data.times import DAY, EPOCH, parse_moment, to_moment, to_seconds
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import ConfigError, DataError
from tonearm.loading.columns import ALIASES, EVENTS, full_names
from tonearm.loading.count import EARLIEST, HEAVIEST, LATEST, ZERO
from tonearm.loading.events import UNITS
from tonearm.loading.inputs import Fingerprint
from tonearm.loading.items import CatalogueFound, lay_out, open_items
from tonearm.loading.summary import LogFound
from tonearm.parts.shard import Shard
from tonearm.parts.work import pack
from tonearm.pipeline import Inputs
from tonearm.runs.data import ids_of, of_ids
from tonearm.spark.cluster import Cluster
from tonearm.spark.rows import PACKED, packed_row
from tonearm.terminal.words import counted

EVENTS_OF_A_SHARD = 500_000
START = int((EPOCH - parse_moment("1970-01-01")).total_seconds())


@dataclass(frozen=True)
class Read:
    """The log on the cluster.

    catalogue: over the items that it or train know; new_items: those that only test knows
    no_users: no ids, of the type of theirs
    found: what was counted of the rows, but for repeats; cut, today: seconds
    """

    catalogue: Catalogue
    new_items: pl.Series
    no_users: pl.Series
    weighted: bool
    drops_repeats: bool
    found: LogFound
    about_items: CatalogueFound | None
    orphan_items: int | None
    fingerprints: tuple[Fingerprint, ...]
    cut: int
    today: int

    @property
    def nobody(self) -> Log:
        """A log without users, as theirs."""
        none, short = np.empty(0, np.int64), np.empty(0, np.int32)
        weight = np.empty(0, np.float32) if self.weighted else None
        return Log(none, none, short, short, weight, len(self.catalogue))


def read(cluster: Cluster, inputs: Inputs, config: Config, today: int, folder: str) -> Read:
    """Count the rows, and put the events of every user together in `folder`.

    Raises:
        ConfigError: an option is not for clusters.
        DataError: the log cannot be used.
    """
    address, options = inputs.source("events"), config.data
    if not isinstance(address, str) or inputs.test_from is None:
        raise ConfigError('engine = "spark" reads a log of parquet files. Name --events and --test-from.')
    if options.everyone != options or options.vectors is not None:
        raise ConfigError('data.sample, data.users_file and data.vectors are of engine = "local". Leave them out.')
    cut = to_seconds(parse_moment(inputs.test_from))
    raw = _opened(cluster, address)
    columns = _columns(address, raw, options.columns)
    if "kind" in columns:
        raise ConfigError(
            f'{address}: has kinds of feedback, and engine = "spark" knows none. Filter plays, and drop it.'
        )
    rows, unit = _canonical(raw, columns, options.on_future == "drop", today)
    found = _counted(address, rows, columns, cut, config, unit)
    rows = rows.where("kept").drop("kept", "future")
    by_item = pl.DataFrame(_by_item(rows, cut).toArrow())
    source, ids = inputs.source("items"), by_item["item_id"]
    items = about = None
    if source is not None:
        items, about = open_items(source, ids.dtype, options.on_null == "drop", options.columns)
        known = Vocabulary(items.ids).encode(ids) >= 0
        orphans = int(by_item.filter(~pl.Series(known)).select("train", "test").sum().sum_horizontal()[0])
        if orphans and options.on_orphan == "error":
            raise DataError(
                f"{address}: {orphans:,} of {found.rows:,} rows are of items that the catalogue lacks. Complete it, or "
                'set data.on_orphan to "keep" or "drop".'
            )
        found = replace(found, orphans=orphans)
        if options.on_orphan == "drop":
            by_item = by_item.filter(pl.Series(known))
            found = replace(found, dropped=found.dropped | ({"on_orphan": orphans} if orphans else {}))
    train, test = (by_item.filter(pl.col(side) > 0)["item_id"] for side in ("train", "test"))
    if train.is_empty() or test.is_empty():
        where = "at or after" if train.is_empty() else "before"
        raise DataError(f"{address}: all events are {where} {to_moment(cut)}. Choose a test_from within.")
    vocabulary = Vocabulary.of(*([items.ids] if items is not None else []), train)
    new = Vocabulary.of(test.filter(pl.Series(vocabulary.encode(test) < 0)))
    events = int(by_item.select("train", "test").sum().sum_horizontal()[0])
    n = config.spark.partitions or max(4, events // EVENTS_OF_A_SHARD)
    names = cluster.session.sparkContext.broadcast(of_ids("known", vocabulary.ids) | of_ids("new", new.ids))
    build = partial(_build, names, cut, options.drops_repeats(found.days), "weight" in columns)
    with cluster.watched():
        parts = rows.repartitionByRange(n, "user_id").mapInArrow(build, PACKED)
        parts.write.parquet(folder, compression="uncompressed")
    names.destroy()
    prints = [Fingerprint(address, found.rows, None, None, "nothing: read on a cluster, told by its rows only")]
    lost = None
    if items is not None and about is not None:
        lost = int((Vocabulary(items.ids).encode(train) < 0).sum())
        prints.append(Fingerprint(about.path, about.rows, None, None, "nothing: told by its rows only"))
    cluster.shards = cluster.session.read.parquet(folder)
    catalogue = lay_out(items, vocabulary)
    weighted = "weight" in columns
    none = pl.Series("users", pl.DataFrame(rows.select("user_id").limit(0).toArrow())["user_id"])
    found = replace(found, kept=events)
    drops = options.drops_repeats(found.days)
    return Read(catalogue, new.ids, none, weighted, drops, found, about, lost, tuple(prints), cut, today)


def _opened(cluster: Cluster, address: str) -> Any:
    try:
        return cluster.session.read.parquet(address)
    except Exception as error:  # of Java, in many shapes
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{address}: cannot be read as parquet on the cluster ({reason}). Check the address."
        ) from error


def _columns(address: str, raw: Any, named: dict[str, str]) -> dict[str, str]:
    """Our name of each used column -> the caller's."""
    full = full_names(named)
    there = dict(raw.dtypes)
    found = {}
    for name in EVENTS:
        column = next((c for c in (full.get(name), name, *ALIASES.get(name, ())) if c in there), None)
        if column is None and name not in ("weight", "kind"):
            raise DataError(
                f"{address}: has no column {name} but {', '.join(there)}. Say which one it is by --columns."
            )
        if column is not None:
            found[name] = column
    for name in ("user_id", "item_id"):
        kind = there[found[name]]
        if kind not in ("tinyint", "smallint", "int", "bigint", "string"):
            raise DataError(f"{address}: {found[name]} is {kind}, and ids are whole numbers or strings. Cast it first.")
    if there[found["started_at"]] in ("string", "binary", "boolean"):
        raise DataError(f"{address}: {found['started_at']} is text. Store it as a date or a timestamp.")
    return found


def _canonical(raw: Any, columns: dict[str, str], drop_future: bool, today: int) -> tuple[Any, str | None]:
    """user_id, item_id, time (seconds since `EPOCH`), perhaps weight, and whether a row is `future` and `kept`."""
    from pyspark.sql import functions as f

    column, kind = columns["started_at"], dict(raw.dtypes)[columns["started_at"]]
    given, unit = f.col(f"`{column}`"), None
    if kind == "date":
        time = f.unix_date(given).cast("long") * DAY
    elif kind.startswith("timestamp"):
        time = f.unix_seconds(given.cast("timestamp"))
    else:
        some = [abs(row[0]) for row in raw.where(given.isNotNull()).select(given).limit(10_000).collect()]
        size = float(np.median(some)) if some else 0.0
        unit = next((name for name, n in UNITS.items() if size < 1e11 * n), "nanoseconds")
        time = f.floor(given / UNITS[unit]).cast("long")
    picked = [f.col(f"`{columns[name]}`").alias(name) for name in ("user_id", "item_id")]
    picked.append((time - START).alias("time"))
    weight = f.lit(True)
    if "weight" in columns:
        picked.append(f.col(f"`{columns['weight']}`").cast("float").alias("weight"))
        weight = (f.col("weight") > 0) & (f.col("weight") <= HEAVIEST)
    rows = raw.select(*picked)
    whole = f.lit(True)
    for name in rows.columns:
        whole = whole & f.col(name).isNotNull()
    future = whole & (f.col("time") > today)
    fine = whole & f.col("time").between(EARLIEST, LATEST) & weight
    return rows.withColumns({"future": future, "kept": fine & ~future if drop_future else fine}), unit


def _counted(address: str, rows: Any, columns: dict[str, str], cut: int, config: Config, unit: str | None) -> LogFound:
    """The counts of the rows, as loading on one machine has them.

    Raises:
        DataError: there are rows that the options forbid.
    """
    from pyspark.sql import functions as f

    names = [name for name in ("user_id", "item_id", "time", "weight") if name in rows.columns]
    clock, day = f.pmod("time", f.lit(DAY)), f.floor(f.col("time") / DAY)
    before = f.col("kept") & (f.col("time") < cut)

    def n(condition: Any) -> Any:
        return f.sum(condition.cast("long"))

    nothing = f.lit(False)
    for name in names:
        nothing = nothing | f.col(name).isNull()
    got = (
        rows.agg(
            f.count("*").alias("rows"),
            *(n(f.col(name).isNull()).alias(f"null_{name}") for name in names),
            n(nothing).alias("null_rows"),
            n(f.col("future")).alias("futures"),
            n(~nothing & ~f.col("kept") & ~f.col("future")).alias("outside"),
            f.min(f.when(f.col("kept"), f.col("time"))).alias("first"),
            f.max(f.when(f.col("kept"), f.col("time"))).alias("last"),
            n(f.col("kept") & f.col("time").between(ZERO, ZERO + DAY - 1)).alias("undated"),
            *(
                fn(f.when(before, of)).alias(f"{fn.__name__}_{what}")
                for fn in (f.min, f.max)
                for what, of in (("clock", clock), ("day", day))
            ),
        )
        .collect()[0]
        .asDict()
    )
    options = config.data
    for rule, count, what in (
        (options.on_null, got["null_rows"], "without a value that is needed"),
        (options.on_future, got["futures"], "later than now"),
        ("error", got["outside"], "with a time outside of 1932 to 2068, or a weight that is not above 0"),
    ):
        if rule == "error" and count:
            raise DataError(f"{address}: {counted(count, 'row')} {what}, of {got['rows']:,}. Drop them first.")
    days = got["min_clock"] == got["max_clock"] and (got["min_clock"] == 0 or got["min_day"] != got["max_day"])
    dropped = {"on_null": got["null_rows"], "on_future": got["futures"] if options.on_future == "drop" else 0}
    return LogFound(
        path=address,
        columns=columns,
        rows=got["rows"],
        kept=0,
        nulls={"started_at" if name == "time" else name: n for name in names if (n := got[f"null_{name}"])},
        null_rows=got["null_rows"],
        futures=got["futures"],
        orphans=0,
        duplicates=None,
        dropped={rule: count for rule, count in dropped.items() if count},
        first=None if got["first"] is None else to_moment(got["first"]).isoformat(sep=" "),
        last=None if got["last"] is None else to_moment(got["last"]).isoformat(sep=" "),
        days=bool(days),
        undated=got["undated"] or 0,
        unit=unit,
    )


def _by_item(rows: Any, cut: int) -> Any:
    from pyspark.sql import functions as f

    before = f.sum((f.col("time") < cut).cast("long"))
    return rows.groupBy("item_id").agg(before.alias("train"), (f.count("*") - before).alias("test"))


def _build(names: Any, cut: int, drop: bool, weighted: bool, batches: Iterator[pa.RecordBatch]) -> Iterator[Any]:
    """The one shard of a part of the rows."""
    from pyspark import TaskContext

    every = [batch for batch in batches if batch.num_rows]
    if not every:
        return
    table = pl.DataFrame(pa.Table.from_batches(every))
    del every
    known, new = (Vocabulary(ids_of(name, names.value)) for name in ("known", "new"))
    item = known.encode(table["item_id"]).copy()
    unknown = np.flatnonzero(item < 0)
    found = new.encode(table["item_id"].gather(unknown))
    item[unknown] = np.where(found >= 0, len(known) + found, -1)
    time = table["time"].to_numpy().astype(np.int32)
    weight = table["weight"].to_numpy().astype(np.float32) if weighted else np.empty(0, np.float32)
    place = TaskContext.get().partitionId()
    sizes = len(known), len(known) + len(new)
    shard = Shard.build(place, table["user_id"], item, time, weight, cut, drop, sizes)
    yield packed_row(place, pack(shard.arrays()))
