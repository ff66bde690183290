#!/usr/bin/env bash
# Generates a client from openapi/skranke.v1.json, type-checks it, and runs it against a server.
set -euo pipefail

if [ $# -ne 3 ]; then
    cat >&2 <<'HELP'
Usage: tests/clients/typescript/run.sh BASE_URL EMAIL PASSWORD

The person must be an admin with a password; make one with: skranke admin create
HELP
    exit 2
fi
export SKRANKE_CLIENT_BASE_URL=${1%/} SKRANKE_CLIENT_EMAIL=$2 SKRANKE_CLIENT_PASSWORD=$3

cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../programs.sh
need node npm
if ! [ -s ../../../openapi/skranke.v1.json ]; then
    printf 'openapi/skranke.v1.json is missing. Run: cargo run -- openapi > openapi/skranke.v1.json\n' >&2
    exit 1
fi

# Installed anew only when the lock file is another one than last time.
if ! cmp --silent package-lock.json node_modules/.installed-from; then
    npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --no-update-notifier
    cp package-lock.json node_modules/.installed-from
fi
rm -rf compiled generated
npm run --silent generate
npm run --silent compile
npm run --silent test
