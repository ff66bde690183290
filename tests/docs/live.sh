#!/usr/bin/env bash
# A page in a real headless Chromium follows a ticket by the feed and by a stream, as docs/changes.md shows it, through nginx with the
# settings of deploy, which is stopped and started meanwhile. Ends with 1 when the page misses something or is told twice.
#
#   tests/docs/live.sh sqlite
#   tests/run.sh --with-postgres tests/docs/live.sh postgres
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

engine=${1:-sqlite}
. tests/programs.sh
need curl node npm nginx chromium
for folder in tests/docs tests/clients/typescript; do
    if ! cmp --silent "$folder/package-lock.json" "$folder/node_modules/.installed-from"; then
        npm --prefix "$folder" ci --ignore-scripts --prefer-offline --no-audit --no-fund --no-update-notifier
        cp "$folder/package-lock.json" "$folder/node_modules/.installed-from"
    fi
done
. tests/load/server.sh
start_server "$engine"
port=$((30000 + RANDOM % 10000))
start_nginx "$port"
CHROMIUM=$(command -v chromium) DIRECT=$url PROXY=http://127.0.0.1:$port TOKEN=$token \
    NGINX_COMMAND="nginx -c $scratch/nginx/conf" MODULES=$PWD/tests/clients/typescript/node_modules node tests/docs/live.mjs
stop_nginx
