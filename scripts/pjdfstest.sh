#!/usr/bin/env bash
# Holds a mount against pjdfstest, a public suite of claims about POSIX file systems. ASHLAR names the binary. Arguments are
# patterns of test names; without any, all are run.
set -euo pipefail
cd "$(dirname "$0")/.."

ashlar=${ASHLAR:?the path of the ashlar binary}
version=0.2.2
tools=$HOME/.cache/ashlar/tools

skip() {
    printf '\n!!! SKIPPED: THE MOUNT WAS NOT HELD AGAINST PJDFSTEST: %s\n\n' "$1" >&2
    exit 0
}
[ -e /dev/fuse ] || skip "there is no /dev/fuse"
[ "$(id -u)" -eq 0 ] || skip "only root may mount without fusermount3, and become other users"

suite=$tools/bin/pjdfstest
if ! "$suite" --version 2>/dev/null | grep -qx "pjdfstest $version"; then
    # Its own target directory: its dependencies must not push ours out of their cache.
    CARGO_TARGET_DIR=$tools/pjdfstest cargo install --locked --quiet --root "$tools" "pjdfstest@$version"
fi

dir=$(mktemp -d)
cluster= mount=
cleanup() {
    umount --lazy "$dir/mount" 2>/dev/null || true
    [ -z "$mount" ] || { kill "$mount"; wait "$mount"; } 2>/dev/null || true
    [ -z "$cluster" ] || { kill "$cluster"; wait "$cluster"; } 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

# until_line TEXT FILE PID: waits until the process has printed it.
until_line() {
    for _ in $(seq 600); do
        grep -q "$1" "$2" && return
        kill -0 "$3" 2>/dev/null || break
        sleep 0.1
    done
    echo "no line \"$1\" came:" >&2
    cat "$2" >&2
    exit 1
}

"$ashlar" quickstart --dir "$dir/cluster" --namenodes 1 --datanodes 1 --ports "$((20000 + RANDOM % 10000))" >"$dir/out" 2>&1 &
cluster=$!
until_line 'ashlar is ready' "$dir/out" "$cluster"
mkdir "$dir/mount"
"$ashlar" mount "$dir/mount" --foreground -o allow_other --config "$dir/cluster/client.toml" >"$dir/mount.out" 2>&1 &
mount=$!
until_line 'mounted on' "$dir/mount.out" "$mount"
# Users other than root walk through these.
chmod 0755 "$dir" "$dir/mount"

# Three users that every Debian has. What is left out of the features is not of Linux.
cat >"$dir/pjdfstest.toml" <<'TOML'
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.02

[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"], ["bin", "bin"]]
TOML

mkdir "$dir/mount/tests"
began=$SECONDS
status=0
"$suite" --configuration-file "$dir/pjdfstest.toml" --path "$dir/mount/tests" "$@" >"$dir/report" 2>&1 || status=$?
if [ "$status" -ne 0 ]; then
    cat "$dir/report" "$dir/mount.out"
    exit "$status"
fi
printf '%s (%ss)\n' "$(tail -n 1 "$dir/report")" "$((SECONDS - began))"
