#!/usr/bin/env bash
# Alert intake from end to end, with a real Prometheus and two real Alertmanagers. See usage() below.
set -euo pipefail

usage() {
    cat <<'HELP'
Usage: tests/run.sh --with-postgres bash tests/alerts/check.sh [--silence]

Twenty series of trouble come and go. Prometheus tells two Alertmanagers, which are a cluster, and both tell Skranke: two instances on
one PostgreSQL, behind a balancer that breaks connections. Meanwhile an instance is killed and started again, and an Alertmanager, too. In
the end there has to be exactly one open ticket for each alert that fires, and none for one that does not; reported when it began.
With --silence, Prometheus falls silent after that, for so long that its Alertmanagers take all alerts for resolved, and comes back: they
fire again as they were, since the same instants.

SKRANKE=PROGRAM is a skranke that is built; target/debug/skranke unless given, which is built first. SEED=NUMBER makes the machines and
the balancer do the same again, but for the time that things take; 1 unless given. Prometheus, its Alertmanager, curl, jq, OpenSSL and
Python are installed by apt-get when they are missing. Takes two to three minutes. Everything it makes is in a temporary directory, and
in a database of its own, and gone at the end.
HELP
}

say() { printf '%s\n' "$*"; }
die() {
    printf 'tests/alerts/check.sh: %s\n' "$*" >&2
    exit 1
}

silence=''
case "${1-}" in
'') ;;
--silence) silence=yes ;;
-h | --help)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac
[ -n "${SKRANKE_TEST_POSTGRES-}" ] || die 'run it by: tests/run.sh --with-postgres bash tests/alerts/check.sh'

program=${SKRANKE:+$(realpath -- "$SKRANKE")}
seed=${SEED:-1}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/programs.sh
need prometheus prometheus-alertmanager curl jq openssl python3 psql
if [ -z "$program" ]; then
    cargo build --locked
    program=$PWD/target/debug/skranke
fi
[ -x "$program" ] || die "there is no program $program"
for name in "${!DATABASE_@}" "${!SKRANKE_@}"; do
    case "$name" in
    SKRANKE_TEST_*) ;;
    *) unset "$name" ;;
    esac
done

# ---------------------------------------------------------------------------------------------------------------------
# What is started, and how it ends.

