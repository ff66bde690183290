#!/usr/bin/env bash
# Runs what docs/changes.md and docs/webhooks.md show, in the shell, Python, Node and TypeScript, against a server.
set -euo pipefail

if [ $# -ne 2 ]; then
    cat >&2 <<'HELP'
Usage: tests/docs/recipes.sh BASE_URL TOKEN

TOKEN is that of an admin, and the server lets webhooks reach 127.0.0.1: SKRANKE_EGRESS_ALLOW=127.0.0.0/8. Python 3.9 or newer is needed.
HELP
    exit 2
fi
url=$1
export TOKEN=$2

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/programs.sh
need curl node npm python3
python3 -c "import ensurepip, venv" 2>/dev/null || install_packages python3-venv
export MODULES="$PWD/tests/clients/typescript"
if ! [ -d "$MODULES/node_modules/standardwebhooks" ]; then
    npm --prefix "$MODULES" ci --ignore-scripts --prefer-offline --no-audit --no-fund --no-update-notifier
    cp "$MODULES/package-lock.json" "$MODULES/node_modules/.installed-from"
fi
scratch=$(mktemp -d /tmp/skranke-recipes.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps standardwebhooks==1.1.0
"$scratch/venv/bin/python" tests/docs/recipes.py "$url"
