"""`edgebit chat`: the terminal conversation that also travels in the bundle."""

from __future__ import annotations

import typer

CONTEXT_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def chat_command(context: typer.Context) -> None:
    """Talk to a bundle in the terminal, as `python3 BUNDLE/chat.py` on the device.

    `edgebit chat --help` lists its options.
    """
    from edgebit.runtime.chat import main

    raise typer.Exit(main(context.args))
