#!/usr/bin/env bash
# Skranke behind a real PgBouncer: in session mode it works, in transaction and statement mode it refuses to start, in words.
# pgbouncer is installed from the distribution if it is missing.
#
# Usage: tests/postgres/pgbouncer.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/programs.sh
need pgbouncer openssl
. tests/postgres/servers.sh

cargo build --locked
port=$(free_port)
make_primary server "$port"
psql_at "$port" 'CREATE DATABASE desk'
stop_bouncer() {
    local pid
    pid=$(cat "$scratch/bouncer.pid" 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    rm -f "$scratch/bouncer.pid"
}
trap 'stop_bouncer; stop_all' EXIT
openssl genpkey -algorithm ed25519 -out "$scratch/signing.key" 2>/dev/null
export SKRANKE_SIGNING_KEY_FILE=$scratch/signing.key SKRANKE_LISTEN=127.0.0.1:0

for mode in session transaction statement; do
    at=$(free_port)
    cat >"$scratch/bouncer.ini" <<INI
[databases]
desk = host=127.0.0.1 port=$port user=skranke
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $at
unix_socket_dir =
auth_type = any
pool_mode = $mode
default_pool_size = 40
logfile = $scratch/bouncer.log
pidfile = $scratch/bouncer.pid
INI
    if [ -n "$pg_user" ]; then chown "$pg_user:" "$scratch/bouncer.ini"; fi
    as_pg pgbouncer --quiet --daemon "$scratch/bouncer.ini"
    for _ in {1..100}; do
        if (: <"/dev/tcp/127.0.0.1/$at") 2>/dev/null; then break; fi
        sleep 0.1
    done
    export DATABASE_URL="postgres://skranke@127.0.0.1:$at/desk"
    if [ "$mode" = session ]; then
        target/debug/skranke migrate
        target/debug/skranke token --role agent --email a@example.org --name A >/dev/null
        printf 'session: works\n'
    else
        # Ten times: it is no matter of luck.
        for _ in {1..10}; do
            status=0
            said=$(timeout 20 target/debug/skranke 2>&1) || status=$?
            [ "$status" -eq 2 ] || die "$mode: ended with $status: $said"
            [[ "$said" == *"pool_mode = session"* ]] || die "$mode: said $said"
            status=0
            said=$(timeout 20 target/debug/skranke migrate 2>&1) || status=$?
            [ "$status" -ne 0 ] && [[ "$said" == *"pool_mode = session"* ]] || die "$mode: migrate said $said"
        done
        printf '%s: refused: %s\n' "$mode" "$said"
    fi
    stop_bouncer
done
