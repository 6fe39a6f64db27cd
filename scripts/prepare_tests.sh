#!/bin/bash
# prepare_tests.sh CACHE: what tests need beside Python: gcc with sanitizers, binutils, qemu-user, the ARM userlands,
# llvm-mca.
# Where it cannot be had the tests that need it are skipped, but never in CI.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if "$here/system_packages.sh" gcc libc6-dev binutils qemu-user && "$here/userland.sh" arm64 default "$1" && "$here/userland.sh" armhf default "$1" &&
  "$here/system_packages.sh" llvm-19; then
  exit 0
fi
if [ "${CI:-}" = true ]; then
  echo "prepare_tests: CI must not skip tests" >&2
  exit 1
fi
echo "prepare_tests: tests of what is missing, such as those on ARM, will be SKIPPED" >&2
