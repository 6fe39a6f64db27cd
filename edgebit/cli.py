"""The `edgebit` command: each subcommand is one file of edgebit.commands and a thin call of the library."""

from __future__ import annotations

import os
import sys

import typer

from edgebit.errors import EdgebitError
from edgebit.version import VERSION

app = typer.Typer(
    name="edgebit",
    help="Compile BitNet b1.58 ternary language models into bundles that run by themselves on a device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgebit {VERSION}")
        raise typer.Exit()


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=print_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Options of all commands."""


def main() -> None:
    """Entry point: an EdgebitError is one line on stderr and exit 1; EDGEBIT_DEBUG=1 shows the traceback."""
    try:
        app()
    except EdgebitError as error:
        if os.environ.get("EDGEBIT_DEBUG"):
            raise
        typer.echo(f"edgebit: {error}", err=True)
        sys.exit(1)
