"""`python -m PACKAGE [chat|doctor|bench] [OPTIONS]`: the programs of a bundle; chat where none is named."""

import importlib
import sys

from . import FOLDER

PROGRAMS = ("bench", "chat", "doctor")


def main(arguments):
    named = bool(arguments) and arguments[0] in PROGRAMS
    program = arguments[0] if named else "chat"
    module = importlib.import_module(".edgebit_runtime." + program, __package__)
    return module.main([FOLDER] + arguments[named:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