work=$(mktemp -d /tmp/skranke-alerts.XXXXXX)
database=skranke_alerts_$$
declare -A running=()
psql_do() { psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$SKRANKE_TEST_POSTGRES" --command="$1"; }

clean_up() {
    local status=$? name
    trap - EXIT ERR
    set +e
    if [ "$status" -ne 0 ]; then
        for log in "$work"/*.log; do
            if [ -s "$log" ]; then
                printf -- '--- %s\n' "${log##*/}" >&2
                tail -n 15 "$log" | cut -c 1-400 >&2
            fi
        done
    fi
    for name in "${!running[@]}"; do kill -KILL "${running[$name]}" 2>/dev/null; done
    for name in "${!running[@]}"; do wait "${running[$name]}" 2>/dev/null; done
    psql_do "DROP DATABASE IF EXISTS $database WITH (FORCE)" 2>/dev/null
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COMMAND...
start() {
    local name=$1
    shift
    "$@" >>"$work/$name.log" 2>&1 &
    running[$name]=$!
}

# stop NAME SIGNAL: and wait for its end.
stop() {
    kill "-$2" "${running[$1]}"
    wait "${running[$1]}" 2>/dev/null || true
    unset "running[$1]"
}

# ready NAME URL: until it is answered, by a process that lives.
ready() {
    local deadline=$((SECONDS + 60))
    until curl -sf --max-time 2 -o /dev/null "$2"; do
        kill -0 "${running[$1]}" 2>/dev/null || die "$1 ended before it was ready"
        [ "$SECONDS" -lt "$deadline" ] || die "$1 was not ready within 60 s"
        sleep 0.1
    done
}

judge() { python3 tests/alerts/judge.py "$@" || die "not proven with seed $seed: $1"; }

# Ports on 127.0.0.1 where nobody listens, below the range that outgoing connections use.
ports=()
while [ ${#ports[@]} -lt 11 ]; do
    port=$((20000 + RANDOM % 10000))
    if [[ " ${ports[*]} " != *" $port "* ]] && ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then ports+=("$port"); fi
done
skranke_ports=("${ports[@]:0:2}")
sender_ports=("${ports[@]:2:2}")
alertmanager_ports=("${ports[@]:4:2}")
cluster_ports=("${ports[@]:6:2}")
export PROMETHEUS=127.0.0.1:${ports[8]} MACHINES=127.0.0.1:${ports[9]} BALANCER=127.0.0.1:${ports[10]}
export ALERTMANAGERS="127.0.0.1:${alertmanager_ports[0]} 127.0.0.1:${alertmanager_ports[1]}" SENDERS="${sender_ports[*]}"
export SKRANKES="127.0.0.1:${skranke_ports[0]} 127.0.0.1:${skranke_ports[1]}"

# ---------------------------------------------------------------------------------------------------------------------
# Two instances on one database, and two sources: alerts of the one reopen their ticket, those of the other always get a new one.

psql_do "CREATE DATABASE $database"
openssl genpkey -algorithm ed25519 -out "$work/key.pem" 2>/dev/null
export DATABASE_URL="${SKRANKE_TEST_POSTGRES%/*}/$database" SKRANKE_SIGNING_KEY_FILE="$work/key.pem" SKRANKE_LOG=warn
"$program" migrate >/dev/null
start_skranke() { # 0 or 1
    start "skranke$1" env SKRANKE_LISTEN="127.0.0.1:${skranke_ports[$1]}" "$program" serve
    ready "skranke$1" "http://127.0.0.1:${skranke_ports[$1]}/health/ready"
}
start_skranke 0
start_skranke 1

TOKEN=$("$program" token --role admin --email check@example.org --name Check)
export TOKEN
"$program" token --service-account alertmanager --scopes alerts:write >"$work/token"
source_of_alerts() {
    curl -sS --fail-with-body "http://127.0.0.1:${skranke_ports[0]}/v1/alert-sources" -H "Authorization: Bearer $TOKEN" \
        -H 'Content-Type: application/json' -d "$1" >"$work/source" || die "a source is refused: $(cat "$work/source")"
}
common='"on_resolve": "resolve", "subject_template": "{labels.alertname}/{labels.machine}", "priorities": { "critical": "urgent", "warning": "high" }'
source_of_alerts "{ \"name\": \"reopening\", $common }"
source_of_alerts "{ \"name\": \"anew\", \"reopen_within_s\": 0, $common }"

# ---------------------------------------------------------------------------------------------------------------------
# Everything else.

start balancer python3 tests/alerts/balancer.py "$seed" "${BALANCER#*:}" "${sender_ports[@]}" -- "${skranke_ports[@]}"
start machines python3 tests/alerts/machines.py "$seed" "${MACHINES#*:}"
ready balancer "http://$BALANCER/"
ready machines "http://$MACHINES/firings"

start_alertmanager() { # 0 or 1
    start "alertmanager$1" prometheus-alertmanager --config.file="$work/alertmanager$1.yml" --storage.path="$work/alertmanager$1" \
        --web.listen-address="127.0.0.1:${alertmanager_ports[$1]}" --log.level=error \
        --cluster.listen-address="127.0.0.1:${cluster_ports[$1]}" --cluster.advertise-address="127.0.0.1:${cluster_ports[$1]}" \
        --cluster.peer="127.0.0.1:${cluster_ports[$((1 - $1))]}" --cluster.peer-timeout=50ms --cluster.settle-timeout=5s
    ready "alertmanager$1" "http://127.0.0.1:${alertmanager_ports[$1]}/-/ready"
}
# With so little time for the other one, nearly everything is sent by both.
for nth in 0 1; do
    {
        cat <<'YAML'
route:
  receiver: reopening
  group_by: [alertname]
  group_wait: 500ms
  group_interval: 2s
  repeat_interval: 10s
  routes: [{ matchers: ['alertname=~"QueueLong|CertificateOld"'], receiver: anew }]
receivers:
YAML
        for name in reopening anew; do
            cat <<YAML
  - name: $name
    webhook_configs:
      - url: http://127.0.0.1:${sender_ports[$nth]}/v1/alerts/$name/alertmanager
        http_config: { authorization: { credentials_file: $work/token } }
YAML
        done
    } >"$work/alertmanager$nth.yml"
    start_alertmanager "$nth"
done

# Each evaluation that changes something is told at once, and what fires again every five seconds; it is believed for twenty.
rule() { # NAME KIND SEVERITY WAIT
    cat <<YAML
      - alert: $1
        expr: machine_trouble{kind="$2"} > 0
        for: $4
        labels: { severity: $3 }
        annotations: { summary: "{{ \$labels.machine }}: $1", description: "The $2 of {{ \$labels.machine }} has trouble." }
YAML
}
{
    printf 'groups:\n  - name: machines\n    rules:\n'
    rule DiskFull disk critical 1s
    rule ServiceDown service critical 0s
    rule QueueLong queue warning 1s
    rule CertificateOld certificate info 0s
} >"$work/rules.yml"
cat >"$work/prometheus.yml" <<YAML
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [$work/rules.yml]
alerting:
  alertmanagers:
    - static_configs: [{ targets: ["127.0.0.1:${alertmanager_ports[0]}", "127.0.0.1:${alertmanager_ports[1]}", "$MACHINES"] }]
scrape_configs:
  - job_name: machines
    static_configs: [{ targets: ["$MACHINES"] }]
YAML
judge clustered
start prometheus prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" \
    --web.listen-address="$PROMETHEUS" --rules.alert.resend-delay=5s --log.level=error
ready prometheus "http://$PROMETHEUS/-/ready"
say "Two Alertmanagers, two instances of Skranke and Prometheus are up, $SECONDS s"

# ---------------------------------------------------------------------------------------------------------------------
# They come and go, and so do programs.

judge answered 2 "${sender_ports[0]}"
judge phase flapping
judge answered 20 "${sender_ports[0]}"
judge answered 20 "${sender_ports[1]}"
stop skranke0 KILL
judge answered 25 "${skranke_ports[1]}"
say "  killed one instance; the other has taken 25 notifications meanwhile, $SECONDS s"
start_skranke 0
judge answered 15 "${skranke_ports[0]}"
say "  it is back, and has taken 15, $SECONDS s"
stop alertmanager1 KILL
judge answered 15 "${sender_ports[0]}"
start_alertmanager 1
judge answered 15 "${sender_ports[1]}"
judge clustered
say "  killed an Alertmanager and started it again, $SECONDS s"
judge flapped 2

say 'They stay as they are'
judge phase frozen
judge settled
judge started
say 'All but those that always have trouble come to rest'
judge phase calm
judge settled
judge started anew
say 'Eight of them begin again'
judge phase chosen
judge settled
judge started anew

if [ -n "$silence" ]; then
    say 'Prometheus is silent, and comes back'
    kill -STOP "${running[prometheus]}"
    judge silent
    kill -CONT "${running[prometheus]}"
    judge settled
fi

say 'In all'
judge once "$silence"
judge counted
say "All is well, after $SECONDS s."
