#!/usr/bin/env bash
# Whether a server that works for long takes more and more of the machine: memory, open files, connections, threads.
#
#   tests/load/soak.sh sqlite [SECONDS]                                     30 minutes unless told
#   tests/run.sh --with-postgres tests/load/soak.sh postgres [SECONDS]
#
# The load is mixed (tests/load/load.mjs): reads, searches, reports, writes, logins that fail, tokens that are no good, and clients
# that leave, come again, and break off in the middle of a request. It ends with 1 when the last fifth of the time takes more
# than the second: of files, sockets or threads at its quietest, of memory at its middle; and when all clients have gone, no
# connection may be left. What it needs is installed by tests/programs.sh.
#
# Caches and pools fill in the first minute or two and then stay as they are. From ten minutes on no file, socket or thread more is
# allowed than chance brings (2, and 1 thread), and of memory a tenth and 16 MiB. A shorter run is still filling for most of its time:
# it is allowed 8 of each and 48 MiB, so that after 40 s a loss shows from about 5 KiB at each request on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

engine=${1:-sqlite}
seconds=${2:-1800}
[ "$seconds" -ge 20 ] || {
    echo 'soak.sh: less than 20 seconds tell nothing' >&2
    exit 2
}
. tests/programs.sh
need node curl ss awk
. tests/load/server.sh
start_server "$engine"

# Once it has begun, before anybody asks.
read -r _ _ sockets_before _ < <(usage_of "$server")
node tests/load/load.mjs mix "$url" "$token" "$seconds" >"$scratch/mix.json" &
client=$!
samples=$scratch/samples
: >"$samples"
while kill -0 "$client" 2>/dev/null; do
    usage_of "$server" >>"$samples"
    sleep 0.5
done
status=0
wait "$client" || status=$?
cat "$scratch/mix.json"
[ "$status" -eq 0 ] || die 'the server answered what it must not'
kill -0 "$server" || die 'the server has ended'

# What is open when nobody asks any more: idle connections are closed after 5 s.
left=''
for _ in {1..40}; do
    read -r _ files left threads < <(usage_of "$server")
    [ "$left" -gt "$((sockets_before + 24))" ] || break
    sleep 0.5
done
clients=$(ss --no-header --numeric --tcp state established state close-wait "( sport = :${url##*:} )" | wc -l)

if [ "$seconds" -ge 600 ]; then spare='-v spare_kib=16384 -v spare=2 -v spare_threads=1'; else spare='-v spare_kib=49152 -v spare=8 -v spare_threads=8'; fi
# shellcheck disable=SC2086
awk $spare -v engine="$engine" -v seconds="$seconds" -v left="$left" -v clients="$clients" '
    function sort_up(a, n,   i, j, t) { for (i = 2; i <= n; i++) { t = a[i]; for (j = i - 1; j >= 1 && a[j] > t; j--) a[j + 1] = a[j]; a[j + 1] = t } }
    function middle(column, from, to,   n, i) { n = 0; split("", picked); for (i = from; i < to; i++) picked[++n] = value[i, column]; sort_up(picked, n); return picked[int((n + 1) / 2)] }
    function least(column, from, to,   i, m) { m = value[from, column]; for (i = from; i < to; i++) if (value[i, column] < m) m = value[i, column]; return m }
    { for (c = 1; c <= 4; c++) value[NR - 1, c] = $c }
    END {
        fifth = NR / 5
        for (f = 0; f < 5; f++) {
            from = int(f * fifth); to = int((f + 1) * fifth)
            rss[f] = middle(1, from, to); files[f] = least(2, from, to); sockets[f] = least(3, from, to); threads[f] = least(4, from, to)
            printf "%s, fifth %d of %d s: memory %.1f MiB (middle), files %d, sockets %d, threads %d (least)\n", engine, f + 1, seconds, rss[f] / 1024, files[f], sockets[f], threads[f]
        }
        printf "afterwards: %d sockets, %d connections of clients\n", left, clients
        if (rss[4] > rss[1] * 1.1 + spare_kib) { print "memory has grown"; bad = 1 }
        if (files[4] > files[1] + spare) { print "open files have grown"; bad = 1 }
        if (sockets[4] > sockets[1] + spare) { print "sockets have grown"; bad = 1 }
        if (threads[4] > threads[1] + spare_threads) { print "threads have grown"; bad = 1 }
        if (clients > 0) { print "connections are left"; bad = 1 }
        exit bad
    }' "$samples"
