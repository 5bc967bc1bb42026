#!/usr/bin/env bash
# Java 17 for the tests of the cluster: taken where it is, else installed by apt where that may be done.
# Never fails: without it those tests skip and say so.
set -uo pipefail
if command -v java >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "No Java, which cannot be installed here without root and apt-get: tests of the cluster will skip."
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -qq -y --no-install-recommends openjdk-17-jre-headless; } >/dev/null; then
    echo "openjdk-17-jre-headless could not be installed: tests of the cluster will skip."
fi
exit 0
