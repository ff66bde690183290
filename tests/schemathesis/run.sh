#!/usr/bin/env bash
# Schemathesis against a real server, as each kind of caller. See usage() below, or run: tests/schemathesis/run.sh --help
set -euo pipefail

version=4.32.5

usage() {
    cat <<'HELP'
Usage: tests/schemathesis/run.sh [--long] [--seed NUMBER] [requester|agent|admin|service-account]...

Makes requests from openapi/skranke.v1.json, good and bad ones, sends them to a server, and compares each answer with the
document: no 5xx, no status, header, media type or body that is not described, nothing valid refused, nothing invalid
taken, no way round the token. For each kind of caller there is a server of its own on a new database. Takes about a minute on each database;
--long adds the phase that tries the limits of every field, and five times as many requests.

It runs on SQLite, and then on PostgreSQL if SKRANKE_TEST_POSTGRES names one:

    tests/run.sh --with-postgres tests/schemathesis/run.sh

Python 3.10 or newer is needed. Schemathesis is installed by pip into a temporary directory, or taken from the virtual
environment that SCHEMATHESIS_VENV names, where it is installed if it is missing.
HELP
}

die() {
    printf 'tests/schemathesis/run.sh: %s\n' "$*" >&2
    exit 1
}

long='' seed=1 roles=()
while [ $# -gt 0 ]; do
    case "$1" in
    --long) long=yes ;;
    --seed)
        [ $# -gt 1 ] || die '--seed takes a number.'
        seed=$2
        shift
        ;;
    requester | agent | admin | service-account) roles+=("$1") ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done
[ ${#roles[@]} -gt 0 ] || roles=(requester agent admin service-account)
if [ -n "$long" ]; then
    options=(--phases examples,coverage,fuzzing,stateful --max-examples 100)
else
    options=(--phases examples,fuzzing,stateful --max-examples 10)
fi

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scratch=$(mktemp -d /tmp/skranke-schemathesis.XXXXXX)
servers=()
leave() {
    local status=$?
    trap - EXIT
    for server in "${servers[@]}"; do kill -KILL "$server" 2>/dev/null || true; done
    wait
    rm -rf "$scratch"
    exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Settings of Skranke in the environment are not meant for these servers.
for name in "${!DATABASE_@}" "${!SKRANKE_@}"; do
    case "$name" in
    SKRANKE_TEST_*) ;;
    *) unset "$name" ;;
    esac
done

. tests/programs.sh
need python3
venv=${SCHEMATHESIS_VENV:-$scratch/venv}
if [ "$("$venv/bin/schemathesis" --version 2>/dev/null)" != "Schemathesis $version" ]; then
    python3 -m ensurepip --version >/dev/null 2>&1 || install_packages python3-venv
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

cargo build --locked --quiet
skranke=$(cargo metadata --locked --no-deps --format-version=1 |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug/skranke

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Starts a server for a role on a new database, and runs Schemathesis against it.
run_as() {
    local engine=$1 role=$2 home=$scratch/$1-$2 port token status=0
    local -a settings who
    mkdir "$home"
    port=$(free_port)
    settings=("SKRANKE_LISTEN=127.0.0.1:$port" SKRANKE_WORKERS=2 "SKRANKE_SIGNING_KEY_FILE=$scratch/signing-key.pem")
    case "$engine" in
    sqlite) settings+=("DATABASE_URL=sqlite://$home/skranke.db") ;;
    postgres)
        local database="skranke_schemathesis_${role//-/_}"
        PGOPTIONS=--client-min-messages=warning psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$SKRANKE_TEST_POSTGRES" \
            --command="DROP DATABASE IF EXISTS $database" --command="CREATE DATABASE $database"
        settings+=("DATABASE_URL=${SKRANKE_TEST_POSTGRES%/*}/$database" SKRANKE_MIGRATE_ON_START=true)
        ;;
    esac
    env "${settings[@]}" "$skranke" serve >"$home/log" 2>&1 &
    servers+=($!)
    for _ in {1..300}; do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.1
    done
    case "$role" in
    service-account)
        who=(--service-account schemathesis
            --scopes 'tickets:read tickets:write comments:read comments:write internal:read metrics:read admin')
        ;;
    *) who=(--role "$role" --email "$role@example.org" --name 'Grace Hopper') ;;
    esac
    token=$(env "${settings[@]}" "$skranke" token "${who[@]}")

    # Schemathesis looks for hooks.py where it runs, and leaves files there.
    cp tests/schemathesis/{hooks.py,schemathesis.toml} "$home"
    (cd "$home" && "$venv/bin/schemathesis" run "$OLDPWD/openapi/skranke.v1.json" --url "http://127.0.0.1:$port" \
        --header "Authorization: Bearer $token" --seed "$seed" "${options[@]}") >"$home/said" 2>&1 || status=$?
    kill -0 "${servers[-1]}" || status=1
    kill -TERM "${servers[-1]}"
    printf '%-9s %-16s ' "$engine" "$role"
    grep -E '^ +[0-9]+ generated' "$home/said" | sed 's/^ *//' | tr '\n' ' ' || true
    grep -oE 'in [0-9.]+s =+$' "$home/said" | tr -d '=' || true
    if grep -E '"level":"ERROR"' "$home/log" >&2; then status=1; fi
    if [ "$status" -ne 0 ]; then
        cat "$home/said" >&2
        die "$role on $engine: Schemathesis ended with $status; its words are above."
    fi
}

"$venv/bin/python" - >"$scratch/signing-key.pem" <<'PY'
# An Ed25519 key in PKCS #8 (RFC 8410): a fixed head, and 32 random bytes.
import base64, os
print("-----BEGIN PRIVATE KEY-----")
print(base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + os.urandom(32)).decode())
print("-----END PRIVATE KEY-----")
PY
chmod 0600 "$scratch/signing-key.pem"

engines=(sqlite)
if [ -n "${SKRANKE_TEST_POSTGRES-}" ]; then engines+=(postgres); fi
failed=0
for engine in "${engines[@]}"; do
    pids=()
    for role in "${roles[@]}"; do
        (
            trap - EXIT
            servers=()
            trap 'for s in "${servers[@]}"; do kill -KILL "$s" 2>/dev/null || true; done' EXIT
            run_as "$engine" "$role"
        ) &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
done
exit "$failed"
