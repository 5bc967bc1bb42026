"""One source by itself: learnt from a table or a sparse matrix, and asked by the caller's own ids."""

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import polars as pl
import scipy.sparse

from tonearm.asking.histories import Histories
from tonearm.asking.tables import Ids, allowed_of, check_k, first_of, frame_of, places_of, users_of, with_popular
from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import ConfigError, DataError
from tonearm.kernels.machine.threads import KERNELS
from tonearm.loading.count import DataOptions
from tonearm.loading.load import load_all
from tonearm.loading.tables import Tabular, as_source
from tonearm.sources.base import Given, Recipe, Source
from tonearm.terminal.progress import no_progress

M = TypeVar("M", bound=Source, covariant=True)

if TYPE_CHECKING:
    Matrix = scipy.sparse.sparray | scipy.sparse.spmatrix
else:
    Matrix = Any

BLOCK = 4096
"""Users handled at a time."""


@dataclass(frozen=True)
class Alone(Generic[M]):
    """A fitted source with the histories that it learnt from.

    source: the model itself, which works on blocks of users by index
    filter_seen: leave what a user has played out of their lists
    """

    source: M
    data: Dataset
    filter_seen: bool
    days: bool

    def recommend(
        self,
        users: Ids | None = None,
        k: int = 20,
        *,
        history: Tabular | None = None,
        items: Ids | None = None,
        exclude: Ids | None = None,
    ) -> pl.DataFrame:
        """Ranked lists: user_id, item_id, score and rank, best first; of a matrix, ids are its rows and columns.

        users: by default those in `history`, else all. One without any play gets the popular list, scored by plays
        history: further plays, of listeners known or new, as a table with user_id, item_id and perhaps started_at
        items: show nothing but these; exclude: show none of these

        Raises:
            DataError: the history cannot be used, or ids are of another kind than those that were learnt.
        """
        allowed, length = allowed_of(self.data, items, exclude), check_k(k)
        histories = Histories.held(self.data)
        if history is not None:
            histories = Histories.told(self.data, history, DataOptions(), self.days)
        source: Source = self.source if allowed is None else self.source.among(allowed)
        popular = first_of(self.data.popular_of(allowed), self.data, length)
        ids, parts = users_of(histories, users), []
        for some, block in histories.blocks(ids, BLOCK, self.filter_seen):
            with KERNELS:
                lists = with_popular(source.recommend(block, length), block, popular)
            parts.append(frame_of(some, lists, self.data))
        return pl.concat(parts) if parts else pl.DataFrame()

    def similar(self, items: Ids, k: int = 10) -> pl.DataFrame:
        """The k items most similar to each of some, by cosine of vectors: item_id_1, item_id_2, score and rank.

        Raises:
            ConfigError: the source has no vectors of items.
            DataError: an item is unknown.
        """
        find = getattr(self.source, "similar", None)
        if find is None:
            raise ConfigError(f"{self.source.name} has no vectors of items. Use ALS for similar items.")
        ids, index = places_of(items, self.data.catalogue.items, "items")
        with KERNELS:
            lists = find(index, check_k(k))
        return frame_of(ids, lists, self.data).rename({"user_id": "item_id_1", "item_id": "item_id_2"})


def fit_alone(
    recipe: Recipe[M], log: Tabular | Matrix | Dataset, items: Tabular | None, seed: int, seen: bool
) -> Alone[M]:
    """Fit one source, and before it those that it builds on.

    Raises:
        DataError: the log cannot be used, or lacks what the source needs.
    """
    from tonearm.sources.registry import RECIPES  # which knows all of them, this one too

    data, days = _data(log, items)
    lack = recipe.needs(data)
    if lack is not None:
        raise DataError(f"{recipe.name} cannot be learnt: {lack.why}. What it takes: {lack.option}.")
    fitted: dict[str, Source] = {}
    with KERNELS:
        for name in recipe.bases.values():
            fitted[name] = RECIPES[name]().learn(Given(data, _rng(seed, name), no_progress, fitted))
        source = recipe.learn(Given(data, _rng(seed, recipe.name), no_progress, fitted))
    return Alone(source, data, not recipe.repeats and seen, days)


def _rng(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _data(log: Tabular | Matrix | Dataset, items: Tabular | None) -> tuple[Dataset, bool]:
    """A data set, and whether its times are days."""
    if isinstance(log, Dataset):
        return log, False
    if scipy.sparse.issparse(log):
        return _of_matrix(log, items), False
    table: Any = log
    loaded = load_all(as_source(table, "log"), None if items is None else as_source(items, "items"))
    return loaded.train, loaded.found.logs["events"].days


def _of_matrix(matrix: Any, items: Tabular | None) -> Dataset:
    """Users are rows, items are columns, and a value says how often; no time."""
    if items is not None:
        raise ConfigError("items: a matrix has no ids, so no catalogue goes with it. Pass a table of plays instead.")
    rows = scipy.sparse.csr_array(matrix)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    value = np.asarray(rows.data, np.float32)
    if len(value) == 0:
        raise DataError("log: the matrix has no entries. Give one with plays.")
    if not (np.isfinite(value) & (value > 0)).all():
        raise DataError("log: the matrix has entries that are not finite numbers above 0. Drop them.")
    indptr, item = rows.indptr.astype(np.int64), rows.indices.astype(np.int32)
    weight = None if (value == 1).all() else value
    users, columns = (Vocabulary(pl.Series(np.arange(n, dtype=np.int64))) for n in rows.shape)
    return Dataset(users, Catalogue(columns), Log(indptr[:-1], indptr[1:], item, None, weight, rows.shape[1]), 0)
