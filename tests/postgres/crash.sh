#!/usr/bin/env bash
# A PostgreSQL server that loses its power (`pg_ctl stop --mode=immediate`) and is started again while clients write over HTTP: no
# acknowledged write may be lost. Prints how long nothing was written.
#
# Usage: tests/postgres/crash.sh [ROUNDS]           5 rounds unless said
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/programs.sh
. tests/postgres/servers.sh

cargo test --locked --no-run --test api
port=$(free_port)
make_primary server "$port"
control=$([ -z "$pg_user" ] || echo runuser -u "$pg_user" --)
stop="$control '$pg_bin/pg_ctl' stop --silent --mode=immediate --pgdata='$scratch/server'"
start="$control '$pg_bin/pg_ctl' start --silent --wait --pgdata='$scratch/server' --log='$scratch/server.log' --options='-p $port' >/dev/null"
SKRANKE_TEST_POSTGRES="postgres://skranke@127.0.0.1:$port/postgres" SKRANKE_TEST_FAULT="cd / && $stop && $start" \
    SKRANKE_TEST_FAULTS="${1:-5}" \
    cargo test --locked --test api -- --ignored --exact --nocapture faults::a_fault_of_the_server_while_clients_write
