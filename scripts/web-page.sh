#!/usr/bin/env bash
# Opens the web page of a cluster in a real browser, without a window: signs in, looks at every page in light, dark and at a
# phone's width, uploads, and tries names that are markup. ASHLAR names the binary; the screenshots stay in SCREENSHOTS.
set -euo pipefail
cd "$(dirname "$0")/.."

ashlar=${ASHLAR:?the path of the ashlar binary}
export SCREENSHOTS=${SCREENSHOTS:-$PWD/target/web-page}

missing=()
for package in chromium chromium-driver fonts-dejavu-core python3; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -ne 0 ]; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null || {
        echo "SKIPPED: THE WEB PAGE WAS NOT TRIED IN A BROWSER: ${missing[*]} could not be installed" >&2
        exit 0
    }
fi

dir=$(mktemp -d)
"$ashlar" quickstart --dir "$dir/cluster" --ports "$((20000 + RANDOM % 10000))" >"$dir/out" 2>&1 &
cluster=$!
trap 'kill "$cluster" 2>/dev/null || true; wait "$cluster" 2>/dev/null || true; rm -rf "$dir"' EXIT
for _ in $(seq 600); do
    grep -q 'ashlar is ready' "$dir/out" && break
    kill -0 "$cluster" 2>/dev/null || { cat "$dir/out"; exit 1; }
    sleep 0.2
done
grep -q 'ashlar is ready' "$dir/out" || { echo "the cluster did not get ready"; cat "$dir/out"; exit 1; }
export ASHLAR=$ashlar ASHLAR_CONFIG=$dir/cluster/client.toml
PAGE=$(sed -n 's/^the web page is at \(http[^ ]*\).*/\1/p' "$dir/out")
key() { "$ashlar" admin key create --user "$1" --secrets-key "$dir/cluster/secrets.key" --json; }
ROOT_KEY=$(key 0) OTHER_KEY=$(key 4242)
export PAGE ROOT_KEY OTHER_KEY

# Something to look at: a tree, a file of some blocks, and names that a page must not obey.
mkdir -p "$dir/tree/photos/2026" "$dir/tree/logs"
head -c 300000 /dev/urandom >"$dir/tree/photos/2026/quarry.jpg"
head -c 3000000 /dev/urandom >"$dir/tree/photos/2026/arch.raw"
for day in 01 02 03; do echo "all is well" >"$dir/tree/logs/2026-11-$day.log"; done
"$ashlar" fs put -r "$dir/tree/photos" /photos >/dev/null
"$ashlar" fs put -r "$dir/tree/logs" /logs >/dev/null
"$ashlar" fs mkdir /names
echo x | "$ashlar" fs put - '/names/<script>window.obeyed=1<?script>' >/dev/null
echo x | "$ashlar" fs put - '/names/<img src=x onerror=window.obeyed=2>' >/dev/null
echo x | "$ashlar" fs put - "/names/\"'><b onclick=window.obeyed=3>" >/dev/null
echo x | "$ashlar" fs put - $'/names/no \xff\xfe text' >/dev/null
echo x | "$ashlar" fs put - $'/names/two\nlines' >/dev/null
"$ashlar" fs chmod 750 /logs

python3 scripts/web-page.py "$dir"
