#!/usr/bin/env bash
# A stream through nginx and through Caddy, by the settings of deploy: its reader is cut off after every few events and comes again, while
# somebody writes. Ends with 1 when an event is lost, told twice or out of order; tells how long after the answer to a write its event came.
#
#   tests/load/proxies.sh sqlite
#   tests/run.sh --with-postgres tests/load/proxies.sh postgres
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

engine=${1:-sqlite}
. tests/programs.sh
need curl python3 nginx caddy
. tests/load/server.sh
start_server "$engine"
address=${url#http://}

port=$((30000 + RANDOM % 10000))
start_nginx "$port"
printf 'nginx: '
python3 tests/load/proxies.py "$url" "http://127.0.0.1:$port" "$token"
stop_nginx

port=$((port + 1))
{
    printf '{\n\tadmin off\n}\n'
    sed "s/127.0.0.1:8080/$address/; s/^:80 /:$port /" deploy/Caddyfile
} >"$scratch/Caddyfile"
HOME=$scratch caddy run --config "$scratch/Caddyfile" --adapter caddyfile >"$scratch/caddy.out" 2>&1 &
caddy=$!
until curl --silent --fail --output /dev/null --max-time 2 "http://127.0.0.1:$port/health/ready"; do
    kill -0 "$caddy" 2>/dev/null || die "Caddy did not start: $(cat "$scratch/caddy.out")"
    sleep 0.1
done
printf 'Caddy: '
status=0
python3 tests/load/proxies.py "$url" "http://127.0.0.1:$port" "$token" || status=$?
kill "$caddy"
exit "$status"
