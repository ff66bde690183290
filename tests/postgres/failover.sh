#!/usr/bin/env bash
# A primary with a synchronous standby, and Skranke on both (`@HOST1,HOST2/`). While clients write, the primary is killed
# (SIGKILL to all of its processes) and the standby promoted. No acknowledged write may be lost, and the service has to be back
# by itself; prints how long nothing was written. Then the same with reads from the standby, which is stopped and started.
#
# Usage: tests/postgres/failover.sh [ROUNDS]        3 rounds unless said
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds=${1:-3}
. tests/programs.sh
need pgrep
. tests/postgres/servers.sh

cargo test --locked --no-run --test api
for round in $(seq "$rounds"); do
    one=$(free_port) two=$(free_port)
    make_primary "primary$round" "$one"
    make_standby "standby$round" "$two" "primary$round" "$one"
    cat >"$scratch/fail.sh" <<FAIL
#!/bin/sh
kill -KILL \$(cat "$scratch/primary$round/postmaster.pid" | head -n 1) \$(pgrep -P \$(head -n 1 "$scratch/primary$round/postmaster.pid"))
exec $([ -z "$pg_user" ] || echo runuser -u "$pg_user" --) "$pg_bin/pg_ctl" promote --silent --wait --pgdata="$scratch/standby$round"
FAIL
    chmod +x "$scratch/fail.sh"
    printf '\nRound %s: primary on port %s, synchronous standby on port %s\n' "$round" "$one" "$two"
    SKRANKE_TEST_POSTGRES="postgres://skranke@127.0.0.1:$one,127.0.0.1:$two/postgres" \
        SKRANKE_TEST_FAULT="$scratch/fail.sh" \
        cargo test --locked --test api -- --ignored --exact --nocapture faults::a_fault_of_the_server_while_clients_write
    as_pg "$pg_bin/pg_ctl" stop --silent --pgdata="$scratch/standby$round" --mode=immediate
done

printf '\nReads from a standby that goes and comes\n'
one=$(free_port) two=$(free_port)
make_primary primary "$one"
make_standby standby "$two" primary "$one"
# Away, it must not keep the primary from committing.
psql_at "$one" 'ALTER SYSTEM RESET synchronous_standby_names'
psql_at "$one" 'SELECT pg_reload_conf()' >/dev/null
control=$([ -z "$pg_user" ] || echo runuser -u "$pg_user" --)
SKRANKE_TEST_POSTGRES="postgres://skranke@127.0.0.1:$one/postgres" \
    SKRANKE_TEST_REPLICA="127.0.0.1:$two" \
    SKRANKE_TEST_FAULT="cd / && $control '$pg_bin/pg_ctl' stop --silent --mode=immediate --pgdata='$scratch/standby'" \
    SKRANKE_TEST_REPAIR="cd / && $control '$pg_bin/pg_ctl' start --silent --wait --pgdata='$scratch/standby' --log='$scratch/standby.log' --options='-p $two' >/dev/null" \
    cargo test --locked --test api -- --ignored --exact --nocapture faults::reads_from_a_standby_that_goes_and_comes
