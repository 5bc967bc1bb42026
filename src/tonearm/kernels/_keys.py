"""An entry as one unsigned number, so that the better of two is the larger: score first, then lower item index."""

import numpy as np

from tonearm.kernels._jit import jit
from tonearm.types import AnyArray, Float32s, Int32s

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
def score_bits(key: np.uint64) -> np.int64:
    """The bits, as int32, of a key's score."""
    ordered = np.int64(key >> np.uint64(32))
    if ordered >= 2147483648:
        return np.int64(ordered - 2147483648)
    return np.int64(-ordered - 1)


@jit
def write_best(keys: Keys, n: int, scores: Float32s, items: Int32s, bits: Int32s) -> None:
    """Sort keys[:n] and write them out, best first; bits is (1,) of scratch."""
    ordered = np.sort(keys[:n])
    value = bits.view(np.float32)
    for j in range(n):
        key = ordered[n - 1 - j]
        bits[0] = score_bits(key)
        scores[j] = value[0]
        items[j] = 0x7FFFFFFF - np.int64(key & np.uint64(0x7FFFFFFF))
