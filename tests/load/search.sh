#!/usr/bin/env bash
# Searches in a desk that was filled as desks are: over HTTP, by 64 connections, with comments and changes of status between. Meanwhile, right
# after it and a minute later one connection searches.
#
#   tests/load/search.sh sqlite [TICKETS]
#   tests/run.sh --with-postgres tests/load/search.sh postgres [TICKETS]
#
# 100,000 tickets unless told. Ends with 1 when a median a minute later is above what is said beside it, or the 500th comment of a ticket
# costs more than one and a half times the first. For figures: cargo build --release, and SKRANKE_TEST_PROGRAM=target/release/skranke.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

engine=${1:-sqlite}
tickets=${2:-100000}
. tests/programs.sh
need node curl
. tests/load/server.sh
start_server "$engine"

status=0
node tests/load/load.mjs comments "$url" "$token" 520 || status=$?
node tests/load/load.mjs search "$url" "$token" "$tickets" || status=$?
if [ "$engine" = sqlite ]; then du -sh "$scratch"/skranke.db*; fi
printf '%s: memory in KiB, files, sockets, threads: %s\n' "$engine" "$(usage_of "$server")"
[ "$status" -eq 0 ] || die 'it is slower than is said; see above'
