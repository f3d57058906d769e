#!/usr/bin/env bash
# Holds the mount against programs that people use, and compares what they leave. ASHLAR names the binary; ASHLAR_PROGRAMS
# those of the programs that are wanted.
#
# What is not installed is installed from Debian where that works, and told of loudly where it does not.
set -euo pipefail
cd "$(dirname "$0")/.."

ashlar=${ASHLAR:?the path of the ashlar binary}
read -ra wanted <<<"${ASHLAR_PROGRAMS:-archive git sqlite vim mmap append}"

if [ ! -e /dev/fuse ] || [ "$(id -u)" -ne 0 ]; then
    echo "SKIPPED: THE MOUNT WAS NOT TRIED WITH PROGRAMS: that takes /dev/fuse and root" >&2
    exit 0
fi

# Installs the package $2 for the program $1. Fails where it cannot be had.
need() {
    command -v "$1" >/dev/null && return
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null 2>&1
    command -v "$1" >/dev/null && return
    echo "SKIPPED: $1 WAS NOT TRIED ON THE MOUNT: the Debian package $2 cannot be installed" >&2
    return 1
}

dir=$(mktemp -d)
point=$dir/mount
mkdir "$point"
"$ashlar" quickstart --dir "$dir/cluster" --ports "$((20000 + RANDOM % 10000))" >"$dir/out" 2>&1 &
cluster=$!
mounted=
end() {
    status=$?
    [ -z "$mounted" ] || kill "$mounted" 2>/dev/null || true
    [ -z "$mounted" ] || wait "$mounted" 2>/dev/null || true
    umount -l "$point" 2>/dev/null || true
    kill "$cluster" 2>/dev/null || true
    wait "$cluster" 2>/dev/null || true
    rm -rf "$dir"
    exit "$status"
}
trap end EXIT
for _ in $(seq 300); do
    grep -q 'ashlar is ready' "$dir/out" && break
    kill -0 "$cluster" 2>/dev/null || { cat "$dir/out"; exit 1; }
    sleep 0.2
done
grep -q 'ashlar is ready' "$dir/out" || { echo "the cluster did not get ready"; cat "$dir/out"; exit 1; }
export ASHLAR_CONFIG=$dir/cluster/client.toml
"$ashlar" mount "$point" -o allow_other --foreground --log-file "$dir/mount.log" >"$dir/mounted" &
mounted=$!
for _ in $(seq 300); do
    grep -q 'mounted on' "$dir/mounted" && break
    kill -0 "$mounted" 2>/dev/null || { cat "$dir/mount.log"; exit 1; }
    sleep 0.1
done

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

# A database that is killed while it writes has every row that was acknowledged, and is whole.
sqlite() {
    python3 - "$point/db" <<'END'
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
for run in range(3):
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

declare -A functions=([git]=git_ [vim]=vim_)
for program in "${wanted[@]}"; do
    before=$SECONDS
    # Not in a condition: what fails inside must end it.
    "${functions[$program]:-$program}"
    echo "ok      $program ($((SECONDS - before))s)"
done

# In order: what is dirty is written, and the cluster has it all.
kill "$mounted"
wait "$mounted" || { echo "the mount could not write everything:"; cat "$dir/mount.log"; exit 1; }
mounted=
if grep -E 'ERROR|panicked' "$dir/mount.log"; then exit 1; fi
echo "ok      unmounted"
