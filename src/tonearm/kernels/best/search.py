"""Binary search, the one that all kernels use."""

import numpy as np

from tonearm.kernels.machine.jit import jit
from tonearm.types import AnyArray


@jit
def first_from(ascending: AnyArray, lo: int, hi: int, least: int | np.int64) -> int:
    """The first place of ascending[lo:hi] whose value is at least `least`; hi where there is none."""
    while lo < hi:
        middle = (lo + hi) >> 1
        if ascending[middle] < least:
            lo = middle + 1
        else:
            hi = middle
    return lo


@jit
def place_of(ascending: AnyArray, lo: int, hi: int, wanted: int | np.int64) -> int:
    """Where a value stands in ascending[lo:hi], −1 where it does not."""
    place = first_from(ascending, lo, hi, wanted)
    return place if place < hi and ascending[place] == wanted else -1
