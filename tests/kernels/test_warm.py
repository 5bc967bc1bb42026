"""Kernels compiled before a run, by several processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tonearm.kernels import warm

CODES = ["i8", "f4", "b1", "u8[1C]", "f4[2C]", "f4[2F]", "i4[1R]", "f4[1C]*2"]


def test_codes_of_types_and_back() -> None:
    assert [warm.code_of(warm._type_of(code)) for code in CODES] == CODES


def test_what_is_no_type_for_a_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="no type that kernels should be called with"):
        warm.code_of(warm._type_of("f4[2F]").copy(layout="A"))


def test_what_is_missing_is_compiled_once_and_then_kept(tmp_path: Path) -> None:
    """In an empty place for kernels; a line whose kernel is gone is passed over."""
    lines = tmp_path / "signatures.txt"
    lines.write_text(
        "best.search.first_from i4[1C] i8 i8 i8\nbest.search.place_of i4[1C] i8 i8 i8\nbest.search.gone i8\n"
    )
    code = (
        "import sys; from pathlib import Path; from tonearm.kernels import warm\n"
        "warm.SIGNATURES = Path(sys.argv[1]); told = []\n"
        "missing = warm.missing()\n"
        "warm.compile_all(missing, lambda done, total: told.append((done, total)))\n"
        "print(len(missing), told, warm.missing())"
    )
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "kernels"), "PYTHONPATH": str(Path(warm.__file__).parents[2])}
    found = subprocess.run(
        [sys.executable, "-c", code, lines], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout == "2 [(0, 2), (1, 2), (2, 2)] []\n"
