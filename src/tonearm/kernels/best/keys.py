"""An entry as one unsigned number, so that the better of two is the larger: score first, then lower item index."""

import numpy as np

from tonearm.kernels.machine.jit import jit
from tonearm.types import AnyArray, Float32s, Int32s, Int64s

Keys = AnyArray
"""uint64: the score's bits, made ascending, above the item index, made descending."""


@jit
def key_of(bits: int, item: int) -> np.uint64:
    """The key of a score, given by its bits as int32, and an item; the two zeros are one."""
    if bits == -2147483648:
        bits = 0
    ordered = np.uint64(bits + 2147483648) if bits >= 0 else np.uint64(-bits - 1)
    return (ordered << np.uint64(32)) | np.uint64(0x7FFFFFFF - item)


@jit
def ascending(values: Int32s) -> Int64s:
    """The places of int32 values, least first, ties by place; (n,) int64."""
    order = np.empty(len(values), np.int64)
    for j in range(len(values)):
        order[j] = (np.int64(values[j]) << 32) | j
    order.sort()
    for j in range(len(values)):
        order[j] &= 0xFFFFFFFF
    return order


@jit
def descending(scores: Float32s) -> Int64s:
    """The places of contiguous float32 scores without NaN, greatest first, ties by place; (n,) int64."""
    bits, order = scores.view(np.int32), np.empty(len(scores), np.int32)
    for j in range(len(scores)):
        order[j] = ~bits[j] if bits[j] >= 0 else (bits[j] & 0x7FFFFFFF) - 1  # the two zeros are one
    return ascending(order)


@jit
def keep_best(keys: Keys, n: int, k: int) -> None:
    """Bring the k largest of keys[:n] to the front, the k-th of them to place k − 1 (Hoare's selection)."""
    lo, hi = 0, n - 1
    while lo < hi:
        a, b, c = keys[lo], keys[(lo + hi) >> 1], keys[hi]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = lo, hi
        while i <= j:
            while keys[i] > pivot:
                i += 1
            while keys[j] < pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            hi = j
        elif k - 1 >= i:
            lo = i
        else:
            break


@jit
def cut_keys(keys: Keys, n: int, k: int, most: int) -> int:
    """Bring the best of keys[:n] to the front, in any order: at least k, at most `most` of them; returns how many.

    The bound is found by halving, each step one count of all keys without a branch: several times as fast as to
    select the k-th exactly. Keys are distinct and n ≥ k.
    """
    lo = hi = keys[0]
    for j in range(n):
        lo, hi = min(lo, keys[j]), max(hi, keys[j])
    kept = n
    while kept > most:
        middle = hi - ((hi - lo) >> np.uint64(1))
        above = 0
        for j in range(n):
            above += keys[j] >= middle
        if above >= k:
            lo, kept = middle, above
        else:
            hi = middle - np.uint64(1)
    kept = 0
    for j in range(n):
        key = keys[j]
        keys[kept] = key
        kept += key >= lo
    return kept


@jit
def cut_back(keys: Keys, n: int, k: int, bits: Int32s) -> tuple[int, float]:
    """Keep the best of keys[:n], a few more than k; returns how many, and a score that the k-th best reaches.

    bits: scratch, of which the first is taken
    """
    kept = cut_keys(keys, n, k, max(1, k + k // 16))
    worst = keys[0]
    for j in range(1, kept):
        worst = min(worst, keys[j])
    bits[0] = score_bits(worst)
    return kept, float(bits.view(np.float32)[0])


@jit
def sort_keys(keys: Keys, n: int, in_order: bool, room: Keys, count: Int64s) -> None:
    """Sort keys[:n], largest first: by digits of eleven bits, several times as fast as by comparison.

    in_order: entries of equal score come with items ascending already, as a stable sort by score leaves them
    room: as long as keys, scratch; count: (2048,) scratch
    """
    if n < 128:
        _sort(keys, n)
        return
    source, target = keys, room
    for digit in range(3 if in_order else 0, 6):
        shift = np.uint64((0, 11, 22, 32, 43, 54)[digit])
        mask = np.uint64(1023 if digit % 3 == 2 else 2047)
        count[:] = 0
        for j in range(n):
            count[mask - ((source[j] >> shift) & mask)] += 1
        before = 0
        for d in range(len(count)):
            before, count[d] = before + count[d], before
        for j in range(n):
            d = mask - ((source[j] >> shift) & mask)
            target[count[d]] = source[j]
            count[d] += 1
        source, target = target, source
    if in_order:
        for j in range(n):
            keys[j] = source[j]


@jit
def _sort(keys: Keys, n: int) -> None:
    """Sort keys[:n] by comparison, largest first."""
    keys[:n].sort()
    for j in range(n >> 1):
        keys[j], keys[n - 1 - j] = keys[n - 1 - j], keys[j]


@jit
def score_bits(key: np.uint64) -> np.int64:
    """The bits, as int32, of a key's score."""
    ordered = np.int64(key >> np.uint64(32))
    if ordered >= 2147483648:
        return np.int64(ordered - 2147483648)
    return np.int64(-ordered - 1)


@jit
def write_best(keys: Keys, n: int, scores: Float32s, items: Int32s, bits: Int32s) -> int:
    """Fill a row of a list with the best of keys[:n], best first; returns how many it has. bits is (1,) of scratch."""
    size = min(n, len(scores))
    keep_best(keys, n, size)
    _sort(keys, size)
    write(keys, size, scores, items, bits)
    return size


@jit
def write(keys: Keys, n: int, scores: Float32s, items: Int32s, bits: Int32s) -> None:
    """Write keys[:n] out as they stand; bits is (1,) of scratch."""
    value = bits.view(np.float32)
    for j in range(n):
        bits[0] = score_bits(keys[j])
        scores[j] = value[0]
        items[j] = 0x7FFFFFFF - np.int64(keys[j] & np.uint64(0x7FFFFFFF))
