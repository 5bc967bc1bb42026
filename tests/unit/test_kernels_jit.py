"""A change in any file of the kernels package makes every compiled kernel stale."""

import os
import subprocess
import sys
from pathlib import Path

from tonearm.kernels._jit import sources_stamp

HELPER = "from pkg._jit import jit\n\n\n@jit\ndef amount(x: float) -> float:\n    return x + {added}\n"
CALLER = (
    "from pkg._jit import jit\nfrom pkg.helper import amount\n\n\n"
    "@jit\ndef twice(x: float) -> float:\n    return 2 * amount(x)\n"
)


def ask(folder: Path) -> str:
    code = "from pkg.caller import twice; print(twice(1.0), len(twice.stats.cache_hits))"
    environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_a_kernel_is_compiled_anew_when_one_that_it_calls_changes(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    jit = Path(sys.modules[sources_stamp.__module__].__file__ or "").read_text(encoding="utf-8")
    (package / "_jit.py").write_text(jit, encoding="utf-8")
    (package / "__init__.py").touch()
    (package / "caller.py").write_text(CALLER, encoding="utf-8")
    (package / "helper.py").write_text(HELPER.format(added=1.0), encoding="utf-8")
    assert ask(tmp_path) == "4.0 0\n"
    assert ask(tmp_path) == "4.0 1\n"
    (package / "helper.py").write_text(HELPER.format(added=2.0), encoding="utf-8")
    assert ask(tmp_path) == "6.0 0\n"


def test_the_stamp_is_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1", encoding="utf-8")
    one = sources_stamp(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert sources_stamp(tmp_path) == one
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert sources_stamp(tmp_path) != one
