"""Repeats and discoveries apart: the two parts of a truth, and the simple rules that a list with repeats must beat."""

from dataclasses import replace

import numpy as np

from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.data.log import Pairs
from tonearm.data.truth import Truth
from tonearm.kernels.best.lists import first_unseen
from tonearm.kernels.own import place_in_history
from tonearm.types import Bools, Int32s, Int64s


def parts_of(truth: Truth, train: Pairs) -> dict[str, Truth]:
    """The truth cut in two: `repeat`, what the user had heard in train, and `discovery`, what they had not.

    train: a row for each user of the index that `truth.users` is of
    Users of whom nothing is left in a part are not in it.
    """
    sizes = np.zeros(train.n_users, np.int64)
    sizes[truth.users] = np.diff(truth.indptr)
    indptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    heard = place_in_history(train.indptr, train.item, indptr, truth.item) >= 0
    return {"repeat": _only(truth, heard), "discovery": _only(truth, ~heard)}


def _only(truth: Truth, keep: Bools) -> Truth:
    sizes = np.bincount(truth.row[keep], minlength=len(truth))
    some = sizes > 0
    return replace(
        truth,
        users=truth.users[some],
        indptr=np.concatenate(([0], np.cumsum(sizes[some]))).astype(np.int64),
        item=truth.item[keep],
        history=truth.history[some],
        population={"evaluated_users": int(some.sum()), "truth_items": int(keep.sum())},
    )


def own_rules(block: Block, popular: Int32s, k: int, allowed: Bools | None = None) -> dict[str, Lists]:
    """Each user's own most frequent and own most recent items, then popular ones that they never played.

    own_frequent: by plays, of equal ones the one played last; own_recent: by the last play, of equal ones the one
    played most, and only in a log with time. Then by ascending item. Scores count down.

    popular: items, best first; allowed: (n_items,) bool, which of their own items count; None for all
    """
    pairs = block.pairs
    row = np.repeat(np.arange(len(block)), np.diff(pairs.indptr))
    own = np.ones(len(row), np.bool_) if allowed is None else allowed[pairs.item]
    last = -pairs.last.astype(np.int64) if pairs.last is not None else np.zeros(len(row), np.int64)
    orders = {
        "own_frequent": np.lexsort((last, -pairs.plays, row)),
        "own_recent": np.lexsort((-pairs.plays, last, row)),
    }
    orders = {name: order[own[order]] for name, order in orders.items()}
    indptr, item = first_unseen(popular, k, pairs.indptr, pairs.item)
    rows = np.concatenate((row[own], np.repeat(np.arange(len(block)), np.diff(indptr))))
    by_row = np.argsort(rows, kind="stable")
    bounds = np.searchsorted(rows[by_row], np.arange(len(block) + 1)).astype(np.int64)
    return {
        name: _counted_down(bounds, np.concatenate((pairs.item[order], item))[by_row]).head(k)
        for name, order in orders.items()
        if name in rule_names(pairs.last is not None)
    }


def rule_names(timed: bool) -> tuple[str, ...]:
    """The names of `own_rules`."""
    return ("own_frequent", "own_recent") if timed else ("own_frequent",)


def _counted_down(indptr: Int64s, item: Int32s) -> Lists:
    return Lists(indptr, item, -np.arange(len(item), dtype=np.float32))
