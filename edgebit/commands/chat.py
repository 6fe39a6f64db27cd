"""`edgebit chat`: the terminal conversation that also travels in the bundle."""

from __future__ import annotations

from typing import Annotated

import typer

CONTEXT_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def chat_command(
    context: typer.Context, bundle: Annotated[str, typer.Argument(help="Bundle folder.")]
) -> None:
    """Talk to a bundle in the terminal, as `python3 BUNDLE/chat.py` on the device; takes its options too."""
    from edgebit.runtime.chat import main

    raise typer.Exit(main([bundle, *context.args]))
