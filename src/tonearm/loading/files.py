"""Which files an address stands for, and how the files of one table fit together."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import available_timezones

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tonearm.errors import DataError

FORMS = {
    "parquet": (".parquet",),
    "CSV": (".csv",),
    "TSV": (".tsv", ".tab"),
    "JSON lines": (".jsonl", ".ndjson", ".json"),
    "Arrow": (".arrow", ".feather", ".ipc"),
}
"""The forms of a table, and how their files' names end."""

PACKED = (".gz", ".zst")
"""How the names of packed files end; only text is packed as a whole."""

TEXTS = ("CSV", "TSV", "JSON lines")

STORES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_", "https": "", "http": ""}
"""The addresses that are read: how they begin, and how the settings for them in the environment do."""

_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Parts:
    """The files of one table.

    files: local paths or addresses, in order of name
    schema: the columns of all files, in the order they come up, then the keys; a file without one holds nulls there
    form: one of `FORMS`
    keys: columns that stand in the names of folders, as in `date=2022-01-01/`
    clashes: columns that are of types that do not go together, with words on which files hold which
    uniform: every file has the columns of the first, so that nothing needs to be filled in or widened
    separator: what stands between the fields of CSV and TSV
    """

    files: tuple[str, ...]
    schema: pl.Schema
    form: str = "parquet"
    keys: tuple[str, ...] = ()
    clashes: dict[str, str] = field(default_factory=dict)
    uniform: bool = True
    separator: str = ","

    @property
    def strings(self) -> tuple[str, ...]:
        """Columns of JSON lines that are strings, whatever they look like."""
        return tuple(c for c, dtype in self.schema.items() if self.form == "JSON lines" and dtype == pl.String)


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


def form_of(name: str) -> str | None:
    """The form of a file by how its name ends; None where that tells nothing."""
    name = name.lower()
    plain = next((name.removesuffix(ending) for ending in PACKED if name.endswith(ending)), name)
    for form, endings in FORMS.items():
        if plain.endswith(endings) and (plain == name or form in TEXTS):
            return form
    return None


def local_files(address: str) -> tuple[tuple[str, ...], str]:
    """The files of a local path, folder or pattern, and the form that all of them have.

    In folders, files and folders whose names begin with _ or . are not data and are passed over, as `_temporary/`.

    Raises:
        DataError: there is none, they are of several forms, or one is a pipe, empty, cut off or of no form.
    """
    path = local_path(address)
    if path.is_dir():
        files = [file for file in _data(path.rglob("*"), path, ()) if form_of(file)]
        if not files:
            raise DataError(f"{address}: the folder holds no {_any_form()} file. Point at the folder that does.")
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
    forms: dict[str, str] = {}
    for file in files:
        check_name(file)
        forms.setdefault(_form_within(address, file), file)
        if "parquet" in forms:
            _allow_zones(file)
    return tuple(files), one_form(address, forms)


def remote_files(address: str, scan: Callable[[str, str], pl.LazyFrame]) -> tuple[tuple[str, ...], str]:
    """The files of a remote address, itself or what its pattern or folder holds, as the store tells; and their form.

    Patterns of text stay patterns, so that nothing is read twice.

    scan: rows at a pattern of a form, with a column `path` for the file that each row is of
    """
    form = form_of(address)
    if form is not None and not _PATTERN.search(address):
        return (address,), form
    if address.startswith("http"):
        packed = f"packed text also in {' or '.join(PACKED)}"
        raise DataError(
            f"{address}: a web server does not list its files. Name one that ends in {_any_form()}, {packed}."
        )
    patterns = {form or "parquet": [address]} if _PATTERN.search(address) else _patterns_within(address, scan)
    form = one_form(address, {form: some[0] for form, some in patterns.items()})
    if form in TEXTS:
        return tuple(patterns[form]), form
    found = [
        file
        for pattern in patterns[form]
        for file in scan(pattern, form).select(pl.col("path").unique()).collect(engine="streaming")["path"]
        if not _hidden(file.removeprefix(_root(pattern)).split("/"), pattern.split("/"))
    ]
    if not found:
        raise DataError(f"{address}: no {FORMS[form][0]} file is there. Check the address.")
    return tuple(sorted(found)), form


def is_pattern(address: str) -> bool:
    """Whether a remote address stands for several files."""
    return "://" in address and _PATTERN.search(address) is not None


def visible(pattern: str, path: str) -> pl.Expr:
    """Whether a file that a pattern found counts as data of a form; path: the column of its name."""
    name = pl.col(path).str.strip_prefix(_root(pattern))
    hidden = name.str.contains(r"(^|/)(\.|_[^/=]*(/|$))") if "/_" not in pattern else pl.lit(False)
    return ~hidden


def _patterns_within(address: str, scan: Callable[[str, str], pl.LazyFrame]) -> dict[str, list[str]]:
    """The patterns that a remote folder has files for, by form; those of parquet where it has none."""
    found: dict[str, list[str]] = {}
    for form, endings in FORMS.items():
        for ending in endings:
            pattern = f"{address.rstrip('/')}/**/*{ending}"
            for packed in ("", *PACKED) if form in TEXTS else ("",):
                with suppress(pl.exceptions.PolarsError, OSError):
                    scan(pattern + packed, form).collect_schema()
                    found.setdefault(form, []).append(pattern + packed)
    return found or {"parquet": [f"{address.rstrip('/')}/**/*.parquet"]}


def fit(address: str, bare: Parts, schema_of: Callable[[str], pl.Schema]) -> Parts:
    """How files go together: the union of their columns, widened where numbers are of several widths.

    bare: the files, nothing known of their columns
    schema_of: the columns of one file
    """
    files = bare.files
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
    return replace(bare, schema=pl.Schema(schema), keys=_keys(address, files), clashes=clashes, uniform=uniform)


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


def _any_form() -> str:
    endings = [ending for some in FORMS.values() for ending in some]
    return f"{', '.join(endings[:-1])} or {endings[-1]}"


def one_form(address: str, forms: dict[str, str]) -> str:
    """The only form; forms: a file of each."""
    if len(forms) > 1:
        mix = " and ".join(f"{form} ({inside(address, file)})" for form, file in forms.items())
        raise DataError(f"{address}: the files are of several forms, {mix}. Name those of one, as by a pattern.")
    return next(iter(forms))


def _form_within(address: str, file: str) -> str:
    """The form of a file by its name, and by its first bytes where the name tells nothing."""
    form = form_of(file)
    with Path(file).open("rb") as stream:
        start = stream.read(6)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 4))
        end = stream.read(4)
    where = address if file == address else f"{address} ({inside(address, file)})"
    if form is None and start == b"ARROW1":
        return "Arrow"
    if size == 0:
        raise DataError(f"{where}: the file is empty. Write the table anew, with its columns.")
    if form not in (None, "parquet") or (size >= 12 and start[:4] == end == b"PAR1"):
        return form or "parquet"
    if start[:4] == b"PAR1":
        what = "the parquet file is cut off before its end"
    elif form is None:
        raise DataError(f"{where}: no table that is read here, as far as its name tells. End it in {_any_form()}.")
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
