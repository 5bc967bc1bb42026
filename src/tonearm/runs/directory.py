"""What is written appears whole or not at all: made beside its place under a temporary name, and moved there.

A process holds a lock on its temporary files and folders. What has none was left behind by one that was killed, and the
next that writes into the same folder removes it.
"""

import ctypes
import errno
import fcntl
import json
import math
import os
import re
import shutil
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tonearm.errors import DataError, OutputError
from tonearm.types import AnyArray

MANIFEST = "manifest.json"

BASE = "base"
"""In a model's file: the source whose file has the arrays that are not in this one."""

ALIGNMENT, ZIP64 = 0xD935, 20
"""In a zip file: the mark of a field that only fills a gap, as in Android, and the bytes of a large member's sizes."""

SUFFIX = ".tonearm-partial"
"""How names of temporary files and folders end."""


@contextmanager
def new_directory(out: Path, overwrite: bool = False, *, empty: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well, and vanishes when it does not.

    A run that is overwritten is exchanged in one step, so that either the old or the new one is there at any time;
    where `out` is a link, what it leads to is replaced.

    empty: an empty folder may be in the place

    Raises:
        OutputError: `out` exists (and may not be overwritten), or its place cannot be written to.
    """
    if not (empty and out.is_dir() and not out.is_mount() and not any(out.iterdir())):
        check_free(out, overwrite)
    place = out.resolve()
    with _in_folder(out, place) as (temporary, _handle):
        yield temporary
        for path in sorted(temporary.rglob("*"), reverse=True):  # what is inside comes before its folder
            _sync(path)
        _sync(temporary)
        if overwrite and place.exists():
            _exchange(temporary, place)
        else:
            temporary.rename(place)


def write_whole(out: Path, text: str) -> None:
    """Write a file so that it is never seen half-written; its folder is made where there is none.

    Raises:
        OutputError: there is no room or no permission.
    """
    place = out.resolve()  # a link stays a link
    with _in_folder(out, place, file=True) as (temporary, handle):
        with open(handle, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
        os.fsync(handle)
        temporary.replace(place)


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """A temporary file that becomes `out` when the block ends well, and vanishes when it does not.

    Raises:
        OutputError: there is no room or no permission.
    """
    place = out.resolve()  # a link stays a link
    with _in_folder(out, place, file=True) as (temporary, _handle):
        yield temporary
        _sync(temporary)
        temporary.replace(place)


@contextmanager
def _in_folder(out: Path, place: Path, *, file: bool = False) -> Iterator[tuple[Path, int]]:
    """A locked temporary file or folder beside a place; whatever is left of it is removed at the end."""
    above = [folder for folder in place.parents if not folder.exists()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place.parent)
        temporary, handle = _lend(place, file)
    except OSError as error:
        _remove_empty(above)
        raise OutputError(f"{out}: cannot be written ({error.strerror}). Choose another --out.") from error
    try:
        temporary.chmod(0o644 if file else 0o755)
        yield temporary, handle
        _sync(place.parent)
    except OSError as error:
        where = error.filename
        elsewhere = f": {where}" if isinstance(where, str) and not Path(where).is_relative_to(temporary) else ""
        raise OutputError(
            f"{out}: writing failed ({error.strerror or error}{elsewhere}). Free some space or choose another --out; "
            "nothing was left behind."
        ) from error
    finally:
        _remove(temporary)
        os.close(handle)
        _remove_empty(above)


def _lend(place: Path, file: bool) -> tuple[Path, int]:
    """A new temporary file or folder, and an open handle that holds a lock on it."""
    while True:
        if file:
            handle, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=SUFFIX, dir=place.parent)
        else:
            name = tempfile.mkdtemp(prefix=f".{place.name}.", suffix=SUFFIX, dir=place.parent)
            try:
                handle = os.open(name, os.O_RDONLY)
            except FileNotFoundError:  # another process swept it before it was locked
                continue
        with suppress(OSError):  # a file system without locks, where nothing is swept either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if Path(name).exists():
            return Path(name), handle
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove temporary files and folders that no process holds a lock on."""
    ours = re.compile(rf"\..*\.[a-z0-9_]{{8}}{re.escape(SUFFIX)}")
    for path in [path for path in folder.iterdir() if ours.fullmatch(path.name)] if os.access(folder, os.R_OK) else []:
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, as far as that can be done."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():  # a writer that failed may still have been closing its files
            time.sleep(0.5)
            shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before what follows."""
    with suppress(OSError) if path.is_dir() else nullcontext():  # not every file system can do it for folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _exchange(new: Path, old: Path) -> None:
    """Put one folder in the place of another, and that in its, in one step where the file system can do that."""
    libc = ctypes.CDLL(None, use_errno=True)
    names, done = (os.fsencode(new), os.fsencode(old)), -1
    if hasattr(libc, "renameat2"):
        here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        done = libc.renameat2(here, names[0], here, names[1], exchange)
    elif hasattr(libc, "renamex_np"):
        done = libc.renamex_np(*names, 2)  # RENAME_SWAP
    if done == 0:
        return
    if ctypes.get_errno() not in (0, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(old))
    old.rename(_aside(old))
    try:
        new.rename(old)
    finally:
        _bring_back(old)


def _aside(place: Path) -> Path:
    """Where the old run waits for a moment, on file systems that cannot exchange two folders."""
    return place.with_name(f".{place.name}.old{SUFFIX}")


def _bring_back(place: Path) -> None:
    """Bring the old run back that waits aside, or remove it where the new one is in its place."""
    if place.exists():
        _remove(_aside(place))
    elif _aside(place).exists():
        _aside(place).rename(place)


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
    for link in (out.absolute(), *out.absolute().parents):
        if link.is_symlink() and not link.exists():
            raise OutputError(
                f"{out}: {link} is a link to {link.readlink()}, which is not there. Remove it or choose another --out."
            )
    with suppress(OSError):
        _bring_back(out.resolve())
    if out.exists() and not (overwrite and is_run(out)):
        hint = "Pass --overwrite to replace it, or choose" if is_run(out) else "Choose"
        raise OutputError(f"{out}: exists already. {hint} another --out.")
    parent = out.resolve().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: {parent} cannot be written to. Choose another --out or change its permissions.")


def is_run(path: Path) -> bool:
    """Whether a folder is a finished run."""
    return (path / MANIFEST).is_file()


class TableWriter:
    """A parquet file that grows by tables; a context manager.

    Row groups are what `write` is given, so that memory stays at one table, or several tables that end one of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []

    def write(self, table: pl.DataFrame) -> None:
        """Append a table; every table has the first one's columns."""
        self.append(table.to_arrow())

    def append(self, arrow: pa.Table, ends: bool = True) -> None:
        """The same of an Arrow table; ends: the row group ends with it."""
        self._waiting.append(arrow)
        if not ends:
            return
        whole = arrow if len(self._waiting) == 1 else pa.concat_tables(self._waiting).combine_chunks()
        self._waiting.clear()
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, whole.schema, compression="zstd")
        self._writer.write_table(whole)
        self.rows += len(whole)

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


