#!/usr/bin/env bash
# Uses the inbox and the portal in a real headless Chromium. See usage() below.
set -euo pipefail

usage() {
    cat <<'HELP'
Usage: examples/inbox/check.sh SKRANKE [sqlite]
       tests/run.sh --with-postgres examples/inbox/check.sh SKRANKE postgres

Builds the example and serves it as a team would, with the program SKRANKE on an empty database and an identity provider from npm. Two
people log in there, by PKCE, and work: a customer reports a problem with a screenshot, an agent answers and solves it, each sees live what the
other does; and whatever comes between them does: a reply that comes too late, an answer that is lost, a stream that breaks, a login
that ends. Counts the requests of each screen, and fails when README.md says something else; with SKRANKE_TEST_WRITE=1 it writes
them there. With SCREENSHOTS=FOLDER it leaves pictures of the screens.
HELP
}

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ "${1#-}" != "$1" ]; then
    usage >&2
    exit 2
fi
SKRANKE_TEST_PROGRAM=$(realpath -- "$1")
export SKRANKE_TEST_PROGRAM
engine=${2:-sqlite}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/programs.sh
need curl node npm chromium
inbox=examples/inbox
# Installed anew only when the lock file is another one than last time.
for folder in "$inbox" "$inbox/check"; do
    if ! cmp --silent "$folder/package-lock.json" "$folder/node_modules/.installed-from"; then
        npm --prefix "$folder" ci --ignore-scripts --prefer-offline --no-audit --no-fund --no-update-notifier
        cp "$folder/package-lock.json" "$folder/node_modules/.installed-from"
    fi
done
. tests/load/server.sh
base=$((30000 + RANDOM % 1000 * 2))
issuer=http://127.0.0.1:$base
start_server "$engine" SKRANKE_CLOSE_AFTER_S=86400 SKRANKE_ISSUERS="[{
    \"issuer\": \"$issuer\", \"audience\": \"skranke\", \"algorithms\": [\"RS256\"], \"jwks_url\": \"$issuer/jwks\",
    \"role_claim\": \"roles\", \"role_map\": { \"desk\": \"agent\" }, \"default_role\": \"requester\" }]"
export VITE_ISSUER=$issuer VITE_RESOURCE=urn:skranke SKRANKE_URL=$url
npm --prefix "$inbox" run --silent build >"$scratch/build" || {
    cat "$scratch/build" >&2
    exit 1
}
CHROMIUM=$(command -v chromium) ADMIN=$token PAGE=http://127.0.0.1:$((base + 1)) node "$inbox/check/check.mjs"
