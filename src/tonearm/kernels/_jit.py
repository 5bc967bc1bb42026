"""One place for how kernels are compiled: cached on disk, no Python objects, parallel where asked for.

Numba looks only at a kernel's own file when it decides whether its compiled form is still good. A kernel holds those of
other files that it calls, so the stamp here is that of the whole package: change one file and all are compiled anew.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

REORDER = {"reassoc", "contract", "nsz"}
"""Liberties with floating-point sums that let them use vector units."""


def sources_stamp(folder: Path) -> str:
    """A digest of all Python files of a folder, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


_STAMP = sources_stamp(Path(__file__).parent)


def _compile(function: F, **options: Any) -> F:
    dispatcher = numba.njit(cache=True, nogil=True, **options)(function)
    dispatcher._cache._cache_file._source_stamp = _STAMP
    return cast(F, dispatcher)


def jit(function: F) -> F:
    """Compile a single-threaded kernel (also callable from other kernels)."""
    return _compile(function)


def jit_fast(function: F) -> F:
    """Compile a single-threaded kernel that may reorder floating-point sums."""
    return _compile(function, fastmath=REORDER)


def jit_parallel(function: F) -> F:
    """Compile a kernel whose `prange` loops run on all threads; sums may be reordered within a thread."""
    return _compile(function, parallel=True, fastmath=REORDER)


prange = numba.prange
