#!/usr/bin/env bash
# Pages and the API on one origin, by TLS and HTTP/2, by the settings of deploy for nginx and for Caddy. Ends with 1 when one of them does not
# do what docs/frontends.md says.
#
#   tests/docs/origin.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

. tests/programs.sh
need curl openssl node nginx caddy
. tests/load/server.sh
start_server sqlite

mkdir -p "$scratch/pages/assets"
echo '<!doctype html><title>A desk</title>' >"$scratch/pages/index.html"
echo 'console.log(1)' >"$scratch/pages/assets/app-1a2b3c.js"
head -c 2000000 /dev/urandom >"$scratch/file"
# nginx reads the pages as a user of its own.
chmod -R go+rX "$scratch"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=desk.example.org \
    -keyout "$scratch/tls.key" -out "$scratch/tls.pem" 2>/dev/null

# ask PATH [ARGUMENT...]: status, version of HTTP, what is said of keeping it, and the beginning of the body.
ask() {
    local path=$1
    shift
    curl --silent --insecure --http2 --max-time 20 --resolve "desk.example.org:$port:127.0.0.1" --output "$scratch/body" "$@" \
        --write-out '%{http_code} %{http_version} %header{cache-control} ' "https://desk.example.org:$port$path" || true
    head -c 100 "$scratch/body" | tr '\n' ' '
}

# expect WANTED PATH [ARGUMENT...]: the answer is like WANTED.
expect() {
    local wanted=$1 got
    shift
    got=$(ask "$@")
    # shellcheck disable=SC2053
    [[ $got == $wanted ]] || die "$1 is answered '$got', not '$wanted'"
}

check() {
    local bearer="Authorization: Bearer $token" tag link
    expect '200 2 no-cache <!doctype html>*' /
    expect '200 2 no-cache <!doctype html>*' /tickets/4711
    expect '200 2 no-cache <!doctype html>*' /metrics
    expect '200 2 public, max-age=31536000, immutable console*' /assets/app-1a2b3c.js
    expect '404 2 *' /assets/app-old.js
    expect '200 2 private, no-cache {"id"*' /v1/me --header "$bearer"
    expect '307 2 *' /docs
    expect '200 2 no-cache <!doctype html>*' /docs/
    tag=$(curl --silent --insecure --resolve "desk.example.org:$port:127.0.0.1" --output /dev/null --write-out '%header{etag}' \
        "https://desk.example.org:$port/openapi.json")
    expect '304 2 no-cache *' /openapi.json --header "If-None-Match: $tag"
    expect '201 2 *' /v1/files --header "$bearer" --header 'Content-Type: application/octet-stream' \
        --header 'Content-Disposition: attachment; filename="a.bin"' --data-binary "@$scratch/file"
    link=/v1/files/$(sed 's/.*"id":"\([^"]*\)".*/\1/' "$scratch/body")/link
    expect '200 2 *' "$link" --header "$bearer" --header 'Content-Type: application/json' --data '{}'
    link=$(sed 's/.*"url":"\([^"]*\)".*/\1/' "$scratch/body")
    ask "$link" >/dev/null
    cmp --silent "$scratch/body" "$scratch/file" || die "$link is answered with something else than the file"
    expect '201 2 *' /v1/tickets --header "$bearer" --header 'Content-Type: application/json' --data '{ "subject": "A test" }'
    ask '/v1/changes/stream?from=start' --header "$bearer" --no-buffer --max-time 3 >/dev/null
    grep --quiet ticket.created "$scratch/body" || die "the stream does not come through: $(cat "$scratch/body")"
    printf '%s: pages, the API, its documentation, files and streams on one origin, by HTTP/2\n' "$1"
}

port=$((30000 + RANDOM % 10000))
mkdir -p "$scratch/nginx"
{
    printf 'pid %s/pid; error_log %s/errors; events {} http { access_log off; include /etc/nginx/mime.types;\n' "$scratch/nginx" "$scratch/nginx"
    for place in client_body proxy fastcgi uwsgi scgi; do printf '%s_temp_path %s;\n' "$place" "$scratch/nginx/$place"; done
    sed "s|127.0.0.1:8080|${url#http://}|; s|listen 80;|listen 127.0.0.1:$((port + 1));|; s|listen 443 |listen 127.0.0.1:$port |; s|/srv/desk|$scratch/pages|
        s|/etc/ssl/desk.example.org.pem|$scratch/tls.pem|; s|/etc/ssl/private/desk.example.org.key|$scratch/tls.key|" deploy/one-origin.nginx.conf
    printf '}\n'
} >"$scratch/nginx/conf"
nginx -t -q -c "$scratch/nginx/conf"
nginx -c "$scratch/nginx/conf"
check nginx
stop_nginx

port=$((port + 2))
{
    # A certificate of its own, since nobody knows the name.
    printf '{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n'
    sed "s|127.0.0.1:8080|${url#http://}|; s|^desk.example.org |desk.example.org:$port |; s|/srv/desk|$scratch/pages|" deploy/one-origin.Caddyfile
} >"$scratch/Caddyfile"
HOME=$scratch caddy run --config "$scratch/Caddyfile" --adapter caddyfile >"$scratch/caddy.out" 2>&1 &
caddy=$!
until curl --silent --insecure --resolve "desk.example.org:$port:127.0.0.1" --output /dev/null --max-time 2 "https://desk.example.org:$port/"; do
    kill -0 "$caddy" 2>/dev/null || die "Caddy did not start: $(cat "$scratch/caddy.out")"
    sleep 0.1
done
status=0
(check Caddy) || status=$?
kill "$caddy"
exit "$status"
