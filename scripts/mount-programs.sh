#!/usr/bin/env bash
# Runs a mount through the programs that people use, and compares what they leave. ASHLAR names the binary; ASHLAR_PROGRAMS
# those of the programs that are wanted. ASHLAR_LONG=1 has each do more, and adds those that take minutes.
#
# What is not installed is installed from Debian or PyPI where that works, and told of loudly where it does not.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/mounted.sh

long=${ASHLAR_LONG:-}
default="archive git sqlite vim mmap append postgres"
read -ra wanted <<<"${ASHLAR_PROGRAMS:-$default${long:+ repository cargo pip parquet}}"
# short_or_long SHORT LONG
short_or_long() { if [ -n "$long" ]; then echo "$2"; else echo "$1"; fi; }

may_mount "THE MOUNT WAS NOT TRIED WITH PROGRAMS"

# Installs the package $2 for the program $1. Fails where it cannot be had.
need() {
    command -v "$1" >/dev/null && return
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2"; } >/dev/null 2>&1 || true
    command -v "$1" >/dev/null && return
    echo "SKIPPED: $1 WAS NOT TRIED ON THE MOUNT: the Debian package $2 cannot be installed" >&2
    return 1
}

start_mounted

# Some hundred files of several kinds, with times, modes and links that an archive has to bring back.
make_tree() {
    mkdir -p "$1"
    for directory in a a/b c 'd with space'; do
        mkdir -p "$1/$directory"
        for number in $(seq 40); do
            head -c "$((number * number * 13))" /dev/urandom >"$1/$directory/file $number"
        done
    done
    head -c 20000000 /dev/urandom >"$1/large"
    truncate -s 5M "$1/sparse"
    printf tail >>"$1/sparse"
    ln "$1/large" "$1/c/hard"
    ln -s ../large "$1/a/soft"
    mkfifo "$1/fifo"
    chmod 4711 "$1/a/file 1"
    chmod 0 "$1/a/file 2"
    touch -d '2001-02-03 04:05:06.789' "$1/a/file 3"
}

