"""The home-assistant scripts import their packages by the folder they lie in; so do these tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "home_assistant"))
