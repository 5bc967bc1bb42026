"""Scores summed over a history: lists by several item-item models, and scores of given items."""

import numpy as np

from tonearm.kernels.best.keys import Keys, ascending, cut_back, key_of, write_best
from tonearm.kernels.best.search import place_of
from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.kernels.machine.simd import (
    LANES,
    LEAST,
    SCAN,
    any_at_least,
    fill,
    fma,
    load,
    lowest_bit,
    prefetch,
    take_next,
)
from tonearm.types import AnyArray, Float32s, Int32s, Int64s

AHEAD = 4
"""Entries of a history whose rows are asked for before their turn."""

LINE, FAR = 16, 64
"""Numbers in a line of the cache, and how many of a row are asked for; what comes then is foreseen by the processor."""

ROOM = 4
"""Times k, how many entries are noted before they are cut back to the best."""

UNTOUCHED = np.float32(-np.inf)
"""The sum of a target that no item of the history speaks for."""


@jit_parallel
def recency_weights(indptr: Int64s, last: Int32s, recency: float) -> Float32s:
    """1 / (1 + r / recency) for the entry with r later ones in its history, (n,) float32; `last` is its moment."""
    out = np.empty(len(last), np.float32)
    for u in prange(len(indptr) - 1):
        own, weight = last[indptr[u] : indptr[u + 1]], out[indptr[u] : indptr[u + 1]]
        order = ascending(~own)
        later = 0
        for a in range(len(order)):
            if a > 0 and own[order[a]] != own[order[a - 1]]:
                later = a
            weight[order[a]] = 1 / (1 + later / recency)
    return out


@jit_parallel
def search(
    threads: int,
    indptr: Int64s,
    item: Int32s,
    weights: tuple[Float32s, ...],
    model_indptrs: tuple[Int64s, ...],
    model_places: tuple[Int32s, ...],
    model_values: tuple[Float32s, ...],
    targets: tuple[Int32s, ...],
    places: tuple[Int32s, ...],
    sums_of: Int64s,
    scales: tuple[Float32s, ...],
    seen_indptr: Int64s,
    seen: Int32s,
    k: int,
    wanted_indptr: Int64s,
    wanted: Int32s,
) -> tuple[AnyArray, Float32s, Int64s, Int64s, Int32s, Float32s]:
    """The k best items of each history by each of several models, and all models' scores of those and of wanted items.

    score_i = scale_i · Σ_j weight_j · W_ji; a list holds items with a positive score only. Sums are taken once for
    all models that share them, and once for both uses.

    indptr, item, weights: the histories, (b + 1,) and (n,), and the weight of each entry for each W
    model_*: each W by source item j, CSR; columns are places in its `targets`
    targets: (n_targets,) the item of each place; sums are kept by place, so those used most should stand together
    places: (n_items,) where each item stands in the targets, −1 where it is none
    sums_of: (n_models,) the W whose sums a model takes; scales: (n_targets,) float32 of each model, positive
    seen_*: what to leave out of lists, ascending in a row; wanted_*: distinct items to score besides
    Returns items (n_models, b, k) and their scores, best first, how many there are (n_models, b); then indptr (b + 1,)
    int64 and the items of all lists and the wanted ones, ascending in a row, with scores (n, n_models), 0 where none.
    """
    b, n_models, n_sums = len(indptr) - 1, len(sums_of), len(targets)
    begin = np.cumsum([0, *(len(one) for one in targets)])
    scale, scale_begin = np.concatenate(scales), np.cumsum([0, *(len(one) for one in scales)])
    weights, targets, places = _two(weights), _two(targets), _two(places)
    model_indptrs, model_places, model_values = _two(model_indptrs), _two(model_places), _two(model_values)
    list_item = np.empty((n_models, b, k), np.int32)
    list_score = np.empty((n_models, b, k), np.float32)
    count = np.zeros((n_models, b), np.int64)
    most_seen = np.max(np.diff(seen_indptr)) if b > 0 else 0
    room = wanted_indptr + np.arange(b + 1) * n_models * k
    united, score = np.empty(room[-1], np.int32), np.empty((room[-1], n_models), np.float32)
    out_indptr = np.zeros(b + 1, np.int64)
    counter = np.zeros(1, np.int64)
    for _ in prange(min(threads, b)):
        total = np.full(begin[-1], UNTOUCHED, np.float32)
        whole = np.zeros(begin[-1], np.float32)
        touched = np.empty(begin[-1], np.int32)
        n_touched = np.empty(n_sums, np.int64)
        keys, bits = np.empty(ROOM * k + LANES, np.uint64), np.empty(1, np.int32)
        kept = np.empty((n_sums, most_seen), np.float32)
        while True:
            row = take_next(counter)
            if row >= b:
                break
            # the sums of each W, at all places or at those that are added to
            history, heard = item[indptr[row] : indptr[row + 1]], seen[seen_indptr[row] : seen_indptr[row + 1]]
            for w in range(n_sums):
                weight = weights[w][indptr[row] : indptr[row + 1]]
                own = slice(begin[w], begin[w + 1])
                additions = 0
                for j in history:
                    additions += model_indptrs[w][j + 1] - model_indptrs[w][j]
                if additions * SCAN >= len(targets[w]):
                    _add(history, weight, model_indptrs[w], model_places[w], model_values[w], whole[own])
                    n_touched[w] = -1
                else:
                    n_touched[w] = _accumulate(
                        history, weight, model_indptrs[w], model_places[w], model_values[w], total[own], touched[own]
                    )
                _put_away((whole if n_touched[w] < 0 else total)[own], places[w], heard, kept[w])
            # the list of each model, and its items beside those that are wanted
            n_all = wanted_indptr[row + 1] - wanted_indptr[row]
            some = united[room[row] : room[row + 1]]
            for a in range(n_all):
                some[a] = wanted[wanted_indptr[row] + a]
            for m in range(n_models):
                w = sums_of[m]
                own = slice(begin[w], begin[w + 1])
                factor = scale[scale_begin[m] : scale_begin[m + 1]]
                best_score, best_item = list_score[m, row], list_item[m, row]
                if n_touched[w] < 0:
                    n = _best_sums(whole[own], factor, targets[w], keys, bits, best_score, best_item)
                else:
                    places_ = touched[begin[w] : begin[w] + n_touched[w]]
                    n = _best_touched(total[own], places_, factor, targets[w], keys, bits, best_score, best_item)
                count[m, row] = n
                for a in range(n):
                    some[n_all + a] = best_item[a]
                n_all += n
            # all scores of all of these, each once
            n = _distinct(some[:n_all])
            for w in range(n_sums):
                own = slice(begin[w], begin[w + 1])
                _put_back((whole if n_touched[w] < 0 else total)[own], places[w], heard, kept[w])
            out_indptr[row + 1] = n
            for m in range(n_models):
                w = sums_of[m]
                sums, factor = whole if n_touched[w] < 0 else total, scale[scale_begin[m] : scale_begin[m + 1]]
                for a in range(n):
                    at = places[w][some[a]]
                    found = sums[begin[w] + at] if at >= 0 else UNTOUCHED
                    score[room[row] + a, m] = found * factor[at] if found != UNTOUCHED else np.float32(0)
            # leave the sums as they were
            for w in range(n_sums):
                if n_touched[w] < 0:
                    whole[begin[w] : begin[w + 1]] = 0
                for t in range(begin[w], begin[w] + n_touched[w]):
                    total[begin[w] + touched[t]] = UNTOUCHED
    out_indptr = np.cumsum(out_indptr)
    out_item, out_score = np.empty(out_indptr[-1], np.int32), np.empty((out_indptr[-1], n_models), np.float32)
    for row in prange(b):
        for at in range(out_indptr[row], out_indptr[row + 1]):
            a = room[row] + at - out_indptr[row]
            out_item[at] = united[a]
            for m in range(n_models):
                out_score[at, m] = score[a, m]
    return list_item, list_score, count, out_indptr, out_item, out_score


