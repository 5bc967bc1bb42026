#!/usr/bin/env bash
# Lists of all that was played so far, published behind the gate: usage nightly.sh EVENTS ITEMS RUNS STORE
# EVENTS and ITEMS are addresses as `tonearm run` takes them; RUNS is a folder that keeps the last seven runs.
set -euo pipefail
events=$1 items=$2 runs=$3 store=$4
tonearm nightly --events "$events" --items "$items" --runs "$runs" --store "$store" --quiet
find "$runs" -mindepth 1 -maxdepth 1 -type d -name '20*' | sort | head -n -7 | xargs -r rm -r
