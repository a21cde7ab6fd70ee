#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Sees to it that the base of the build stage is there: as it is, from a registry, or, where none is
# reachable, made by debootstrap from the Debian mirror that apt uses.
# usage: base_image.sh podman|docker
set -eu

engine=${1:?usage: base_image.sh podman|docker}
name=docker.io/library/debian:bookworm-slim

if "$engine" image inspect "$name" >/dev/null 2>&1; then exit 0; fi
echo "pulling $name"
if timeout 60 "$engine" pull -q "$name"; then exit 0; fi
if ! command -v debootstrap >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
  echo "base_image.sh: no registry answers, and debootstrap as root is not to be had" >&2
  exit 69
fi

sources=/etc/apt/sources.list.d/debian.sources
mirror=$(sed -n 's/^URIs: *\(.*\/debian\)$/\1/p' "$sources" 2>/dev/null | head -n 1)
[ -n "$mirror" ] || mirror=http://deb.debian.org/debian
echo "making $name from $mirror"
root=$(mktemp -d /var/tmp/leaseplane-base.XXXXXX)
trap 'rm -rf "$root"' EXIT
# debootstrap wants the folder to be world-readable.
chmod 0755 "$root"
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" >"$root.log" ||
  { tail -n 5 "$root.log" >&2; exit 69; }
rm -f "$root.log"
if [ -e "$sources" ]; then
  cp "$sources" "$root/etc/apt/sources.list.d/"
  : >"$root/etc/apt/sources.list"
fi
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/man/* \
  "$root"/usr/share/locale/* "$root"/var/log/*.log
tar -C "$root" --numeric-owner -c . | "$engine" import - "$name"
