#!/bin/bash
# prepare_devices.sh CACHE: what tests of the marker `devices` need: older and newer Debian for arm64 than the usual one.
#   CACHE/py-arm64-bullseye, CACHE/py-arm64-trixie: Python there, on the emulated processor EB_CPU
#   CACHE/arm64-trixie/lib/ld-musl-aarch64.so.1: the loader of musl
# Exit code 1 when the mirror of this machine lacks one of them; which one is said.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/system_packages.sh" gcc libc6-dev binutils qemu-user
for suite in default bullseye trixie; do
  "$here/userland.sh" arm64 "$suite" "$1"
done
"$here/userland.sh" armhf default "$1"
