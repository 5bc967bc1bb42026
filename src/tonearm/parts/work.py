"""How work on parts of the users is asked for, and put together again; who does it is told by `Parts`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from os import getpid, link
from pathlib import Path
from shutil import copyfile, copytree, rmtree
from typing import Any, Protocol, TypeVar, cast
from uuid import uuid4

import numpy as np

from tonearm.parts.shard import Shard
from tonearm.runs import directory
from tonearm.terminal.progress import Progress
from tonearm.types import AnyArray

T = TypeVar("T", covariant=True)

Arrays = dict[str, AnyArray]

LITTLE = 1 << 20
"""Bytes up to which what a task has made goes on through Java; more of it goes as a file of the run."""


class Shared(Protocol[T]):
    """What every machine holds for a while."""

    @property
    def value(self) -> T:
        """The thing."""
        ...

    def destroy(self) -> None:
        """Hold it no longer."""
        ...


@dataclass(frozen=True)
class InFile:
    """Arrays in a file that every machine reaches; one, or several."""

    path: Path
    several: bool

    @classmethod
    def of(cls, folder: Path, value: AnyArray | tuple[AnyArray, ...]) -> "InFile":
        """An array, or several, in a new file of a folder."""
        several, path = isinstance(value, tuple), folder / f"{uuid4().hex}.npz"
        directory.save_arrays(path, {str(i): array for i, array in enumerate(value if several else (value,))})
        return cls(path, several)

    @property
    def value(self) -> Any:
        """The arrays, mapped."""
        arrays = tuple(directory.map_arrays(self.path).values())
        return arrays if self.several else arrays[0]

    def destroy(self) -> None:
        """Delete the file; whoever has mapped it keeps it until it lets go."""
        self.path.unlink()


class Parts(Protocol):
    """The users of a log in shards, and whoever works on these; tasks are functions that can be pickled.

    run: a name that no other run has; progress: what it is told of the tasks; tasks: how many run at a time
    """

    @property
    def run(self) -> str: ...

    @property
    def progress(self) -> Progress: ...

    @property
    def tasks(self) -> int: ...

    def total(self, task: Callable[[Shard], Arrays], size: int = 0) -> Arrays:
        """The sums over all shards of the arrays that a task makes of each, whose sizes do not grow with users.

        Of names that begin with "least" or "most" it is the least or the most; those that begin with "each" follow one
        another in the order of shards. Of arrays of several lengths the shorter ones count as ending in zeros.

        size: bytes that the result has, so that large ones are not summed in one place
        """
        ...

    def gather(self, task: Callable[[Shard], Arrays]) -> list[tuple[int, Arrays]]:
        """What a task makes of every shard, by its place, in order; all of it comes here, so it must be little."""
        ...

    def grouped(
        self,
        task: Callable[[Shard], Iterator[tuple[int, Arrays]]],
        more: Sequence[tuple[int, Arrays]],
        join: Callable[[int, list[Arrays]], Arrays],
    ) -> list[Arrays]:
        """What `join` makes of all that tasks give each group, in the order of shards, and of the groups in theirs.

        more: what follows that of all shards
        """
        ...

    def share(self, value: AnyArray | tuple[AnyArray, ...]) -> Shared[Any]:
        """Bring an array, or several, to every machine."""
        ...


_here: list[Path] = []


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Do tasks in a folder of this machine."""
    _here.append(folder)
    try:
        yield
    finally:
        _here.pop()


def here(name: str) -> Path:
    """Where a task keeps something on the disk of its machine."""
    return _here[-1] / name


def brought(folder: Path) -> Path:
    """A folder that every machine reaches, on the disk of this one, in place of what was brought before it.

    Where both are on one disk nothing is copied.
    """
    own = here("brought") / folder.name
    if not own.exists():
        coming = here(f"{folder.name}.{getpid()}.tmp")
        copytree(folder, coming, copy_function=_linked)
        own.parent.mkdir(exist_ok=True)
        with suppress(OSError):  # another task of this machine was first
            coming.rename(own)
        for old in {coming, *own.parent.iterdir()} - {own}:
            rmtree(old, ignore_errors=True)
    return own


def _linked(source: str, target: str) -> None:
    try:
        link(source, target)
    except OSError:
        copyfile(source, target)


def kept(name: str, make: Callable[[], Arrays], instead_of: str | None = None) -> Arrays:
    """Arrays that this machine keeps on its disk for later tasks, mapped; made anew where it has them not.

    instead_of: what is not needed any more
    """
    path = here(f"{name}.npz")
    if not path.exists():
        place = here(f"{name}.{getpid()}.tmp")
        directory.save_arrays(place, make())
        place.rename(path)
        if instead_of is not None:
            here(f"{instead_of}.npz").unlink(missing_ok=True)
    return directory.map_arrays(path)


def pack(arrays: Mapping[str, AnyArray]) -> bytes:
    """Arrays as bytes."""
    file = BytesIO()
    np.savez(file, **cast(dict[str, Any], dict(arrays)))
    return file.getvalue()


def unpack(data: bytes) -> Arrays:
    """What `pack` packed."""
    with np.load(BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def told(folder: Path, arrays: Arrays) -> bytes:
    """Arrays on their way to another machine: themselves, or the name of a file in a folder that it reaches."""
    if sum(array.nbytes for array in arrays.values()) <= LITTLE:
        return pack(arrays)
    path = folder / f"{uuid4().hex}.npz"
    directory.save_arrays(path, arrays)
    return str(path).encode()


def heard(data: bytes) -> Arrays:
    """The arrays that were told; a file of them is gone then."""
    arrays = looked_at(data)
    if data.startswith(b"/"):
        Path(data.decode()).unlink()
    return arrays


def looked_at(data: bytes) -> Arrays:
    """As `heard`, by a task that may run twice: the file stays."""
    # not mapped: there may be more of them than a process may have files open
    return directory.load_arrays(Path(data.decode())) if data.startswith(b"/") else unpack(data)


def add_to(sums: Arrays, more: Mapping[str, AnyArray]) -> None:
    """Take up further arrays into sums, as `Parts.total` says."""
    for name, array in more.items():
        sums[name] = put_together(name, [sums[name], array]) if name in sums else array


def put_together(name: str, parts: Sequence[AnyArray]) -> AnyArray:
    """Arrays of one name as one, in their order; the first may be overwritten."""
    if name.startswith("each"):
        return np.concatenate(parts)
    result = parts[0]
    for part in parts[1:]:
        if name.startswith("least"):
            result = np.minimum(result, part)
        elif name.startswith("most"):
            result = np.maximum(result, part)
        elif len(part) <= len(result):
            result[: len(part)] += part
        else:
            longer = part.copy()
            longer[: len(result)] += result
            result = longer
    return result
