#!/usr/bin/env bash
# Makes the virtual environment of a peer of the benchmarks (rectools, faiss, lenskit): usage tools/peer.sh NAME [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${2:-.venv-$1}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "benchmarks/$1.txt"
