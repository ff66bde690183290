#!/usr/bin/env bash
# Searches in a desk that was filled as desks are: over HTTP, by 64 connections, with comments and changes of status between. Meanwhile, right
# after it and a minute later one connection searches.
#
#   tests/load/search.sh sqlite [TICKETS [FOLDER]]
#   tests/run.sh --with-postgres tests/load/search.sh postgres [TICKETS [FOLDER]]
#
# 100,000 tickets unless told. Ends with 1 when a median a minute later is above what is said beside it, or the 500th comment of a ticket
# costs more than one and a half times the first. For figures: cargo build --release, and SKRANKE_TEST_PROGRAM=target/release/skranke.
# In FOLDER it leaves the figures, of which `cargo bench --bench size` writes its report: benches/results/filled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

engine=${1:-sqlite}
tickets=${2:-100000}
folder=${3:-}
. tests/programs.sh
need node curl
. tests/load/server.sh
# The log tells which statements that merge parts of SQLite's index of words took long.
start_server "$engine" SKRANKE_LOG=warn SKRANKE_SLOW_QUERY_MS=1

status=0
node tests/load/load.mjs comments "$url" "$token" 520 >"$scratch/comments.json" || status=$?
cat "$scratch/comments.json"
node tests/load/load.mjs search "$url" "$token" "$tickets" >"$scratch/searches.json" || status=$?
cat "$scratch/searches.json"
node -e '
const fs = require("node:fs");
const [engine, log, comments, searches] = process.argv.slice(1);
const merges = fs.readFileSync(log, "utf8").split("\n").filter((line) => /INSERT INTO ticket_words ?\(ticket_words, rank\)/.test(line));
const took = merges.map((line) => Number(/duration_us\D+(\d+)/.exec(line)[1]) / 1000).sort((a, b) => b - a);
const read = (file) => JSON.parse(fs.readFileSync(file, "utf8"));
const date = new Date().toISOString().slice(0, 10);
const result = { engine, date, ...read(searches), comments: read(comments) };
if (engine === "sqlite") result.merges = { above_1_ms: took.length, above_20_ms: took.filter((ms) => ms > 20).length, longest_ms: took[0] ?? 1 };
fs.writeFileSync("/dev/stdout", JSON.stringify(result, null, 1) + "\n");
' "$engine" "$scratch/server.err" "$scratch/comments.json" "$scratch/searches.json" >"$scratch/result.json"
sed -n '/"merges"/,/}/p' "$scratch/result.json"
if [ -n "$folder" ]; then
    mkdir -p "$folder"
    cp "$scratch/result.json" "$folder/$engine-$tickets.json"
fi
if [ "$engine" = sqlite ]; then du -sh "$scratch"/skranke.db*; fi
printf '%s: memory in KiB, files, sockets, threads: %s\n' "$engine" "$(usage_of "$server")"
[ "$status" -eq 0 ] || die 'it is slower than is said; see above'
