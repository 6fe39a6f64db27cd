#!/bin/bash
# prepare_devices.sh CACHE: what tests of the marker `devices` need beside prepare_tests.sh: an older and a newer Debian.
#   CACHE/py-arm64-bullseye, CACHE/py-arm64-trixie: Python there, on the emulated processor EB_CPU
# A suite that the mirror of this machine does not give is said, and its row of the matrix left out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
for suite in bullseye trixie; do
  "$here/userland.sh" arm64 "$suite" "$1" || echo "prepare_devices: Debian $suite will be LEFT OUT" >&2
done
