"""What a run that is not whole has finished, kept beside its place, so that the same command goes on from there."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from tonearm.data.times import parse_moment
from tonearm.errors import ConfigError, DataError, OutputError
from tonearm.evaluation.measure import Measure
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.training import TrainingTable
from tonearm.runs import directory, vouch
from tonearm.runs.write import ListFiles, load_ranker, load_sources, save_ranker, save_sources
from tonearm.sources.base import Partial, Source
from tonearm.sources.left_out import LeftOut

SUFFIX = ".tonearm-unfinished"
"""How the folder's name ends, beside that of the run."""

ABOUT = "about.json"

EVERY = 30.0
"""Seconds of making lists between two times that they are put by; more where that takes long."""

SHARE = 20
"""Of the time of making lists at most one part in so many goes into putting them by."""

COLUMNS = ("features", "label", "indptr", "user", "wanted", "whole", "z", "refused")


class Unfinished:
    """The folder of an unfinished run.

    say: is told what was there already; part: of the run, where it has several with stages of the same names
    """

    def __init__(self, folder: Path | None, say: Callable[[str], None] = print, part: str = "") -> None:
        self.folder, self.say, self.part = folder, say, part

    def within(self, part: str) -> "Unfinished":
        """The same for one part of a run, whose stages are called as those of others."""
        return Unfinished(self.folder, self.say, f"{part}, ")

    def lists(self, name: str, measure: Measure | None, files: ListFiles | None = None) -> "KeptLists":
        """What was made of the lists of all users, block by block, handed on to those that take them."""
        kept = KeptLists(self, name, measure, files)
        kept.take_up()
        return kept

    @property
    def today(self) -> datetime | None:
        """The moment of the first call, in which all later ones see the log; None before it."""
        about = None if self.folder is None else self._about()
        return None if about is None else parse_moment(about["today"])

    def of(self, about: Mapping[str, Any]) -> None:
        """Begin a run of these settings and inputs, or go on with it.

        Raises:
            ConfigError: what is kept is of others.
        """
        if self.folder is None:
            return
        before = self._about()
        if before is None:
            with directory.new_file(self.folder / ABOUT) as place:
                vouch.write_sealed(place, about)
            return
        changed = [name for name in about if before.get(name) != about[name]]
        if changed:
            words = "; ".join(_changed(name, before.get(name), about[name]) for name in changed)
            raise ConfigError(
                f"--resume: an earlier call was of other settings or inputs: {words}. Call with those, or remove "
                f"{self.folder} to begin anew."
            )

    def _about(self) -> dict[str, Any] | None:
        assert self.folder is not None
        return vouch.read_sealed(self.folder / ABOUT) if (self.folder / ABOUT).is_file() else None

    def get(self, name: str, *, tell: bool = True) -> tuple[vouch.Files, dict[str, Any]] | None:
        """Files and facts that were kept under a name; None where they are not there, or not whole."""
        if self.folder is None or not directory.is_run(self.folder / f"{self.part}{name}"):
            return None
        name = f"{self.part}{name}"
        try:
            facts = vouch.read_sealed(self.folder / name / directory.MANIFEST)
            files = vouch.Files(self.folder / name, facts["files"])
            files.check()
        except DataError:  # as good as not there
            shutil.rmtree(self.folder / name)
            return None
        if tell:
            self.say(f"Finished before: {name}.")
        return files, facts["facts"]

    def keep(self, name: str, write: Callable[[Path], dict[str, Any] | None]) -> None:
        """Keep the files that are written into a folder, and the facts that come back, whole or not at all."""
        if self.folder is not None:
            with directory.new_directory(self.folder / f"{self.part}{name}", overwrite=True) as place:
                facts = write(place) or {}
                vouch.write_manifest(place, {"format": 2, "facts": facts})

    def sources(self, name: str, make: Callable[[], list[Source]]) -> list[Source]:
        """Sources as they were fitted."""
        found = self.get(name)
        if found is not None:
            files, facts = found
            sources = load_sources(files, facts["names"], "")
            return [_with_left_out(source, facts["left_out"].get(source.name, [])) for source in sources]
        made = make()
        self.keep(name, lambda place: _put_sources(place, made))
        return made

    def table(self, name: str, make: Callable[[], TrainingTable]) -> TrainingTable:
        """A training table."""
        found = self.get(name)
        if found is not None:
            files, facts = found
            arrays = directory.map_arrays(files.need("table.npz"))
            return TrainingTable(tuple(facts["names"]), **{key: arrays[key] for key in COLUMNS if key in arrays})
        table = make()

        def write(place: Path) -> dict[str, Any]:
            found = {key: getattr(table, key) for key in COLUMNS}
            directory.save_arrays(place / "table.npz", {key: a for key, a in found.items() if a is not None})
            return {"names": list(table.names)}

        self.keep(name, write)
        return table

    def ranker(self, name: str, make: Callable[[], RankerModel]) -> RankerModel:
        """A ranker as it was trained."""
        found = self.get(name)
        if found is not None:
            files, facts = found
            return load_ranker(files, "", facts)
        made = make()

        def write(place: Path) -> dict[str, Any]:
            save_ranker(place, made)
            return made.validation

        self.keep(name, write)
        return made

    def file(self, name: str, path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A file of the run, and facts on it."""
        found = self.get(name)
        if found is not None:
            files, facts = found
            shutil.copyfile(files.need(path.name), path)
            return facts
        made = make()

        def write(place: Path) -> dict[str, Any]:
            shutil.copyfile(path, place / path.name)
            return made

        self.keep(name, write)
        return made

    def remove(self) -> None:
        """The run is whole."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class KeptLists:
    """The lists that were made so far, a table for each block and file, and what was measured of them.

    done: users whose lists are there
    """

    def __init__(
        self, unfinished: Unfinished, name: str, measure: Measure | None = None, files: ListFiles | None = None
    ) -> None:
        self._unfinished, self._name, self._measure, self._files = unfinished, name, measure, files
        self._growing = None if unfinished.folder is None else unfinished.folder / f"{unfinished.part}{name} growing"
        self._parts = self._tables = self.done = 0
        self._last = self._cost = 0.0

    def take_up(self) -> None:
        """Hand on what was kept: the tables to the files, in order, and the figures to the measure."""
        measure, files = self._measure, self._files
        if self._growing is None:
            return
        shutil.rmtree(self._growing, ignore_errors=True)
        if files is not None:
            files.keep = self.add
        self._last, found = time.monotonic(), self._unfinished.get(self._name, tell=False)
        if found is None:
            return
        kept, facts = found
        parts = [self._unfinished.get(f"{self._name} {part}", tell=False) for part in range(facts["parts"])]
        if None in parts:
            return
        for part in parts:
            if part is None or files is None:
                break
            for name in sorted(name for name in part[0].said or () if name.endswith(".arrow")):
                with pa.memory_map(str(part[0].need(name))) as source:
                    _, key, ends = name.removesuffix(".arrow").split(" ")
                    files.append(key, pa.ipc.open_file(source).read_all(), ends == "ends")
            files.listed = facts["listed"]
        if measure is not None:
            before = directory.load_arrays(kept.need("measured.npz"))
            for name, array in measure.counts().items():
                array[...] = before[name]
        self.done, self._parts = facts["done"], facts["parts"]
        self._unfinished.say(f"Finished before: the lists of {self.done:,} users.")

    def add(self, name: str, table: pa.Table, ends: bool) -> None:
        """A table of a block, by the name of its list; ends: it ends a row group."""
        if self._growing is None:
            return
        self._growing.mkdir(exist_ok=True)
        place = self._growing / f"{self._tables:06} {name} {'ends' if ends else 'goes-on'}.arrow"
        with pa.OSFile(str(place), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        self._tables += 1

    def end_block(self, done: int) -> None:
        """So many users are done: put by what there is, where it is time to."""
        now = time.monotonic()
        if self._growing is None or now - self._last < max(EVERY, SHARE * self._cost):
            return
        growing, part = self._growing, self._parts

        def tables(place: Path) -> None:
            for path in growing.iterdir() if growing.exists() else ():
                path.rename(place / path.name)

        def figures(place: Path) -> dict[str, Any]:
            if self._measure is not None:
                directory.save_arrays(place / "measured.npz", self._measure.counts())
            return {"done": done, "parts": part + 1, "listed": 0 if self._files is None else self._files.listed}

        self._unfinished.keep(f"{self._name} {part}", tables)
        self._unfinished.keep(self._name, figures)
        self._parts, self.done = part + 1, done
        self._last = time.monotonic()
        self._cost = self._last - now


NOTHING_KEPT = Unfinished(None)
"""Of a run that is not to be resumed."""

NO_LISTS_KEPT = KeptLists(NOTHING_KEPT, "")
"""The same of its lists."""


@contextmanager
def unfinished(out: Path, resume: bool, say: Callable[[str], None]) -> Iterator[Unfinished]:
    """The folder of an unfinished run beside its place, for one process at a time; none unless it is to be resumed.

    Raises:
        OutputError: another process is at work on it, or it cannot be written to.
    """
    if not resume:
        yield NOTHING_KEPT
        return
    place = out.resolve()
    folder = place.with_name(f".{place.name}{SUFFIX}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to ({error.strerror}). Choose another --out.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{out}: another run is at work on it. Wait for it, or choose another --out.") from error
        yield Unfinished(folder, say)
    finally:
        os.close(handle)


def _put_sources(place: Path, sources: Sequence[Source]) -> dict[str, Any]:
    save_sources(place, sources)
    left_out = {one.name: [asdict(part) for part in one.left_out] for one in sources if isinstance(one, Partial)}
    return {"names": [one.name for one in sources], "left_out": left_out}


def _with_left_out(source: Source, parts: Sequence[Mapping[str, Any]]) -> Source:
    """What a fit left out is no part of a saved source."""
    if not isinstance(source, Partial):
        return source
    whole: Any = source
    made: Source = replace(whole, left_out=tuple(LeftOut(**part) for part in parts))
    return made


def _changed(name: str, before: Any, now: Any) -> str:
    """What differs, by its innermost names."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return "; ".join(_changed(f"{name}.{key}", before.get(key), now.get(key)) for key in names)
    return f"{name} was {before} and is {now}"
