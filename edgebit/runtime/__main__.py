"""`python -m edgebit_runtime [BUNDLE]`: the terminal chat; inside a bundle the folder is known."""

from __future__ import annotations

import sys
from pathlib import Path

from .chat import main
from .integrity import MANIFEST

HERE = Path(__file__).resolve().parent.parent

inside_a_bundle = (HERE / MANIFEST).exists()
sys.exit(main(sys.argv[1:], str(HERE) if inside_a_bundle else None))
