#!/usr/bin/env bash
# Opens the documentation pages of a running server in a real headless Chromium and uses them as a person would.
set -euo pipefail

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    cat >&2 <<'HELP'
Usage: tests/docs/check.sh BASE_URL TOKEN [SCREENSHOT.png]

Checks that BASE_URL/docs renders under its policy, asks no other host for anything, begins with the guide, lists every
operation of BASE_URL/openapi.json, narrows by its filter, and that the type of each problem lands on its section; that it
takes TOKEN and gets tokens by both flows of OAuth 2; that requests are sent as they are filled in, and nothing is filled
in that may be left out; that the largest operation opens at once, and that nothing is sent twice that has not changed.
It makes a person, a service account and a ticket. TOKEN is an admin's. For example:

    tests/docs/check.sh http://127.0.0.1:8080 "$(skranke token --role admin --email you@example.org --name You)"

Chromium and Node.js are installed by apt-get when they are missing. CHROMIUM=/path/to/it names another browser.
HELP
    exit 2
fi

die() {
    printf 'tests/docs/check.sh: %s\n' "$*" >&2
    exit 1
}

export DOCS_BASE_URL=${1%/} DOCS_TOKEN=$2 DOCS_SCREENSHOT=''
if [ $# -eq 3 ]; then DOCS_SCREENSHOT=$(realpath -m -- "$3"); fi
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../programs.sh

find_chromium() {
    local name
    for name in "${CHROMIUM-}" chromium chromium-browser google-chrome; do
        if [ -n "$name" ] && DOCS_CHROMIUM=$(command -v "$name"); then
            export DOCS_CHROMIUM
            return
        fi
    done
    return 1
}

find_chromium || need chromium
find_chromium || die 'there is no Chromium. Install one, or name one by CHROMIUM=/path/to/it.'
need node npm

# Installed anew only when the lock file is another one than last time.
if ! cmp --silent package-lock.json node_modules/.installed-from; then
    npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --no-update-notifier
    cp package-lock.json node_modules/.installed-from
fi

exec node check.mjs
