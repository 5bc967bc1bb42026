"""The files of a run, each from what the pipeline made; names and columns are the contract of docs/use/files.md."""

import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from tonearm.config import Config, OutputOptions
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.errors import DataError
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.recommender import Made, Recommender
from tonearm.runs import directory, invariants
from tonearm.runs.lists import FILES as LIST_FILES
from tonearm.runs.lists import FINAL, FRESH, LISTS, POPULAR_FILE, SIMILAR_FILE, key_of
from tonearm.runs.vouch import Files
from tonearm.sources import MODELS
from tonearm.sources.base import Learning, Source, unplayed_of
from tonearm.sources.similar import Similar
from tonearm.terminal.progress import Progress
from tonearm.types import AnyArray, Bools, Float32s, Int32s, Int64s

MASKS = "shape_masks.npz"
"""In models/: what each hard rule of shaping lets pass, where there is one."""

GROUP = 4096
"""Users of whom the rows of a file of lists are one row group, whatever the size of blocks."""

SCORES = tuple(f"{one.source}_score" for one in LISTS.values() if one.source is not None and one.file is not None)
"""Columns of recommendations.parquet, whatever the ranker saw."""


class ListWriter(directory.TableWriter):
    """A parquet file of lists: user_id, item_id, score, rank, and more columns where they are given."""

    def __init__(self, path: Path, data: Dataset) -> None:
        super().__init__(path)
        self.data = data

    def table(self, block: Block, lists: Lists, more: dict[str, pl.Series] | None = None) -> pa.Table:
        """One block's lists."""
        table = {
            "user_id": self.data.users.decode(block.users[lists.row]),
            "item_id": self.data.catalogue.items.decode(lists.item),
            "score": pl.Series(lists.score, nan_to_null=True),
            "rank": pl.Series(lists.rank),
        }
        return pl.DataFrame(table | (more or {})).to_arrow()


class ListFiles(ExitStack):
    """All files of lists that a run holds, growing block by block; a context manager."""

    def __init__(
        self,
        folder: Path,
        train: Dataset,
        recommender: Recommender,
        config: Config,
        writer: Callable[[Path, Dataset], ListWriter] = ListWriter,
    ) -> None:
        """writer: what takes the rows of a file; `keep` is handed every table too, with the name of its list."""
        super().__init__()
        self.train, self.listed, self.entries = train, 0, 0  # users with a final list, and entries of these
        self.keep: Callable[[str, pa.Table, bool], None] = lambda _name, _table, _ends: None
        self.recommender, self.options = recommender, config.output
        self.names = [source.name for source in recommender.fitted]
        able = unplayed_of(recommender.fitted) if self.options.fresh > 0 else None
        self.fresh = None if able is None else able.of_unplayed(train, recommender.allowed)
        shown = [key_of(name) for name in self.names] + ([FRESH] if self.fresh is not None else []) + [FINAL]
        self.files = {
            name: self.enter_context(writer(folder / LIST_FILES[name], train)) for name in shown if name in LIST_FILES
        }

    def write(self, block: Block, made: Made) -> None:
        """Append one block's lists; a row group of every file ends after so many users, whatever the blocks."""
        invariants.check(self.train, block, made.lists, made.place)
        last = int(block.users[-1]) + 1
        ends = last == self.train.n_users or last % GROUP == 0
        for name, table in self._tables(block, made):
            self.append(name, table, ends)
            self.keep(name, table, ends)

    def append(self, name: str, table: pa.Table, ends: bool) -> None:
        """Append a table to the file of a list."""
        self.entries += len(table) * (name == FINAL)
        self.files[name].append(table, ends)

    def _tables(self, block: Block, made: Made) -> Iterator[tuple[str, pa.Table]]:
        ranked = made.ranked
        self.listed += int((np.diff(made.lists.indptr) > 0).sum())
        known = {f"{name}_score": column for name, column in zip(self.names, ranked.candidates.scores.T, strict=True)}
        known = {name: known[name] for name in SCORES if name in known}
        known |= zip(self.recommender.features.names, ranked.features.T, strict=True)
        columns = final_columns(block, made.lists, known, made.place, self.options.features)
        yield FINAL, self.files[FINAL].table(block, made.lists, columns)
        for name, lists in zip(self.names, ranked.own, strict=True):
            key = key_of(name)
            if key in self.files:
                yield key, self.files[key].table(block, lists.head(self.recommender.k))
        if self.fresh is not None:
            yield FRESH, self.files[FRESH].table(block, self.fresh.recommend_fresh(block, self.options.fresh))


