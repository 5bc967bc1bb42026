#!/usr/bin/env bash
# Makes the virtual environment of RecTools, a peer in benchmarks/quality.py: usage tools/rectools.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv-rectools}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint benchmarks/rectools.txt 'rectools[catboost]' pyarrow
