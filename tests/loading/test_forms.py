"""Every form that a table may come in gives what the same table gives as parquet."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tonearm.loading.count import DataOptions
from tonearm.loading.inputs import Table
from tonearm.loading.load import Loaded, load_events

CUT = datetime(2021, 1, 10)
TODAY = datetime(2021, 2, 1)
Write = Callable[[pl.DataFrame, Path], object]

PLAIN: dict[str, Write] = {
    ".csv": lambda table, path: table.write_csv(path),
    ".tsv": lambda table, path: table.write_csv(path, separator="\t"),
    ".jsonl": lambda table, path: table.write_ndjson(path),
    ".feather": lambda table, path: table.write_ipc(path, compression="lz4"),
    ".arrow": lambda table, path: table.write_ipc(path),
    ".parquet": lambda table, path: table.write_parquet(path),
}
FORMS = [*PLAIN, *(text + packed for text in (".csv", ".tsv", ".jsonl") for packed in (".gz", ".zst"))]


def write(table: pl.DataFrame, path: Path) -> str:
    """Write a table in the form that the name's end says; labels of text forms without lists as one string."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    if plain.suffix in (".csv", ".tsv"):
        lists = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.List)]
        table = table.with_columns(pl.col(lists).list.drop_nulls().list.join("|"))
    PLAIN[plain.suffix](table, plain)
    if plain != path:
        with pa.output_stream(str(path), compression="gzip" if path.suffix == ".gz" else "zstd") as packed:
            packed.write(plain.read_bytes())
        plain.unlink()
    return str(path)


def load(events: str | Table, items: str | Table | None, **options: object) -> Loaded:
    return load_events(events, items, CUT, DataOptions(**options), TODAY)  # type: ignore[arg-type]


def same(one: Loaded, other: Loaded) -> None:
    """Two loads gave the same ids, events, labels and names, train and test."""
    assert one.test is not None
    assert other.test is not None
    for mine, theirs in (
        (one.train.users, other.train.users),
        (one.train.catalogue.items, other.train.catalogue.items),
    ):
        assert mine.ids.to_list() == theirs.ids.to_list()
    for log, like in (
        (one.train.log, other.train.log),
        (one.test.log, other.test.log),
        (one.test.cold, other.test.cold),
    ):
        for array in ("start", "stop", "item", "time", "weight"):
            np.testing.assert_array_equal(getattr(log, array), getattr(like, array))
    for tags in ("genres", "artists"):
        mine_tags, their_tags = (getattr(side.train.catalogue, tags) for side in (one, other))
        assert [mine_tags.of(i) for i in range(4)] == [their_tags.of(i) for i in range(4)]
    assert one.train.catalogue.name is not None
    assert other.train.catalogue.name is not None
    assert one.train.catalogue.name.to_list() == other.train.catalogue.name.to_list()


@pytest.fixture
def like_parquet(small_events: pl.DataFrame, small_items: pl.DataFrame, tmp_path: Path) -> Loaded:
    weighted = small_events.with_columns(weight=pl.lit(1.5))
    return load(write(weighted, tmp_path / "whole.parquet"), write(small_items, tmp_path / "whole-items.parquet"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parts", ["file", "folder", "glob"])
def test_a_form_gives_what_parquet_gives(
    tmp_path: Path, small_events: pl.DataFrame, small_items: pl.DataFrame, like_parquet: Loaded, form: str, parts: str
) -> None:
    events = small_events.with_columns(weight=pl.lit(1.5))
    items = write(small_items, tmp_path / f"items{form}")
    if parts == "file":
        address = write(events, tmp_path / f"log{form}")
    else:
        write(events[:5], tmp_path / "log" / f"a{form}")
        write(events[5:], tmp_path / "log" / "2021" / f"b{form}")
        write(events, tmp_path / "log" / "_temporary" / f"c{form}")
        (tmp_path / "log" / "_SUCCESS").touch()
        address = str(tmp_path / "log" / ("" if parts == "folder" else f"**/*{form}"))
    same(load(address, items), like_parquet)
