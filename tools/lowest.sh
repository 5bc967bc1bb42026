#!/usr/bin/env bash
# Tests the lowest versions that pyproject.toml allows: usage tools/lowest.sh VENV
# Each lower bound is an exact version in an environment of its own, where tests of the edges and one small run must pass.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" - > "$venv/lowest.txt" <<'PYTHON'
import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for bound in [*project["dependencies"], *project["optional-dependencies"]["explore"]]:
    found = re.fullmatch(r"([\w-]+)>=([\d.]+)", bound)
    if found is None:
        sys.exit(f"pyproject.toml: {bound} is not of the form NAME>=VERSION")
    print("==".join(found.groups()))
PYTHON
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[explore]' \
    -r "$venv/lowest.txt" httpx2 hypothesis pytest pytest-randomly pytest-timeout pytest-xdist
export NUMBA_CACHE_DIR=$PWD/$venv/kernels # kernels of another Numba must not take the place of the usual ones
"$venv/bin/python" -m pytest -q -n 0 -p no:cacheprovider \
    tests/project/test_config.py tests/data tests/loading/test_{load,check}.py tests/runs/test_directory.py tests/evaluation/test_meters.py
rm -rf "$venv/try"
"$venv/bin/tonearm" synth --preset tiny --out "$venv/try/log"
"$venv/bin/tonearm" run --events "$venv/try/log/events.parquet" --items "$venv/try/log/items.parquet" \
    --test-from 2022-12-16 --out "$venv/try/run"
