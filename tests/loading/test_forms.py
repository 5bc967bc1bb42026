"""Every form that a table may come in gives what the same table gives as parquet."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tonearm.errors import DataError
from tonearm.loading.count import DataOptions
from tonearm.loading.inputs import Source, open_input
from tonearm.loading.load import Loaded, load_all, load_events
from tonearm.loading.tables import as_source

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


def load(events: Source, items: Source | None, **options: object) -> Loaded:
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


@pytest.mark.parametrize("form", FORMS)
def test_a_list_of_paths(
    tmp_path: Path, small_events: pl.DataFrame, small_items: pl.DataFrame, like_parquet: Loaded, form: str
) -> None:
    """Files of one name in two folders are both read; a file that is named twice is read once."""
    events = small_events.with_columns(weight=pl.lit(1.5))
    one = write(events[:5], tmp_path / "a" / f"p{form}")
    other = write(events[5:], tmp_path / "b" / f"p{form}")
    items = write(small_items, tmp_path / f"items{form}")
    loaded = load(as_source([one, Path(other), one], "events"), as_source([items], "items"))
    same(loaded, like_parquet)
    assert loaded.fingerprints[0].bytes == Path(one).stat().st_size + Path(other).stat().st_size


@pytest.mark.parametrize("form", [".csv", ".jsonl.gz", ".arrow", ".parquet"])
def test_keys_in_the_names_of_folders(
    tmp_path: Path, small_events: pl.DataFrame, small_items: pl.DataFrame, form: str
) -> None:
    days = small_events.with_columns(pl.col("started_at").dt.date())
    for [day], rows in days.group_by("started_at"):
        write(rows.drop("started_at"), tmp_path / "log" / f"date={day}" / f"part-0{form}")
    items = write(small_items, tmp_path / "items.parquet")
    same(load(str(tmp_path / "log"), items), load(write(days, tmp_path / "whole.parquet"), items))


@pytest.mark.parametrize("form", [".csv", ".jsonl", ".arrow", ".parquet"])
def test_files_of_other_columns(tmp_path: Path, small_events: pl.DataFrame, form: str) -> None:
    write(small_events[5:].with_columns(weight=pl.lit(2.0)), tmp_path / "log" / f"a{form}")
    write(small_events[:5].select("started_at", "item_id", "user_id"), tmp_path / "log" / f"b{form}")
    with pytest.raises(DataError, match=rf"5 of 12 rows have no weight \(first: row 1 of b\{form}\)"):
        load(str(tmp_path / "log"), None)
    assert load_all(str(tmp_path / "log"), None, DataOptions(on_null="drop"), TODAY).train.log.n_events == 7


def test_a_column_that_nobody_reads_may_hold_anything(tmp_path: Path, small_events: pl.DataFrame) -> None:
    write(small_events[:5].with_columns(note=pl.lit("1")), tmp_path / "log" / "a.jsonl")
    write(small_events[5:].with_columns(note=pl.lit([1, 2])), tmp_path / "log" / "b.jsonl")
    assert load(str(tmp_path / "log"), None).found.logs["events"].rows == 12
    assert set(open_input(str(tmp_path / "log")).schema) == {"user_id", "item_id", "started_at", "note"}


def test_no_room_for_text(tmp_path: Path, small_events: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", full)
    with pytest.raises(DataError, match=r"log\.csv: no room in .* to keep it as parquet\. Set TMPDIR to a folder"):
        load(write(small_events, tmp_path / "log.csv"), None)