def _two(arrays: tuple[AnyArray, ...]) -> tuple[AnyArray, ...]:
    """One array twice, so that what is compiled for two does for one."""
    return arrays if len(arrays) > 1 else arrays * 2


@jit_parallel
def score_sparse(
    threads: int,
    indptr: Int64s,
    item: Int32s,
    weight: Float32s,
    model_indptr: Int64s,
    model_place: Int32s,
    model_value: Float32s,
    place: Int32s,
    scale: Float32s,
    candidate_indptr: Int64s,
    candidate: Int32s,
) -> Float32s:
    """scale_i · Σ_j weight_j · W_ji of each candidate i, (n_candidates,) float32; arguments as in `search`."""
    b = len(indptr) - 1
    n_targets = len(scale)
    out = np.zeros(len(candidate), np.float32)
    counter = np.zeros(1, np.int64)
    for _ in prange(min(threads, b)):
        total = np.full(n_targets, UNTOUCHED, np.float32)
        touched = np.empty(n_targets, np.int32)
        while True:
            row = take_next(counter)
            if row >= b:
                break
            own = slice(indptr[row], indptr[row + 1])
            n_touched = _accumulate(item[own], weight[own], model_indptr, model_place, model_value, total, touched)
            for c in range(candidate_indptr[row], candidate_indptr[row + 1]):
                at = place[candidate[c]]
                if at >= 0 and total[at] != UNTOUCHED:
                    out[c] = total[at] * scale[at]
            for t in range(n_touched):
                total[touched[t]] = UNTOUCHED
    return out


