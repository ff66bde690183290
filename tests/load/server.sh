# Sourced by the scripts beside it: a server of its own on an empty database, and what it takes of the machine.

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

scratch=$(mktemp -d /tmp/skranke-load.XXXXXX)
server=''
database=''

stop_server() {
    if [ -e "$scratch/nginx/pid" ]; then stop_nginx || true; fi
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [ -n "$database" ]; then psql_do "DROP DATABASE IF EXISTS $database WITH (FORCE)" || true; fi
    rm -rf "$scratch"
}
trap stop_server EXIT
trap 'exit 130' INT TERM

psql_do() {
    local psql
    psql=$(command -v psql || ls /usr/lib/postgresql/*/bin/psql | tail -n 1)
    "$psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$SKRANKE_TEST_POSTGRES" --command="$1"
}

# start_server ENGINE [SETTING=VALUE...]: sets `server`, `url` and `token`.
start_server() {
    local engine=$1 program=${SKRANKE_TEST_PROGRAM:-target/debug/skranke} port
    shift
    [ -x "$program" ] || die "build it first: cargo build (or name another program by SKRANKE_TEST_PROGRAM)"
    case "$engine" in
    sqlite) export DATABASE_URL="sqlite://$scratch/skranke.db" ;;
    postgres)
        [ -n "${SKRANKE_TEST_POSTGRES-}" ] || die "run it by: tests/run.sh --with-postgres $0 postgres"
        database=skranke_load_$$
        psql_do "CREATE DATABASE $database"
        export DATABASE_URL="${SKRANKE_TEST_POSTGRES%/*}/$database"
        # What `openssl genpkey -algorithm ed25519` writes.
        node -e 'process.stdout.write(require("node:crypto").generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }))' \
            >"$scratch/key.pem"
        export SKRANKE_SIGNING_KEY_FILE="$scratch/key.pem"
        "$program" migrate >/dev/null
        ;;
    *) die "the engine is sqlite or postgres, not '$engine'" ;;
    esac
    # One token asks for all.
    export SKRANKE_REQUESTS_PER_PRINCIPAL=0 SKRANKE_LOG=error
    port=$((20000 + RANDOM % 10000))
    token=$("$program" token --role admin --email load@example.org --name Load)
    url=http://127.0.0.1:$port
    env SKRANKE_LISTEN="127.0.0.1:$port" "$@" "$program" serve >"$scratch/server.out" 2>"$scratch/server.err" &
    server=$!
    until curl --silent --fail --output /dev/null --max-time 2 "$url/health/ready"; do
        kill -0 "$server" 2>/dev/null || die "the server did not start: $(cat "$scratch/server.err")"
        sleep 0.1
    done
}

# start_nginx PORT: nginx before the server, by the settings of deploy. stop_nginx ends it.
start_nginx() {
    local place
    mkdir -p "$scratch/nginx"
    {
        printf 'pid %s/pid; error_log %s/errors; events {} http { access_log off;\n' "$scratch/nginx" "$scratch/nginx"
        for place in client_body proxy fastcgi uwsgi scgi; do printf '%s_temp_path %s;\n' "$place" "$scratch/nginx/$place"; done
        sed "s/127.0.0.1:8080/${url#http:\/\/}/; s/listen 80;/listen 127.0.0.1:$1;/" deploy/nginx.conf
        printf '}\n'
    } >"$scratch/nginx/conf"
    nginx -c "$scratch/nginx/conf"
}

stop_nginx() {
    nginx -s stop -c "$scratch/nginx/conf" 2>/dev/null
}

# What the server takes: resident memory in KiB, open files, sockets among them, threads.
usage_of() {
    local links
    # A file that is closed meanwhile makes ls complain.
    links=$(ls -l "/proc/$1/fd" 2>/dev/null || true)
    printf '%s %s %s %s\n' "$(awk '/^VmRSS/ { print $2 }' "/proc/$1/status")" "$(grep -c -- '->' <<<"$links" || true)" \
        "$(grep -c 'socket:' <<<"$links" || true)" "$(ls "/proc/$1/task" 2>/dev/null | wc -l)"
}
