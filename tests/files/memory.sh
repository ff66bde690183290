#!/usr/bin/env bash
# Sends 64 files of 25 MiB at once, and gets them again, and holds how much memory the server needs for that.
set -euo pipefail

if [ $# -ne 1 ]; then
    printf 'Usage: tests/files/memory.sh SKRANKE\n' >&2
    exit 2
fi
skranke=$(realpath -- "$1")

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/programs.sh
need curl
scratch=$(mktemp -d /var/tmp/skranke-memory.XXXXXX)
server=''
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$scratch"' EXIT
export DATABASE_URL="sqlite://$scratch/skranke.db" SKRANKE_LISTEN=127.0.0.1:0
: >"$scratch/out"
"$skranke" >"$scratch/out" 2>"$scratch/err" &
server=$!
url=''
for _ in $(seq 300); do
    url=$(sed -n 's/.*listens on \(http:[^ ]*\)$/\1/p' "$scratch/out")
    if [ -n "$url" ]; then break; fi
    sleep 0.1
done
kib() { awk "/^$1:/ { print \$2 }" "/proc/$server/status"; }

head -c $((25 << 20)) /dev/urandom >"$scratch/file"
# Of four senders, since one sends sixteen at once.
for nth in 1 2 3 4; do
    "$skranke" token --role agent --email "agent$nth@example.org" --name "Agent $nth" >"$scratch/token$nth"
done
before=$(kib VmRSS)
for nth in $(seq 64); do
    curl -sS -o "$scratch/made$nth" -w '%{http_code}\n' -H "Authorization: Bearer $(cat "$scratch/token$((nth % 4 + 1))")" \
        -H 'Content-Disposition: attachment; filename=x' --limit-rate 4M --data-binary "@$scratch/file" "$url/v1/files" >"$scratch/status$nth" &
done
# shellcheck disable=SC2046
wait $(jobs -p | grep -vx "$server")
sent=$(cat "$scratch"/status* | grep -cx 201)
after_sending=$(kib VmHWM)
for nth in $(seq 64); do
    id=$(sed -n 's/^{"id":"\([^"]*\)".*/\1/p' "$scratch/made$nth")
    curl -sS --limit-rate 4M -H "Authorization: Bearer $(cat "$scratch/token$((nth % 4 + 1))")" "$url/v1/files/$id/content" |
        cmp - "$scratch/file" && printf 'same\n' >"$scratch/same$nth" &
done
# shellcheck disable=SC2046
wait $(jobs -p | grep -vx "$server")
got=$(cat "$scratch"/same* | grep -cx same)
peak=$(kib VmHWM)
printf 'sent %s and got %s of 64 files of 25 MiB at once; memory: %s KiB before, at most %s KiB while sending, at most %s KiB in all\n' \
    "$sent" "$got" "$before" "$after_sending" "$peak"
cat "$scratch"/status* | sort | uniq -c | grep -v ' 201$' || true
if [ "$sent" -ne 64 ] || [ "$got" -ne 64 ]; then programs_die 'not all of them'; fi
# All of them together have 1600 MiB.
if [ $((peak - before)) -gt $((128 << 10)) ]; then programs_die 'memory is not flat: more than 128 MiB'; fi
