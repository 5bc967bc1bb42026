"""Events that a service took in as a log of parquet, with the ids that the run's own log has."""

from pathlib import Path

import polars as pl

from tonearm.errors import OutputError
from tonearm.serving.events import Event, EventStore
from tonearm.serving.publish import current
from tonearm.terminal.words import counted

SCHEMA = {"user_id": pl.String, "item_id": pl.String, "at": pl.Float64, "kind": pl.String, "weight": pl.Float64}


def export(events: EventStore, store: Path, out: Path) -> str:
    """Write user_id, item_id, started_at, kind and weight of every event, in order of time; returns words on it.

    Ids are whole numbers where those of the served version are. An event whose ids cannot be is left out, and counted.

    Raises:
        OutputError: the file cannot be written.
    """
    version = current(store)
    rows = [event[1:] for event in events.events()]
    assert Event._fields[1:] == tuple(SCHEMA)
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    tables = {} if version is None else {"user_id": version.users, "item_id": version.items}
    whole = [name for name, ids in tables.items() if ids.numeric]
    typed = table.with_columns(pl.col(whole).cast(pl.Int64, strict=False)).drop_nulls(whole)
    moment = pl.from_epoch((pl.col("at") * 1e6).round().cast(pl.Int64), time_unit="us")
    typed = typed.select("user_id", "item_id", moment.alias("started_at"), "kind", "weight")
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        typed.write_parquet(partial)
        partial.replace(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}). Choose another --out.") from error
    left = len(table) - len(typed)
    odd = f"; {counted(left, 'event')} with ids that are no whole numbers left out" if left else ""
    return f"Wrote {counted(len(typed), 'event')} to {out}{odd}"
