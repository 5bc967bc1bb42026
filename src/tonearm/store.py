"""The run directory: written beside its place under a temporary name, and moved there whole or not at all."""

import hashlib
import json
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from tonearm.errors import DataError, OutputError
from tonearm.types import AnyArray

MANIFEST = "manifest.json"


@contextmanager
def new_directory(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well, and vanishes when it does not.

    Raises:
        OutputError: `out` exists (and may not be overwritten), or its place cannot be written to.
    """
    check_free(out, overwrite)
    above = [folder for folder in out.parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        _remove_empty(above)
        raise OutputError(f"{out}: cannot be written ({error.strerror}). Choose another --out.") from error
    try:
        temporary.chmod(0o755)
        yield temporary
        if overwrite and out.exists():
            _replace(out, temporary)
        else:
            temporary.rename(out)
    except OSError as error:
        raise OutputError(
            f"{out}: writing failed ({error.strerror or error}). Free some space or choose another --out; "
            "nothing was left behind."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(above)


def _replace(old: Path, new: Path) -> None:
    """Put one folder in the place of another, which comes back if that is stopped half-way."""
    aside = Path(tempfile.mkdtemp(prefix=f".{old.name}.old.", dir=old.parent)) / "run"
    old.rename(aside)
    try:
        new.rename(old)
    except BaseException:
        aside.rename(old)
        aside.parent.rmdir()
        raise
    shutil.rmtree(aside.parent)


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders, innermost first, that hold nothing."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def check_free(out: Path, overwrite: bool = False) -> None:
    """Fail early where a result could not be put.

    Raises:
        OutputError: something is there already, or the folder above cannot be written to.
    """
    if out.exists() and not (overwrite and is_run(out)):
        hint = "Pass --overwrite to replace it, or choose" if is_run(out) else "Choose"
        raise OutputError(f"{out}: exists already. {hint} another --out.")
    parent = out.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: {parent} cannot be written to. Choose another --out or change its permissions.")


def is_run(path: Path) -> bool:
    """Whether a folder is a finished run."""
    return (path / MANIFEST).is_file()


class TableWriter:
    """A parquet file that grows by tables; a context manager.

    Row groups are what `write` is given, so that memory stays at one table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pl.DataFrame) -> None:
        """Append a table; every table has the first one's columns."""
        arrow = table.to_arrow()
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, arrow.schema, compression="zstd")
        self._writer.write_table(arrow)
        self.rows += len(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def write_table(path: Path, table: pl.DataFrame) -> None:
    """One whole table as a parquet file."""
    with TableWriter(path) as writer:
        writer.write(table)


def write_json(path: Path, tree: dict[str, Any]) -> None:
    """Plain JSON without NaN."""
    path.write_text(json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises:
        DataError: there is no such file, or it is not JSON.
    """
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: there is no such file. Is {path.parent} a folder that `tonearm run` wrote?"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}).") from error
    return tree


def save_arrays(path: Path, arrays: dict[str, AnyArray]) -> None:
    """Arrays as an npz file; nothing in it is pickled."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> dict[str, AnyArray]:
    """What `save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def map_arrays(path: Path) -> dict[str, AnyArray]:
    """What `save_arrays` wrote, left on the disk until it is looked at: read-only memory maps.

    Raises:
        DataError: the file cannot be read, or is compressed.
    """
    arrays: dict[str, AnyArray] = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for member in archive.infolist():
                file.seek(member.header_offset + 26)
                name, extra = struct.unpack("<HH", file.read(4))
                file.seek(name + extra, os.SEEK_CUR)
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(file)
                if member.compress_type != zipfile.ZIP_STORED or dtype.hasobject:
                    raise ValueError(f"{member.filename} is not plain")
                size = int(np.prod(shape))
                flat: AnyArray = np.empty(size, dtype)
                if flat.nbytes > 0:
                    flat = np.memmap(path, dtype, "r", file.tell(), (size,))
                shaped = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
                arrays[member.filename.removesuffix(".npy")] = shaped
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as a model ({error}). Make the run anew.") from error
    return arrays


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """sha256 and size in bytes of every file below a folder, by its relative path."""
    return {
        str(path.relative_to(folder)): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_run(path: Path) -> Path:
    """A finished run's folder.

    Raises:
        DataError: it is not one.
    """
    if not is_run(path):
        raise DataError(f"{path}: is not a finished run (it has no {MANIFEST}). Name the --out of `tonearm run`.")
    return path
