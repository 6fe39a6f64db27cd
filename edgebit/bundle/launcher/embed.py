#!/usr/bin/env python3
"""Embed texts with the model in this folder: python3 embed.py [TEXT ...]."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True  # the folder stays as it was delivered
sys.path.insert(0, HERE)

from edgebit_runtime.embed import main  # noqa: E402 - the line above makes it importable

sys.exit(main(sys.argv[1:], HERE))
