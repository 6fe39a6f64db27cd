#!/bin/bash
# arm_for_tests.sh CACHE: the ARM userland where it can be had; without it tests on ARM are skipped, but never in CI.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/arm_userland.sh" "$1" && exit 0
if [ "${CI:-}" = true ]; then
  echo "arm_for_tests: CI must not skip the ARM tests" >&2
  exit 1
fi
echo "arm_for_tests: the tests on ARM will be SKIPPED (see above for what is missing)" >&2
