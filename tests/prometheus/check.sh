#!/usr/bin/env bash
# Starts the server on a fresh SQLite file, makes some tickets, has `promtool check metrics` read the numbers, and has a real
# Prometheus scrape them.
set -euo pipefail

usage() {
    cat <<'HELP'
Usage: tests/prometheus/check.sh [PROGRAM]

PROGRAM is a skranke that is built; target/debug/skranke unless given, which is built first. Needs promtool and prometheus
(Debian: apt-get install prometheus), curl and jq. Everything it makes is in a temporary directory and gone at the end.
HELP
}

say() { printf '%s\n' "$*"; }
die() {
    printf 'tests/prometheus/check.sh: %s\n' "$*" >&2
    exit 1
}

case "${1-}" in
-h | --help)
    usage
    exit 0
    ;;
esac
[ $# -le 1 ] || {
    usage >&2
    exit 2
}

program=${1:+$(realpath -- "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for tool in promtool prometheus curl jq; do
    command -v "$tool" >/dev/null || die "$tool is missing. On Debian, run: apt-get install prometheus curl jq"
done
if [ -z "$program" ]; then
    cargo build --locked
    program=$PWD/target/debug/skranke
fi
for name in "${!DATABASE_@}" "${!SKRANKE_@}"; do unset "$name"; done

# ---------------------------------------------------------------------------------------------------------------------
# What is started, and how it ends.

work=$(mktemp -d)
running=()
clean_up() {
    local status=$? pid
    trap - EXIT
    if [ "$status" -ne 0 ]; then
        for log in "$work"/*.log; do
            if [ -s "$log" ]; then
                printf -- '--- %s\n' "${log##*/}" >&2
                tail -n 30 "$log" >&2
            fi
        done
    fi
    for pid in "${running[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${running[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# within SECONDS WHAT COMMAND...: until the command succeeds.
within() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || die "$what took too long"
        sleep 0.2
    done
}

# expect WHAT ACTUAL EXPECTED
expect() {
    [ "$2" = "$3" ] || die "$1: $2 instead of $3"
    say "  $1: $2"
}

# ---------------------------------------------------------------------------------------------------------------------
# A desk with some tickets.

export DATABASE_URL="sqlite://$work/skranke.db" SKRANKE_LISTEN=127.0.0.1:0 SKRANKE_LOG=warn
"$program" serve >"$work/skranke.log" 2>&1 &
running+=($!)
address() { address=$(sed -n 's/.*listens on http:\/\///p' "$work/skranke.log") && [ -n "$address" ]; }
within 30 'starting the server' address
say "Skranke listens on $address"

admin=$("$program" token --role admin --email check@example.org --name Check)
monitor=$("$program" token --service-account prometheus --scopes metrics:read)
desk() { # METHOD PATH [BODY]
    curl -sS --fail-with-body -X "$1" "http://$address$2" -H "Authorization: Bearer $admin" \
        -H 'Content-Type: application/json' ${3:+-d "$3"}
}
team=$(desk POST /v1/teams '{"name":"The \"printers\" \\ plotters"}' | jq -r .id)
for priority in low normal urgent urgent; do
    desk POST /v1/tickets "{\"subject\":\"Check\",\"priority\":\"$priority\",\"team_id\":\"$team\"}" >/dev/null
done
desk POST /v1/tickets '{"subject":"Nobody'"'"'s"}' >/dev/null
desk PATCH /v1/tickets/1 '{"status":"open"}' >/dev/null
desk PATCH /v1/tickets/2 '{"status":"resolved"}' >/dev/null
desk PATCH /v1/tickets/2 '{"status":"open"}' >/dev/null

# ---------------------------------------------------------------------------------------------------------------------
# promtool reads the classic form, and has nothing to complain about.

curl -sS --fail-with-body -H "Authorization: Bearer $monitor" -H 'Accept: text/plain' "http://$address/metrics" >"$work/classic"
promtool check metrics <"$work/classic" >"$work/promtool.log" 2>&1 || die 'promtool refuses the numbers'
[ ! -s "$work/promtool.log" ] || die 'promtool complains'
say "promtool check metrics: no complaint about $(grep -vc '^#' "$work/classic") series"

# ---------------------------------------------------------------------------------------------------------------------
# A real Prometheus scrapes it: with a token from a file, and with tokens that it gets by itself.

printf '%s' "$monitor" >"$work/token"
account=$(desk POST /v1/service-accounts '{"name":"prometheus by itself","scopes":["metrics:read"]}')
jq -rj .secret <<<"$account" >"$work/secret"
cat >"$work/prometheus.yml" <<YAML
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: skranke
    authorization: { credentials_file: $work/token }
    static_configs: [{ targets: ["$address"] }]
  - job_name: skranke-oauth2
    oauth2:
      client_id: $(jq -r .id <<<"$account")
      client_secret_file: $work/secret
      token_url: http://$address/v1/auth/token
    static_configs: [{ targets: ["$address"] }]
YAML
promtool check config "$work/prometheus.yml" >"$work/config.log" 2>&1 || die 'the configuration of Prometheus is wrong'

free_port() {
    local port
    for _ in {1..50}; do
        port=$((20000 + RANDOM % 20000))
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || {
            printf '%s' "$port"
            return
        }
    done
    die 'no port is free'
}
prometheus_at=127.0.0.1:$(free_port)
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" --web.listen-address="$prometheus_at" \
    --log.level=warn >"$work/prometheus.log" 2>&1 &
running+=($!)
ready() { curl -sf "http://$prometheus_at/-/ready" >/dev/null; }
within 30 'starting Prometheus' ready

# ask QUERY: the value of the one series that it gives, or nothing.
ask() {
    curl -sS --get "http://$prometheus_at/api/v1/query" --data-urlencode "query=$1" |
        jq -r 'if .status != "success" then error(.error) else .data.result | if length == 1 then .[0].value[1] else empty end end'
}
scraped() { [ "$(ask 'sum(up)')" = 2 ] && [ "$(ask 'min(skranke_http_requests_total{route="/metrics",status="2xx"})')" -ge 2 ]; }
within 30 'scraping' scraped

say 'Prometheus says'
expect 'targets that are up' "$(ask 'sum(up)')" 2
for job in skranke skranke-oauth2; do
    expect "$job: up" "$(ask "up{job=\"$job\"}")" 1
    expect "$job: tickets" "$(ask "sum(skranke_tickets{job=\"$job\"})")" 5
done
one() { ask "$1" | sed 's/\..*//'; }
expect 'open and low in the team' "$(one 'skranke_tickets{job="skranke",status="open",priority="low",team="The \"printers\" \\ plotters"}')" 1
expect 'urgent ones in no team, at zero' "$(one 'sum(skranke_tickets{job="skranke",priority="urgent",team="none"})')" 0
expect 'opened' "$(one 'sum(skranke_tickets_created_total{job="skranke"})')" 5
expect 'resolved' "$(one 'sum(skranke_tickets_resolved_total{job="skranke"})')" 1
expect 'reopened' "$(one 'sum(skranke_tickets_reopened_total{job="skranke"})')" 1
expect 'responses' "$(one 'sum(skranke_response_seconds_count{job="skranke"})')" 2
expect 'responses within 16 s' "$(one 'sum(skranke_response_seconds_bucket{job="skranke",le="16.0"})')" 2
expect 'tickets posted' "$(one 'skranke_http_requests_total{job="skranke",method="POST",route="/v1/tickets",status="2xx"}')" 5
expect 'types that Prometheus knows' "$(
    curl -sS "http://$prometheus_at/api/v1/metadata" |
        jq -r '[.data | .skranke_tickets, .skranke_tickets_created, .skranke_response_seconds, .skranke_build | .[0].type] | join(" ")'
)" 'gauge counter histogram info'
say 'All is well.'
