"""Words and ids in arrays that stay on the disk; the row of an id is found in O(1), numbers and words alike."""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from tonearm.types import AnyArray, Int64s, UInt8s


@dataclass(frozen=True)
class Texts:
    """Words in a row.

    text: their UTF-8 bytes end to end; bounds: (n + 1,) int64, where each begins and the last ends
    """

    text: UInt8s
    bounds: Int64s

    @classmethod
    def of(cls, words: pl.Series) -> "Texts":
        """A series as text; null is empty."""
        words = words.cast(pl.String).fill_null("")
        bounds = np.concatenate(([0], words.str.len_bytes().to_numpy().cumsum(dtype=np.int64)))
        return cls(np.frombuffer("".join(words.to_list()).encode(), np.uint8), bounds)

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], name: str) -> "Texts":
        """What `save` took apart."""
        return cls(arrays[f"{name}_text"], arrays[f"{name}_bounds"])

    def save(self, name: str) -> dict[str, AnyArray]:
        """Its arrays, named after what they are."""
        return {f"{name}_text": self.text, f"{name}_bounds": self.bounds}

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, row: int) -> str:
        text, bounds = self._views
        return text[bounds[row] : bounds[row + 1]].tobytes().decode()

    @cached_property
    def _views(self) -> tuple[memoryview, memoryview]:
        return self.text.data, self.bounds.data  # reads one number in a tenth of the time


@dataclass(frozen=True)
class IdTable:
    """Ids by row, and rows by id.

    texts: the ids as text; numeric: whether they are whole numbers to whoever asks
    first: (n_buckets + 1,) int64, where the rows of each bucket begin; a power of two of buckets
    row: (n,) int64 rows, those of a bucket side by side
    """

    texts: Texts
    numeric: bool
    first: Int64s
    row: Int64s

    @classmethod
    def of(cls, ids: pl.Series) -> "IdTable":
        """The table of distinct ids; an empty or null one is found by nobody."""
        texts = ids.cast(pl.String).fill_null("")
        buckets = 1 << max(len(ids) - 1, 1).bit_length()
        bucket = np.fromiter(map(_hash, texts.to_list()), np.int64, len(ids)) & (buckets - 1)
        row = np.argsort(bucket, kind="stable")
        row = row[(texts != "").to_numpy()[row]]
        first = np.concatenate(([0], np.bincount(bucket[row], minlength=buckets).cumsum()))
        return cls(Texts.of(texts), ids.dtype.is_integer(), first.astype(np.int64), row.astype(np.int64))

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray]) -> "IdTable":
        """What `save` took apart."""
        return cls(Texts.load(arrays, "ids"), bool(arrays["numeric"]), arrays["first"], arrays["row"])

    def save(self) -> dict[str, AnyArray]:
        """Its arrays."""
        return self.texts.save("ids") | {"numeric": np.array(self.numeric), "first": self.first, "row": self.row}

    def __len__(self) -> int:
        return len(self.texts)

    def place(self, text: str) -> int:
        """The row of an id by its text; −1 where there is none."""
        first, rows = self._views
        bucket = _hash(text) & (len(first) - 2)
        for row in rows[first[bucket] : first[bucket + 1]].tolist():
            if self.texts[row] == text:
                found: int = row
                return found
        return -1

    def id(self, row: int) -> int | str:
        """The id of a row, as the caller has it."""
        return int(self.texts[row]) if self.numeric else self.texts[row]

    @cached_property
    def _views(self) -> tuple[memoryview, memoryview]:
        return self.first.data, self.row.data


def _hash(text: str) -> int:
    """The same on every machine and in every version."""
    return zlib.crc32(text.encode())


def fingerprint(user: str) -> str:
    """What stays of a user who asked to be forgotten, so that no later run brings them back."""
    return hashlib.sha256(user.encode()).hexdigest()
