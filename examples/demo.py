"""Compile the built-in model for this machine and let it answer three commands: `make demo`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import edgebit
from edgebit.commands.console import StageDisplay

COMMANDS = (
    "turn on the kitchen light",
    "dim the bedroom lamp to 40 percent",
    "set the living room thermostat to 21 degrees",
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print("compiling the built-in model for this machine")
        with StageDisplay() as display:
            bundle = edgebit.compile(output=Path(folder) / "home_assistant", progress=display)
        size = sum(path.stat().st_size for path in bundle.rglob("*"))
        print(f"bundle: {size / 1e6:.1f} MB in {display.seconds:.1f} s\n")
        with edgebit.load(bundle) as model:
            for command in COMMANDS:
                answer = "".join(model.chat([{"role": "user", "content": command}]))
                json.loads(answer)  # a command is answered with JSON and nothing else
                print(f"> {command}\n{answer}\n  {model.stats}\n")


if __name__ == "__main__":
    main()
