# shellcheck shell=bash
# The one place that installs what the scripts of these tests call, and the one that says where a script has failed. To be sourced.

# Where a command fails that nobody looks after, the script says so: none ends without a word.
set -E
trap 'programs_failed "$?" "${BASH_SOURCE[0]}" "$LINENO" "$BASH_COMMAND"' ERR

programs_failed() {
    printf '%s, line %s: this ended with %s: %s\n' "$2" "$3" "$1" "$4" >&2
}

programs_die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# The Debian packages that have a program.
packages_of() {
    case "$1" in
    cc) printf 'gcc libc6-dev' ;;
    chromium) printf 'chromium fonts-dejavu-core' ;;
    node) printf 'nodejs' ;;
    npm) printf 'npm ca-certificates' ;;
    ss) printf 'iproute2' ;;
    awk) printf 'mawk' ;;
    pgrep | ps) printf 'procps' ;;
    prlimit | runuser) printf 'util-linux' ;;
    promtool) printf 'prometheus' ;;
    psql) printf 'postgresql-client' ;;
    python3) printf 'python3 python3-venv' ;;
    curl) printf 'curl ca-certificates' ;;
    java) printf 'default-jre-headless' ;;
    *) printf '%s' "$1" ;;
    esac
}

# need PROGRAM...: makes sure that these are here, and installs what is missing from the distribution.
need() {
    local program
    local -a packages=()
    for program in "$@"; do
        # shellcheck disable=SC2207
        command -v "$program" >/dev/null || packages+=($(packages_of "$program"))
    done
    if [ ${#packages[@]} -gt 0 ]; then install_packages "${packages[@]}"; fi
    for program in "$@"; do
        command -v "$program" >/dev/null || programs_die "$program is still missing: $(packages_of "$program") did not bring it."
    done
}

# Installs Debian packages.
install_packages() {
    local -a root=()
    local status=0 words no_cluster=/etc/postgresql-common/createcluster.d/skranke-tests.conf
    if ! command -v apt-get >/dev/null; then
        programs_die "these are missing: $* (names of Debian packages). Install what gives the same programs here and run again."
    fi
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || programs_die "these Debian packages are missing: $*
As root, run: apt-get update && apt-get install --no-install-recommends $*
and then start this again."
        root=(sudo)
    fi
    printf 'Installing from the distribution: %s\n' "$*"
    "${root[@]}" apt-get -qq update || programs_die "apt-get update failed; its words are above.
Install these by hand and run again: $*"
    # Without this, Debian would also make and start a cluster of its own, which nobody asked for.
    if ! [ -e /etc/postgresql-common/createcluster.conf ]; then
        "${root[@]}" mkdir -p "${no_cluster%/*}"
        printf 'create_main_cluster = false\n' | "${root[@]}" tee "$no_cluster" >/dev/null
    fi
    words=$("${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq --no-install-recommends install "$@" </dev/null 2>&1) || status=$?
    "${root[@]}" rm -f "$no_cluster"
    if [ "$status" -ne 0 ]; then
        tail -n 20 <<<"$words" >&2
        programs_die "apt-get could not install: $*
Install them by hand and run again."
    fi
}
