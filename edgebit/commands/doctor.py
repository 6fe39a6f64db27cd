"""`edgebit doctor`: does a bundle work on this machine."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor_command(
    bundle: Annotated[str, typer.Argument(help="Bundle folder.")],
    tier: Annotated[
        list[str] | None,
        typer.Option(help="Test these kernels only; may be repeated.", show_default="all the CPU can run"),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Test with so many only.", show_default="with one and with all"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Check files, machine and memory, and run the self-test, as `python3 BUNDLE/doctor.py` on the device."""
    from edgebit.runtime.doctor import main

    options = [word for name in tier or () for word in ("--tier", name)]
    options += ["--threads", str(threads)] if threads else []
    raise typer.Exit(main([bundle, *options, *(["--json"] if as_json else [])]))
