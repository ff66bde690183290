#!/usr/bin/env bash
# Whether the commands of README work on a bare machine: a Debian 12 of its own, by debootstrap, with a Rust toolchain and nothing
# else. Everything that the tests call has to be installed by the tests themselves.
set -euo pipefail

usage() {
    cat <<'HELP'
Usage: tests/bare.sh [--keep]

Makes a root of Debian 12 (debootstrap --variant=minbase) in a temporary directory, with this machine's Rust toolchain and a copy of
the files of this repository that git knows, and runs in it, as README says:

    tests/run.sh
    tests/load/soak.sh sqlite 60
    cargo run --release

The last one is asked whether it is ready, and stopped. It comes last since it wants a C compiler, which the tests install. Must be run as root: it mounts and calls chroot. Installs debootstrap if it is missing. Compiles everything, and so takes 8 GB of disk
and half an hour. The root is removed at the end; with --keep it stays when something has failed, and its place is told.
HELP
}

keep=''
case "${1-}" in
'') ;;
--keep) keep=yes ;;
-h | --help)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/programs.sh
[ "$(id -u)" -eq 0 ] || programs_die 'this mounts and calls chroot: run it as root.'
need debootstrap git rustc cargo

root=$(mktemp -d /tmp/skranke-bare.XXXXXX)
# Others than root are at work in it, too.
chmod 755 "$root"
leave() {
    local status=$? place
    trap - EXIT
    set +e
    # What has been mounted last goes first. Nothing is removed through a mount that has stayed.
    for place in opt/rustup proc dev; do
        if mountpoint --quiet "$root/$place"; then umount --recursive "$root/$place"; fi
    done
    if grep -q " $root/" /proc/self/mounts; then
        printf 'bare.sh: something is still mounted below %s; unmount it and remove it by hand.\n' "$root" >&2
    elif [ "$status" -ne 0 ] && [ -n "$keep" ]; then
        printf 'bare.sh: the root is kept in %s\n' "$root" >&2
    else
        rm -rf --one-file-system "$root"
    fi
    [ "$status" -eq 0 ] || printf 'bare.sh: failed with %s\n' "$status" >&2
    exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

printf '==> a bare Debian 12 in %s\n' "$root"
debootstrap --variant=minbase bookworm "$root" "${SKRANKE_TEST_MIRROR:-http://deb.debian.org/debian}" >"$root.log" 2>&1 || {
    tail -n 20 "$root.log" >&2
    rm -f "$root.log"
    programs_die 'debootstrap failed; its words are above.'
}
rm -f "$root.log"
# The names of other machines are found as here, packages by the same way, and the same authorities are trusted.
cp /etc/resolv.conf "$root/etc/resolv.conf"
trusted=/etc/ssl/certs/ca-certificates.crt
if [ -e "$trusted" ]; then cp "$trusted" "$root/opt/trusted.crt"; fi
for file in /etc/apt/apt.conf.d/*proxy*; do
    if [ -e "$file" ]; then cp "$file" "$root/etc/apt/apt.conf.d/"; fi
done
mount --rbind --make-rslave /proc "$root/proc"
mount --rbind --make-rslave /dev "$root/dev"

# The toolchain itself, not the links of rustup, which would fetch another one.
mkdir -p "$root/opt/rustup" "$root/opt/skranke"
mount --bind --read-only "$(rustc --print sysroot)" "$root/opt/rustup"
git ls-files -z | tar --create --null --files-from=- | tar --extract --directory="$root/opt/skranke"

# Runs a command in the root, with nothing of this machine's environment but how it reaches others.
bare() {
    printf '\n==> on the bare machine: %s\n' "$*"
    local -a settings=(HOME=/root PATH=/opt/rustup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb)
    local name
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        if [ -n "${!name-}" ]; then settings+=("$name=${!name}"); fi
    done
    if [ -e "$root/opt/trusted.crt" ]; then
        for name in CARGO_HTTP_CAINFO SSL_CERT_FILE CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS npm_config_cafile PIP_CERT; do
            settings+=("$name=/opt/trusted.crt")
        done
    fi
    chroot "$root" /usr/bin/env -i "${settings[@]}" /bin/sh -c 'cd /opt/skranke && exec "$@"' sh "$@"
}

bare tests/run.sh
bare tests/load/soak.sh sqlite 60
# It says where it listens, is ready there, and ends when it is told to.
# shellcheck disable=SC2016
bare bash -euc '
    SKRANKE_LISTEN=127.0.0.1:0 cargo run --release >/tmp/said & server=$!
    until [ "$(head -n 1 /tmp/said | wc -l)" -eq 1 ]; do kill -0 "$server"; sleep 0.2; done
    at=$(sed -n "1s,.*http://,,p" /tmp/said)
    exec 3<>"/dev/tcp/${at%:*}/${at##*:}"
    printf "GET /health/ready HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" "$at" >&3
    head -n 1 <&3 | tee /dev/stderr | grep -q " 200 "
    kill "$server"
    wait "$server"
'
printf '\nAll of them work on a bare machine.\n'
