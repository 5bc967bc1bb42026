"""Ranked lists."""

import numpy as np

from tonearm.data.lists import Lists

LISTS = Lists(
    np.array([0, 3, 3, 5], dtype=np.int64),
    np.array([4, 1, 3, 0, 2], dtype=np.int32),
    np.array([0.9, 0.5, 0.1, 0.8, 0.7], dtype=np.float32),
)


def test_rows_and_ranks() -> None:
    assert LISTS.row.tolist() == [0, 0, 0, 2, 2]
    assert LISTS.rank.tolist() == [1, 2, 3, 1, 2]


def test_head() -> None:
    head = LISTS.head(2)
    assert head.indptr.tolist() == [0, 2, 2, 4]
    assert head.item.tolist() == [4, 1, 0, 2]


def test_concat() -> None:
    both = Lists.concat([LISTS.head(1), LISTS])
    assert both.indptr.tolist() == [0, 1, 1, 2, 5, 5, 7]
    assert both.item.tolist() == [4, 0, 4, 1, 3, 0, 2]
    assert len(Lists.concat([])) == 0


def test_from_dense() -> None:
    keep = np.array([[True, False], [True, True]])
    item, score = np.array([[3, 0], [1, 2]], dtype=np.int32), np.array([[1, 9], [0.5, 0.25]], dtype=np.float32)
    dense = Lists.from_dense(item, score, keep)
    assert dense.indptr.tolist() == [0, 1, 3]
    assert dense.item.tolist() == [3, 1, 2]
    assert dense.score.tolist() == [1, 0.5, 0.25]


def test_where_keeps_rows_and_order() -> None:
    lists = Lists(np.array([0, 2, 2, 5]), np.array([4, 1, 0, 2, 3], np.int32), np.array([5, 4, 3, 2, 1], np.float32))
    some = lists.where(np.array([False, True, True, False, True]))
    assert some.indptr.tolist() == [0, 1, 1, 3]
    assert some.item.tolist() == [1, 0, 3]
    assert some.score.tolist() == [4, 3, 1]
    assert lists.where(np.zeros(5, np.bool_)).indptr.tolist() == [0, 0, 0, 0]
