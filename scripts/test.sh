#!/usr/bin/env bash
# Everything that CI runs, in the order in which it is likely to fail. Called by `make test`, which sets the environment.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

# Most of what follows the unit tests waits more than it works: two at a time, on ports of their own.
other=
trap '[ -z "$other" ] || kill "$other" 2>/dev/null || true' EXIT
# beside COMMAND...: begins it, and keeps what it says for `meet`.
beside() {
    said=$(mktemp)
    "$@" >"$said" 2>&1 &
    other=$!
}
# Waits for the other one, whatever became of this one; fails if it did.
meet() {
    local status=0
    wait "$other" || status=$?
    other=
    cat "$said"
    rm -f "$said"
    return "$status"
}

step "formatting"
cargo fmt --all --check

step "licences, sources and banned crates"
deny_version=0.20.2
if ! cargo deny --version 2>/dev/null | grep -q "$deny_version"; then
    # Its own target directory: its dependencies must not push ours out of their cache.
    CARGO_TARGET_DIR="$HOME/.cache/ashlar/tools" cargo install --locked --quiet "cargo-deny@$deny_version"
fi
# Advisories need a database that is not a registry package; run `cargo deny check advisories` where it can be fetched.
cargo deny --locked --log-level error check bans licenses sources

# One dependency, s3s, declares a newer Rust than ours and compiles with it.
newer=--ignore-rust-version

step "clippy"
cargo clippy --workspace --all-targets --locked $newer --quiet -- -D warnings
# Not among all targets, because `cargo test` leaves it to its own step below.
cargo clippy -p integration-tests --test thrasher --locked $newer --quiet -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked $newer --quiet

step "the pure crates alone, without the C++"
# Shows that a change to them can be tested in seconds.
cargo test --locked --quiet -p types -p namespace -p consensus -p transfer

step "unit, property and integration tests"
cargo test $newer --workspace --exclude types --exclude namespace --exclude consensus --exclude transfer --locked

cargo build --locked $newer --quiet -p cli
cargo test $newer --locked --quiet --no-run -p integration-tests --test thrasher
export ASHLAR=$CARGO_TARGET_DIR/debug/ashlar

step "the thrasher, three minutes of it, and beside it the mount, held against fsx"
beside scripts/fsx.sh
cargo test $newer --locked -p integration-tests --test thrasher -- --nocapture
meet

step "the S3 door, with the clients that people use, and beside it the mount, with the programs that people use"
beside scripts/mount-programs.sh
scripts/s3-clients.sh
scripts/s3-matrix.sh
meet

step "the web page, in a browser"
SCREENSHOTS=$CARGO_TARGET_DIR/web-page scripts/web-page.sh

step "the mount, held against pjdfstest"
scripts/pjdfstest.sh

step "done"
