#!/usr/bin/env bash
# Ten times as much as can be done: what is accepted stays quick, the rest is refused at once, memory stays bounded, and when it is
# over, it is over.
#
#   tests/load/overload.sh sqlite [SECONDS]
#   tests/run.sh --with-postgres tests/load/overload.sh postgres [SECONDS]
#
# First 64 connections open tickets as fast as they are answered: that is what can be done. Then 4,096 connections begin ten
# times as many a second, for a third of the time (of 45 seconds unless told). Then four ask again. What it needs is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

engine=${1:-sqlite}
seconds=${2:-45}
ulimit -n "$(ulimit -Hn)"
. tests/programs.sh
need node curl
. tests/load/server.sh
start_server "$engine"

before=$(usage_of "$server")
node tests/load/load.mjs flood "$url" "$token" "$seconds" >"$scratch/flood.json" &
client=$!
most=0
while kill -0 "$client" 2>/dev/null; do
    read -r now _ < <(usage_of "$server")
    [ "$now" -le "$most" ] || most=$now
    sleep 0.2
done
status=0
wait "$client" || status=$?
cat "$scratch/flood.json"
printf '%s: memory, files, sockets, threads before: %s; most memory meanwhile: %s KiB; afterwards: %s\n' \
    "$engine" "$before" "$most" "$(usage_of "$server")"
[ "$status" -eq 0 ] || die 'it was not refused as it should be, or not served again; see above'
[ "$most" -lt $((512 * 1024)) ] || die 'it took more than 512 MiB'
