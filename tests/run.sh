#!/usr/bin/env bash
# The test command. See usage() below, or run: tests/run.sh --help
set -euo pipefail

usage() {
    cat <<'HELP'
Usage: tests/run.sh                               everything: format, lints, all tests, the OpenAPI document against the
                                                  last release's, the TypeScript client, what the documentation shows,
                                                  files in a bucket, the converters of tools/import, a short soak
       tests/run.sh --with-browser                and after that examples/inbox in a real browser, with logins at a real
                                                  identity provider: examples/inbox/check.sh
       tests/run.sh --with-prometheus             and after that /metrics, the alert rules and the dashboard, with a
                                                  real Prometheus: tests/prometheus/check.sh; and alerts of it, by two
                                                  real Alertmanagers, to two instances: tests/alerts/check.sh
       tests/run.sh --with-schemathesis           and after that Schemathesis, which makes requests from the document:
                                                  tests/schemathesis/run.sh
       tests/run.sh --only-tests [ARGUMENT...]    only cargo test; the arguments are passed on to it
       tests/run.sh --with-postgres COMMAND...    run any command while the private PostgreSQL is up
       tests/run.sh --help

All of them start a private PostgreSQL 15 or newer in a temporary directory, name it to the tests by
SKRANKE_TEST_POSTGRES, and stop and remove it at the end. Programs that are missing are installed by apt-get.
Settings of Skranke in the environment (DATABASE_*, SKRANKE_*, but not SKRANKE_TEST_*) are ignored.
HELP
}

say() { printf '%s\n' "$*"; }
die() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    exit 1
}

# ---------------------------------------------------------------------------------------------------------------------
# What is to be done.

mode=everything
with_browser=''
with_prometheus=''
with_schemathesis=''
case "${1-}" in
'') ;;
--with-browser | --with-prometheus | --with-schemathesis)
    for option in "$@"; do
        case "$option" in
        --with-browser) with_browser=yes ;;
        --with-prometheus) with_prometheus=yes ;;
        --with-schemathesis) with_schemathesis=yes ;;
        *)
            usage >&2
            exit 2
            ;;
        esac
    done
    ;;
--only-tests)
    mode=only-tests
    shift
    ;;
--with-postgres)
    mode=with-postgres
    shift
    [ $# -gt 0 ] || die 'name the command: tests/run.sh --with-postgres COMMAND...'
    ;;
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
export LC_ALL=C.UTF-8

# The shell that this is called from may have settings of its own for a server or for psql; the tests must not see them.
for name in "${!DATABASE_@}" "${!SKRANKE_@}" "${!PG@}"; do
    case "$name" in
    SKRANKE_TEST_*) ;;
    *) unset "$name" ;;
    esac
done

# ---------------------------------------------------------------------------------------------------------------------
# The way out: whatever was started is stopped, whatever was made is removed, and the summary is printed.

scratch='' # temporary directory of this run
pg_bin=''  # directory of the PostgreSQL programs
pg_user='' # the user who runs them, if this is root
pg_up=''   # set while the cluster may be running
server=''  # process id of a running skranke
server_log=''
planned=() # titles of the steps, and for each that has ended: seconds and outcome
seconds=()
outcome=()
running='' # set while a step is running
began_s=0

