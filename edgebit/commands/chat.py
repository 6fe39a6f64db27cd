"""`edgebit chat`: the terminal conversation that also travels in the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def chat_command(bundle: Annotated[Path, typer.Argument(help="Bundle folder.")]) -> None:
    """Talk to a bundle in the terminal, as `python3 BUNDLE/chat.py` does on the device."""
    from edgebit.runtime.chat import main

    raise typer.Exit(main([str(bundle)]))
