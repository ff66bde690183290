#!/usr/bin/env bash
# Runs the tests of files in a bucket: against moto, or against the S3 store that SKRANKE_TEST_S3 names.
set -euo pipefail

if [ $# -gt 0 ]; then
    cat >&2 <<'HELP'
Usage: tests/files/s3.sh

Starts moto (PyPI) in an environment of its own, and runs the tests of files in a bucket on both databases. With
SKRANKE_TEST_S3=http://HOST:PORT, SKRANKE_TEST_S3_KEY and SKRANKE_TEST_S3_SECRET in the environment it runs them against that
store instead, in whose bucket `skranke` anything may be lost: tests/files/radosgw.sh does so. Python 3.9 or newer is needed.
HELP
    exit 2
fi

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/programs.sh

if [ -z "${SKRANKE_TEST_S3-}" ]; then
    need curl python3
    python3 -c "import ensurepip, venv" 2>/dev/null || install_packages python3-venv
    scratch=$(mktemp -d /tmp/skranke-s3.XXXXXX)
    moto=''
    trap '[ -z "$moto" ] || kill "$moto" 2>/dev/null; rm -rf "$scratch"' EXIT
    python3 -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[server]==5.2.5'
    port=$("$scratch/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$scratch/venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$scratch/moto.log" 2>&1 &
    moto=$!
    for _ in $(seq 100); do
        if curl -fsS -o /dev/null "http://127.0.0.1:$port/moto-api/"; then break; fi 2>/dev/null
        sleep 0.2
    done
    curl -fsS -o /dev/null -X PUT "http://127.0.0.1:$port/skranke"
    export SKRANKE_TEST_S3="http://127.0.0.1:$port" SKRANKE_TEST_S3_KEY=key SKRANKE_TEST_S3_SECRET=secret
fi
tests=(cargo test --locked --test api -- bucket:: --ignored)
if [ -n "${SKRANKE_TEST_POSTGRES-}" ]; then "${tests[@]}"; else tests/run.sh --with-postgres "${tests[@]}"; fi
