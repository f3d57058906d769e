#!/usr/bin/env bash
# Holds a mount against pjdfstest, a public suite of claims about POSIX file systems. ASHLAR names the binary. Arguments are
# patterns of test names; without any, all are run.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/mounted.sh

may_mount "THE MOUNT WAS NOT HELD AGAINST PJDFSTEST"
tool pjdfstest 0.2.2
start_mounted --namenodes 1 --datanodes 1

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

mkdir "$point/tests"
began=$SECONDS
status=0
"$tools/bin/pjdfstest" --configuration-file "$dir/pjdfstest.toml" --path "$point/tests" "$@" >"$dir/report" 2>&1 || status=$?
if [ "$status" -ne 0 ]; then
    cat "$dir/report" "$dir/mount.log"
    exit "$status"
fi
printf '%s (%ss)\n' "$(tail -n 1 "$dir/report")" "$((SECONDS - began))"
finish_mounted
