#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, where they are missing. Rust itself must be there.
set -euo pipefail

command -v cargo >/dev/null || {
    echo "cargo is not on the PATH: install Rust with rustup first (the version is in rust-toolchain.toml)" >&2
    exit 1
}

# What each is for: libclang to generate the bindings of RocksDB, protoc for the RPC messages, g++ for RocksDB itself,
# ccache so that its C++ is compiled once for all profiles; acl for the tests of the mount; strace and e2fsprogs for disks that fail.
packages=(libclang-dev protobuf-compiler g++ make pkg-config ccache ca-certificates acl strace e2fsprogs)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "these packages are missing and only root can install them: ${missing[*]}" >&2
        exit 1
    }
    as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
