#!/usr/bin/env bash
# Redis and PostgreSQL for the tests of event stores, and wrk for the load test: taken where they are, else installed by
# apt where that may be done. Never fails: without them those tests skip and say so.
set -uo pipefail
missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
command -v wrk >/dev/null || missing+=(wrk)
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "No ${missing[*]}, which cannot be installed here without root and apt-get: tests with them will skip."
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"; } >/dev/null; then
    echo "${missing[*]} could not be installed: tests with them will skip."
fi
exit 0
