# shellcheck shell=bash
# What the scripts of this directory have in common: private PostgreSQL servers with the settings of a real one, in a
# temporary directory that is removed at the end. To be sourced, after tests/programs.sh.

export LC_ALL=C.UTF-8
for name in "${!DATABASE_@}" "${!SKRANKE_@}" "${!PG@}"; do
    case "$name" in
    SKRANKE_TEST_*) ;;
    *) unset "$name" ;;
    esac
done

die() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

find_pg_bin() { find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort --version-sort | tail -n 1 || true; }
pg_bin=$(find_pg_bin)
[ -n "$pg_bin" ] || pg_bin=$(pg_config --bindir 2>/dev/null) || {
    install_packages postgresql
    pg_bin=$(find_pg_bin)
}
scratch=$(mktemp -d /tmp/skranke-servers.XXXXXX)
pg_user=''
if [ "$(id -u)" -eq 0 ]; then
    # These programs refuse to run as root.
    pg_user=postgres
    id -u "$pg_user" >/dev/null 2>&1 || die "there is no user $pg_user: install PostgreSQL from the distribution, or run this as another user."
    chown "$pg_user:" "$scratch"
fi

as_pg() {
    if [ -n "$pg_user" ]; then
        (cd / && exec runuser -u "$pg_user" -- "$@")
    else
        "$@"
    fi
}

# A TCP port on 127.0.0.1 where nobody listens.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 10000))
        if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
    die 'no free TCP port on 127.0.0.1 between 20000 and 29999.'
}

stop_all() {
    local status=$? directory
    trap - EXIT ERR
    set +e
    for directory in "$scratch"/*/; do
        [ -e "$directory/postmaster.pid" ] &&
            as_pg "$pg_bin/pg_ctl" stop --silent --pgdata="$directory" --mode=immediate >/dev/null 2>&1
    done
    if [ "$status" -ne 0 ]; then tail -n 5 "$scratch"/*.log >&2; fi
    rm -rf "$scratch"
    exit "$status"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# make_primary NAME PORT: an empty server that keeps what it has answered, started.
make_primary() {
    as_pg "$pg_bin/initdb" --pgdata="$scratch/$1" --username=skranke --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
        >"$scratch/initdb.log" 2>&1 || die 'initdb failed.'
    as_pg tee -a "$scratch/$1/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$scratch'
max_connections = 200
wal_level = replica
max_wal_senders = 5
hot_standby = on
timezone = 'UTC'
CONF
    start "$1" "$2"
}

# start NAME PORT
start() {
    as_pg "$pg_bin/pg_ctl" start --silent --wait --timeout=60 --pgdata="$scratch/$1" --log="$scratch/$1.log" \
        --options="-p $2" >/dev/null || die "$1 did not start."
}

# psql_at PORT SQL
psql_at() {
    "$pg_bin/psql" --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
        --dbname="postgres://skranke@127.0.0.1:$1/postgres" --command="$2"
}

# make_standby NAME PORT PRIMARY PRIMARY_PORT: a synchronous standby of the primary, started; every commit waits for it.
make_standby() {
    as_pg "$pg_bin/pg_basebackup" --pgdata="$scratch/$1" --checkpoint=fast --write-recovery-conf --wal-method=stream \
        --dbname="host=127.0.0.1 port=$4 user=skranke application_name=$1" || die 'pg_basebackup failed.'
    start "$1" "$2"
    psql_at "$4" "ALTER SYSTEM SET synchronous_standby_names = '$1'"
    psql_at "$4" 'SELECT pg_reload_conf()' >/dev/null
    for _ in {1..100}; do
        [ "$(psql_at "$4" "SELECT sync_state FROM pg_stat_replication")" = sync ] && return
        sleep 0.1
    done
    die 'the standby did not become synchronous within 10 s.'
}
