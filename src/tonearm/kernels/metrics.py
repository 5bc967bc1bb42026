"""Kernels on ranked lists: truth, accuracy, slices, what lies beyond accuracy, the funnel, and bootstrap weights."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tonearm.kernels.best.search import place_of
from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.types import Bools, Float32s, Float64s, Int32s, Int64s

UInt32s: TypeAlias = NDArray[np.uint32]


@jit_parallel
def collect_truth(
    train_start: Int64s,
    train_stop: Int64s,
    train_item: Int32s,
    test_indptr: Int64s,
    test_item: Int32s,
    known: Bools,
    filter_seen: bool,
    keep: Bools,
    counts: Int64s,
) -> None:
    """Which of each user's test items count, and how many do not.

    test_indptr, test_item: distinct test items of each user, ascending, (n_users + 1,) and (n_pairs,)
    known: (n_items,) items with an event in train
    keep: (n_pairs,) False everywhere; set where an item belongs to the truth
    counts: (n_users, 3) int64 zeros; filled with truth items, those not in train, and those in train that this user
    already heard there (counted, and left out, only where filter_seen)
    """
    for u in prange(len(train_start)):
        lo, hi = test_indptr[u], test_indptr[u + 1]
        if lo == hi:
            continue
        for j in range(lo, hi):
            keep[j] = known[test_item[j]]
            counts[u, 1] += not keep[j]
        if filter_seen:
            for j in range(train_start[u], train_stop[u]):
                place = place_of(test_item, lo, hi, train_item[j])
                if place >= 0 and keep[place]:
                    keep[place] = False
                    counts[u, 2] += 1
        counts[u, 0] = hi - lo - counts[u, 1] - counts[u, 2]


@jit_parallel
def accuracy(
    row: Int64s,
    indptr: Int64s,
    item: Int32s,
    truth_indptr: Int64s,
    truth_item: Int32s,
    discount: Float64s,
    ideal: Float64s,
    ks: Int64s,
    out: Float64s,
) -> None:
    """precision, recall, ndcg, hit_rate, mrr and map of each list at each k.

    row: (b,) int64 row of the truth, −1 for a list that is not evaluated (its metrics stay 0)
    indptr, item: the lists, (b + 1,) and (n_entries,)
    truth_indptr, truth_item: CSR, items ascending in a row, no row empty
    discount, ideal: (at least the largest k,) float64, 1 / log2(rank + 1) and its running sum
    ks: (n_k,) int64 ascending
    out: (b, 6 n_k) float64 zeros, filled family by family
    """
    n_k = len(ks)
    for i in prange(len(row)):
        if row[i] < 0:
            continue
        lo, hi = truth_indptr[row[i]], truth_indptr[row[i] + 1]
        length = indptr[i + 1] - indptr[i]
        place, hits = 0, 0
        dcg, first, precisions = 0.0, 0.0, 0.0
        for c in range(n_k):
            end = min(ks[c], length)
            while place < end:
                if place_of(truth_item, lo, hi, item[indptr[i] + place]) >= 0:
                    hits += 1
                    dcg += discount[place]
                    precisions += hits / (place + 1)
                    if hits == 1:
                        first = 1.0 / (place + 1)
                place += 1
            if hits == 0:
                continue
            out[i, c] = hits / end
            out[i, n_k + c] = hits / (hi - lo)
            out[i, 2 * n_k + c] = dcg / ideal[min(ks[c], hi - lo) - 1]
            out[i, 3 * n_k + c] = 1.0
            out[i, 4 * n_k + c] = first
            out[i, 5 * n_k + c] = precisions / (hi - lo)


@jit_parallel
def grouped(
    row: Int64s,
    indptr: Int64s,
    item: Int32s,
    truth_indptr: Int64s,
    truth_item: Int32s,
    discount: Float64s,
    ideal: Float64s,
    label: Int32s,
    k: int,
    sizes: Int64s,
    out: Float64s,
) -> None:
    """recall@k and ndcg@k of each list against the truth items of one label.

    label: (n_items,) int32, −1 for an item of no group
    sizes: (b, n_labels) int64 zeros, for truth items of each label; left at 0 for a list without a hit
    out: (b, 2 n_labels) float64 zeros; recalls of all labels come first. 0 without a truth item in a group
    Other arguments as in `accuracy`.
    """
    n_labels = sizes.shape[1]
    for i in prange(len(row)):
        if row[i] < 0:
            continue
        lo, hi = truth_indptr[row[i]], truth_indptr[row[i] + 1]
        any_hit = False
        for place in range(min(k, indptr[i + 1] - indptr[i])):
            candidate = item[indptr[i] + place]
            g = label[candidate]
            if g >= 0 and place_of(truth_item, lo, hi, candidate) >= 0:
                out[i, g] += 1.0
                out[i, n_labels + g] += discount[place]
                any_hit = True
        if not any_hit:
            continue
        for j in range(lo, hi):
            if label[truth_item[j]] >= 0:
                sizes[i, label[truth_item[j]]] += 1
        for g in range(n_labels):
            if sizes[i, g] > 0:
                out[i, g] /= sizes[i, g]
                out[i, n_labels + g] /= ideal[min(k, sizes[i, g]) - 1]


@jit_parallel
def beyond(
    indptr: Int64s,
    item: Int32s,
    history_indptr: Int64s,
    history_item: Int32s,
    plays: Float64s,
    information: Float64s,
    genre_indptr: Int64s,
    genre_index: Int32s,
    n_genres: int,
    ks: Int64s,
    out: Float64s,
) -> None:
    """novelty, surprisal, popularity and diversity of each list at each k, and popularity of its history.

    history_indptr, history_item: (b + 1,) and (n_heard,), items ascending in a row
    plays, information: (n_items,) float64, plays of an item and −log2 of its share of all plays
    genre_indptr, genre_index: (n_items + 1,) and (n_entries,), genres of each item; n_genres 0 where there are none
    out: (b, 4 n_k + 1) float64 of NaN, filled family by family; the last column is the mean plays of the history. NaN
    stays where a mean has nothing to go over: everywhere for an empty list, in the last column for an empty history,
    in diversity for fewer than two items with a genre.
    """
    n_k = len(ks)
    for i in prange(len(indptr) - 1):
        lo, hi = history_indptr[i], history_indptr[i + 1]
        length = indptr[i + 1] - indptr[i]
        if length == 0:
            continue
        if lo < hi:
            total = 0.0
            for j in range(lo, hi):
                total += plays[history_item[j]]
            out[i, 4 * n_k] = total / (hi - lo)
        profile = np.zeros(n_genres)
        place, new, tagged = 0, 0, 0
        surprise, played, overlap = 0.0, 0.0, 0.0
        for c in range(n_k):
            end = min(ks[c], length)
            while place < end:
                candidate = item[indptr[i] + place]
                new += place_of(history_item, lo, hi, candidate) < 0
                surprise += information[candidate]
                played += plays[candidate]
                size = genre_indptr[candidate + 1] - genre_indptr[candidate]
                if n_genres > 0 and size > 0:
                    tagged += 1
                    unit = 1.0 / np.sqrt(size)
                    for j in range(genre_indptr[candidate], genre_indptr[candidate + 1]):
                        # Cosines with all earlier items at once: this unit vector times the sum of theirs.
                        overlap += unit * profile[genre_index[j]]
                        profile[genre_index[j]] += unit
                place += 1
            out[i, c] = new / end
            out[i, n_k + c] = surprise / end
            out[i, 2 * n_k + c] = played / end
            if tagged > 1:
                out[i, 3 * n_k + c] = 1.0 - 2.0 * overlap / (tagged * (tagged - 1))


@jit
def count_exposure(indptr: Int64s, item: Int32s, ks: Int64s, counts: Int32s) -> None:
    """Count how often each item stands in each band of ranks, in place.

    counts: (n_k + 1, n_items) int32; band c holds ranks above ks[c − 1] up to ks[c], the last one all deeper ranks
    """
    for i in range(len(indptr) - 1):
        band = 0
        for j in range(indptr[i], indptr[i + 1]):
            while band < len(ks) and j - indptr[i] >= ks[band]:
                band += 1
            counts[band, item[j]] += 1


@jit
def add_up(values: Float64s, sums: Float64s, counts: Int64s) -> None:
    """Add rows to running column sums one after the other, so that the size of blocks never shows; NaN is passed over.

    values: (b, m) float64; sums, counts: (m,), changed in place
    """
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if not np.isnan(values[i, j]):
                sums[j] += values[i, j]
                counts[j] += 1


@jit_parallel
def trace(
    row: Int64s,
    indptr: Int64s,
    item: Int32s,
    member: UInt32s,
    final_indptr: Int64s,
    final_item: Int32s,
    k: int,
    truth_indptr: Int64s,
    truth_item: Int32s,
    offset: Int64s,
    found: UInt32s,
    final: Bools,
) -> None:
    """For every truth item of a block: which sources proposed it, and whether the final top k holds it.

    row: (b,) int64 row of the truth, −1 for a user who is not evaluated
    indptr, item, member: candidates of each user, and the sources of each as bits
    final_indptr, final_item: the final lists
    offset: (b + 1,) int64, where each user's truth stands in `found` and `final`, which are filled in place
    """
    for i in prange(len(row)):
        if row[i] < 0:
            continue
        lo, hi = truth_indptr[row[i]], truth_indptr[row[i] + 1]
        for j in range(indptr[i], indptr[i + 1]):
            place = place_of(truth_item, lo, hi, item[j])
            if place >= 0:
                found[offset[i] + place - lo] |= member[j]
        for j in range(final_indptr[i], min(final_indptr[i + 1], final_indptr[i] + k)):
            place = place_of(truth_item, lo, hi, final_item[j])
            if place >= 0:
                final[offset[i] + place - lo] = True


@jit
def tally(
    offset: Int64s, found: UInt32s, final: Bools, k: int, n_sources: int, counts: Int64s, recalls: Float64s
) -> tuple[np.int64, np.int64]:
    """Sum up traced truth items; returns the hits possible at k, and those possible from what was retrieved.

    offset, found, final: as `trace` left them
    counts: (2, 2^n_sources) int64, truth items by whether they are in the final list and by their sources' bits
    recalls: (n_sources + 2,) float64, running sums of each user's recall: every source, their union, the final list
    """
    possible, reachable = np.int64(0), np.int64(0)
    hits = np.zeros(n_sources + 2, np.int64)
    for i in range(len(offset) - 1):
        size = offset[i + 1] - offset[i]
        if size == 0:
            continue
        hits[:] = 0
        retrieved = 0
        for j in range(offset[i], offset[i + 1]):
            counts[1 if final[j] else 0, found[j]] += 1
            for s in range(n_sources):
                hits[s] += (found[j] >> s) & 1
            hits[n_sources] += found[j] != 0
            hits[n_sources + 1] += final[j]
            retrieved += found[j] != 0 or final[j]
        recalls += hits / size
        possible += min(k, size)
        reachable += min(k, retrieved)
    return possible, reachable


@jit
def count_members(row: Int64s, indptr: Int64s, member: UInt32s, counts: Int64s) -> None:
    """Count the candidates of evaluated users by their sources' bits, in place; counts: (2^n_sources,) int64."""
    for i in range(len(row)):
        if row[i] >= 0:
            for j in range(indptr[i], indptr[i + 1]):
                counts[member[j]] += 1