leave() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    set +e
    if [ -n "$server" ]; then
        kill -KILL "$server" 2>/dev/null
        wait "$server" 2>/dev/null
    fi
    if [ "$status" -ne 0 ] && [ -s "$server_log" ]; then
        printf '\nThe last lines of the server:\n' >&2
        tail -n 40 "$server_log" >&2
    fi
    if [ -n "$pg_up" ]; then
        as_pg "$pg_bin/pg_ctl" stop --silent --pgdata="$scratch/pg/data" --mode=immediate >/dev/null 2>&1
    fi
    if [ -n "$scratch" ]; then rm -rf "$scratch"; fi
    if [ -n "$running" ]; then
        seconds+=($((SECONDS - began_s)))
        outcome+=(FAILED)
    fi
    if [ ${#planned[@]} -gt 0 ]; then summary; fi
    exit "$status"
}
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

summary() {
    local i
    printf '\nSummary\n'
    for i in "${!planned[@]}"; do
        if [ "$i" -lt ${#outcome[@]} ]; then
            printf '  %-7s %5s s  %s\n' "${outcome[$i]}" "${seconds[$i]}" "${planned[$i]}"
        else
            printf '  %-7s %5s    %s\n' 'not run' '' "${planned[$i]}"
        fi
    done
}

# Runs the next planned step; a failure ends the run.
step() {
    local title=${planned[${#outcome[@]}]}
    printf '\n==> %s\n' "$title"
    began_s=$SECONDS
    running=yes
    "$@"
    running=''
    seconds+=($((SECONDS - began_s)))
    outcome+=(ok)
    say "<== $title: ok, ${seconds[-1]} s"
}

# ---------------------------------------------------------------------------------------------------------------------
# Programs.

oldest_pg=15
oldest_node=18

# The newest PostgreSQL server on this machine that is new enough: Debian's own directories first, then PATH.
find_postgres() {
    local directory version newest=0
    local -a places=(/usr/lib/postgresql/*/bin)
    if command -v pg_config >/dev/null; then places+=("$(pg_config --bindir 2>/dev/null || true)"); fi
    if command -v initdb >/dev/null; then places+=("$(dirname "$(readlink -f "$(command -v initdb)")")"); fi
    for directory in "${places[@]}"; do
        if ! [ -x "$directory/initdb" ] || ! [ -x "$directory/pg_ctl" ] || ! [ -x "$directory/postgres" ]; then
            continue
        fi
        [[ "$("$directory/postgres" --version)" =~ \ ([0-9]+) ]] || continue
        version=${BASH_REMATCH[1]}
        if [ "$version" -ge "$oldest_pg" ] && [ "$version" -gt "$newest" ]; then
            newest=$version
            pg_bin=$directory
        fi
    done
    [ -n "$pg_bin" ]
}

# Makes sure that all programs of this mode are here.
get_programs() {
    if [ "$mode" != with-postgres ]; then
        command -v cargo >/dev/null || die 'cargo is missing. Install Rust as https://rustup.rs says, and run again.'
        need cc prlimit
    fi
    find_postgres || install_packages postgresql
    # Its messages in another language, for the tests.
    [ -e /usr/share/i18n/locales/de_DE ] || install_packages locales
    if [ "$mode" = everything ]; then
        cargo fmt --version >/dev/null 2>&1 || die 'cargo fmt is missing. Run: rustup component add rustfmt'
        cargo clippy --version >/dev/null 2>&1 || die 'cargo clippy is missing. Run: rustup component add clippy'
        need curl node npm python3
        if [ -n "$with_browser" ]; then need chromium; fi
        python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    fi

    find_postgres || die "PostgreSQL $oldest_pg or newer is needed, and this distribution has an older one. \
Install a newer one as https://www.postgresql.org/download/ says, and run again."
    if [ "$mode" = everything ]; then
        node -e "process.exit(Number(process.versions.node.split('.')[0]) >= $oldest_node ? 0 : 1)" ||
            die "Node.js $oldest_node or newer is needed, and this is $(node --version). \
Install a newer one and run again."
        say "Node.js $(node --version), npm $(npm --version 2>/dev/null)"
    fi
}

# A TCP port on 127.0.0.1 where nobody listens, below the range that outgoing connections use.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 10000))
        if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
    die 'no free TCP port on 127.0.0.1 between 20000 and 29999. End some servers and run again.'
}

# ---------------------------------------------------------------------------------------------------------------------
# PostgreSQL.

# Runs a program of PostgreSQL: these refuse to run as root.
as_pg() {
    if [ -n "$pg_user" ]; then
        (cd / && exec runuser -u "$pg_user" -- "$@")
    else
        "$@"
    fi
}

start_postgres() {
    local home="$scratch/pg" port language began_s=$SECONDS
    mkdir "$home" "$scratch/locales"
    # PostgreSQL speaks only languages that the system knows, and where it is told to look it looks for none elsewhere.
    for language in C de_DE; do
        localedef --no-archive --inputfile="$language" --charmap=UTF-8 "$scratch/locales/$language.UTF-8" ||
            die "localedef could not make the locale $language.UTF-8; its words are above."
    done
    chmod -R a+rX "$scratch/locales"
    if [ "$(id -u)" -eq 0 ]; then
        pg_user=postgres
        if ! id -u "$pg_user" >/dev/null 2>&1; then
            pg_user='skranke-tests'
            id -u "$pg_user" >/dev/null 2>&1 ||
                useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$pg_user"
        fi
        chmod 0711 "$scratch"
        chown "$pg_user:" "$home"
    fi
    # A linguistic order by default, as most installations have it: a query that forgets to ask for COLLATE "C" shows.
    as_pg "$pg_bin/initdb" --pgdata="$home/data" --username=skranke --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
        --locale-provider=icu --icu-locale=en-US --no-sync >"$scratch/initdb.log" 2>&1 || {
        cat "$scratch/initdb.log" >&2
        die 'initdb failed; its words are above.'
    }
    # Nothing here has to survive a crash.
    cat >>"$home/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$home'
max_connections = 400
shared_buffers = 128MB
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 4GB
autovacuum = off
jit = off
timezone = 'UTC'
CONF
    # Somebody else may take the port between the look and the start.
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        pg_up=yes
        if as_pg env LOCPATH="$scratch/locales" "$pg_bin/pg_ctl" start --silent --wait --timeout=60 --pgdata="$home/data" --log="$home/log" \
            --options="-p $port" >/dev/null 2>&1; then
            SKRANKE_TEST_POSTGRES="postgres://skranke@127.0.0.1:$port/postgres"
            export SKRANKE_TEST_POSTGRES
            say "$("$pg_bin/postgres" --version) listens on 127.0.0.1:$port, $((SECONDS - began_s)) s"
            return
        fi
    done
    tail -n 20 "$home/log" >&2 || true
    die 'PostgreSQL did not start; its last words are above.'
}

# ---------------------------------------------------------------------------------------------------------------------
# The TypeScript client against a real server.

# Starts a server on a new, empty database (sqlite or postgres) and runs the client against it.
run_client() {
    local engine=$1 home="$scratch/$1" listen email=nora@example.org password='seven wet umbrellas' status=0
    local -a settings
    mkdir "$home"
    listen=127.0.0.1:$(free_port)
    case "$engine" in
    sqlite)
        settings=("DATABASE_URL=sqlite://$home/skranke.db")
        ;;
    postgres)
        local database="${SKRANKE_TEST_POSTGRES%/*}/skranke_client"
        "$pg_bin/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$SKRANKE_TEST_POSTGRES" \
            --command='CREATE DATABASE skranke_client'
        # What `openssl genpkey -algorithm ed25519` writes.
        node -e 'const { privateKey } = require("node:crypto").generateKeyPairSync("ed25519");
            process.stdout.write(privateKey.export({ type: "pkcs8", format: "pem" }));' >"$home/signing-key.pem"
        chmod 0600 "$home/signing-key.pem"
        settings=("DATABASE_URL=$database" "SKRANKE_SIGNING_KEY_FILE=$home/signing-key.pem")
        env "${settings[@]}" "$skranke" migrate
        ;;
    esac
    settings+=("SKRANKE_LISTEN=$listen" 'SKRANKE_EGRESS_ALLOW=127.0.0.0/8')
    printf '%s\n' "$password" |
        env "${settings[@]}" "$skranke" admin create --email "$email" --name 'Nora Test' --password-stdin

    server_log=$home/server.log
    env "${settings[@]}" "$skranke" serve >"$server_log" 2>&1 &
    server=$!
    wait_until_ready "http://$listen"
    tests/clients/typescript/run.sh "http://$listen" "$email" "$password"
    tests/docs/recipes.sh "http://$listen" "$(env "${settings[@]}" "$skranke" token --role admin --email "$email" --name 'Nora Test')"

    # A server that is asked to stop ends by itself and says that all was well.
    kill -TERM "$server"
    for _ in {1..150}; do
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "$server" 2>/dev/null; then die 'the server did not stop within 15 s of SIGTERM.'; fi
    wait "$server" || status=$?
    server=''
    [ "$status" -eq 0 ] || die "the server ended with status $status after SIGTERM; 0 was expected."
    server_log=''
}

wait_until_ready() {
    local url=$1/health/ready deadline_s=$((SECONDS + 60))
    until curl --silent --fail --output /dev/null --max-time 2 "$url"; do
        kill -0 "$server" 2>/dev/null || die 'the server ended before it was ready.'
        [ "$SECONDS" -lt "$deadline_s" ] || die "the server was not ready within 60 s: $url"
        sleep 0.1
    done
}

# The debug binary, built; wherever cargo is configured to put it.
build_binary() {
    cargo build --locked
    skranke=$(cargo metadata --locked --no-deps --format-version=1 |
        node -e 'process.stdout.write(JSON.parse(require("node:fs").readFileSync(0, "utf8")).target_directory)')
    skranke=$skranke/debug/skranke
    [ -x "$skranke" ] || die "cargo build left no program at $skranke"
}

client_on() {
    build_binary
    run_client "$1"
}

# The pages of examples/inbox in a real browser, with logins at a real identity provider.
inbox_in_a_browser() {
    PATH="$pg_bin:$PATH" examples/inbox/check.sh "$skranke" sqlite
    PATH="$pg_bin:$PATH" examples/inbox/check.sh "$skranke" postgres
}

# Whether a server takes more and more, as far as that shows in less than a minute; for longer: tests/load/soak.sh.
soak_on() {
    SKRANKE_TEST_PROGRAM=$skranke PATH="$pg_bin:$PATH" tests/load/soak.sh "$1" 40
}

# ---------------------------------------------------------------------------------------------------------------------

scratch=$(mktemp -d /tmp/skranke-tests.XXXXXX)
get_programs
start_postgres

case "$mode" in
with-postgres)
    "$@"
    ;;
only-tests)
    planned=('cargo test: unit, property and black-box tests on both databases')
    step cargo test --locked "$@"
    ;;
everything)
    planned=(
        'cargo fmt: the format'
        'cargo clippy: the lints'
        'cargo test: unit, property and black-box tests on both databases'
        "the OpenAPI document: nothing that the last release's promised is broken"
        'the TypeScript client, and what the documentation shows, server on SQLite'
        'the TypeScript client, and what the documentation shows, server on PostgreSQL'
        'files in a bucket, by a server that speaks S3'
        'the converters of tools/import'
        'a short soak, server on SQLite'
        'a short soak, server on PostgreSQL'
    )
    if [ -n "$with_browser" ]; then planned+=('an inbox and a portal in a real browser, server on each database'); fi
    if [ -n "$with_prometheus" ]; then
        planned+=('/metrics, the rules and the dashboard, with a real Prometheus')
        planned+=('alerts of a real Prometheus by two real Alertmanagers, to two instances')
    fi
    if [ -n "$with_schemathesis" ]; then planned+=('Schemathesis, as each kind of caller, on both databases'); fi
    step cargo fmt --check
    step cargo clippy --all-targets --locked -- -D warnings
    step cargo test --locked
    step tests/openapi/check.sh
    step client_on sqlite
    step client_on postgres
    step tests/files/s3.sh
    step python3 tools/import/test.py
    step soak_on sqlite
    step soak_on postgres
    if [ -n "$with_browser" ]; then step inbox_in_a_browser; fi
    if [ -n "$with_prometheus" ]; then
        step tests/prometheus/check.sh "$skranke"
        step env PATH="$pg_bin:$PATH" SKRANKE="$skranke" tests/alerts/check.sh
    fi
    if [ -n "$with_schemathesis" ]; then step env PATH="$pg_bin:$PATH" tests/schemathesis/run.sh; fi
    ;;
esac
