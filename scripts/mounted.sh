# Sourced by what tries the mount with programs of others: a cluster of its own, mounted on $point, and both taken away in
# the end. ASHLAR names the binary. Sets $dir (a temporary directory), $point, $cluster and $mounted (process ids).

ashlar=${ASHLAR:?the path of the ashlar binary}
# Tools that are built from crates.io lie here, each with a target directory of its own: their dependencies must not push
# ours out of their cache.
tools=$HOME/.cache/ashlar/tools

# Says loudly that nothing is tried, and why.
skip() {
    printf '\n!!! SKIPPED: %s: %s\n\n' "$1" "$2" >&2
    exit 0
}

# may_mount WHAT: skips it where it cannot be done.
may_mount() {
    [ -e /dev/fuse ] || skip "$1" "there is no /dev/fuse"
    [ "$(id -u)" -eq 0 ] || skip "$1" "only root may mount without fusermount3, and become other users"
}

# tool NAME VERSION: builds a tool from crates.io, unless it is there.
tool() {
    "$tools/bin/$1" --version 2>/dev/null | grep -qx "$1 $2" && return
    CARGO_TARGET_DIR=$tools/$1 cargo install --locked --quiet --root "$tools" "$1@$2"
}

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

# until_gone PID..: waits until the processes, which were killed, are no more.
until_gone() {
    local pid
    for pid in "$@"; do
        for _ in $(seq 600); do
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.1
        done
        echo "the process $pid does not end:" >&2
        ps -o pid,stat,wchan:30,args -p "$pid" >&2
        exit 1
    done
}

dir=
cluster=
mounted=
take_away() {
    [ -z "$mounted" ] || { kill "$mounted" && wait "$mounted"; } 2>/dev/null || true
    [ -z "$dir" ] || umount --lazy "$dir/mount" 2>/dev/null || true
    [ -z "$cluster" ] || { kill "$cluster" && wait "$cluster"; } 2>/dev/null || true
    [ -z "$dir" ] || rm -rf "$dir"
}
trap take_away EXIT

# start_mounted [ARGUMENTS OF quickstart]: users other than root may use it.
start_mounted() {
    dir=$(mktemp -d)
    point=$dir/mount
    mkdir "$point"
    "$ashlar" quickstart --dir "$dir/cluster" --ports "$((10000 + RANDOM % 9000))" "$@" >"$dir/out" 2>&1 &
    cluster=$!
    until_line 'ashlar is ready' "$dir/out" "$cluster"
    export ASHLAR_CONFIG=$dir/cluster/client.toml
    mount_again
    # Users other than root walk through these.
    chmod 0755 "$dir" "$point"
}

# mount_again [OPTIONS]: after finish_mounted, or in place of a daemon that was killed.
mount_again() {
    "$ashlar" mount "$point" --foreground -o "allow_other${1:+,$1}" --log-file "$dir/mount.log" >"$dir/mount.out" 2>&1 &
    mounted=$!
    until_line 'mounted on' "$dir/mount.out" "$mounted"
}

# In order: what is dirty is written, and the cluster has it all.
finish_mounted() {
    kill "$mounted"
    wait "$mounted" || { echo "the mount could not write everything:"; cat "$dir/mount.out" "$dir/mount.log"; exit 1; }
    mounted=
    if grep -E 'ERROR|panicked' "$dir/mount.log"; then exit 1; fi
}
