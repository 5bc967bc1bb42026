#!/usr/bin/env bash
# Makes the virtual environment of `make demo` (WHAT is .[serve]) and `make test` (.[dev]): usage tools/setup.sh VENV WHAT
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable "$2"
