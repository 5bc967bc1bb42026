"""What must hold of every final list, looked at block by block before it is written."""

import numpy as np

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.errors import InternalError
from tonearm.types import Bools, Int64s

HOLDS = ("no track twice", "no track that is filtered out", "tracks of the catalogue", "finite scores")
"""What `check` has looked at where it returns."""


def check(train: Dataset, block: Block, lists: Lists, place: Int64s) -> None:
    """Look at the final lists of a block.

    place: (n_entries,) −1 for an entry that was no candidate, which has no score

    Raises:
        InternalError: something does not hold; it says what, of whom, and of how many entries.
    """
    n_items, row = len(train.catalogue), lists.row
    key = row.astype(np.int64) * n_items + lists.item
    indptr, item = block.seen
    filtered = np.repeat(np.arange(len(block)), np.diff(indptr)) * np.int64(n_items) + item
    outside = (lists.item < 0) | (lists.item >= n_items)
    infinite = (place >= 0) & ~np.isfinite(lists.score)
    ascending = np.sort(key)
    found = (_twice(key, ascending), _among(key, ascending, filtered), outside, infinite)
    for what, wrong in zip(HOLDS, found, strict=True):
        _refuse(what, wrong, train, block, lists)


def _twice(key: Int64s, ascending: Int64s) -> Bools:
    """Which of some keys stood before, (n,); `ascending` are the same keys."""
    again = np.zeros(len(key), np.bool_)
    if (ascending[1:] == ascending[:-1]).any():  # or else there is nothing to find
        again[:] = True
        again[np.unique(key, return_index=True)[1]] = False
    return again


def _among(key: Int64s, ascending: Int64s, others: Int64s) -> Bools:
    """Which of some keys are among others, (n,)."""
    others = np.sort(others)
    place = np.searchsorted(others, ascending)
    met = others[np.minimum(place, len(others) - 1)] == ascending if len(others) else place > 0
    return np.isin(key, others) if met.any() else np.zeros(len(key), np.bool_)


def _refuse(what: str, wrong: Bools, train: Dataset, block: Block, lists: Lists) -> None:
    if not wrong.any():
        return
    entry = int(np.flatnonzero(wrong)[0])
    user = train.users.decode(block.users[lists.row[[entry]]])[0]
    raise InternalError(
        f"recommendations: '{what}' does not hold of {int(wrong.sum()):,} of {len(wrong):,} entries of a block, the "
        f"first of user {user} at rank {lists.rank[entry]}. Nothing was written. This is a defect of Tonearm: please "
        "report it with manifest.json of an earlier run and the command."
    )
