#!/usr/bin/env bash
# Lets a real clamd, with a signature of our own, scan what is sent to a server: an infected file is stopped, its bytes go, and
# it is told; and while clamd is away, nothing that it has not passed is given to requesters.
set -euo pipefail

if [ $# -ne 1 ]; then
    cat >&2 <<'HELP'
Usage: tests/files/clamav.sh SKRANKE

SKRANKE is the program. clamd comes from the distribution (clamav-daemon); no database of signatures is downloaded.
HELP
    exit 2
fi
skranke=$(realpath -- "$1")

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/programs.sh
need curl python3
command -v clamd >/dev/null && command -v sigtool >/dev/null || install_packages clamav-daemon clamav

scratch=$(mktemp -d /tmp/skranke-clamav.XXXXXX)
clamd='' server=''
leave() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$clamd" ] || kill "$clamd" 2>/dev/null || true
    rm -rf "$scratch"
}
trap leave EXIT
mkdir "$scratch/signatures"
# In two parts, so that no scanner takes this script for it.
printf '%s%s' 'X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-' 'ANTIVIRUS-TEST-FILE!$H+H*' >"$scratch/eicar.txt"
sigtool --md5 "$scratch/eicar.txt" >"$scratch/signatures/eicar.hdb"
cat >"$scratch/clamd.conf" <<CONF
LocalSocket $scratch/clamd.sock
DatabaseDirectory $scratch/signatures
LogFile $scratch/clamd.log
Foreground yes
User $(id -un)
CONF
start_clamd() {
    clamd --config-file="$scratch/clamd.conf" >/dev/null 2>&1 &
    clamd=$!
    for _ in $(seq 300); do
        if [ -S "$scratch/clamd.sock" ]; then return; fi
        sleep 0.1
    done
    tail -n 20 "$scratch/clamd.log" >&2
    programs_die 'clamd did not start'
}

export DATABASE_URL="sqlite://$scratch/desk/skranke.db" SKRANKE_LISTEN=127.0.0.1:0 SKRANKE_SCAN="clamd:unix:$scratch/clamd.sock"
start_clamd
: >"$scratch/out"
"$skranke" >"$scratch/out" 2>"$scratch/err" &
server=$!
url=''
for _ in $(seq 300); do
    url=$(sed -n 's/.*listens on \(http:[^ ]*\)$/\1/p' "$scratch/out")
    if [ -n "$url" ]; then break; fi
    sleep 0.1
done
agent=$("$skranke" token --role agent --email agent@example.org --name Agent)
ada=$("$skranke" token --role requester --email ada@example.org --name Ada)

# ask TOKEN STATUS METHOD PATH [CURL ARGUMENT...]: what is answered, which must have this status.
ask() {
    local token=$1 expected=$2 method=$3 path=$4 status
    shift 4
    status=$(curl -sS -o "$scratch/answer" -w '%{http_code}' -X "$method" -H "Authorization: Bearer $token" "$@" "$url$path")
    if [ "$status" != "$expected" ]; then programs_die "$method $path is $status, not $expected: $(head -c 500 "$scratch/answer")"; fi
}
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$scratch/answer" "$1"; }
send() {
    ask "$ada" 201 POST /v1/files -H 'Content-Type: text/plain' -H "Content-Disposition: attachment; filename=$2" --data-binary "@$1"
    field id
}
# until_state ID STATE: waits until a file is in this state.
until_state() {
    for _ in $(seq 300); do
        ask "$ada" 200 GET "/v1/files/$1"
        if [ "$(field state)" = "$2" ]; then return; fi
        sleep 0.1
    done
    programs_die "file $1 is still $(field state), not $2"
}

head -c 3000000 /dev/urandom >"$scratch/fine.bin"
fine=$(send "$scratch/fine.bin" fine.bin)
bad=$(send "$scratch/eicar.txt" bad.txt)
ask "$ada" 201 POST /v1/tickets -H 'Content-Type: application/json' -d "{\"subject\": \"Look\", \"file_ids\": [\"$fine\"]}"
ticket=$(field id)
until_state "$fine" clean
ask "$ada" 200 GET "/v1/files/$fine/content"
cmp "$scratch/answer" "$scratch/fine.bin"
until_state "$bad" infected
ask "$ada" 410 GET "/v1/files/$bad/content"
grep -q 'something in a file' "$scratch/err"

# Of one that is attached before it is scanned it is told where it is attached.
kill "$clamd"; wait "$clamd" 2>/dev/null || true; clamd=''; rm -f "$scratch/clamd.sock"
late=$(send "$scratch/eicar.txt" late.txt)
ask "$ada" 201 POST "/v1/tickets/$ticket/comments" -H 'Content-Type: application/json' \
    -d "{\"body\": \"This?\", \"visibility\": \"public\", \"file_ids\": [\"$late\"]}"
sleep 1
ask "$ada" 409 GET "/v1/files/$late/content"
ask "$agent" 200 GET "/v1/files/$late/content"
start_clamd
until_state "$late" infected
ask "$ada" 200 GET "/v1/tickets/$ticket/events"
grep -q '"file.infected"' "$scratch/answer"
for _ in $(seq 100); do
    left=$(find "$scratch/desk/files" -type f | wc -l)
    if [ "$left" -eq 1 ]; then break; fi
    sleep 0.1
done
if [ "$left" -ne 1 ]; then programs_die "the bytes of infected files are still there: $left files"; fi
printf 'clamd %s stopped the infected files, their bytes are gone, and it was told; the clean one came through.\n' "$(clamd --version | cut -d/ -f1)"