def final_columns(
    block: Block, lists: Lists, known: Mapping[str, Float32s], place: Int64s, which: Literal["few", "all"]
) -> dict[str, pl.Series]:
    """What recommendations.parquet says beside the list: two scores, the user's number of tracks, or all that is known.

    known: values of all candidates by name, (n,) float32 each; NaN becomes null
    place: (n_entries,) int64, the row of each entry in them; −1 for one that was no candidate
    """

    def column(name: str) -> pl.Series:
        if name not in known:
            return pl.Series([None] * len(place), dtype=pl.Float32)
        values = known[name][place]
        values[place < 0] = np.nan
        return pl.Series(values, nan_to_null=True)

    columns = {name: column(name) for name in SCORES}
    columns["tracks_played_by_user"] = pl.Series(np.diff(block.pairs.indptr).astype(np.int32)[lists.row])
    if which == "all":
        columns |= {name: column(name) for name in known if name not in columns}
    return columns


def write_similar(
    folder: Path,
    data: Dataset,
    sources: Sequence[Source],
    options: OutputOptions,
    rng: np.random.Generator,
    progress: Progress,
) -> dict[str, Any]:
    """similar.parquet: the most similar items of every item seen in train.

    Returns how many items, what similar goes by, and the share of the exact entries that was found: 1, or less where
    items are so many that those by vectors are approximate.
    """
    by = options.similar_by
    similar = Similar.of(sources, data, by, options.similar_support, options.similar_per_artist)
    n, ids = int(similar.als.known_items.sum()), data.catalogue.items
    exact = n <= options.similar_exact
    lists, recall = similar.all(options.similar, exact, rng, progress)
    table = {
        "item_id_1": ids.decode(lists.row),
        "item_id_2": ids.decode(lists.item),
        "score": pl.Series(lists.score),
        "rank": pl.Series(lists.rank),
    }
    directory.write_table(folder / SIMILAR_FILE, pl.DataFrame(table))
    return {"items": n, "by": by, "exact": exact, "recall": recall}


def silent_users(listed: int, users: int) -> list[str]:
    """A note on the users of train whom recommendations.parquet has no list for; none where each has one."""
    n = users - listed
    if n == 0:
        return []
    return [
        f"{n:,} of {users:,} users have no list, as every track that could be recommended to them is one that "
        "they have heard or that a rule keeps out; filter_seen=false would give them what they have heard"
    ]


def write_catalogue(folder: Path, data: Dataset, top: Int32s) -> None:
    """top_popular.parquet, which holds `top`, best first, and genres.parquet."""
    popular = pl.DataFrame(
        {
            "rank": np.arange(1, len(top) + 1, dtype=np.int32),
            "item_id": data.catalogue.items.decode(top),
            "plays": data.plays[top],
            "users": data.listeners[top],
        }
    ).hstack(data.catalogue.describe(top))
    directory.write_table(folder / POPULAR_FILE, popular)
    directory.write_table(folder / "genres.parquet", genre_table(data))


