# The handful of commands, for https://just.systems. Each is also written out in README.md or CONTRIBUTING.md.

# What there is.
default:
    @just --list

# Serve on SQLite.
serve:
    cargo run --release

# Everything that a build machine does.
test:
    tests/run.sh

# Some of the tests: just only tickets::
only *ARGUMENTS:
    tests/run.sh --only-tests {{ARGUMENTS}}

# Write the OpenAPI document anew.
document:
    cargo run --quiet -- openapi > openapi.new
    mv openapi.new openapi/skranke.v1.json

# Format, and what lints have to say.
lint:
    cargo fmt
    cargo clippy --all-targets -- --deny warnings

# How fast it is, and whether that depends on how much there is: just bench --help
bench *ARGUMENTS:
    cargo bench --bench size -- {{ARGUMENTS}}
