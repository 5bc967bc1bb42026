"""Which files an address stands for, and how the files of one table fit together."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import available_timezones

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tonearm.errors import DataError

_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Parts:
    """The files of one table.

    files: local paths or addresses, in order of name
    schema: the columns of all files, in the order they come up, then the keys; a file without one holds nulls there
    keys: columns that stand in the names of folders, as in `date=2022-01-01/`
    clashes: columns that are of types that do not go together, with words on which files hold which
    uniform: every file has the columns of the first, so that nothing needs to be filled in or widened
    """

    files: tuple[str, ...]
    schema: pl.Schema
    keys: tuple[str, ...] = ()
    clashes: dict[str, str] = field(default_factory=dict)
    uniform: bool = True


def local_path(address: str) -> Path:
    """A local address as a path, `~` taken to the home folder.

    Raises:
        DataError: there is no such home folder, or the name is not UTF-8.
    """
    check_name(address)
    try:
        return Path(address).expanduser()
    except RuntimeError as error:
        raise DataError(f"{address}: this user has no home folder to take ~ to. Write the path in full.") from error


def check_name(address: str) -> None:
    """Raises DataError where a name cannot be written as UTF-8, which the readers of tables need."""
    try:
        address.encode()
    except UnicodeEncodeError as error:
        shown = address.encode("utf-8", "backslashreplace").decode()
        raise DataError(f"{shown}: the name of the file is not UTF-8. Rename it.") from error


def local_files(address: str) -> tuple[str, ...]:
    """The files of a local path, folder or pattern.

    In folders, files and folders whose names begin with _ or . are not data and are passed over, as `_temporary/`.

    Raises:
        DataError: there is none, or one is a pipe, empty, cut off or no parquet.
    """
    path = local_path(address)
    if path.is_dir():
        files = _data(path.rglob("*.parquet"), path, ())
        if not files:
            raise DataError(f"{address}: the folder holds no .parquet file. Point at the folder that does.")
    elif path.is_file():
        files = [str(path)]
    elif path.exists():
        raise DataError(
            f"{address}: is a pipe or a device, and a table is read more than once. Write it to a file, and name that."
        )
    elif _PATTERN.search(address):
        pattern = path.relative_to(path.anchor)
        files = _data(Path(path.anchor or ".").glob(str(pattern)), Path(path.anchor or "."), pattern.parts)
        if not files:
            raise DataError(f"{address}: no file matches. Check the pattern, and quote it in the shell.")
    else:
        raise DataError(f"{address}: no such file or folder. Check the path.")
    for file in files:
        check_name(file)
        _check_magic(address, file)
        _allow_zones(file)
    return tuple(files)


def remote_files(address: str, scan: Callable[[Sequence[str]], pl.LazyFrame]) -> tuple[str, ...]:
    """The files of a remote address: itself, or what its pattern or folder holds, as the store tells."""
    if address.endswith(".parquet") and not _PATTERN.search(address):
        return (address,)
    pattern = address if _PATTERN.search(address) else address.rstrip("/") + "/**/*.parquet"
    found = scan([pattern]).select(pl.col("path").unique()).collect(engine="streaming")["path"].to_list()
    root = _root(pattern)
    files = sorted(file for file in found if not _hidden(file.removeprefix(root).split("/"), pattern.split("/")))
    if not files:
        raise DataError(f"{address}: no .parquet file is there. Check the address.")
    return tuple(files)


def fit(address: str, files: tuple[str, ...], schema_of: Callable[[str], pl.Schema]) -> Parts:
    """How files go together: the union of their columns, widened where numbers are of several widths.

    schema_of: the columns of one file
    """
    schema = dict(schema_of(files[0]))
    owner = dict.fromkeys(schema, files[0])
    clashes: dict[str, str] = {}
    uniform = True
    for file in files[1:]:
        columns = schema_of(file)
        uniform &= list(columns.items()) == list(schema.items())
        for name, dtype in columns.items():
            wider = _wider(schema.setdefault(name, dtype), dtype)
            if wider is None:
                clashes.setdefault(
                    name,
                    f"{address}: {name} is of type {schema[name]} in {inside(address, owner[name])} and {dtype} in "
                    f"{inside(address, file)}. Write the files anew with one type.",
                )
            else:
                schema[name] = wider
            owner.setdefault(name, file)
    return Parts(files, pl.Schema(schema), _keys(address, files), clashes, uniform)


def inside(address: str, file: str) -> str:
    """A file's name as seen from the folder or pattern that it was found by."""
    root = _root(address)
    return file.removeprefix(root).lstrip("/") if root and file.startswith(root) else Path(file).name


def _root(address: str) -> str:
    """The part of an address before its pattern; a folder's address itself."""
    path = address if "://" in address else str(local_path(address))
    found = _PATTERN.search(path)
    return path.rstrip("/") + "/" if found is None else path[: path.rfind("/", 0, found.start()) + 1]


def _data(found: Iterable[Path], root: Path, wanted: tuple[str, ...]) -> list[str]:
    return sorted(str(p) for p in found if p.is_file() and not _hidden(p.relative_to(root).parts, wanted))


def _hidden(names: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a path has a part that no reader of tables takes for data, and that the pattern does not name itself."""
    return any(
        name not in wanted and (name.startswith(".") or (name.startswith("_") and "=" not in name)) for name in names
    )


def _keys(address: str, files: tuple[str, ...]) -> tuple[str, ...]:
    """The keys in the names of folders below an address; none unless every file has the same."""
    folders = {
        tuple(part.partition("=")[0] for part in inside(address, file).split("/")[:-1] if "=" in part) for file in files
    }
    return folders.pop() if len(folders) == 1 else ()


def _wider(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """The type that holds both; None where nothing but a cast by the caller would do."""
    if one == other:
        return one
    if not (one.is_integer() and other.is_integer()) and not (one.is_float() and other.is_float()):
        return None
    both = pl.concat(
        [pl.Series([], dtype=one).to_frame("x"), pl.Series([], dtype=other).to_frame("x")], how="vertical_relaxed"
    )
    wider = both["x"].dtype
    return wider if wider.is_integer() == one.is_integer() else None


def _check_magic(address: str, file: str) -> None:
    with Path(file).open("rb") as stream:
        start = stream.read(4)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 4))
        end = stream.read(4)
    if size >= 12 and start == end == b"PAR1":
        return
    where = address if file == address else f"{address} ({inside(address, file)})"
    if size == 0:
        what = "the file is empty"
    elif start == b"PAR1":
        what = "the parquet file is cut off before its end"
    else:
        what = "not a parquet file"
    raise DataError(f"{where}: {what}. Write the table as parquet, for instance with polars' write_parquet.")


def _allow_zones(file: str) -> None:
    """Have Polars accept a time zone that it does not know: times are stored as UTC, so their zone does not matter."""
    try:
        zones = {kind.tz for kind in pq.read_schema(file).types if pa.types.is_timestamp(kind)} - {None, "UTC"}
    except (pa.ArrowException, OSError):
        return
    if not zones <= available_timezones():
        os.environ.setdefault("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", "1")
