"""Loops on all threads: every row once, whatever the threads, from several threads at once; an error ends them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

from tonearm.kernels.machine.parallel import jit_parallel, prange, spread
from tonearm.kernels.machine.threads import one_ahead
from tonearm.types import Int64s


@jit_parallel
def counts_and_sums(indptr: Int64s, value: Int64s, least: int = 0) -> tuple[Int64s, Int64s]:
    """For each row how many of its values are at least `least`, and the sum of all of its squares, two loops."""
    n = len(indptr) - 1
    count = np.zeros(n, np.int64)
    for row in prange(n):
        for e in range(indptr[row], indptr[row + 1]):
            if value[e] < least:
                continue
            count[row] += 1
    square = value**2
    total = np.zeros(n, np.int64)
    for row in prange(n):
        s = 0
        for e in range(indptr[row], indptr[row + 1]):
            s += square[e]
        total[row] = s
    return count, total


def some_rows(n: int, seed: int = 0) -> tuple[Int64s, Int64s]:
    rng = np.random.default_rng(seed)
    indptr = np.concatenate(([0], np.cumsum(rng.integers(0, 5, n)))).astype(np.int64)
    return indptr, rng.integers(-9, 9, indptr[-1])


@pytest.fixture(params=[1, 2])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(min(request.param, before))
    yield
    numba.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("n", [0, 1, 2, 17, 1000])
def test_every_row_is_done(n: int) -> None:
    indptr, value = some_rows(n)
    rows = [value[indptr[r] : indptr[r + 1]] for r in range(n)]
    count, total = counts_and_sums(indptr, value, 2)
    assert count.tolist() == [int((row >= 2).sum()) for row in rows]
    assert total.tolist() == [int((row**2).sum()) for row in rows]
    assert counts_and_sums.__name__ == "counts_and_sums"


def test_several_threads_call_at_once() -> None:
    """Numba's own parallel loops end the process then."""
    given = [some_rows(300, seed) for seed in range(20)]
    expected = [counts_and_sums(*one) for one in given]
    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(lambda one: counts_and_sums(*one), given), expected, strict=True):
            assert all(map(np.array_equal, found, right))


@pytest.mark.usefixtures("_threads")
def test_every_stretch_is_taken_once() -> None:
    taken: list[tuple[int, int]] = []
    spread(lambda start, stop: taken.append((start, stop)), 1000)
    taken.sort()
    assert [start for start, _ in taken] == [0, *(stop for _, stop in taken[:-1])]
    assert taken[-1][1] == 1000


def test_after_an_error_no_stretch_is_begun() -> None:
    begun: list[int] = []

    def fail(start: int, stop: int) -> None:
        begun.append(start)
        raise ValueError(f"{start} to {stop}")

    with pytest.raises(ValueError, match=" to "):
        spread(fail, 1000)
    assert len(begun) <= numba.get_num_threads()


def test_one_is_found_while_the_one_before_is_used() -> None:
    """In order, at most one ahead; kernels have as many threads there; what goes wrong is raised in its turn."""
    found: list[int] = []

    def items() -> Iterator[int]:
        for n in range(1, 5):
            found.append(numba.get_num_threads())
            yield n
        raise ValueError("the fifth")

    used = one_ahead(items())
    assert next(used) == 1
    assert next(used) == 2
    assert len(found) <= 3
    assert [next(used), next(used)] == [3, 4]
    with pytest.raises(ValueError, match="the fifth"):
        next(used)
    assert set(found) == {numba.get_num_threads()}
    assert list(one_ahead(iter(()))) == []
