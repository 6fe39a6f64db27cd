#!/usr/bin/env python3
"""Embed texts with the model in this folder: python3 embed.py [TEXT ...]."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True  # the folder stays as it was delivered
sys.path.insert(0, HERE)

try:
    from edgebit_runtime.embed import main
except Exception as error:  # whatever a missing or damaged file of the loader, or an old Python, does
    sys.stderr.write(
        "edgebit: edgebit_runtime/ does not load: %s; it takes Python 3.8 and all its files\n" % error
    )
    sys.exit(1)

sys.exit(main(sys.argv[1:], HERE))
