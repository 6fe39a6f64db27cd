#!/usr/bin/env python3
"""Measure the model in this folder on this machine: python3 bench.py [--threads N] [--profile] [--json]."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True  # the folder stays as it was delivered
sys.path.insert(0, HERE)

from edgebit_runtime.bench import main  # noqa: E402 - the line above makes it importable

sys.exit(main(sys.argv[1:], HERE))
