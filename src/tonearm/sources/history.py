"""Which entries of a history count when a source learns from it, and how much when it sums over it."""

import numpy as np

from tonearm.data.log import Pairs
from tonearm.kernels import item_item as kernels
from tonearm.kernels import sums
from tonearm.kernels.als.csr import Csr
from tonearm.sources.left_out import LeftOut
from tonearm.types import Bools, Float32s, Float64s, Int32s, Int64s

GOLDEN = (5**0.5 - 1) / 2
"""Its multiples less their whole parts fill 0 to 1 evenly, without a period."""

FEWEST = 64
"""Users who are drawn in any case."""


def drawn_share(n_users: int, pairs: int, most: int) -> float:
    """The share of some users that are drawn, so that of all pairs of the log at most so many are learnt from."""
    return 1.0 if pairs <= most else min(1.0, max(most / pairs, FEWEST / max(1, n_users)))


def drawn(n_users: int, share: float) -> Bools:
    """A share of some users, (n_users,), drawn evenly by multiples of the golden ratio."""
    return np.asarray((np.arange(n_users) + 1) * GOLDEN % 1 < share)


def recency_weights(pairs: Pairs, recency: float) -> Float32s:
    """1 / (1 + r / recency) for the entry with r entries heard after it, (n_pairs,) float32; all 1 without time.

    Entries of the same moment share the least r; recency 0 makes all weights 1.
    """
    if recency <= 0 or pairs.last is None:
        return np.ones(len(pairs.item), np.float32)
    return sums.recency_weights(pairs.indptr, pairs.last, recency)


def sampled(pairs: Pairs, work: float) -> Csr:
    """The pairs with histories cut so that all pairs of items within a history are at most `work`.

    Long histories make nearly all pairs of items and add little to what shorter ones say (Schelter, Boden and Markl
    2012, section 4); of those that are cut the latest items stay.
    """
    return cut_to(pairs, longest_history(np.diff(pairs.indptr), work))


def cut_to(pairs: Pairs, longest: int) -> Csr:
    """The pairs with histories of at most `longest` items."""
    if longest >= np.diff(pairs.indptr).max(initial=0):
        return Csr(pairs.indptr, pairs.item, None, pairs.n_items)
    last = pairs.last if pairs.last is not None else np.empty(0, np.int32)
    return Csr(*kernels.cut_histories(pairs.indptr, pairs.item, last, longest), None, pairs.n_items)


def cut_off(pairs: Pairs, n_users: int, work: float, option: str) -> tuple[LeftOut, ...]:
    """What `sampled` cuts off; nothing where all histories stay whole.

    n_users: the first rows are users, the others labels
    option: the source's work, as in "item_item.fit_work"
    """
    lengths = np.diff(pairs.indptr)
    longest = longest_history(lengths, work)
    if longest >= lengths.max(initial=0):
        return ()
    squares = float((lengths.astype(np.float64) ** 2).sum())
    own = lengths[:n_users].astype(np.float64)
    return (what_is_cut(own, np.ones(len(own)), longest, squares, work, option),)


def what_is_cut(own: Float64s, times: Float64s, longest: int, squares: float, work: float, option: str) -> LeftOut:
    """Words on histories that are cut.

    own: lengths of users' histories, and how often each is there; squares: those of all lengths, summed
    """
    kept = np.minimum(own, longest)
    entries, both = (1 - float((times * kept**n).sum() / (times * own**n).sum()) for n in (1, 2))
    source = option.split(".")[0]
    return LeftOut(
        f"source {source} learns from the latest {longest:,} items of each history, without all other pairs",
        entries,
        f"counting all pairs of items within histories is more than {option} = {work:g}",
        f"{both:.1%} of these pairs of items are not counted, so what long histories alone say is lost to it",
        f"{option}={1.01 * squares:.3g}",
    )


def longest_history(lengths: Int64s, work: float) -> int:
    """The largest c with Σ min(length, c)² ≤ work, 50 at least."""
    ascending = np.sort(lengths).astype(np.float64)
    below = np.concatenate(([0.0], np.cumsum(ascending**2)))[:-1]
    # with c = the n-th length, that many from n on are cut to it
    total = below + ascending**2 * np.arange(len(ascending), 0, -1)
    fits = np.searchsorted(total, work, side="right")
    if fits == len(ascending):
        return int(ascending[-1]) if len(ascending) else 0
    return max(50, int(np.sqrt((work - below[fits]) / (len(ascending) - fits))))


def places(items: Int32s, n_items: int) -> Int32s:
    """Where each item stands among some items, (n_items,); −1 for one that does not."""
    place = np.full(n_items, -1, np.int32)
    place[items] = np.arange(len(items), dtype=np.int32)
    return place


def of_items(pairs: Pairs, items: Int32s) -> Pairs:
    """The entries of some items, which become items 0, 1, … in the order given, an ascending one."""
    time = np.empty(0, np.int32) if pairs.last is None else pairs.last
    place = places(items, pairs.n_items)
    indptr, item, plays, last = kernels.keep_items(pairs.indptr, pairs.item, pairs.plays, time, place)
    return Pairs(indptr, item, plays, None if pairs.last is None else last, len(items))
