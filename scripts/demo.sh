#!/usr/bin/env bash
# Starts a cluster, stores a real tree, reads it back and compares every byte; then does it again while the leader and a
# datanode are killed. Called by `make demo`. On a terminal the cluster is left up; elsewhere it is stopped.
#
#   DEMO_TREE   the tree to store          (default: the toolchain's documentation, else /usr/share/doc)
#   DEMO_DIR    where the cluster lives    (default: a new directory under the system's temporary one)
set -euo pipefail

ashlar=${ASHLAR:?set ASHLAR to the ashlar binary, or run this by: make demo}
dir=${DEMO_DIR:-$(mktemp -d -t ashlar-demo.XXXXXX)}
cluster=$dir/cluster
pids=()

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { printf 'demo failed: %s\nlogs are in %s\n' "$*" "$dir" >&2; exit 1; }

stop_all() {
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    pids=()
}
trap 'stop_all' EXIT

# Waits until `grep -q PATTERN FILE` succeeds while PID lives.
wait_for() { # pattern file pid what
    local deadline=$((SECONDS + 120))
    until grep -qs "$1" "$2"; do
        kill -0 "$3" 2>/dev/null || { cat "$2" >&2; fail "$4 ended"; }
        [ $SECONDS -lt $deadline ] || { cat "$2" >&2; fail "$4 was not ready within 120 s"; }
        sleep 0.1
    done
}

choose_tree() {
    local docs
    docs=$(rustc --print sysroot 2>/dev/null)/share/doc/rust/html/std
    if [ -d "$docs" ]; then echo "$docs"; else echo /usr/share/doc; fi
}
tree=${DEMO_TREE:-$(choose_tree)}

# The names and SHA-256 sums of all regular files of a tree, in one order.
sums() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum); }

compare() { # wanted-sums got-directory
    sums "$2" >"$dir/got.sums"
    cmp -s "$1" "$dir/got.sums" || { diff "$1" "$dir/got.sums" | head -5 >&2; fail "the tree came back different"; }
    echo "identical: $(wc -l <"$1") files"
}

say "1. A cluster of 3 namenodes and 3 datanodes, in one process"
"$ashlar" quickstart --dir "$cluster" >"$dir/quickstart.out" 2>"$dir/quickstart.err" &
pids=($!)
wait_for 'ashlar is ready' "$dir/quickstart.out" "${pids[0]}" quickstart
cat "$dir/quickstart.out"
export ASHLAR_CONFIG=$cluster/client.toml

say "2. A real tree goes in: $tree"
sums "$tree" >"$dir/want.sums"
time "$ashlar" fs put -r --skip-special "$tree" /tree
"$ashlar" fs du -s /tree

say "3. ... and comes out identical"
time "$ashlar" fs get -r /tree "$dir/out"
compare "$dir/want.sums" "$dir/out"
rm -rf "$dir/out"

say "4. The same directories, now as six processes"
stop_all
declare -A node
start_node() { # role number
    local name=$1$2 role=namenode
    [ "$1" = dn ] && role=datanode
    "$ashlar" "$role" -c "$cluster/node-$name.toml" >"$dir/$name.out" 2>>"$dir/$name.err" &
    node[$name]=$!
    pids+=($!)
    wait_for 'is ready' "$dir/$name.out" $! "$name"
}
for i in 1 2 3; do start_node nn $i; done
for i in 1 2 3; do start_node dn $i; done
deadline=$((SECONDS + 60))
until "$ashlar" admin status >"$dir/status.out" 2>&1; do
    [ $SECONDS -lt $deadline ] || { cat "$dir/status.out" >&2; fail "the cluster did not become healthy"; }
    sleep 0.2
done
cat "$dir/status.out"

say "5. Kill -9: the leader and a datanode, while the tree is written again"
leader=$("$ashlar" admin status --json | grep -o '"leader": *[0-9]*' | grep -o '[0-9]*$')
"$ashlar" fs put -r --skip-special "$tree" /again >"$dir/put.out" 2>&1 &
put=$!
# In the middle: some of the tree is there, the copy is still running.
deadline=$((SECONDS + 60))
until "$ashlar" fs ls /again 2>/dev/null | grep -q .; do
    [ $SECONDS -lt $deadline ] || fail "the copy did not start"
    sleep 0.05
done
kill -9 "${node[nn$leader]}" "${node[dn1]}"
kill -0 $put 2>/dev/null || fail "the copy was over before the kill; choose a larger DEMO_TREE"
echo "killed nn$leader (leader) and dn1"
wait $put || { cat "$dir/put.out" >&2; fail "the copy failed"; }
tail -1 "$dir/put.out"

say "6. Read back without them, then with them back"
"$ashlar" fs get -r /again "$dir/out" >/dev/null
compare "$dir/want.sums" "$dir/out"
rm -rf "$dir/out"
start_node nn "$leader"
start_node dn 1
"$ashlar" fs get -r /tree "$dir/out" >/dev/null
compare "$dir/want.sums" "$dir/out"
rm -rf "$dir/out"
"$ashlar" admin report

if [ -t 1 ] && [ -z "${CI:-}" ]; then
    trap - EXIT
    say "The cluster is up."
    echo "  export ASHLAR_CONFIG=$ASHLAR_CONFIG"
    echo "  $ashlar fs ls /"
    echo "stop it with: kill ${pids[*]}"
    disown -a
else
    stop_all
    [ -n "${DEMO_DIR:-}" ] || rm -rf "$dir"
    say "done"
fi
