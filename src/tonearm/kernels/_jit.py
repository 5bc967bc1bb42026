"""One place for how kernels are compiled: cached on disk, no Python objects, parallel where asked for."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile a single-threaded kernel (also callable from other kernels)."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


def jit_fast(function: F) -> F:
    """Compile a single-threaded kernel that may reorder floating-point sums, so that they use vector units."""
    return cast(F, numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})(function))


def jit_parallel(function: F) -> F:
    """Compile a kernel whose `prange` loops run on all threads; sums may be reordered within a thread."""
    return cast(
        F,
        numba.njit(cache=True, nogil=True, parallel=True, fastmath={"reassoc", "contract", "nsz"})(function),
    )


prange = numba.prange
