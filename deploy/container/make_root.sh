#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes the file system of an image from programs: the programs, the libraries they load, a user to
# run as, the folders they write to, and which Debian packages it all came from.
# usage: make_root.sh FOLDER PROGRAM...      (Debian; run in the Dockerfile)
set -eu

uid=65532
root=${1:?usage: make_root.sh FOLDER PROGRAM...}
shift
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

# libraries PROGRAM...: the files that the loader would open, and the loader itself.
libraries() {
  ldd "$@" >"$root/.ldd"
  if grep 'not found' "$root/.ldd" >&2; then exit 1; fi
  sed -n 's/^.* => \(\/[^ ]*\) .*$/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (0x.*$/\1/p' "$root/.ldd" |
    sort -u
  rm "$root/.ldd"
}

# owner FILE: the package that installed it. Its path may go through /lib -> /usr/lib.
owner() {
  dpkg-query -S "$1" 2>/dev/null || dpkg-query -S "$(realpath "$1")" 2>/dev/null ||
    dpkg-query -S "${1#/usr}"
}

mkdir -p "$root/usr/bin" "$root/usr/share/doc/leaseplane" "$root/etc"
# As in Debian: one place, two names.
for name in bin lib lib64; do
  mkdir -p "$root/usr/$name"
  ln -s "usr/$name" "$root/$name"
done

packages=$root/usr/share/doc/leaseplane/packages
libraries "$@" >"$root/.libraries"
while read -r file; do
  case $file in
    /usr/*) place=$file ;;
    *) place=/usr$file ;;
  esac
  install -D -m 0755 "$(realpath "$file")" "$root$place"
  owner "$file" | head -n 1 | cut -d: -f1
done <"$root/.libraries" >"$root/.owners"
sort -u "$root/.owners" >"$root/.packages"
rm "$root/.libraries" "$root/.owners"

for program in "$@"; do
  install -m 0755 -s "$program" "$root/usr/bin/"
done

while read -r package; do
  dpkg-query -W -f '${Package} ${Version}\n' "$package"
  install -D -m 0644 "/usr/share/doc/$package/copyright" \
    "$root/usr/share/doc/$package/copyright"
done <"$root/.packages" >"$packages"
rm "$root/.packages"
install -m 0644 "$here/../../LICENSE" "$root/usr/share/doc/leaseplane/copyright"

echo "leaseplane:x:$uid:$uid:Leaseplane:/nonexistent:/usr/sbin/nologin" >"$root/etc/passwd"
echo "leaseplane:x:$uid:" >"$root/etc/group"
install -d -o "$uid" -g "$uid" -m 2750 "$root/run/leaseplane"
install -d -o "$uid" -g "$uid" -m 0700 "$root/var/lib/leaseplane"
install -d -m 0755 "$root/etc/leaseplane"
