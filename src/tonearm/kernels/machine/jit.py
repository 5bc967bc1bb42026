"""One place for how kernels are compiled: cached on disk, no Python objects.

Numba looks only at a kernel's own file when it decides whether its compiled form is still good. A kernel holds those of
other files that it calls, so the stamp here is that of the whole package: change one file and all are compiled anew.

A compiled kernel is kept beside its source, else in the user's cache directory, else in a folder of the user's own
among temporary files, which is said. One that is damaged or cannot be kept is compiled anew.
"""

import functools
import hashlib
import os
import pickle
import stat
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile
from numba.core.types import unliteral

F = TypeVar("F", bound=Callable[..., Any])

REORDER = {"reassoc", "contract", "nsz"}
"""Liberties with floating-point sums that let them use vector units."""


def sources_stamp(folder: Path) -> str:
    """A digest of all Python files below a folder, by place and content."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


_STAMP = sources_stamp(Path(__file__).parents[1])


@functools.cache
def _say(words: str) -> None:
    """Warn, once a process."""
    warnings.warn(words, RuntimeWarning, stacklevel=2)


_LOCATORS: dict[str, Any] = {
    locator.__name__.removeprefix("_"): locator for locator in CompileResultCacheImpl._locator_classes
}
"""Numba's ways to find a folder; older versions begin their names with an underscore."""


_UserProvided: Any = _LOCATORS["UserProvidedCacheLocator"]


class _TemporaryLocator(_UserProvided):  # type: ignore[misc]
    """A folder among temporary files that this user alone may open, as what is in it is run."""

    def __init__(self, function: Any, file: str) -> None:
        super().__init__(function, file)
        self._home = Path(tempfile.gettempdir()) / f"tonearm-{os.getuid()}"
        self._cache_path = str(self._home / self.get_suitable_cache_subpath(file))

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        with suppress(OSError):
            found = cls(function, file)
            found._home.mkdir(mode=0o700, exist_ok=True)
            seen = found._home.lstat()
            if stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid() and seen.st_mode & 0o077 == 0:
                found.ensure_cache_path()
                _say(
                    f"compiled kernels are kept in {found._home}, as neither the package's folder nor a home can be "
                    "written to. Set NUMBA_CACHE_DIR to a folder that stays."
                )
                return found
        return None


def _has_home() -> bool:
    return "XDG_CACHE_HOME" in os.environ or os.path.expanduser("~") != "~"  # noqa: PTH111 (which raises)


class _Impl(CompileResultCacheImpl):
    _locator_classes: Any = [  # noqa: RUF012 (as Numba declares it)
        *(
            locator
            for name, locator in _LOCATORS.items()
            if _has_home() or name != "UserWideCacheLocator"  # which would make a folder named ~
        ),
        _TemporaryLocator,
    ]


class _File(IndexDataCacheFile):
    """Files that carry a digest, by which damaged ones are told."""

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except Exception:  # whatever unpickling what is damaged gives
            return {}

    def _load_data(self, name: str) -> Any:
        data = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            raise OSError(f"{name} is damaged")  # which Numba takes as missing
        return pickle.loads(data[32:])

    def _save_data(self, name: str, data: Any) -> None:
        dumped = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(dumped).digest() + dumped)


class _Cache(FunctionCache):
    _impl_class = _Impl

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file = _File(self._cache_path, self._impl.filename_base, _STAMP)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _say(f"{self._cache_path}: compiled kernels cannot be kept ({error.strerror}): the next run compiles anew.")


def compiled(function: F, inner: bool = False, **options: Any) -> F:
    """A kernel; an inner one can be called from kernels only.

    Constants that are passed to it are of their type alone, or it would be compiled for each.
    """
    options |= {"nogil": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": inner}
    dispatcher: Any = numba.njit(**options)(function)
    template = dispatcher.get_call_template
    dispatcher.get_call_template = lambda args, kws: template([unliteral(one) for one in args], kws)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError:  # Numba found no place
        _say("compiled kernels are kept nowhere, as no folder can be written to. Set NUMBA_CACHE_DIR to one that can.")
    return cast(F, dispatcher)


def jit(function: F) -> F:
    """Compile a single-threaded kernel, also callable from others; one whose name begins with _ from others only."""
    return compiled(function, function.__name__.startswith("_"))


def jit_fast(function: F) -> F:
    """The same, and floating-point sums may be reordered."""
    return compiled(function, function.__name__.startswith("_"), fastmath=REORDER)
