#!/bin/bash
# make_venv.sh VENV REQUIREMENT: a virtual environment with this project installed in it, editable.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
requirement=$2
python=${PYTHON:-python3}

command -v "$python" >/dev/null || scripts/system_packages.sh python3
"$python" - <<'CHECK' || exit 1
import sys
if sys.version_info < (3, 10):
    sys.exit(f"edgebit needs Python 3.10 or later, this is {sys.version.split()[0]}; set PYTHON=python3.x")
CHECK
if [ ! -x "$venv/bin/pip" ]; then
  # Debian keeps ensurepip, without which a venv has no pip, in a package of its own.
  "$python" -c 'import ensurepip' 2>/dev/null || scripts/system_packages.sh python3-venv
  "$python" -m venv "$venv"
fi
echo "installing $requirement into $venv"
"$venv/bin/pip" install --quiet --quiet --disable-pip-version-check --editable "$requirement"
