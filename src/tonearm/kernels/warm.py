"""Compile what a run needs before it begins, by a process for each processor.

signatures.txt beside this file says what that is; `python tools/signatures.py` writes it from a small run.
"""

import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types

PACKAGE = __package__
SIGNATURES = Path(__file__).with_name("signatures.txt")
"""A line for each kernel that is called from Python: its place in this package, and the types of its arguments."""

MOST = 8
"""Processes at most."""


def missing() -> list[str]:
    """The lines whose compiled form is not on disk; none where nothing can be kept there."""
    return [line for line, kernel, arguments in _kernels() if not _is_kept(kernel, arguments)]


def compile_all(lines: list[str], tell: Callable[[int, int], None]) -> None:
    """Compile what is missing, which tell(done, total) hears of.

    What fails here is no error: a kernel that is still missing is compiled when it is called.
    """
    tell(0, len(lines))
    with tempfile.TemporaryDirectory() as claims, _workers(claims, min(len(lines), os.cpu_count() or 1, MOST)) as told:
        for done, _ in enumerate(told, 1):
            tell(done, len(lines))


def _kernels() -> list[tuple[str, Any, tuple[Any, ...]]]:
    """The lines with their kernels and the types of their arguments; one whose kernel is no more is passed over."""
    found = []
    for line in SIGNATURES.read_text(encoding="utf-8").splitlines():
        name, *codes = line.split()
        module, _, attribute = name.rpartition(".")
        kernel = getattr(importlib.import_module(f"{PACKAGE}.{module}"), attribute, None)
        if kernel is not None:
            found.append((line, kernel, tuple(map(_type_of, codes))))
    return found


@contextlib.contextmanager
def _workers(claims: str, n: int) -> Iterator[Any]:
    """Processes that share the lines out among themselves, and all that they print as one file."""
    home = str(Path(__file__).parents[2])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    read, write = os.pipe()
    command = [sys.executable, "-P", "-m", f"{PACKAGE}.warm", str(SIGNATURES), claims]
    with contextlib.ExitStack() as stack:
        told = stack.enter_context(os.fdopen(read, encoding="utf-8"))
        for number in range(n):
            worker = subprocess.Popen(
                [*command, str(number)],
                env=os.environ | {"PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=write,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(worker.wait)
            stack.callback(worker.terminate)
        os.close(write)
        yield told


def work(claims: Path, number: int) -> None:
    """Compile the lines that nobody else has claimed: from the first on, or from the last one back."""
    for place, (_, kernel, arguments) in list(enumerate(_kernels()))[:: 1 if number % 2 == 0 else -1]:
        if _is_kept(kernel, arguments):
            continue
        try:
            (claims / str(place)).touch(exist_ok=False)
        except FileExistsError:
            continue
        kernel.compile(arguments)
        os.write(sys.stdout.fileno(), b"one more\n")


def _type_of(code: str) -> Any:
    """The type behind a code.

    `i8` is a number, `f4[2C]` an array of two axes in C order, `f4[2R]` one that is only read, `f4[1C]*2` two of them.
    """
    code, _, times = code.partition("*")
    number, _, kind = code.partition("[")
    one: Any = numba.from_dtype(np.dtype(number))
    if kind:
        one = types.Array(one, int(kind[0]), "F" if kind[1] == "F" else "C", readonly=kind[1] == "R")
    return types.UniTuple(one, int(times)) if times else one  # type: ignore[no-untyped-call]


def code_of(kind: Any) -> str:
    """What `_type_of` reads; a type that it cannot read is refused."""
    if isinstance(kind, types.UniTuple):
        return f"{code_of(kind.dtype)}*{kind.count}"
    if isinstance(kind, types.Array) and (kind.layout == "C" or (kind.layout == "F" and kind.mutable)):
        return f"{code_of(kind.dtype)}[{kind.ndim}{kind.layout if kind.mutable else 'R'}]"
    if isinstance(kind, types.Number | types.Boolean):
        return np.dtype(str(kind).replace("boolean", "bool")).str[1:]
    raise ValueError(f"{kind} is no type that kernels should be called with")


def _is_kept(kernel: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether the compiled form is on disk."""
    cache = kernel._cache
    if not hasattr(cache, "_index_key"):
        return True  # nothing can be kept
    return cache._index_key(arguments, kernel.targetctx.codegen()) in cache._cache_file._load_index()


if __name__ == "__main__":
    SIGNATURES = Path(sys.argv[1])
    work(Path(sys.argv[2]), int(sys.argv[3]))
