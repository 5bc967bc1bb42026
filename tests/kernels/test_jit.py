"""A change in any file of the kernels package makes every compiled kernel stale."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tonearm.kernels.machine.jit import sources_stamp

HELPER = "from pkg.machine.jit import jit\n\n\n@jit\ndef amount(x: float) -> float:\n    return x + {added}\n"
CALLER = (
    "from pkg.machine.jit import jit\nfrom pkg.helper import amount\n\n\n"
    "@jit\ndef twice(x: float) -> float:\n    return 2 * amount(x)\n"
)


def answer(folder: Path, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Twice one, and how often a compiled form was found; None takes a variable away."""
    code = "from pkg.caller import twice; print(twice(1.0), len(twice.stats.cache_hits))"
    given = {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")} | environment
    variables = {name: value for name, value in (os.environ | given).items() if value is not None}
    return subprocess.run(
        [sys.executable, "-c", code], env=variables, cwd=folder, capture_output=True, text=True, check=True
    )


def ask(folder: Path) -> str:
    return answer(folder).stdout


def make_package(folder: Path) -> Path:
    package = folder / "pkg"
    (package / "machine").mkdir(parents=True)
    jit = Path(sys.modules[sources_stamp.__module__].__file__ or "").read_text(encoding="utf-8")
    (package / "machine" / "jit.py").write_text(jit, encoding="utf-8")
    (package / "__init__.py").touch()
    (package / "caller.py").write_text(CALLER, encoding="utf-8")
    (package / "helper.py").write_text(HELPER.format(added=1.0), encoding="utf-8")
    return package


def test_a_kernel_is_compiled_anew_when_one_that_it_calls_changes(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    assert ask(tmp_path) == "4.0 0\n"
    assert ask(tmp_path) == "4.0 1\n"
    (package / "helper.py").write_text(HELPER.format(added=2.0), encoding="utf-8")
    assert ask(tmp_path) == "6.0 0\n"


def test_the_stamp_is_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1", encoding="utf-8")
    one = sources_stamp(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert sources_stamp(tmp_path) == one
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").rename(tmp_path / "inner" / "a.py")
    assert sources_stamp(tmp_path) != one


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_point_15_a_damaged_kernel_cache_is_compiled_anew(tmp_path: Path, kind: str) -> None:
    """A file of Numba's that was cut short or overwritten ended in a traceback."""
    make_package(tmp_path)
    assert ask(tmp_path) == "4.0 0\n"
    for start, end in ((None, -100), (100, None), (None, 0)):
        files = list((tmp_path / "cache").rglob(f"*.{kind}"))
        assert files
        for path in files:
            path.write_bytes(path.read_bytes()[start:end])
        assert ask(tmp_path) == "4.0 0\n"
        assert ask(tmp_path) == "4.0 1\n", "the damaged file was replaced"


def test_point_15_without_a_place_for_kernels_a_temporary_one_is_taken_and_said(tmp_path: Path) -> None:
    """A package that is read-only, and no home: the import died with `no locator available`."""
    package, temporary = make_package(tmp_path), tmp_path / "tmp"
    temporary.mkdir()
    (package / "__pycache__").write_text("where a folder would be")
    nowhere: dict[str, str | None] = {"NUMBA_CACHE_DIR": None, "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"}
    for hits in (0, 1):
        found = answer(tmp_path, TMPDIR=str(temporary), **nowhere)
        assert found.stdout == f"4.0 {hits}\n"
        assert found.stderr.count("compiled kernels are kept in") == 1
        assert str(temporary) in found.stderr
    home = temporary / f"tonearm-{os.getuid()}"
    assert home.stat().st_mode & 0o777 == 0o700
    home.chmod(0o755)  # anybody's code could lie there
    found = answer(tmp_path, TMPDIR=str(temporary), **nowhere)
    assert found.stdout == "4.0 0\n"
    assert "compiled kernels are kept nowhere" in found.stderr


def test_a_place_without_room_is_done_without(tmp_path: Path) -> None:
    make_package(tmp_path)
    code = (
        "import numba.core.caching as c\n"
        "def full(*_): raise OSError(28, 'No space left on device')\n"
        "c.IndexDataCacheFile._save_index = full\nfrom pkg.caller import twice; print(twice(1.0))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "4.0\n"
    assert "compiled kernels cannot be kept (No space left on device)" in found.stderr
