"""The `edgebit` command: each subcommand is one file of edgebit.commands and a thin call of the library."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TextIO

import typer

from edgebit.commands.bench import bench_command
from edgebit.commands.chat import CONTEXT_SETTINGS, chat_command
from edgebit.commands.compile import compile_command
from edgebit.commands.doctor import doctor_command
from edgebit.commands.export import export_command
from edgebit.commands.inspect import inspect_command
from edgebit.commands.quantize import quantize_command
from edgebit.commands.run import run_command
from edgebit.commands.targets import targets_command
from edgebit.errors import EdgebitError
from edgebit.runtime.errors import RuntimeModelError
from edgebit.version import VERSION

app = typer.Typer(
    name="edgebit",
    help="Compile BitNet b1.58 ternary language models into bundles that run by themselves on a device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("compile")(compile_command)
app.command("export")(export_command)
app.command("quantize")(quantize_command)
app.command("run")(run_command)
app.command("chat", context_settings=CONTEXT_SETTINGS)(chat_command)
app.command("bench")(bench_command)
app.command("doctor")(doctor_command)
app.command("inspect")(inspect_command)
app.command("targets")(targets_command)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgebit {VERSION}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Compile BitNet b1.58 ternary language models into bundles that run by themselves on a device."""


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Warnings of edgebit are for the person, one line each; those of libraries are for developers."""
    if category.__module__.startswith("edgebit"):
        typer.echo(f"edgebit: warning: {message}", err=True)


def main() -> None:
    """Entry point: an error is one line on stderr and exit code 1; EDGEBIT_DEBUG=1 shows where."""
    debug = bool(os.environ.get("EDGEBIT_DEBUG"))
    if not debug:
        warnings.showwarning = show_warning
    try:
        with without_torch(), ending_on_signals():
            app()
    except Exception as error:
        if debug:
            raise
        expected = isinstance(error, (EdgebitError, RuntimeModelError))
        typer.echo(f"edgebit: {error if expected else internal_error(error)}", err=True)
        sys.exit(1)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does, by an exception: what is half written goes."""

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for number, handler in former.items():
            if handler is signal.SIG_DFL:  # nohup ignores SIGHUP
                signal.signal(number, leave)
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def without_torch() -> Iterator[None]:
    """No command needs torch. TVM imports it where it is installed, which takes longer than importing TVM."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        yield
    finally:
        del sys.modules["torch"]


def internal_error(error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    return f"internal error, please report it: {type(error).__name__}: {reason} (EDGEBIT_DEBUG=1 shows where)"
