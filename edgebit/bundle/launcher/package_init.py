"""A language model compiled by edgebit, as a package: what it is and for whom stands in README.md here.

Here `model` stands for the name of this package:

    import model

    with model.load() as opened:
        for piece in opened.chat([{"role": "user", "content": "Turn on the kitchen light"}]):
            print(piece, end="", flush=True)

`python -m model` is a conversation in the terminal, `python -m model doctor` checks the model on this machine
and `python -m model bench` measures it.
"""

import os

from .edgebit_runtime import ContextFullError, IntegrityError, Model, RuntimeModelError
from .edgebit_runtime import load as _load

__all__ = ["FOLDER", "ContextFullError", "IntegrityError", "Model", "RuntimeModelError", "load"]

FOLDER = os.path.dirname(os.path.abspath(__file__))


def load(threads=None, verify=False):
    """Opens the model. threads None: one for each CPU worth using; verify: check the largest files too."""
    return _load(FOLDER, threads, verify)
