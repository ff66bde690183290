#!/usr/bin/env bash
# Compares openapi/skranke.v1.json with the document of the last release: what breaks a client is found here.
set -euo pipefail

if [ $# -ne 0 ]; then
    cat >&2 <<'HELP'
Usage: tests/openapi/check.sh

Fails when openapi/skranke.v1.json takes something away from the newest document in openapi/released that a client may rely
on, by the rules of CONTRIBUTING.md. Node.js and npm are installed by apt-get when they are missing.
HELP
    exit 2
fi

cd "$(dirname "${BASH_SOURCE[0]}")"
. ../programs.sh
need node npm

# Installed anew only when the lock file is another one than last time.
if ! cmp --silent package-lock.json node_modules/.installed-from; then
    npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --no-update-notifier
    cp package-lock.json node_modules/.installed-from
fi

released=$(printf '%s\n' ../../openapi/released/*.json | sort --version-sort | tail -n 1)
exec node check.mjs "$released" ../../openapi/skranke.v1.json