@jit_parallel
def poisson_weights(keys: UInt32s, first: int, thresholds: UInt32s, out: Float64s) -> None:
    """Poisson(1) weights of some users in each resample, as a pure function of key and user.

    keys: (n_resamples, 2) uint32, two random words a resample
    first: number of the first user
    thresholds: (n,) uint32, 2^32 times the cumulative probabilities
    out: (n_resamples, n_users) float64, filled in place
    The two rounds of mixing are the finaliser of MurmurHash3.
    """
    low = np.uint64(0xFFFFFFFF)
    for r in prange(out.shape[0]):
        a, b = np.uint64(keys[r, 0]), np.uint64(keys[r, 1])
        for j in range(out.shape[1]):
            h = (np.uint64(first + j) + a) & low
            for turn in range(2):
                h ^= h >> np.uint64(16)
                h = (h * np.uint64(0x85EBCA6B)) & low
                h ^= h >> np.uint64(13)
                h = (h * np.uint64(0xC2B2AE35)) & low
                h ^= h >> np.uint64(16)
                if turn == 0:
                    h ^= b
            weight = np.int64(0)
            for t in range(len(thresholds)):
                weight += h >= np.uint64(thresholds[t])
            out[r, j] = weight


@jit
def sum_groups(values: Float32s, group: Int64s, out: Float64s) -> None:
    """Add each user's row to the row of their group, in place; values (n, m) float32, group (n,), out (n_groups, m)."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            out[group[i], j] += values[i, j]
