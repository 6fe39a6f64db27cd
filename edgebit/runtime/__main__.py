"""`python -m edgebit_runtime [BUNDLE]`: the terminal chat; inside a bundle the folder is known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List

from .chat import main
from .integrity import MANIFEST

HERE = Path(__file__).resolve().parent.parent


def arguments() -> List[str]:
    inside_a_bundle = (HERE / MANIFEST).exists()
    return [str(HERE), *sys.argv[1:]] if inside_a_bundle else sys.argv[1:]


sys.exit(main(arguments()))
