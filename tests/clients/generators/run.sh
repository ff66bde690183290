#!/usr/bin/env bash
# Makes clients from openapi/skranke.v1.json by the generators that people use, and compiles them.
set -euo pipefail

all=(hey-api orval openapi-python-client typescript-fetch python rust)
usage() {
    cat <<HELP
Usage: tests/clients/generators/run.sh [CLIENT...]

Makes and compiles these clients, or all:

    hey-api orval            TypeScript by the generators of these names
    openapi-python-client    Python by the generator of this name
    typescript-fetch python rust
                             by openapi-generator, which is written in Java

Fetches the generators, and what the clients are built with, from their registries; installs Node.js (20 or newer is
needed), Python and Java from the distribution where they are missing.
HELP
}
for name in "$@"; do
    case " ${all[*]} " in
    *" $name "*) ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done
[ $# -gt 0 ] || set -- "${all[@]}"

cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../programs.sh
document=$PWD/../../../openapi/skranke.v1.json
made=$PWD/made
rm -rf "$made"
mkdir "$made"

# What a step says is shown only if it fails.
quietly() {
    "$@" >"$made/words" 2>&1 || {
        cat "$made/words" >&2
        programs_die "failed: $*"
    }
}

node_tools() {
    need node npm
    [ "$(node --print 'process.versions.node.split(".")[0]')" -ge 20 ] || programs_die 'these generators want Node.js 20 or newer.'
    if ! cmp --silent package-lock.json node_modules/.installed-from; then
        quietly npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --no-update-notifier
        cp package-lock.json node_modules/.installed-from
    fi
}

python_tools() {
    need python3
    if ! cmp --silent requirements.txt python/installed-from; then
        rm -rf python
        quietly python3 -m venv python
        quietly python/bin/pip install --quiet --requirement requirements.txt
        cp requirements.txt python/installed-from
    fi
}

typescript() {
    quietly node_modules/.bin/tsc --noEmit --strict --target es2022 --module esnext --moduleResolution bundler \
        --lib es2022,dom,dom.iterable --skipLibCheck "$@"
}

# Imports every module of a package: Python finds most of what is wrong only then.
python_modules() {
    PYTHONPATH="$1" quietly python/bin/python -c '
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
' "$2"
}

openapi_generator() {
    python_tools
    need java
    quietly python/bin/openapi-generator-cli generate --input-spec "$document" --generator-name "$1" --output "$made/$1"
}

for name in "$@"; do
    printf '==> %s\n' "$name"
    case "$name" in
    hey-api)
        node_tools
        quietly node_modules/.bin/openapi-ts --input "$document" --output "$made/hey-api" --client @hey-api/client-fetch
        typescript "$made/hey-api/index.ts"
        ;;
    orval)
        node_tools
        quietly node_modules/.bin/orval --input "$document" --output "$made/orval/client.ts" --client fetch
        typescript "$made/orval/client.ts"
        ;;
    openapi-python-client)
        python_tools
        quietly python/bin/openapi-python-client generate --path "$document" --output-path "$made/skranke_client" --meta none
        python_modules "$made" skranke_client
        ;;
    typescript-fetch)
        node_tools
        openapi_generator "$name"
        typescript "$made/$name/index.ts"
        ;;
    python)
        openapi_generator "$name"
        python_modules "$made/$name" openapi_client
        ;;
    rust)
        need cargo
        openapi_generator "$name"
        # A workspace of its own.
        printf '\n[workspace]\n' >>"$made/$name/Cargo.toml"
        quietly cargo check --manifest-path "$made/$name/Cargo.toml" --no-default-features --features rustls
        ;;
    esac
done
rm -rf "$made"
printf 'All of these were made and compiled: %s\n' "$*"
