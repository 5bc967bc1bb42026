"""Kernels that shape ranked lists: take k entries under rules, and order candidates so that they differ."""

from typing import NamedTuple

import numpy as np

from tonearm.kernels.best.search import place_of
from tonearm.kernels.machine.jit import jit, jit_fast
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.types import Bools, Float32s, Float64s, Int32s, Int64s

FRESH, RARE = 0, 1
"""The two kinds of item that a list may have to hold a share of."""

CHUNKS = 16
"""Parts that rows are handled in, each with one tally."""


class Rules(NamedTuple):
    """What `take` goes by.

    allowed: (n_items,) bool; nothing else is ever taken
    version: (n_items,) int32 group of versions, of which one is taken; −1 for an item of no group
    artist_indptr, artist_index: CSR, the artists of each item; at most per_artist items of each, 0 for any number
    album_indptr, album_index, per_album: the same of albums
    kinds: (n_items, 2) bool, which items are `FRESH` and which `RARE`
    shares: (2,) float64, the shares of the list for the two kinds, together at most 1
    popular: allowed items that a list is filled with, best first
    pool_indptr, pool: (3,) int64; of these the `FRESH` ones, then the `RARE` ones
    relax: raise the limits where a row would stay short
    """

    allowed: Bools
    version: Int32s
    artist_indptr: Int64s
    artist_index: Int32s
    per_artist: int
    album_indptr: Int64s
    album_index: Int32s
    per_album: int
    kinds: Bools
    shares: Float64s
    popular: Int32s
    pool_indptr: Int64s
    pool: Int32s
    relax: bool


class Tally(NamedTuple):
    """What one list holds so far; of use for one list after another once it is cleared."""

    picked: Bools
    artist: Int32s
    album: Int32s
    version: Bools
    heard: Bools


