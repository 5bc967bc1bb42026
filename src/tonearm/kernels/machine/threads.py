"""How many processor threads kernels and BLAS take.

Beside kernels BLAS has one: its others wait for more work so busily that kernels lose a core.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numba
from threadpoolctl import threadpool_limits

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

KERNELS = threading.RLock()
"""Held while kernels run beside a BLAS of one thread, which is a setting of the whole process."""


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use n processor threads inside (0: as many as the caller does), BLAS one, and the caller's numbers afterwards."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(n, before) if n > 0 else before)
    try:
        with blas_threads(1):
            yield
    finally:
        numba.set_num_threads(before)


def blas_threads(n: int) -> Any:
    """A context in which BLAS has n threads."""
    return threadpool_limits(n, "blas")


def on_one_blas_thread(function: F) -> F:
    """Keep a function's small products on one BLAS thread."""
    return cast(F, threadpool_limits.wrap(limits=1, user_api="blas")(function))


def behind() -> ThreadPoolExecutor:
    """A thread that works beside the caller's, its kernels on as many threads."""
    return ThreadPoolExecutor(1, "behind", numba.set_num_threads, (numba.get_num_threads(),))


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each found while the caller is busy with the one before."""
    with behind() as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