# Names, kinds, modes, owners, sizes, times and contents of a tree.
tree_of() {
    (cd "$1" && find . -printf '%P %y %m %U:%G %n %l ' \( -type d -printf '\n' -o -printf '%s %T@\n' \) | sort)
    (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

same() { diff <(tree_of "$1") <(tree_of "$2"); }

archive() {
    make_tree "$dir/tree"
    mkdir "$point/tar" "$dir/back"
    tar -C "$dir/tree" --format=posix -cf - . | tar -C "$point/tar" -xpf -
    same "$dir/tree" "$point/tar"
    tar -C "$point/tar" --format=posix -cf - . | tar -C "$dir/back" -xpf -
    same "$dir/tree" "$dir/back"
    cp -a "$dir/tree" "$point/cp"
    same "$dir/tree" "$point/cp"
    if need rsync rsync; then
        rsync -aH "$dir/tree/" "$point/rsync/"
        same "$dir/tree" "$point/rsync"
        [ -z "$(rsync -aHn --itemize-changes "$dir/tree/" "$point/rsync/")" ]
        rm -rf "$dir/back"
        rsync -aHS --inplace "$point/rsync/" "$dir/back/"
        same "$dir/tree" "$dir/back"
    fi
    rm -rf "$point/tar" "$point/cp"
}

# A history of some hundred commits, cloned both ways, packed, and checked.
git_() {
    need git git || return 0
    export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_CONFIG_NOSYSTEM=1
    git init -q -b main "$dir/origin"
    for number in $(seq 60); do
        for file in one two "sub/$((number % 7))"; do
            mkdir -p "$dir/origin/$(dirname "$file")"
            seq "$number" "$((number * 50))" >"$dir/origin/$file"
        done
        git -C "$dir/origin" add -A
        git -C "$dir/origin" commit -q -m "commit $number"
    done
    git clone -q "$dir/origin" "$point/clone"
    git -C "$point/clone" fsck --full --strict 2>/dev/null
    git -C "$point/clone" log -p | cmp - <(git -C "$dir/origin" log -p)
    [ -z "$(git -C "$point/clone" status --porcelain)" ]
    echo more >>"$point/clone/one"
    git -C "$point/clone" commit -q -am 'on the mount'
    git -C "$point/clone" checkout -q -b side HEAD~20
    git -C "$point/clone" merge -q main
    git -C "$point/clone" gc -q --aggressive --prune=now
    git -C "$point/clone" fsck --full --strict 2>/dev/null
    git clone -q "$point/clone" "$dir/again"
    diff -r --exclude=.git "$point/clone" "$dir/again"
}

# The history of this project.
repository() {
    need git git || return 0
    git clone -q --no-local . "$point/ashlar"
    git -C "$point/ashlar" fsck --full --strict 2>/dev/null
    git -C "$point/ashlar" gc -q --prune=now
    git -C "$point/ashlar" fsck --full --strict 2>/dev/null
    git -C "$point/ashlar" log -p --stat | cmp - <(git log -p --stat HEAD)
    [ -z "$(git -C "$point/ashlar" status --porcelain)" ]
    git -C "$point/ashlar" checkout -q HEAD~100
    git -C "$point/ashlar" checkout -q -
    [ -z "$(git -C "$point/ashlar" status --porcelain)" ]
    git archive HEAD | tar --compare -C "$point/ashlar" -f - | grep -vE 'Uid differs|Gid differs|Mod time differs|Mode differs' >"$dir/differences" || true
    [ ! -s "$dir/differences" ] || { cat "$dir/differences"; return 1; }
}

# Sources, target directory and all that cargo runs are on the mount.
cargo_() {
    [ -e "$point/ashlar" ] || git clone -q --no-local . "$point/ashlar"
    for _ in 1 2; do
        touch "$point/ashlar/types/src/lib.rs"
        (cd "$point/ashlar" && CARGO_TARGET_DIR=$point/target CARGO_INCREMENTAL=1 cargo test --quiet --locked --ignore-rust-version -p types) >"$dir/cargo.out" 2>&1 ||
            { cat "$dir/cargo.out"; return 1; }
    done
}

# A virtual environment, and a package with modules to compile and libraries to load.
pip() {
    python3 -m venv "$point/venv"
    "$point/venv/bin/pip" install --quiet --disable-pip-version-check numpy ||
        { echo "SKIPPED: pip WAS NOT TRIED ON THE MOUNT: it cannot install numpy" >&2; return 0; }
    [ "$("$point/venv/bin/python" -c 'import numpy; print(numpy.arange(1000).sum())')" = 499500 ]
}

# Columns in many files, written, mapped and queried; and a database that is one file.
parquet() {
    local venv=$tools/parquet
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check pyarrow duckdb ||
        { echo "SKIPPED: parquet WAS NOT TRIED ON THE MOUNT: pyarrow and duckdb cannot be installed" >&2; return 0; }
    "$venv/bin/python" - "$point/parquet" <<'END'
import os, sys
import duckdb, pyarrow as pa, pyarrow.compute as pc, pyarrow.dataset as ds, pyarrow.parquet as pq
root = sys.argv[1]
os.mkdir(root)
rows = 1_000_000
table = pa.table({'n': pa.array(range(rows), pa.int64()), 'part': pa.array([n % 16 for n in range(rows)], pa.int32()),
                  'text': pa.array([f'row {n * 7919 % 100003}' for n in range(rows)])})
ds.write_dataset(table, f'{root}/set', format='parquet', partitioning=['part'], partitioning_flavor='hive')
again = ds.dataset(f'{root}/set', format='parquet', partitioning='hive')
assert again.count_rows() == rows
assert pc.sum(again.to_table(columns=['n'])['n']).as_py() == rows * (rows - 1) // 2
pq.write_table(table, f'{root}/one.parquet')
assert pq.read_table(f'{root}/one.parquet', memory_map=True).equals(table)
db = duckdb.connect(f'{root}/db.duckdb')
db.execute(f"create table t as select * from read_parquet('{root}/set/*/*.parquet', hive_partitioning=true)")
wanted = db.execute('select part, count(*), sum(n), count(distinct text) from t group by part order by part').fetchall()
for turn in range(5):
    db.execute(f'update t set n = n + 1 where part = {turn}')
    db.execute('checkpoint')
db.close()
db = duckdb.connect(f'{root}/db.duckdb', read_only=True)
seen = db.execute('select part, count(*), sum(n), count(distinct text) from t group by part order by part').fetchall()
assert seen == [(part, count, total + (count if part < 5 else 0), texts) for part, count, total, texts in wanted], seen
END
}

# A server whose data directory is on the mount. No money is lost, not by kill -9 either.
postgres() {
    need pg_ctlcluster postgresql || return 0
    local bin data=$point/postgres bench run server killed
    bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
    as_postgres() { (cd / && runuser -u postgres -- "$@"); }
    start_postgres() {
        as_postgres "$bin/pg_ctl" -D "$data" -w -t 60 -l "$data/server.log" -o "-k $dir/socket -c listen_addresses=" start >/dev/null ||
            { tail -n 30 "$data/server.log"; return 1; }
    }
    ask() { as_postgres "$bin/psql" -h "$dir/socket" -qAt -v ON_ERROR_STOP=1 -c "$1" postgres; }
    install -d -o postgres -m 0700 "$data" "$dir/socket"
    as_postgres "$bin/initdb" -D "$data" --data-checksums --auth=trust --no-instructions >"$dir/initdb.out" 2>&1 ||
        { cat "$dir/initdb.out"; return 1; }
    start_postgres
    as_postgres "$bin/pgbench" -h "$dir/socket" -i -q -s "$(short_or_long 1 10)" postgres >"$dir/pgbench.out" 2>&1 ||
        { cat "$dir/pgbench.out"; return 1; }
    for run in whole killed; do
        as_postgres "$bin/pgbench" -h "$dir/socket" -n -c 4 -j 2 -P 1 -T "$(short_or_long 5 40)" postgres >"$dir/pgbench.out" 2>&1 &
        bench=$!
        if [ "$run" = killed ]; then
            until_line '^progress:' "$dir/pgbench.out" "$bench" # In the middle of its work.
            server=$(head -n 1 "$data/postmaster.pid")
            # shellcheck disable=SC2207
            killed=("$server" $(pgrep -P "$server"))
            kill -9 "${killed[@]}" 2>/dev/null || true # One of them may have ended by itself.
            wait "$bench" || true
            # A process that is killed still closes its files, and the next server looks whether it is there.
            until_gone "${killed[@]}"
            start_postgres
        else
            wait "$bench" || { cat "$dir/pgbench.out"; tail -n 30 "$data/server.log"; return 1; }
            grep '^tps' "$dir/pgbench.out"
        fi
        # Each transaction changes all of them by the same.
        [ "$(ask 'select count(distinct s) from (select sum(abalance) s from pgbench_accounts
            union all select sum(bbalance) from pgbench_branches union all select sum(tbalance) from pgbench_tellers
            union all select sum(delta) from pgbench_history) sums')" = 1 ]
    done
    ask 'create extension amcheck'
    as_postgres "$bin/pg_amcheck" -h "$dir/socket" --heapallindexed postgres
    ask 'vacuum full'
    as_postgres "$bin/pg_ctl" -D "$data" -w -m fast stop >/dev/null
    as_postgres "$bin/pg_checksums" -D "$data" --check >/dev/null
}

# A database that is killed while it writes has every row that was acknowledged, and is whole.
sqlite() {
    python3 - "$point/db" "$(short_or_long 3 30)" <<'END'
import os, signal, sqlite3, subprocess, sys
path = sys.argv[1]
writer = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
assert db.execute('pragma journal_mode=wal').fetchone() == ('wal',), 'shared memory works'
db.execute('pragma synchronous=full')
db.execute('create table if not exists t (n integer primary key, text)')
start = db.execute('select coalesce(max(n), 0) from t').fetchone()[0]
for n in range(start + 1, start + 100000):
    db.execute('insert into t values (?, ?)', (n, 'x' * (n % 3000)))
    print(n, flush=True)
"""
rows = 0
for run in range(int(sys.argv[2])):
    child = subprocess.Popen([sys.executable, '-c', writer, path], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        rows = int(line)
        if rows >= (run + 1) * 60:
            child.send_signal(signal.SIGKILL)
            break
    rows = max([rows] + [int(line) for line in child.stdout])
    child.wait()
    db = sqlite3.connect(path)
    assert db.execute('pragma quick_check').fetchone() == ('ok',)
    held = db.execute('select count(*), max(n), sum(length(text)) from t').fetchone()
    assert held[0] == held[1] and held[1] in (rows, rows + 1), (held, rows)
    assert held[2] == sum(n % 3000 for n in range(1, held[1] + 1))
    db.close()
END
}

vim_() {
    need vim vim || return 0
    seq 2000 >"$point/text"
    # With a swap file and a backup beside it, as it does by itself.
    vim -es -u NONE -c 'set backup swapfile backupskip=' -c '%s/7/seven/g' -c '1d' -c 'wq' "$point/text"
    seq 2000 | sed 's/7/seven/g; 1d' | cmp - "$point/text"
    seq 2000 | cmp - "$point/text~"
    [ ! -e "$point/.text.swp" ]
}

mmap() {
    python3 - "$point/mapped" <<'END'
import mmap, os, sys
path = sys.argv[1]
with open(path, 'w+b') as file:
    file.truncate(1 << 20)
    with mmap.mmap(file.fileno(), 0) as one, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as private:
        for at in range(0, 1 << 20, 4099):
            one[at] = at % 251
        private[5] = 99
        # What is mapped and what is read are the same pages.
        assert os.pread(file.fileno(), 1, 4099 * 10)[0] == 4099 * 10 % 251
        os.pwrite(file.fileno(), b'written', 12345)
        assert one[12345:12352] == b'written'
        one.flush()
with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as again:
    wanted = bytearray(1 << 20)
    for at in range(0, 1 << 20, 4099):
        wanted[at] = at % 251
    wanted[12345:12352] = b'written'
    assert again[:] == wanted
END
    "$ashlar" fs cat /mapped | cmp - "$point/mapped"
}

# Eight writers and one file: no line is lost or torn.
append() {
    for writer in $(seq 8); do
        python3 -c '
import os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for line in range(500):
    os.write(log, b"%s %d %s\n" % (sys.argv[2].encode(), line, b"x" * (line % 300)))
' "$point/log" "$writer" &
        writers[writer]=$!
    done
    for writer in $(seq 8); do wait "${writers[writer]}"; done
    for writer in $(seq 8); do
        grep "^$writer " "$point/log" | cut -d' ' -f2 | cmp - <(seq 0 499)
    done
    [ "$(wc -l <"$point/log")" -eq 4000 ]
}

declare -A functions=([git]=git_ [vim]=vim_ [cargo]=cargo_)
for program in "${wanted[@]}"; do
    before=$SECONDS
    # Not in a condition: what fails inside must end it.
    "${functions[$program]:-$program}"
    echo "ok      $program ($((SECONDS - before))s)"
done
finish_mounted
echo "ok      unmounted"
