"""Ranked lists of items."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tonearm.kernels.best.lists import first_of_rows
from tonearm.types import AnyArray, Bools, Float32s, Int32s, Int64s


@dataclass(frozen=True)
class Lists:
    """A ranked list of items for each row, best first; no repeats in a row, ties by ascending item index.

    indptr: (n + 1,) int64
    item: (n_entries,) int32
    score: (n_entries,) float32, never NaN
    """

    indptr: Int64s
    item: Int32s
    score: Float32s

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @cached_property
    def row(self) -> Int32s:
        """The row of each entry, (n_entries,)."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.indptr))

    @cached_property
    def rank(self) -> Int32s:
        """1-based rank of each entry, (n_entries,)."""
        return (np.arange(len(self.item)) - np.repeat(self.indptr[:-1], np.diff(self.indptr)) + 1).astype(np.int32)

    def head(self, k: int) -> "Lists":
        """The first k of each row."""
        return Lists(*first_of_rows(self.indptr, self.item, self.score, k))

    def where(self, keep: Bools) -> "Lists":
        """The same rows with some of their entries; keep: (n_entries,) bool."""
        indptr = np.concatenate(([0], np.cumsum(keep)))[self.indptr].astype(np.int64)
        return Lists(indptr, self.item[keep], self.score[keep])

    @staticmethod
    def empty(n: int) -> "Lists":
        """n rows without an entry."""
        return Lists(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))

    @staticmethod
    def concat(parts: "list[Lists]") -> "Lists":
        """The rows of several, one after the other."""
        lengths = np.concatenate([np.diff(p.indptr) for p in parts]) if parts else np.empty(0, np.int64)
        return Lists(
            np.concatenate(([0], lengths.cumsum())).astype(np.int64),
            np.concatenate([p.item for p in parts]) if parts else np.empty(0, np.int32),
            np.concatenate([p.score for p in parts]) if parts else np.empty(0, np.float32),
        )

    @staticmethod
    def from_dense(item: Int32s, score: Float32s, keep: Bools) -> "Lists":
        """Lists from (n, k) arrays whose kept entries of each row are in order."""
        lengths = keep.sum(axis=1)
        return Lists(np.concatenate(([0], lengths.cumsum())).astype(np.int64), item[keep], score[keep])


def best_places(score: AnyArray, k: int) -> Int64s:
    """Places of the k highest scores above −∞, best first, ties by ascending place."""
    k = min(k, int((score > -np.inf).sum()))
    if k == 0:
        return np.empty(0, np.int64)
    some = np.flatnonzero(score >= np.partition(score, len(score) - k)[len(score) - k])
    return some[np.lexsort((some, -score[some]))][:k]
