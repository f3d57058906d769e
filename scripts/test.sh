#!/usr/bin/env bash
# Everything that CI runs, in the order in which it is likely to fail. Called by `make test`, which sets the environment.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

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

step "the thrasher, three minutes of it"
cargo test $newer --locked -p integration-tests --test thrasher -- --nocapture

step "the S3 door, with the clients that people use"
cargo build --locked $newer --quiet -p cli
ASHLAR=$CARGO_TARGET_DIR/debug/ashlar scripts/s3-clients.sh
ASHLAR=$CARGO_TARGET_DIR/debug/ashlar scripts/s3-matrix.sh

step "the web page, in a browser"
ASHLAR=$CARGO_TARGET_DIR/debug/ashlar SCREENSHOTS=$CARGO_TARGET_DIR/web-page scripts/web-page.sh

step "the mount, held against pjdfstest"
ASHLAR=$CARGO_TARGET_DIR/debug/ashlar scripts/pjdfstest.sh

step "the mount, held against fsx"
ASHLAR=$CARGO_TARGET_DIR/debug/ashlar scripts/fsx.sh

step "the mount, with the programs that people use"
ASHLAR=$CARGO_TARGET_DIR/debug/ashlar scripts/mount-programs.sh

step "done"
