#!/usr/bin/env bash
# Opens files that would like to be run in a real headless Chromium, by links that ask to show them: none runs, and a picture is shown.
#
#   tests/files/browser.sh SKRANKE
set -euo pipefail
[ $# -eq 1 ] || { printf 'Usage: tests/files/browser.sh SKRANKE\n' >&2; exit 2; }
SKRANKE_TEST_PROGRAM=$(realpath -- "$1")
export SKRANKE_TEST_PROGRAM
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/programs.sh
need curl node npm chromium
if ! cmp --silent tests/docs/package-lock.json tests/docs/node_modules/.installed-from; then
    npm --prefix tests/docs ci --ignore-scripts --prefer-offline --no-audit --no-fund --no-update-notifier
    cp tests/docs/package-lock.json tests/docs/node_modules/.installed-from
fi
. tests/load/server.sh
start_server sqlite
CHROMIUM=$(command -v chromium) URL=$url TOKEN=$token MODULES=$PWD/tests/docs/node_modules node tests/files/browser.mjs
