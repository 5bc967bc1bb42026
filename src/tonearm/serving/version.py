"""One version of what is served: lists, similar and popular items as mapped arrays, beside the run they came from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.times import to_moment
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError, TonearmError
from tonearm.kernels.nearest.topk import ItemIndex
from tonearm.ranking.recommender import Recommender
from tonearm.runs import directory, vouch
from tonearm.runs.lists import FILES, FINAL, SIMILAR_FILE
from tonearm.runs.read import Run
from tonearm.runs.restore import Restored, restore
from tonearm.serving.ids import IdTable, Texts
from tonearm.sources.base import VectorModel
from tonearm.types import AnyArray, Float32s, Int32s, Int64s

ABOUT = "version.json"
"""What a version is: where it came from, the gate's figures, and its files."""

GENRES = 8
"""Genres whose recommenders are kept ready."""

RUN = "run"
"""The folder of a version that holds the run."""


@dataclass(frozen=True)
class Version:
    """A version, open; nothing in it ever changes.

    about: the content of `ABOUT`; empty while it is being made
    users, items: their ids; names: the items' names, empty where they have none
    lists: the final list of each user; an entry that a rule put in has score NaN
    similar: the most similar items of each
    popular: row 0 is what is played most, among what may be shown; row 1 + g the same of genre g; scores are plays
    """

    folder: Path
    about: dict[str, Any]
    users: IdTable
    items: IdTable
    names: Texts | None
    lists: Lists
    similar: Lists
    popular: Lists
    genres: Mapping[str, int]

    @classmethod
    def open(cls, folder: Path, *, making: bool = False) -> "Version":
        """Map a version's files, each of which is held against its digest.

        making: it is not published yet, so nothing is known of its files

        Raises:
            DataError: there is no such version, or a file is missing or is not the one that was published.
        """
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such version. {vouch.AGAIN}")
        about = {} if making else vouch.read_sealed(folder / ABOUT, vouch.AGAIN)
        try:
            return cls._open(folder, about, making)
        except TonearmError:
            raise
        except Exception as error:  # what its files hold may be of any type and shape
            raise DataError(f"{folder}: cannot be loaded ({type(error).__name__}: {error}). {vouch.AGAIN}") from error

    @classmethod
    def _open(cls, folder: Path, about: dict[str, Any], making: bool) -> "Version":
        files = _files(folder, None if making else about["files"])
        users, items = _mapped(files, "users"), _mapped(files, "items")
        names = Texts.load(items, "names") if "names_text" in items else None
        genres = Texts.load(items, "genres")
        return cls(
            folder,
            about,
            IdTable.load(users),
            IdTable.load(items),
            names,
            Lists(**_mapped(files, "lists")),
            Lists(**_mapped(files, "similar")),
            Lists(**_mapped(files, "popular")),
            {genres[g]: 1 + g for g in range(len(genres))},
        )

    @property
    def id(self) -> str:
        """Its name: when it was published, and what of."""
        return self.folder.name

    @cached_property
    def run(self) -> Run:
        """The run that it came from."""
        return Run.open(self.folder / RUN, vouch.AGAIN)

    @cached_property
    def restored(self) -> Restored:
        """The models of the run, with their searches mapped too."""
        restored, files = restore(self.folder / RUN, vouch.AGAIN), _files(self.folder, self.about.get("files"))
        for source in restored.recommender.sources:
            if isinstance(source, VectorModel) and files.find(f"index_{source.name}.npz") is not None:
                arrays = _mapped(files, f"index_{source.name}")
                source.searching(ItemIndex(arrays["panels"], arrays["item"], arrays["bound"], int(arrays["d"])))
        return restored

    def check(self) -> None:
        """Hold every file of it, and of the run in it, against its digest.

        Raises:
            DataError: one is gone, or is not the one that was published.
        """
        _files(self.folder, self.about["files"]).check()
        self.run.files.check()

    @property
    def data(self) -> Dataset:
        """What the run learnt from."""
        return self.run.kept.train

    @property
    def k(self) -> int:
        """How many items a list of the run holds."""
        return self.restored.config.output.k

    @cached_property
    def ended(self) -> float:
        """When the run's log ended, in seconds since 1970; without time, before everything. Events since are news."""
        moment = to_moment(self.data.now).replace(tzinfo=UTC).timestamp()
        return moment if self.data.log.time is not None else float("-inf")

    def name(self, row: int) -> str | None:
        """What an item is called; None where that is not known, as of row −1."""
        return None if row < 0 or self.names is None else self.names[row] or None

    def recommender(self, genre: int = 0) -> Recommender:
        """What makes the run's lists, or, for a genre, lists of that genre alone under the same rules."""
        if genre == 0:
            return self.restored.recommender
        if genre not in self._of_genre:
            while len(self._of_genre) >= GENRES:
                self._of_genre.pop(next(iter(self._of_genre)))
            whole, among = self.restored.recommender, np.zeros(len(self.items), np.bool_)
            among[self.most_played(genre)[0]] = True
            masks = {} if whole.shaper is None else whole.shaper.masks
            both = masks | {"allowed": among & masks.get("allowed", among)}
            shaper = self.restored.config.shape.fit(self.data, masks=both)
            self._of_genre[genre] = whole.under(None if shaper is None else shaper.knowing(whole.fitted))
        return self._of_genre[genre]

    @cached_property
    def _of_genre(self) -> dict[int, Recommender]:
        return {}

    def listed(self, row: int, k: int | None = None) -> tuple[Int32s, Float32s]:
        """The first items of a user's list, and their scores; nothing for row −1."""
        return _row(self.lists, row, k)

    def alike(self, row: int, k: int | None = None) -> tuple[Int32s, Float32s]:
        """The items most similar to one, and how much."""
        return _row(self.similar, row, k)

    def most_played(self, genre: int = 0, k: int | None = None) -> tuple[Int32s, Float32s]:
        """The popular items of all genres (0) or of one, and their plays."""
        return _row(self.popular, genre, k)


