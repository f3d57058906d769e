#!/usr/bin/env bash
# Holds the S3 gateway against real clients: boto3 claim by claim, and the AWS CLI with files that are compared. The clients
# come from PyPI into an environment of their own. ASHLAR names the binary.
set -euo pipefail
cd "$(dirname "$0")/.."

ashlar=${ASHLAR:?the path of the ashlar binary}
venv=${S3_CLIENTS:-$HOME/.cache/ashlar/s3-clients}
stamp=$venv/.installed-2

if [ ! -e "$stamp" ]; then
    python3 -m venv "$venv" && "$venv/bin/pip" install --quiet boto3==1.44.5 awscli==1.46.3 trustme==1.2.1 && touch "$stamp" || {
        echo "SKIPPED: S3 CLIENTS WERE NOT TRIED: boto3, awscli and trustme could not be installed from PyPI" >&2
        exit 0
    }
fi

dir=$(mktemp -d)
"$ashlar" quickstart --dir "$dir/cluster" --s3 127.0.0.1:0 --ports "$((20000 + RANDOM % 10000))" >"$dir/out" 2>&1 &
cluster=$!
trap 'kill "$cluster" 2>/dev/null; wait "$cluster" 2>/dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 300); do
    grep -q 'ashlar is ready' "$dir/out" && break
    kill -0 "$cluster" 2>/dev/null || { cat "$dir/out"; exit 1; }
    sleep 0.2
done
grep -q 'ashlar is ready' "$dir/out" || { echo "the cluster did not get ready"; cat "$dir/out"; exit 1; }
. "$dir/cluster/s3.env"
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=$dir/aws-config

# A second user, who owns nothing.
export OTHER_ACCESS_KEY_ID=OTHERUSER OTHER_SECRET_ACCESS_KEY=the-secret-of-another
printf '%s' "$OTHER_SECRET_ACCESS_KEY" | ASHLAR_CONFIG=$dir/cluster/client.toml "$ashlar" admin key create \
    --user 4242 --access-key "$OTHER_ACCESS_KEY_ID" --secret-key-stdin --secrets-key "$dir/cluster/secrets.key" >/dev/null

"$venv/bin/python" scripts/s3-boto3.py
"$venv/bin/python" scripts/s3-wire.py
ASHLAR=$ashlar "$venv/bin/python" scripts/s3-gateways.py "$dir/cluster"

# A second gateway, with TLS, an access log and narrow limits.
export ASHLAR=$ashlar ASHLAR_CONFIG=$dir/cluster/client.toml
export TLS_CA=$dir/ca.pem ACCESS_LOG=$dir/access.log GATEWAY_LOG=$dir/tls.out
"$venv/bin/python" - "$dir" <<'END'
import sys, trustme
authority = trustme.CA()
authority.cert_pem.write_to_path(f"{sys.argv[1]}/ca.pem")
authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(f"{sys.argv[1]}/tls.pem")
END
{
    sed '/^\[s3\]/,$d' "$dir/cluster/node-s3.toml"
    printf '[s3]\nlisten = "127.0.0.1:0"\nsecrets_key = "%s"\naccess_log = "%s"\n' "$dir/cluster/secrets.key" "$ACCESS_LOG"
    printf 'tls = { certificate = "%s/tls.pem", key = "%s/tls.pem" }\n' "$dir" "$dir"
    printf 'header_timeout = "2s"\nbody_patience = "2s"\nconnections_per_address = 16\n'
} >"$dir/node-s3-tls.toml"
"$ashlar" s3 -c "$dir/node-s3-tls.toml" >"$dir/tls.out" 2>&1 &
gateway=$!
trap 'kill "$gateway" "$cluster" 2>/dev/null; wait "$gateway" "$cluster" 2>/dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 100); do
    port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\).*/\1/p' "$dir/tls.out" | tail -1)
    [ -n "$port" ] && break
    kill -0 "$gateway" 2>/dev/null || { cat "$dir/tls.out"; exit 1; }
    sleep 0.1
done
TLS_ENDPOINT_URL=https://localhost:$port "$venv/bin/python" scripts/s3-server.py

aws=$venv/bin/aws
"$aws" s3 mb s3://tree >/dev/null
"$aws" s3 sync --quiet docs s3://tree/docs
head -c 67108864 /dev/urandom >"$dir/large"
"$aws" s3 cp --quiet "$dir/large" s3://tree/large
"$aws" s3 sync --quiet s3://tree/docs "$dir/back"
"$aws" s3 cp --quiet s3://tree/large "$dir/large.back"
"$aws" s3api head-object --bucket tree --key large --query ETag | grep -q -- '-8'
"$aws" s3 cp --quiet s3://tree/large s3://tree/large.copy
"$aws" s3 cp --quiet s3://tree/large.copy - | cmp "$dir/large" -
diff -r docs "$dir/back"
cmp "$dir/large" "$dir/large.back"
"$ashlar" fs cat /s3/tree/docs/s3.md | cmp - docs/s3.md
printf 'by the other door\n' | "$ashlar" fs put - /s3/tree/other
"$aws" s3 cp --quiet s3://tree/other - | grep -q 'by the other door'
"$aws" s3 rm --quiet --recursive s3://tree
"$aws" s3 rb s3://tree >/dev/null
echo "ok      the AWS CLI"

# Objects by the library, beside the gateway.
refused() { if "$@" 2>"$dir/refused"; then echo "FAILED  this was done: $*"; exit 1; fi; }
"$ashlar" object mb native
refused "$ashlar" object mb native
"$ashlar" object put "$dir/large" native/a/large
"$aws" s3 cp --quiet s3://native/a/large - | cmp - "$dir/large"
refused "$ashlar" object put --if-absent docs/s3.md s3://native/a/large
"$ashlar" object put docs/s3.md native/b
etag=$("$ashlar" object stat --json native/b | sed -n 's/.*"etag":"\([^"]*\)".*/\1/p')
refused "$ashlar" object put --if-match other docs/s3.md native/b
"$ashlar" object put --if-match "$etag" docs/posix.md native/b
"$ashlar" object get native/b - | cmp - docs/posix.md
"$ashlar" object get native/a/large "$dir/native"
cmp "$dir/large" "$dir/native"
refused "$ashlar" object get native/b "$dir/native"
[ "$("$ashlar" object ls native | sed 's/.* //' | paste -sd,)" = a/,b ]
[ "$("$ashlar" object ls -r native | sed 's/.* //' | paste -sd,)" = a/large,b ]
"$venv/bin/python" - "$("$ashlar" object presign native/b)" "$("$ashlar" object presign --method PUT native/'c d')" <<'END'
import sys, urllib.request
assert urllib.request.urlopen(sys.argv[1]).read() == open("docs/posix.md", "rb").read()
urllib.request.urlopen(urllib.request.Request(sys.argv[2], data=b"presigned", method="PUT"))
END
[ "$("$ashlar" object get 'native/c d' -)" = presigned ]
refused "$ashlar" object rb native
"$ashlar" object rm native/b
"$ashlar" object rm -r native/
"$ashlar" object rb native
echo "ok      ashlar object"