def to_json(tree: dict[str, Any]) -> str:
    """Plain JSON without NaN."""
    return json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, tree: dict[str, Any]) -> None:
    """`to_json` as a file."""
    path.write_text(to_json(tree), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises:
        DataError: there is no such file, or it is not JSON.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: there is no such file. Is {path.parent} a folder that `tonearm run` wrote?"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read as JSON ({reason}). Put that one back, or make it anew.") from error
    if not isinstance(tree, dict):
        raise DataError(f"{path}: holds a {type(tree).__name__} where names and values belong. Make the run anew.")
    return tree


@dataclass(frozen=True)
class Joined:
    """Arrays of one dimension that are written end to end, as one that need not fit into memory.

    parts: yields them anew at each call
    """

    parts: Callable[[], Iterator[AnyArray]]
    dtype: np.dtype[Any]

    def write(self, stream: IO[bytes]) -> None:
        """Write it as `np.lib.format.write_array` would."""
        n = sum(len(part) for part in self.parts())
        about = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (n,)}
        np.lib.format.write_array_header_1_0(stream, about)
        for part in self.parts():
            stream.write(np.ascontiguousarray(part, self.dtype).tobytes())


def save_arrays(path: Path, arrays: Mapping[str, AnyArray | Joined]) -> None:
    """Arrays as an npz file that can be mapped: nothing is pickled or compressed, and each is aligned to 64 bytes."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            header = 30 + len(member.filename.encode()) + ZIP64 + 4
            gap = -(file.tell() + header) % 64
            member.extra = struct.pack("<HH", ALIGNMENT, gap) + bytes(gap)
            with archive.open(member, "w", force_zip64=True) as stream:
                if isinstance(array, Joined):
                    array.write(stream)
                else:
                    np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def load_arrays(path: Path) -> dict[str, AnyArray]:
    """What `save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def map_arrays(path: Path) -> dict[str, AnyArray]:
    """What `save_arrays` wrote, left on the disk until it is looked at: a memory map whose changes stay in memory.

    All arrays share one map, as each map holds a file open.

    Raises:
        DataError: the file cannot be read, or is compressed.
    """
    arrays: dict[str, AnyArray] = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            # not read-only, for which kernels would be compiled anew
            whole: AnyArray = np.asarray(np.memmap(file, np.uint8, "c"))
            for member in archive.infolist():
                file.seek(member.header_offset + 26)
                name, extra = struct.unpack("<HH", file.read(4))
                file.seek(name + extra, os.SEEK_CUR)
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(file)
                if member.compress_type != zipfile.ZIP_STORED or dtype.hasobject:
                    raise ValueError(f"{member.filename} is not plain")
                size = math.prod(shape)
                if min((0, *shape)) < 0 or size * dtype.itemsize > member.file_size:
                    raise ValueError(f"{member.filename} holds less than it says")
                flat: AnyArray = np.empty(size, dtype)
                if flat.nbytes > 0:
                    flat = whole[file.tell() : file.tell() + flat.nbytes].view(dtype)
                shaped = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
                arrays[member.filename.removesuffix(".npy")] = shaped
    except Exception as error:  # NumPy and zipfile raise all there is, depending on which byte is wrong
        raise DataError(f"{path}: cannot be read as a model ({error}). Make the run anew.") from error
    return arrays


def read_model(
    name: str, read: Callable[[str], dict[str, AnyArray]], known: dict[str, dict[str, AnyArray]]
) -> dict[str, AnyArray]:
    """A source's arrays: those of its own file, and those that the file's `base` has and it has not.

    read: what the file of a source holds; known: what has been read so far, taken from and added to
    """
    if name not in known:
        own = read(name)
        base = str(own.pop(BASE, ""))
        known[name] = own  # before its base, which may not be built on it
        if base:
            known[name] = read_model(base, read, known) | own
    return known[name]


def part_files(path: Path) -> list[Path]:
    """The files of a table: itself, or, where a cluster wrote a folder of parts, those in it that hold rows."""
    if not path.is_dir():
        return [path]
    parts = sorted(path.glob("*.parquet"))
    return [part for part in parts if pq.read_metadata(part).num_rows > 0] or parts[:1]


def open_run(path: Path) -> Path:
    """A finished run's folder.

    Raises:
        DataError: it is not one.
    """
    if not is_run(path):
        raise DataError(f"{path}: is not a finished run (it has no {MANIFEST}). Name the --out of `tonearm run`.")
    return path
