#!/usr/bin/env bash
# Makes a Debian package of a binary that was built: packaging/deb.sh [BINARY [OUTPUT-DIRECTORY]]
#
# With nothing but dpkg-deb and what the binary says of itself: completions and manual pages come out of it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
binary=${1:-${CARGO_TARGET_DIR:-$root/target}/release/ashlar}
out=${2:-$root/dist}
[ -x "$binary" ] || { echo "packaging/deb.sh: $binary is not there; build it: make release" >&2; exit 1; }
command -v dpkg-deb >/dev/null || { echo "packaging/deb.sh: dpkg-deb is missing; apt-get install dpkg" >&2; exit 1; }

version=$("$binary" --version | awk '{print $2}')
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 0755 "$stage"

install -D -m 0755 "$binary" "$stage/usr/bin/ashlar"
if command -v strip >/dev/null; then strip --strip-unneeded "$stage/usr/bin/ashlar"; fi
# mount -t ashlar
install -d "$stage/usr/sbin" && ln -s ../bin/ashlar "$stage/usr/sbin/mount.ashlar"
for unit in "$here"/systemd/*.service; do
  install -D -m 0644 "$unit" "$stage/usr/lib/systemd/system/$(basename "$unit")"
done

install -d "$stage/usr/share/bash-completion/completions" "$stage/usr/share/zsh/vendor-completions" \
  "$stage/usr/share/fish/vendor_completions.d" "$stage/usr/share/man/man1"
"$binary" completions bash >"$stage/usr/share/bash-completion/completions/ashlar"
"$binary" completions zsh >"$stage/usr/share/zsh/vendor-completions/_ashlar"
"$binary" completions fish >"$stage/usr/share/fish/vendor_completions.d/ashlar.fish"
"$binary" man "$stage/usr/share/man/man1"
gzip -9n "$stage"/usr/share/man/man1/*.1

doc=$stage/usr/share/doc/ashlar
install -d "$doc/operations"
install -m 0644 "$here/debian/copyright" "$doc/copyright"
install -m 0644 "$root/CHANGELOG.md" "$doc/CHANGELOG.md" && gzip -9n "$doc/CHANGELOG.md"
cp -r "$root"/docs/operations/. "$doc/operations/"

libraries=$(ldd "$stage/usr/bin/ashlar" | awk '/=> \//{print $1}' | sort -u)
depends="libc6"
case $libraries in *libstdc++*) depends="$depends, libstdc++6" ;; esac
case $libraries in *libgcc_s*) depends="$depends, libgcc-s1" ;; esac

install -d "$stage/DEBIAN"
cat >"$stage/DEBIAN/control" <<CONTROL
Package: ashlar
Version: $version
Architecture: $architecture
Maintainer: The Ashlar authors <ashlar@localhost>
Depends: $depends
Recommends: fuse3
Section: admin
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$stage" | cut -f1)
Description: distributed file and object store
 One namespace, kept by Raft-replicated namenodes over checksummed and
 replicated blocks on datanodes; read and written through a POSIX mount, an
 S3 endpoint, a client library and this command, which also runs every role.
CONTROL
install -m 0755 "$here/debian/postinst" "$here/debian/prerm" "$stage/DEBIAN/"
(cd "$stage" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"

mkdir -p "$out"
package=$out/ashlar_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$stage" "$package" >/dev/null
echo "$package"