def _row(lists: Lists, row: int, k: int | None) -> tuple[Int32s, Float32s]:
    lo, hi = (int(lists.indptr[row]), int(lists.indptr[row + 1])) if row >= 0 else (0, 0)
    hi = hi if k is None else min(hi, lo + k)
    return lists.item[lo:hi], lists.score[lo:hi]


def _files(folder: Path, said: Mapping[str, Any] | None) -> vouch.Files:
    return vouch.Files(folder, said, vouch.AGAIN, f"that was published, or {ABOUT} is of another version")


def _mapped(files: vouch.Files, name: str) -> dict[str, AnyArray]:
    """Mapped arrays of the plain class, which take a third of the time to slice."""
    return {name: np.asarray(array) for name, array in directory.map_arrays(files.need(f"{name}.npz")).items()}


def write_version(folder: Path) -> None:
    """Make the arrays that are served of the run in a version's folder.

    Raises:
        DataError: the run lacks a file, or its lists are not in order.
    """
    restored = restore(folder / RUN)
    data, shaper = restored.data, restored.recommender.shaper
    users, items, catalogue = data.users, data.catalogue.items, data.catalogue
    run = folder / RUN
    directory.save_arrays(folder / "users.npz", IdTable.of(users.ids).save())
    names = {} if catalogue.name is None else Texts.of(catalogue.name).save("names")
    genres = pl.Series([], dtype=pl.String) if catalogue.genres is None else catalogue.genres.labels.ids
    texts = names | Texts.of(genres).save("genres")
    directory.save_arrays(folder / "items.npz", IdTable.of(items.ids).save() | texts)
    for name, lists in (
        ("lists", read_lists(run / FILES[FINAL], ("user_id", "item_id"), users, items)),
        ("similar", read_lists(run / SIMILAR_FILE, ("item_id_1", "item_id_2"), items, items)),
        ("popular", _popular(data, data.popular_of(None if shaper is None else shaper.allowed))),
    ):
        directory.save_arrays(
            folder / f"{name}.npz", {"indptr": lists.indptr, "item": lists.item, "score": lists.score}
        )
    for source in restored.recommender.sources:
        if isinstance(source, VectorModel):
            index = {name: np.asarray(value) for name, value in vars(source.index).items()}
            directory.save_arrays(folder / f"index_{source.name}.npz", index)


def read_lists(path: Path, columns: tuple[str, str], of: Vocabulary, items: Vocabulary) -> Lists:
    """A parquet file of lists, in rows by index; a null score is NaN.

    Raises:
        DataError: there is no such file, or its rows are not in the order that `tonearm run` writes.
    """
    if not path.exists():
        raise DataError(f"{path}: is missing, so there is nothing to serve. Make the run anew.")
    files, counts = [pq.ParquetFile(part) for part in directory.part_files(path)], np.zeros(len(of), np.int64)
    found, scores, last = [np.empty(0, np.int32)], [np.empty(0, np.float32)], 0
    for file, group in _in_order(files, columns[0], of):
        table = pl.from_arrow(file.read_row_group(group, columns=[*columns, "score", "rank"]))
        assert isinstance(table, pl.DataFrame)
        row, item = of.encode(table[columns[0]]), items.encode(table[columns[1]])
        if len(row) == 0:
            continue
        begins = np.concatenate(([True], row[1:] != row[:-1]))
        within = np.arange(len(row)) - np.maximum.accumulate(np.where(begins, np.arange(len(row)), 0))
        if row.min() < 0 or item.min() < 0 or row[0] < last or (np.diff(row) < 0).any():
            raise DataError(f"{path}: its ids are not those of the run, or not in their order. Make the run anew.")
        if (counts[row] + within + 1 != table["rank"].to_numpy()).any():
            raise DataError(f"{path}: its ranks do not count from 1 in each list. Make the run anew.")
        counts += np.bincount(row, minlength=len(of))
        last = int(row[-1])
        found.append(item)
        scores.append(table["score"].fill_null(np.nan).to_numpy())
    indptr = np.concatenate(([0], counts.cumsum()))
    return Lists(indptr, np.concatenate(found), np.concatenate(scores))


def _in_order(files: Sequence[pq.ParquetFile], column: str, of: Vocabulary) -> Iterator[tuple[pq.ParquetFile, int]]:
    """The row groups of files that each hold the lists of users next to one another, by the first of these."""
    if len(files) > 1:
        heads = [pl.Series(next(file.iter_batches(1, columns=[column])).column(0)) for file in files]
        places = [int(of.encode(head)[0]) for head in heads]
        files = [file for _, file in sorted(zip(places, files, strict=True), key=lambda pair: pair[0])]
    return ((file, group) for file in files for group in range(file.num_row_groups))


def _popular(data: Dataset, order: Int32s) -> Lists:
    """Popular items of all genres, then of each genre."""
    plays = data.plays.astype(np.float32)
    indptr: Int64s = np.array([0, len(order)], np.int64)
    genres = data.catalogue.genres
    if genres is None:
        return Lists(indptr, order, plays[order])
    counts = np.diff(genres.indptr)[order]
    first = np.repeat(genres.indptr[order] - (counts.cumsum() - counts), counts)
    genre = genres.index[np.arange(len(first)) + first]
    by_genre = np.argsort(genre, kind="stable")
    item = np.concatenate((order, np.repeat(order, counts)[by_genre])).astype(np.int32)
    lengths = np.bincount(genre, minlength=len(genres.labels))
    return Lists(np.concatenate((indptr, len(order) + lengths.cumsum())), item, plays[item])
