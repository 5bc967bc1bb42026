"""Ids and indices."""

import numpy as np
import polars as pl
import pytest

from tonearm.data.vocabulary import Vocabulary

NARROW = Vocabulary.of(pl.Series([30, 10, None]), pl.Series([20, 10]))
WIDE = Vocabulary.of(pl.Series([2**60, -(2**60), 7]))
TEXT = Vocabulary.of(pl.Series(["b", "a", "b", "é"]))


def test_ascending_and_distinct() -> None:
    assert NARROW.ids.to_list() == [10, 20, 30]
    assert TEXT.ids.to_list() == ["a", "b", "é"]
    assert len(WIDE) == 3


def test_encode() -> None:
    assert NARROW.encode(pl.Series([20, None, 10, 11, 5, 31])).tolist() == [1, -1, 0, -1, -1, -1]
    assert WIDE.encode(pl.Series([2**60, 8, None, -(2**60)])).tolist() == [2, -1, -1, 0]
    assert TEXT.encode(pl.Series(["é", "c", None, "a"])).tolist() == [2, -1, -1, 0]


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt16, pl.UInt64])
def test_encode_other_widths(dtype: type[pl.DataType]) -> None:
    assert NARROW.encode(pl.Series([30, None, 9], dtype=dtype)).tolist() == [2, -1, -1]


def test_ids_of_another_kind_are_unknown() -> None:
    assert NARROW.encode(pl.Series(["10", "20"])).tolist() == [-1, -1]


def test_empty() -> None:
    empty = Vocabulary(pl.Series("id", [], dtype=pl.Int64))
    assert empty.encode(pl.Series([1, None])).tolist() == [-1, -1]


def test_decode() -> None:
    assert NARROW.decode(np.array([2, 0, 2], dtype=np.int32)).to_list() == [30, 10, 30]


def test_place_of_one_id() -> None:
    assert NARROW.place(20) == 1
    assert NARROW.place("20") == 1
    assert NARROW.place("x") is None
    assert NARROW.place(21) is None
    assert TEXT.place("b") == 1
