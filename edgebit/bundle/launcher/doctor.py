#!/usr/bin/env python3
"""Check this folder and the model in it on this machine: python3 doctor.py [--json]."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True  # the folder stays as it was delivered
sys.path.insert(0, HERE)

try:
    from edgebit_runtime.doctor import main
except Exception as error:  # whatever a missing or damaged file of the loader does
    sys.stdout.write("wrong: a file of edgebit_runtime/ is missing or damaged: %s\n" % error)
    sys.exit(1)

sys.exit(main(sys.argv[1:], HERE))