def genre_table(data: Dataset) -> pl.DataFrame:
    """genre_id, name, items_count and score (share of all item-genre pairs), most frequent first, ties by name."""
    genres = data.catalogue.genres
    n = 0 if genres is None else len(genres.labels)
    counts = np.zeros(0, np.int64) if genres is None else np.bincount(genres.index, minlength=n).astype(np.int64)
    table = pl.DataFrame(
        {
            "genre_id": np.arange(n, dtype=np.int32),
            "name": genres.labels.ids if genres is not None else pl.Series([], dtype=pl.String),
            "items_count": counts,
            "score": counts / max(int(counts.sum()), 1),
        }
    )
    return table.sort(["items_count", "name"], descending=[True, False])


def write_models(
    folder: Path, data: Dataset, sources: Sequence[Source], ranker: RankerModel, masks: dict[str, Bools]
) -> None:
    """models/: each source as arrays and the ids of their rows, the trees, if any, and what each hard rule lets pass.

    Arrays that a source shares with an earlier one of its kind are in that one's file, which its own names as `base`.
    """
    models = folder / "models"
    models.mkdir(exist_ok=True)
    save_sources(models, sources)
    for name, column, ids in (("users", "user_id", data.users.ids), ("items", "item_id", data.catalogue.items.ids)):
        table = pl.DataFrame({"row": np.arange(len(ids), dtype=np.int32), column: ids})
        directory.write_table(models / f"{name}.parquet", table)
    if masks:
        directory.save_arrays(models / MASKS, dict(masks))
    save_ranker(models, ranker)


def save_sources(models: Path, sources: Sequence[Source]) -> None:
    """Each source as arrays; those that it shares with an earlier one of its kind are in that one's file alone."""
    for i, source in enumerate(sources):
        arrays = source.save()
        for base in sources[:i]:
            held = base.save() if type(base) is type(source) else {}
            own = {name: array for name, array in arrays.items() if array is not held.get(name)}
            if len(own) < len(arrays):
                arrays = own | {directory.BASE: np.array(base.name)}
                break
        directory.save_arrays(models / f"{source.name}_model.npz", arrays)


def load_sources(files: Files, names: Iterable[str], below: str = "models/") -> list[Source]:
    """What `save_sources` wrote, in the order of the names.

    below: where among the files it is
    """
    read: dict[str, dict[str, AnyArray]] = {}
    for name in names:
        directory.read_model(name, lambda s: directory.map_arrays(files.need(f"{below}{s}_model.npz")), read)
    return [MODELS[name].load(read[name]) for name in names]


def save_ranker(models: Path, ranker: RankerModel) -> None:
    """Its trees, where it has some, and all else."""
    if ranker.trees is not None:
        ranker.trees.save(models / "cb_model.cbm")
    directory.write_json(models / "ranker.json", ranker.save())


def load_ranker(files: Files, below: str, validation: Mapping[str, Any]) -> RankerModel:
    """What `save_ranker` wrote."""
    rest = directory.read_json(files.need(f"{below}ranker.json"))
    trees = files.need(f"{below}cb_model.cbm").read_bytes() if rest["trees"] else None
    return RankerModel.load(trees, rest, validation)


def load_models(files: Files, manifest: Mapping[str, Any]) -> tuple[list[Source], RankerModel, dict[str, Bools]]:
    """What `write_models` wrote into a run directory, mapped into memory, never unpickled; the sources in their order.

    Raises:
        DataError: a file is missing, is not the one that the run wrote, or lacks what this version needs.
    """
    try:
        sources = load_sources(files, manifest["sources"])
        kept = files.find(f"models/{MASKS}")
        masks = {} if kept is None else directory.load_arrays(kept)
        return sources, load_ranker(files, "models/", manifest["ranker"]), masks
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{files.folder / 'models'}: written by another version of Tonearm ({type(error).__name__}: {error}). "
            "Make the run anew."
        ) from error


def facts(source: Source) -> dict[str, Any]:
    """What the manifest says of a fitted source."""
    return {"loss": [float(loss) for loss in source.losses]} if isinstance(source, Learning) else {}