@jit_parallel
def take(
    indptr: Int64s,
    item: Int32s,
    k: int,
    rules: Rules,
    seen_indptr: Int64s,
    seen: Int32s,
    heard_indptr: Int64s,
    heard: Int32s,
    turn: Int64s,
) -> tuple[Int64s, Int32s, Int64s, Int64s]:
    """k items for each row under the rules: the first of the row that they let pass, then popular ones.

    Where a row's share of a kind falls behind, its next item of that kind comes first: of the row, else of the pool.
    A row that is still short takes what the limits per artist and album kept out, these limits raised step by step.

    indptr, item: ranked items of each row, none of them seen
    seen_indptr, seen: what no row is filled with, ascending in a row
    heard_indptr, heard: items of whose versions none is taken but themselves, ascending in a row
    turn: (b,) int64, where each row begins in the pool of `RARE` items, which is then gone through in turn

    Returns indptr (b + 1,) int64; items; the place of each in the input, −1 for one that the row was filled with; and
    (b,) int64 how many of a row's items, the last ones, stand above the limits.
    """
    b = len(indptr) - 1
    picked_item, picked_place = np.empty((b, k), np.int32), np.empty((b, k), np.int64)
    size, relaxed = np.zeros(b, np.int64), np.zeros(b, np.int64)
    n_artists, n_albums = labels_of(rules.artist_index), labels_of(rules.album_index)
    n_versions = labels_of(rules.version)
    chunks = min(b, CHUNKS)
    for chunk in prange(chunks):
        tally = Tally(
            np.zeros(len(rules.allowed), np.bool_),
            np.zeros(n_artists, np.int32),
            np.zeros(n_albums, np.int32),
            np.zeros(n_versions, np.bool_),
            np.zeros(n_versions, np.bool_),
        )
        for row in range(chunk * b // chunks, (chunk + 1) * b // chunks):
            size[row], relaxed[row] = _take_row(
                item[indptr[row] : indptr[row + 1]],
                rules,
                seen[seen_indptr[row] : seen_indptr[row + 1]],
                heard[heard_indptr[row] : heard_indptr[row + 1]],
                turn[row],
                tally,
                picked_item[row],
                picked_place[row],
            )
    out = np.zeros(b + 1, np.int64)
    out[1:] = np.cumsum(size)
    kept = np.arange(k) < size[:, None]
    place = np.where(picked_place >= 0, picked_place + indptr[:-1, None], -1)
    return out, picked_item[kept], place[kept], relaxed


@jit
def labels_of(index: Int32s) -> int:
    return max(index.max() + 1, 0) if len(index) else 0


@jit
def _take_row(
    own: Int32s,
    rules: Rules,
    seen: Int32s,
    heard: Int32s,
    turn: int,
    tally: Tally,
    out_item: Int32s,
    out_place: Int64s,
) -> tuple[int, int]:
    """One row of `take`; returns how many items were taken, and how many of them above the limits."""
    k, m = len(out_item), len(own)
    for item in heard:
        if rules.version[item] >= 0:
            tally.heard[rules.version[item]] = True
    n, relaxed, at = 0, 0, 0
    have, wanted = np.zeros(2, np.int64), np.floor(rules.shares * k + 1e-9).astype(np.int64)
    cursor, used = np.zeros(2, np.int64), np.zeros(2, np.int64)
    # under the limits: an item of a kind that is due, else the next of the row, else a popular one
    while n < k:
        kind, place, found = _due(n, k, rules.shares, wanted, have), -1, -1
        if kind >= 0:
            while cursor[kind] < m and found < 0:
                if rules.kinds[own[cursor[kind]], kind] and _verdict(own[cursor[kind]], 0, rules, heard, tally) == 1:
                    place, found = cursor[kind], own[cursor[kind]]
                cursor[kind] += 1
            lo, length = rules.pool_indptr[kind], rules.pool_indptr[kind + 1] - rules.pool_indptr[kind]
            while used[kind] < length and found < 0:
                offset = used[kind] + turn if kind == RARE else used[kind]
                item = rules.pool[lo + offset % length]
                if place_of(seen, 0, len(seen), item) < 0 and _verdict(item, 0, rules, heard, tally) == 1:
                    found = item
                used[kind] += 1
            if found < 0:
                wanted[kind] = 0  # there are no more of this kind
                continue
        while found < 0 and at < m + len(rules.popular):
            item = own[at] if at < m else rules.popular[at - m]
            fits = _verdict(item, 0, rules, heard, tally) == 1
            if fits and (at < m or place_of(seen, 0, len(seen), item) < 0):
                place, found = at if at < m else -1, item
            at += 1
        if found < 0:
            break
        for which in range(2):
            have[which] += rules.kinds[found, which]
        out_item[n], out_place[n] = found, place
        _count(found, 1, rules, tally)
        n += 1
    # above the limits, raised step by step
    more, kept_out = 1, rules.relax and (rules.per_artist > 0 or rules.per_album > 0)
    while n < k and kept_out:
        kept_out = False
        for j in range(m + len(rules.popular)):
            item = own[j] if j < m else rules.popular[j - m]
            verdict = _verdict(item, more, rules, heard, tally)
            if verdict == 0 or (j >= m and place_of(seen, 0, len(seen), item) >= 0):
                continue
            if verdict == 2:
                kept_out = True
                continue
            out_item[n], out_place[n] = item, j if j < m else -1
            _count(item, 1, rules, tally)
            n += 1
            relaxed += 1
            if n == k:
                break
        more *= 2
    # clear the tally
    for j in range(n):
        _count(out_item[j], -1, rules, tally)
    for item in heard:
        if rules.version[item] >= 0:
            tally.heard[rules.version[item]] = False
    return n, relaxed


@jit
def _due(n: int, k: int, shares: Float64s, wanted: Int64s, have: Int64s) -> int:
    """The kind that the next item must be of: one that is behind, or one of all that are left; −1 for any."""
    left = max(wanted[0] - have[0], 0) + max(wanted[1] - have[1], 0)
    for kind in range(2):
        if have[kind] < wanted[kind] and (left >= k - n or have[kind] < np.floor(shares[kind] * (n + 1) + 1e-9)):
            return kind
    return -1


@jit
def _verdict(item: int, more: int, rules: Rules, heard: Int32s, tally: Tally) -> int:
    """1 where an item may be taken, 2 where only the limits, each raised by `more`, forbid it, else 0."""
    if tally.picked[item] or not rules.allowed[item]:
        return 0
    version = rules.version[item]
    if version >= 0 and (tally.version[version] or (tally.heard[version] and place_of(heard, 0, len(heard), item) < 0)):
        return 0
    if rules.per_artist > 0:
        for j in range(rules.artist_indptr[item], rules.artist_indptr[item + 1]):
            if tally.artist[rules.artist_index[j]] >= rules.per_artist + more:
                return 2
    if rules.per_album > 0:
        for j in range(rules.album_indptr[item], rules.album_indptr[item + 1]):
            if tally.album[rules.album_index[j]] >= rules.per_album + more:
                return 2
    return 1


@jit
def _count(item: int, by: int, rules: Rules, tally: Tally) -> None:
    """Put an item on the tally, or take it off."""
    tally.picked[item] = by > 0
    if rules.version[item] >= 0:
        tally.version[rules.version[item]] = by > 0
    if rules.per_artist > 0:
        for j in range(rules.artist_indptr[item], rules.artist_indptr[item + 1]):
            tally.artist[rules.artist_index[j]] += by
    if rules.per_album > 0:
        for j in range(rules.album_indptr[item], rules.album_indptr[item + 1]):
            tally.album[rules.album_index[j]] += by


@jit_parallel
def diversify(
    indptr: Int64s,
    item: Int32s,
    score: Float32s,
    k: int,
    dial: float,
    tag_indptr: Int64s,
    tag: Int32s,
    unit: Float32s,
) -> Int64s:
    """Each row in the order of maximal marginal relevance as far as its first k, the others as they were.

    argmax (1 − dial) · relevance(i) − dial · max over those taken of cosine(i, j); ties go to the earlier entry. The
    relevance is the score brought to 0..1 over the row's first 2k entries, which alone take part.

    indptr, item, score: ranked items of each row
    tag_indptr, tag: CSR, the labels of each item; unit: (n_items, d) float32 vectors of length 1, which are gone by
        instead where d is above 0
    Returns the place of each entry in the input, (n_entries,) int64.
    Source: Carbonell and Goldstein 1998, "The use of MMR, diversity-based reranking".
    """
    out = np.empty(len(item), np.int64)
    n_tags = labels_of(tag)
    for row in prange(len(indptr) - 1):
        lo = indptr[row]
        m = min(2 * k, indptr[row + 1] - lo)
        own, value = item[lo : lo + m], (1 - dial) * _relevance(score[lo : lo + m])
        bounds, labels = _local_tags(own, tag_indptr, tag)
        nearest, cosine, taken = np.zeros(m), np.zeros(m), np.zeros(m, np.bool_)
        last, n = np.zeros(n_tags), min(k, m)
        best = 0
        for step in range(n):
            taken[best] = True
            out[lo + step] = lo + best
            if unit.shape[1] > 0:
                _vector_cosines(unit, own, best, cosine)
            else:
                _tag_cosines(bounds, labels, best, last, cosine)
            following, highest = -1, -np.inf
            for j in range(m):
                nearest[j] = max(nearest[j], cosine[j])
                worth = value[j] - dial * nearest[j]
                if worth > highest and not taken[j]:
                    following, highest = j, worth
            best = following
        for j in range(m):
            if not taken[j]:
                out[lo + n] = lo + j
                n += 1
        for place in range(lo + m, indptr[row + 1]):
            out[place] = place
    return out


@jit
def _local_tags(own: Int32s, tag_indptr: Int64s, tag: Int32s) -> tuple[Int64s, Int32s]:
    """The labels of some items side by side, CSR; nothing where there are no labels at all."""
    bounds = np.zeros(len(own) + 1, np.int64)
    if len(tag) == 0:
        return bounds, np.empty(0, np.int32)
    for j in range(len(own)):
        bounds[j + 1] = bounds[j] + tag_indptr[own[j] + 1] - tag_indptr[own[j]]
    labels = np.empty(bounds[-1], np.int32)
    for j in range(len(own)):
        for a in range(bounds[j + 1] - bounds[j]):
            labels[bounds[j] + a] = tag[tag_indptr[own[j]] + a]
    return bounds, labels


@jit
def _tag_cosines(bounds: Int64s, labels: Int32s, best: int, last: Float64s, out: Float64s) -> None:
    """Cosine of one item's labels to those of all; two items without any are alike.

    last: (n_labels,) zeros, left so
    """
    of_best = bounds[best + 1] - bounds[best]
    for a in range(bounds[best], bounds[best + 1]):
        last[labels[a]] = 1.0
    for j in range(len(out)):
        n = bounds[j + 1] - bounds[j]
        shared = 0.0
        for a in range(bounds[j], bounds[j + 1]):
            shared += last[labels[a]]
        if shared > 0:
            out[j] = shared / np.sqrt(n * of_best)
        else:
            out[j] = 1.0 if n == 0 and of_best == 0 else 0.0
    for a in range(bounds[best], bounds[best + 1]):
        last[labels[a]] = 0.0


@jit_fast
def _vector_cosines(unit: Float32s, own: Int32s, best: int, out: Float64s) -> None:
    """Product of one item's vector with those of all."""
    for j in range(len(out)):
        total = np.float32(0)
        for d in range(unit.shape[1]):
            total += unit[own[best], d] * unit[own[j], d]
        out[j] = total


@jit
def _relevance(score: Float32s) -> Float64s:
    """Scores brought to 0 (least) to 1 (greatest); all 0 where they are equal."""
    out = np.zeros(len(score))
    if len(score) > 0 and score.max() > score.min():
        low, high = np.float64(score.min()), np.float64(score.max())
        for j in range(len(score)):
            out[j] = (score[j] - low) / (high - low)
    return out
