"""Loops on all threads, in a fraction of the time that Numba's own take to compile, and from several threads at once.

The `prange` loops of a kernel are cut out of it, and each is compiled as a function of a stretch of its range. Threads
of Python, which compiled code does not hold up, take one stretch after the other. What stands around the loops stays
Python.
"""

import ast
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import get_num_threads

from tonearm.kernels.machine.jit import REORDER, compiled

F = TypeVar("F", bound=Callable[..., Any])

STRETCHES = 8
"""Stretches for each thread, so that one whose rows are quick takes more of them."""

prange = range
"""The range of a loop that runs on all threads."""


def jit_parallel(function: F) -> F:
    """Compile the `prange` loops of a kernel; sums may be reordered within a row.

    Such a loop stands on the kernel's first level, uses what was set before it, and leaves its results in arrays.
    """
    file, name, scope = function.__code__.co_filename, function.__name__, function.__globals__
    kernel = _definitions(file)[name]
    loops = [(n, one) for n, one in enumerate(kernel.body) if _is_parallel(one)]
    around = [one for one in kernel.body if not _is_parallel(one)]
    known = {argument.arg for argument in kernel.args.args} | _names(around, ast.Store)
    for n, loop in loops:
        given = sorted(_names(loop.body, ast.Load) & known - _names([loop], ast.Store))
        rows = _written(f"def {name}_{n}({', '.join(['_start', '_stop', *given])}): pass", loop)
        spread_it = _written(f"_spread({', '.join([f'{name}_{n}', '_all', *given])})", loop)
        spread_it.value.args[1] = loop.iter.args[0]
        loop.iter.args = [_written("_start", loop).value, _written("_stop", loop).value]
        rows.body, kernel.body[n] = [loop], spread_it
        scope[rows.name] = compiled(_made(rows, scope, file), fastmath=REORDER)
    kernel.decorator_list, kernel.returns = [], None
    for argument in kernel.args.args:
        argument.annotation = None
    scope["_spread"] = spread
    return cast(F, functools.wraps(function)(_made(kernel, scope, file)))


def spread(rows: Callable[..., None], n: int, *given: Any) -> None:
    """Call rows(start, stop, *given) for stretches that make up range(n), on as many threads as Numba is set to."""
    threads = min(get_num_threads(), n)
    if threads <= 1:
        rows(0, n, *given)
        return
    step = -(-n // (threads * STRETCHES))
    starts = iter(range(0, n, step))  # of which no two threads get the same

    def work() -> None:
        for start in starts:
            rows(start, min(start + step, n), *given)

    others = [_pool(os.getpid()).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for _ in starts:  # after an error nobody begins another stretch
            pass
        for other in others:
            if not other.cancel():
                other.result()


@functools.cache
def _pool(_process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "kernels")


@functools.cache
def _definitions(file: str) -> dict[str, Any]:
    """The functions on the first level of a file."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _is_parallel(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.For) and ast.unparse(statement.iter).startswith("prange(")


def _names(nodes: list[ast.stmt], use: type[ast.expr_context]) -> set[str]:
    """Names that are read or set in some statements."""
    walked = (node for one in nodes for node in ast.walk(one))
    return {node.id for node in walked if isinstance(node, ast.Name) and isinstance(node.ctx, use)}


def _written(text: str, place: ast.stmt) -> Any:
    """A statement, as if it stood at the place of another."""
    statement = ast.parse(text).body[0]
    for node in ast.walk(statement):
        ast.copy_location(node, place)
    return statement


def _made(definition: ast.FunctionDef, scope: dict[str, Any], file: str) -> Any:
    """The function of a definition, in its module."""
    exec(compile(ast.Module([definition], []), file, "exec"), scope)
    return scope[definition.name]
