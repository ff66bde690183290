#!/usr/bin/env bash
# A name server that answers with a public address now and with this machine's then ("DNS rebinding"): no webhook may reach what listens here.
# Needs root, for a network and a /etc/resolv.conf in namespaces of its own: nothing of the machine is changed.
#
#   tests/load/rebinding.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ -z "${REBINDING_INSIDE-}" ]; then
    [ "$(id -u)" -eq 0 ] || {
        printf 'tests/load/rebinding.sh: run it as root: it takes a network and a mount namespace of its own.\n' >&2
        exit 2
    }
    . tests/programs.sh
    need curl python3 ip unshare
    REBINDING_INSIDE=yes exec unshare --mount --net -- "$0" "$@"
fi
. tests/load/server.sh
ip link set lo up
# Nothing leads out of here, and whoever tries is told so at once.
ip route add unreachable default
printf 'nameserver 127.0.0.1\noptions timeout:2 attempts:1\n' >"$scratch/resolv.conf"
mount --bind "$scratch/resolv.conf" /etc/resolv.conf

start_server sqlite
python3 tests/load/rebinding.py "$url" "$token"
