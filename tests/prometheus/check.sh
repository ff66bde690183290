#!/usr/bin/env bash
# Starts the server on a fresh SQLite file, makes some tickets, has `promtool check metrics` read the numbers, and has a real
# Prometheus scrape them, with the rules of deploy/prometheus. Shows that a promise which is broken while nobody writes is seen
# at the next scrape, and that every query of the dashboard has an answer.
set -euo pipefail

usage() {
    cat <<'HELP'
Usage: tests/prometheus/check.sh [PROGRAM]

PROGRAM is a skranke that is built; target/debug/skranke unless given, which is built first. Prometheus, curl and jq
are installed by apt-get when they are missing. Everything it makes is in a temporary directory and gone at the end.
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
. tests/programs.sh
need promtool prometheus curl jq
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
# The rules, their tests and the example of a configuration.

rules=$PWD/deploy/prometheus/skranke.rules.yml
dashboard=$PWD/deploy/grafana/skranke.json
promtool check config deploy/prometheus/prometheus.yml
promtool check rules "$rules"
promtool test rules deploy/prometheus/skranke.rules.test.yml

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

scrape() { curl -sS --fail-with-body -H "Authorization: Bearer $monitor" -H 'Accept: text/plain' "http://$address/metrics"; }
scrape >"$work/classic"
promtool check metrics <"$work/classic" >"$work/promtool.log" 2>&1 || die 'promtool refuses the numbers'
[ ! -s "$work/promtool.log" ] || die 'promtool complains'
say "promtool check metrics: no complaint about $(grep -vc '^#' "$work/classic") series"

# ---------------------------------------------------------------------------------------------------------------------
# A real Prometheus scrapes it: with a token from a file, and with tokens that it gets by itself.

printf '%s' "$monitor" >"$work/token"
printf '%sx' "$monitor" >"$work/bad-token"
account=$(desk POST /v1/service-accounts '{"name":"prometheus by itself","scopes":["metrics:read"]}')
jq -rj .secret <<<"$account" >"$work/secret"
cat >"$work/prometheus.yml" <<YAML
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [$rules]
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
  - job_name: skranke-refused
    authorization: { credentials_file: $work/bad-token }
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
expect 'responses' "$(one 'sum(skranke_response_seconds_count{job="skranke",hours="calendar"})')" 2
expect 'responses within 16 s' "$(one 'sum(skranke_response_seconds_bucket{job="skranke",hours="calendar",le="16.0"})')" 2
expect 'tickets posted' "$(one 'skranke_http_requests_total{job="skranke",method="POST",route="/v1/tickets",status="2xx"}')" 5
expect 'types that Prometheus knows' "$(
    curl -sS "http://$prometheus_at/api/v1/metadata" |
        jq -r '[.data | .skranke_tickets, .skranke_tickets_created, .skranke_response_seconds, .skranke_build | .[0].type] | join(" ")'
)" 'gauge counter histogram info'

# ---------------------------------------------------------------------------------------------------------------------
# A scrape with a bad token is refused, which Prometheus knows, and which one of the rules is about.

status=$(curl -sS -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(cat "$work/bad-token")" "http://$address/metrics")
expect 'status of a scrape with a bad token' "$status" 401
expect 'what Prometheus says of it' "$(
    curl -sS "http://$prometheus_at/api/v1/targets" |
        jq -r '.data.activeTargets[] | select(.labels.job == "skranke-refused") | "\(.health), \(.lastError)"'
)" 'down, server returned HTTP status 401 Unauthorized'
alerted() { [ "$(ask 'ALERTS{alertname="SkrankeScrapeFails",job="skranke-refused"}')" = 1 ]; }
within 30 'the alert of a scrape that fails' alerted
expect 'scrapes that fail' "$(ask 'count(ALERTS{alertname="SkrankeScrapeFails"})')" 1

# ---------------------------------------------------------------------------------------------------------------------
# A promise is broken while nobody writes, and the next scrape says so.

desk POST /v1/sla/policies '{
    "name": "At once",
    "condition": { "tags": ["promised"] },
    "targets": [{ "target": "response", "target_s": 3, "hours": "calendar" }]
}' >/dev/null

