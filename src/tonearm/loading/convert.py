"""Tables of text, and times that are text, made into parquet files on the way in, so that each later pass is fast."""

from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from weakref import finalize

import polars as pl

from tonearm.errors import DataError
from tonearm.loading.casts import SAMPLE, apply, casts_for, misread
from tonearm.loading.files import Parts, inside
from tonearm.loading.malformed import malformed

Open = Callable[[str], pl.LazyFrame]


class Scratch:
    """A folder for files that are needed for a while; it goes when nothing refers to it, or when Python ends."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="tonearm-"))
        finalize(self, rmtree, self.path, ignore_errors=True)


def convert(address: str, parts: Parts, kinds: Mapping[str, str], open_one: Open) -> tuple[Scratch, tuple[str, ...]]:
    """The wanted columns of every file in a parquet file of its own; the folder goes when nothing refers to it.

    kinds: what each wanted column is to hold, as `columns.KINDS` says
    open_one: the rows of one file; what it leaves as text is read by kind

    Raises:
        DataError: the text is malformed, or holds values that cannot be read.
    """
    folder = Scratch()
    made = tuple(
        str(folder.path / str(place) / inside(address, file)) + ".parquet" for place, file in enumerate(parts.files)
    )
    try:
        columns = {file: [c for c in kinds if c in open_one(file).collect_schema()] for file in parts.files}
        casts = casts_for(kinds, _sample(parts, columns, open_one), parts.strings)
        # A row with too many fields is refused only where all columns are read.
        flags = pl.QueryOptFlags(projection_pushdown=parts.form not in ("CSV", "TSV"))
        place = 0
        while place < len(made):
            file, wanted = parts.files[place], columns[parts.files[place]]
            Path(made[place]).parent.mkdir(parents=True, exist_ok=True)
            try:
                open_one(file).select(apply(casts, wanted)).sink_parquet(
                    made[place], compression="lz4", optimizations=flags
                )
                place += 1
            except pl.exceptions.InvalidOperationError:  # a cast failed; what cannot be parsed is another error
                wrong = misread(casts, address, [(inside(address, file), open_one(file)) for file in parts.files])
                strings = [column for column in wrong if casts[column].whole]
                if not wrong:
                    raise
                if len(strings) < len(wrong):
                    raise DataError(
                        "\n".join(said for column, said in wrong.items() if column not in strings)
                    ) from None
                casts = {column: cast for column, cast in casts.items() if column not in strings}
                place = 0
    except (pl.exceptions.PolarsError, OSError) as error:
        if "No space left" in str(error):
            raise DataError(
                f"{address}: no room in {folder.path.parent} to keep it as parquet. Set TMPDIR to a folder with more."
            ) from error
        if any("://" in file for file in parts.files):
            raise
        raise malformed(address, parts, error) from error
    return folder, made


def _sample(parts: Parts, columns: Mapping[str, list[str]], open_one: Open) -> pl.DataFrame:
    """The first rows of the first file that has each column with something in it."""
    found: dict[str, pl.Series] = {}
    for file in parts.files:
        new = [column for column in columns[file] if column not in found]
        if not new:
            break
        rows = open_one(file).select(new).head(SAMPLE).collect()
        found |= {column: rows[column].drop_nulls() for column in new if rows[column].null_count() < len(rows)}
    for file in parts.files:  # columns with nothing in them
        if new := [column for column in columns[file] if column not in found]:
            found |= open_one(file).select(new).head(0).collect().to_dict()
    size = max((len(values) for values in found.values()), default=0)
    return pl.DataFrame({column: values.extend_constant(None, size - len(values)) for column, values in found.items()})
