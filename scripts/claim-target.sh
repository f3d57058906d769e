#!/usr/bin/env bash
# Makes the shared target directory this checkout's. Cargo names what it builds by the path inside the workspace, and calls
# it fresh when it is newer than the sources: of two checkouts that share a directory, one could link what the other
# compiled. When another checkout built last, our sources are made newer than anything it left.
set -euo pipefail
cd "$(dirname "$0")/.."

mark=${CARGO_TARGET_DIR:?set by the Makefile}/checkout
if [ "$(cat "$mark" 2>/dev/null)" != "$PWD" ]; then
    git ls-files -z -- '*.rs' '*.proto' '*.toml' | xargs -0 touch --no-create
    mkdir -p "$CARGO_TARGET_DIR"
    printf '%s' "$PWD" >"$mark"
fi