# One ticket that is reported, answered, resolved and reopened, and one question for a ticket that is not there.
kept=$(desk POST /v1/tickets '{"subject":"Kept","priority":"low","tags":["promised"]}' | jq -r .id)
desk POST "/v1/tickets/$kept/comments" '{"visibility":"public","body":"Here we are."}' >/dev/null
for word in resolved open resolved; do desk PATCH "/v1/tickets/$kept" "{\"status\":\"$word\"}" >/dev/null; done
desk GET /v1/tickets/4711 >/dev/null 2>&1 && die 'there is a ticket 4711'

broken=$(desk POST /v1/tickets '{"subject":"Broken","priority":"high","tags":["promised"]}')
due_at=$(jq -r '.clocks[] | select(.target == "response") | .due_at' <<<"$broken")
due_s=$(date -u -d "$due_at" +%s.%N)
# What the server has done by request, except to give tokens to Prometheus, and what the ticket knows of itself.
writes() {
    scrape | awk '/^skranke_http_requests_total/ && !/method="(GET|other)"/ && !/"\/v1\/auth\/token"/ { n += $NF } END { print n }'
}
history() { desk GET "/v1/tickets/$(jq -r .id <<<"$broken")/events" | jq -r '[.items[].type] | join(" ")'; }
writes_before=$(writes)
history_before=$(history)

# samples SELECTOR: the raw samples of the last minutes of the one series that it gives, as [[second, "value"], …].
samples() {
    curl -sS --get "http://$prometheus_at/api/v1/query" --data-urlencode "query=$1[5m]" | jq -c '.data.result[0].values // []'
}
# risen SELECTOR: the last sample of 0 and the first one of 1, once there are both.
risen() {
    samples "$1" | jq -er '
        (map(select(.[1] == "0")) | last | .[0] // empty) as $zero | (map(select(.[1] == "1")) | first | .[0] // empty) as $one
        | "\($zero) \($one)"' >"$work/risen"
}
clock() { date -u -d "@$1" +%T.%3N; }
say "A promise of 3 s, due at $(clock "$due_s"), and nobody writes"
for series in 'skranke_sla_breached_total{job="skranke",target="response",priority="high"}' \
    'skranke_sla_clocks{job="skranke",target="response",state="breached"}'; do
    within 30 "the rise of $series" risen "$series"
    read -r zero_s one_s <"$work/risen"
    late_s=$(jq -rn "($one_s - $due_s) * 1000 | round / 1000")
    say "  $series: 0 at $(clock "$zero_s"), 1 at $(clock "$one_s"), $late_s s after it was due"
    # A sample has the time at which its scrape began, which may take a second.
    jq -en "$zero_s < $one_s and $one_s > $due_s - 1 and $one_s <= $due_s + 2" >/dev/null ||
        die "$series rose $late_s s after the promise was due, which is not within a scrape of it"
done
expect 'requests that write, before and after' "$(writes)" "$writes_before"
told() { [ "$(history)" = "$history_before sla.breached" ]; }
within 30 'word of it in the trail of the ticket, by itself' told

# ---------------------------------------------------------------------------------------------------------------------
# Every query of the dashboard has an answer that is a number.

jq -r '.panels[] | .title as $title | .targets[]? |
    "\($title)\t\(.expr | gsub("\\$__rate_interval"; "30s") | gsub("\\$job"; "skranke"))"' "$dashboard" >"$work/queries"
grep -F '$' "$work/queries" && die 'a variable of the dashboard has no value here'
answered() {
    curl -sS --get "http://$prometheus_at/api/v1/query" --data-urlencode "query=$1" |
        jq -e 'if .status != "success" then error(.error) else any(.data.result[]; .value[1] != "NaN") end' >"$work/query.log" 2>&1
}
asked=0
while IFS=$'\t' read -r title query; do
    within 30 "an answer for the panel $title, $query," answered "$query"
    asked=$((asked + 1))
done <"$work/queries"
[ "$asked" -ge 30 ] || die "the dashboard has only $asked queries"
say "All $asked queries of the dashboard have an answer"
say 'All is well.'
