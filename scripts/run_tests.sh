#!/bin/bash
# run_tests.sh CACHE [PYTEST ARGUMENTS]: pytest with the ARM userland of CACHE, a process for each of up to four CPUs.
set -euo pipefail
cd "$(dirname "$0")/.."
export EDGEBIT_ARM_CACHE
EDGEBIT_ARM_CACHE=$(realpath "$1")
shift
[ "${CI:-}" = true ] && export EDGEBIT_REQUIRE_ARM=1
cpus=$(nproc)
# Numerical libraries of one process must not fight the other's for the cores.
export OMP_NUM_THREADS=1
exec .venv/bin/pytest --numprocesses $((cpus < 4 ? cpus : 4)) --dist loadfile "$@"
