"""The programs of a bundle: `python -m PACKAGE [chat|embed|doctor|bench] [OPTIONS]`.

Where none is named: chat, or embed where the model makes embeddings.
"""

import importlib
import os
import sys

from . import FOLDER

PROGRAMS = ("bench", "chat", "doctor", "embed")


def main(arguments):
    named = bool(arguments) and arguments[0] in PROGRAMS
    usual = "embed" if os.path.exists(os.path.join(FOLDER, "embed.py")) else "chat"
    program = arguments[0] if named else usual
    module = importlib.import_module(".edgebit_runtime." + program, __package__)
    return module.main(arguments[named:], FOLDER)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