@jit
def weights_to(item: Int32s, model_indptr: Int64s, model_place: Int32s, model_value: Float32s, wanted: int) -> Float32s:
    """W_ji of each item j to the one target i that stands at the place `wanted`, (n,) float32; 0 for a place of −1.

    model_*: as in `search`, places ascending within a row
    """
    out = np.zeros(len(item), np.float32)
    for a in range(len(item)):
        at = place_of(model_place, model_indptr[item[a]], model_indptr[item[a] + 1], wanted)
        if at >= 0:
            out[a] = model_value[at]
    return out


@jit
def _add(
    item: Int32s, weight: Float32s, model_indptr: Int64s, model_place: Int32s, model_value: Float32s, total: Float32s
) -> None:
    """Add Σ_j weight_j · W_ji to the total of every place i."""
    for a in range(len(item)):
        w = weight[a]
        _ask_for(item, a + AHEAD, model_indptr, model_place, model_value)
        for c in range(model_indptr[item[a]], model_indptr[item[a] + 1]):
            total[model_place[c]] += w * model_value[c]


@jit
def _ask_for(item: Int32s, a: int, model_indptr: Int64s, model_place: Int32s, model_value: Float32s) -> None:
    """Ask for the beginning of the row of an entry that comes soon; rows lie far apart in memory."""
    if a < len(item):
        first = model_indptr[item[a]]
        for c in range(first, min(first + FAR, model_indptr[item[a] + 1]), LINE):
            prefetch(model_place, c)
            prefetch(model_value, c)


@jit
def _accumulate(
    item: Int32s,
    weight: Float32s,
    model_indptr: Int64s,
    model_place: Int32s,
    model_value: Float32s,
    total: Float32s,
    touched: Int32s,
) -> int:
    """The same where few places are added to: those that were UNTOUCHED before are noted; returns how many."""
    n_touched = 0
    for a in range(len(item)):
        w = weight[a]
        _ask_for(item, a + AHEAD, model_indptr, model_place, model_value)
        for c in range(model_indptr[item[a]], model_indptr[item[a] + 1]):
            at = model_place[c]
            before = total[at]
            if before == UNTOUCHED:
                touched[n_touched] = at
                n_touched += 1
                before = np.float32(0)
            total[at] = before + w * model_value[c]
    return n_touched


@jit
def _best_sums(
    sums: Float32s, scale: Float32s, targets: Int32s, keys: Keys, bits: Int32s, best_score: Float32s, best_item: Int32s
) -> int:
    """The best of all scaled sums above 0; returns how many there are. keys, bits: scratch."""
    n, vectors, k = 0, len(sums) // LANES * LANES, len(best_score)
    score, limit = bits.view(np.float32), float(LEAST)
    zero, wanted = fill(np.float32(0)), fill(np.float32(limit))
    for at in range(0, len(sums), LANES):
        if at < vectors:
            reached = any_at_least(fma(load(sums, at), load(scale, at), zero), wanted)
        else:
            reached = (1 << (len(sums) - at)) - 1
        while reached != 0:
            j = at + lowest_bit(reached)
            reached &= reached - 1
            score[0] = sums[j] * scale[j]
            if score[0] >= limit:
                keys[n] = key_of(bits[0], targets[j])
                n += 1
        if n > len(keys) - LANES:
            n, limit = cut_back(keys, n, k, bits)
            wanted = fill(np.float32(limit))
    return write_best(keys, n, best_score, best_item, bits)


@jit
def _best_touched(
    sums: Float32s,
    touched: Int32s,
    scale: Float32s,
    targets: Int32s,
    keys: Keys,
    bits: Int32s,
    best_score: Float32s,
    best_item: Int32s,
) -> int:
    """The same of the sums at some places."""
    n, k = 0, len(best_score)
    score, limit = bits.view(np.float32), float(LEAST)
    for j in touched:
        score[0] = sums[j] * scale[j]
        if score[0] >= limit:
            keys[n] = key_of(bits[0], targets[j])
            n += 1
            if n == len(keys):
                n, limit = cut_back(keys, n, k, bits)
    return write_best(keys, n, best_score, best_item, bits)


@jit
def _put_away(sums: Float32s, place: Int32s, seen: Int32s, kept: Float32s) -> None:
    """Set the sums of seen items to 0, which lists leave out, and keep what they were."""
    for a in range(len(seen)):
        at = place[seen[a]]
        if at >= 0:
            kept[a] = sums[at]
            sums[at] = 0


@jit
def _put_back(sums: Float32s, place: Int32s, seen: Int32s, kept: Float32s) -> None:
    """What `_put_away` kept, last first, so that an item that stands twice has what it had at first."""
    for a in range(len(seen) - 1, -1, -1):
        at = place[seen[a]]
        if at >= 0:
            sums[at] = kept[a]


@jit
def _distinct(items: Int32s) -> int:
    """Sort items, and bring the first of each kind to the front; returns how many kinds there are."""
    items.sort()
    n = 0
    for a in range(len(items)):
        if n == 0 or items[a] != items[n - 1]:
            items[n] = items[a]
            n += 1
    return n
