#!/usr/bin/env bash
# Chromium for the tests that need a browser: taken where it is, else installed by apt where that may be done.
# Never fails: without it those tests skip and say so.
set -uo pipefail
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        exit 0
    fi
done
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "No Chromium, and it cannot be installed here without root and apt-get: browser tests will skip."
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core; } >/dev/null; then
    echo "Chromium could not be installed: browser tests will skip."
fi
exit 0
