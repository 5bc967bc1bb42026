"""Files are the ones that were written: each is known by its sha256, and held against that before it is opened."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tonearm.errors import DataError
from tonearm.runs.directory import MANIFEST, part_files, read_json, to_json

SEAL = "sha256"
"""The last key of a sealed JSON file: the digest of its text without that key."""

UNSEALED = 1
"""The format of manifests that had no seal."""

LARGE = 1 << 20
"""Bytes from which on a digest is kept for the next time."""

REPORT = "report.html"
ANEW = "Put that one back, or make the run anew."
AGAIN = "Roll back by tonearm rollback, or publish the run anew."

_known: dict[tuple[int, int, int, int], str] = {}
"""Digests of large files, by device, inode, size and time of the last change."""


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal; of a large one taken once in a process unless it changes.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        key = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
        found = _known.get(key) or hashlib.file_digest(file, "sha256").hexdigest()
        if about.st_size >= LARGE:
            _known[key] = found
        return found


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """sha256 and size in bytes of every file below a folder, by its relative path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): digest(path) for path in files}


def digest(path: Path) -> dict[str, Any]:
    """sha256 and size in bytes of a file."""
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def sealed(tree: Mapping[str, Any]) -> str:
    """JSON that ends with the sha256 of itself without that."""
    bare = {name: value for name, value in tree.items() if name != SEAL}
    return to_json(bare | {SEAL: hashlib.sha256(to_json(bare).encode()).hexdigest()})


def write_sealed(path: Path, tree: Mapping[str, Any]) -> None:
    """`sealed` as a file."""
    path.write_text(sealed(tree), encoding="utf-8")


def read_sealed(path: Path, mend: str = ANEW) -> dict[str, Any]:
    """What `write_sealed` wrote.

    mend: what to do where it is not that

    Raises:
        DataError: there is no such file, or a byte of it is another.
    """
    if not path.is_file():
        raise DataError(f"{path}: is missing. {mend}")
    tree = read_json(path)
    unsealed = tree.get("format") == UNSEALED and SEAL not in tree
    if not unsealed and sealed(tree) != path.read_text(encoding="utf-8"):
        raise DataError(f"{path}: was changed or damaged after it was written. {mend}")
    return tree


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """The manifest, with digest and size of every other file and the bytes of all of them."""
    files = {name: said for name, said in digests(folder).items() if name != MANIFEST}
    size = sum(file["bytes"] for file in files.values())
    write_sealed(folder / MANIFEST, {**manifest, "bytes": size, "files": files})


@dataclass(frozen=True)
class Files:
    """The files of a run or of a version, each held against its sha256, once in a process, before it is opened.

    said: digest and size of each; None while they are being written
    wrote: who wrote them; mend: what to do where one is another
    """

    folder: Path
    said: Mapping[str, Mapping[str, Any]] | None
    mend: str = ANEW
    wrote: str = f"that the run wrote, or {MANIFEST} is of another run"

    def find(self, name: str) -> Path | None:
        """A file; None where there never was one of that name.

        Raises:
            DataError: it is gone, cannot be read, or is not the one that was written.
        """
        path = self.folder / name
        if self.said is None:
            return path if path.is_file() else None
        if name not in self.said:
            return None
        mend = f"`tonearm report {self.folder}` writes it anew." if name == REPORT and self.mend == ANEW else self.mend
        try:
            whole = path.stat().st_size == self.said[name]["bytes"] and sha256(path) == self.said[name]["sha256"]
        except FileNotFoundError as error:
            raise DataError(f"{path}: is missing. {mend}") from error
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}). {mend}") from error
        if not whole:
            raise DataError(f"{path}: is not the file {self.wrote}. {mend}")
        return path

    def parts(self, name: str) -> list[Path] | None:
        """The files of a table: itself, or, where a cluster wrote a folder of parts, those in it that hold rows.

        Raises:
            DataError: as `find`.
        """
        path = self.find(name)
        if path is not None:
            return [path]
        inside = [part for part in self.said or () if part.startswith(f"{name}/")]
        for part in inside:
            self.need(part)
        folder = self.folder / name
        return part_files(folder) if inside or (self.said is None and folder.is_dir()) else None

    def need(self, name: str) -> Path:
        """A file that has to be there.

        Raises:
            DataError: it is not, cannot be read, or is not the one that was written.
        """
        path = self.find(name)
        if path is None:
            raise DataError(f"{self.folder / name}: is missing. {self.mend}")
        return path

    def check(self) -> None:
        """Hold every file against its digest.

        Raises:
            DataError: one is gone, cannot be read, or is not the one that was written.
        """
        for name in self.said or ():
            self.need(name)
