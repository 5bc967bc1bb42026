"""The caller's ids, which exist only at the edges, as int32 indices and back."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from tonearm.kernels import events as kernels
from tonearm.types import Int32s, Int64s


@dataclass(frozen=True)
class Vocabulary:
    """Distinct ids in ascending order; an id's place is its index.

    ids: Series of integers or strings, ascending, without nulls or repeats, of the caller's own dtype.
    """

    ids: pl.Series

    @classmethod
    def of(cls, *values: pl.Series) -> "Vocabulary":
        """The vocabulary of all non-null ids in some columns of one dtype."""
        joined = values[0] if len(values) == 1 else pl.concat([v.rename("id") for v in values])
        return cls(joined.drop_nulls().unique().sort())

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _integers(self) -> Int64s | None:
        return self.ids.to_numpy().astype(np.int64) if self.ids.dtype.is_integer() else None

    @cached_property
    def _dense(self) -> Int32s | None:
        """For integer ids in a narrow range: place by (id − least id); −1 where there is none."""
        ids = self._integers
        if ids is None or len(ids) == 0 or int(ids[-1]) - int(ids[0]) > 16 * len(ids) + 10_000_000:
            return None
        table = np.full(int(ids[-1]) - int(ids[0]) + 1, -1, dtype=np.int32)
        table[ids - ids[0]] = np.arange(len(ids), dtype=np.int32)
        return table

    def encode(self, values: pl.Series) -> Int32s:
        """Indices of ids, (n,) int32; −1 for an id that is unknown or null."""
        ids = self._integers
        if ids is None:
            table = pl.DataFrame({"id": self.ids, "index": np.arange(len(self), dtype=np.int32)})
            wanted = pl.DataFrame({"id": values.cast(self.ids.dtype)})
            found = wanted.join(table, on="id", how="left", maintain_order="left")["index"]
            return found.fill_null(-1).to_numpy().astype(np.int32, copy=False)
        if not values.dtype.is_integer():
            return np.full(len(values), -1, dtype=np.int32)
        if values.dtype in (pl.UInt64, pl.Int128, pl.UInt128):  # an id beyond 2^63 is null, and never wraps around
            values = values.cast(pl.Int64, strict=False)
        # A copy of one type, as the kernels would be compiled anew for every type and for read-only arrays.
        wanted_ids = np.array(values.fill_null(0), dtype=np.int64)
        table_of_ids = self._dense
        if table_of_ids is not None:
            index = kernels.look_up(wanted_ids, table_of_ids, int(ids[0]))
        else:
            index = kernels.search(wanted_ids, ids)
        if values.null_count():
            index[values.is_null().to_numpy()] = -1
        return index

    def decode(self, index: Int32s) -> pl.Series:
        """The caller's ids at some indices, all of them valid."""
        return self.ids.gather(index)

    def place(self, value: int | str) -> int | None:
        """The index of one id as typed by a person, or None when it is unknown."""
        try:
            series = pl.Series([value], strict=True).cast(self.ids.dtype, strict=True)
        except pl.exceptions.PolarsError:
            return None
        index = int(self.encode(series)[0])
        return None if index < 0 else index
