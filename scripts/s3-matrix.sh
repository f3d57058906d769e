#!/usr/bin/env bash
# Holds the S3 gateway against the clients that people use, see s3-matrix.py. They come from PyPI, npm and Debian into a
# directory of their own, and nothing is installed on the machine. ASHLAR names the binary; arguments name some clients.
set -euo pipefail
cd "$(dirname "$0")/.."

ashlar=${ASHLAR:?the path of the ashlar binary}
clients=${S3_MATRIX:-$HOME/.cache/ashlar/s3-matrix}
mkdir -p "$clients/debian" "$clients/node"

# Each source by itself: where one cannot be had, the clients of the others are tried, and those are told to be skipped.
python=$clients/python/bin/python
if [ ! -e "$clients/.python-2" ]; then
    python3 -m venv "$clients/python"
    "$clients/python/bin/pip" install --quiet boto3==1.44.5 || {
        echo "SKIPPED: THE MATRIX OF S3 CLIENTS WAS NOT TRIED: boto3 could not be installed from PyPI" >&2
        exit 0
    }
    "$clients/python/bin/pip" install --quiet minio==7.2.20 s3cmd==2.4.0 pyarrow==26.0.1 polars==2.1.0 \
        obstore==0.12.1 deltalake==1.6.6 duckdb==1.5.5 duckdb-extension-httpfs==1.5.5 trustme==1.2.1 &&
        touch "$clients/.python-2" || echo "some clients could not be installed from PyPI" >&2
fi
if [ ! -e "$clients/.node-1" ] && command -v npm >/dev/null; then
    npm install --silent --no-audit --no-fund --prefix "$clients/node" @aws-sdk/client-s3@3.1169.0 \
        @aws-sdk/lib-storage@3.1169.0 && touch "$clients/.node-1" || echo "the SDK for JavaScript could not be installed" >&2
fi
if [ ! -e "$clients/.debian-1" ]; then
    # Their versions are those of the Debian release. s3fs is linked to the older libfuse.
    (cd "$clients/debian" && apt-get download -q rclone restic s3fs libfuse2 >/dev/null 2>&1 &&
        for package in *.deb; do dpkg -x "$package" .; done && rm -f ./*.deb) && touch "$clients/.debian-1" ||
        echo "rclone, restic and s3fs could not be downloaded from Debian" >&2
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
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null MATRIX_BIN=$clients/debian MATRIX_NODE=$clients/node
begun=$SECONDS
"$python" scripts/s3-matrix.py "$@"

# Once more over TLS, through a gateway of its own. Each client is told of the authority in its own way.
"$python" - "$dir" <<'END'
import sys, trustme
authority = trustme.CA()
authority.cert_pem.write_to_path(f"{sys.argv[1]}/ca.pem")
authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(f"{sys.argv[1]}/tls.pem")
END
{
    sed '/^\[s3\]/,$d' "$dir/cluster/node-s3.toml"
    printf '[s3]\nlisten = "127.0.0.1:0"\nsecrets_key = "%s"\n' "$dir/cluster/secrets.key"
    printf 'tls = { certificate = "%s/tls.pem", key = "%s/tls.pem" }\n' "$dir" "$dir"
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
export AWS_ENDPOINT_URL=https://localhost:$port MATRIX_CA=$dir/ca.pem AWS_CA_BUNDLE=$dir/ca.pem SSL_CERT_FILE=$dir/ca.pem \
    NODE_EXTRA_CA_CERTS=$dir/ca.pem
"$python" scripts/s3-matrix.py "$@"
echo "the matrix took $((SECONDS - begun)) s, over HTTP and over TLS"
