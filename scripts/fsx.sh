#!/usr/bin/env bash
# Holds a mount against fsx, which makes random changes of a file in every way that there is and knows what it must hold.
# ASHLAR names the binary. Runs for ASHLAR_FSX_SECONDS (120 unless told otherwise), with a new seed from time to time; with
# ASHLAR_FSX_SEED, that one alone.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/mounted.sh

may_mount "THE MOUNT WAS NOT HELD AGAINST FSX"
tool fsx 0.3.2
start_mounted --namenodes 1 --datanodes 2

# Short files live with their inode, longer ones in blocks: both, with the operations that this kernel has for us.
for length in 12000 262144 4000000; do
    cat >"$dir/fsx-$length.toml" <<TOML
flen = $length
[opsize]
# To reserve nothing is an error everywhere.
min = 1
max = $((length / 4 < 65536 ? length / 4 : 65536))
[weights]
close_open = 1
invalidate = 1
mapread = 10
mapwrite = 10
read = 10
write = 10
truncate = 5
fsync = 2
fdatasync = 2
posix_fallocate = 3
punch_hole = 3
sendfile = 3
posix_fadvise = 2
copy_file_range = 3
TOML
done

mkdir "$dir/found"
runs=0
# run SEED LENGTH COUNT
run() {
    "$tools/bin/fsx" -f "$dir/fsx-$2.toml" -S "$1" -N "$3" -P "$dir/found" "$point/fsx-$2" >"$dir/report" 2>&1 || {
        tail -n 60 "$dir/report"
        echo "fsx found a difference: ASHLAR_FSX_SEED=$1 scripts/fsx.sh, with files of up to $2 bytes"
        exit 1
    }
    rm -f "$point/fsx-$2"
    runs=$((runs + 1))
}
until=$((SECONDS + ${ASHLAR_FSX_SECONDS:-120}))
while [ "$SECONDS" -lt "$until" ]; do
    seed=${ASHLAR_FSX_SEED:-$((RANDOM * 32768 + RANDOM))}
    run "$seed" 12000 1500
    run "$seed" 262144 1500
    run "$seed" 4000000 500
    [ -z "${ASHLAR_FSX_SEED:-}" ] || break
done
finish_mounted
echo "fsx: no difference in $runs runs (${SECONDS}s)"
