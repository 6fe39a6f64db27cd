"""`edgebit targets`: what can be compiled for."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from edgebit.commands.console import OUT
from edgebit.compiler.target import Target, host_target, known_targets, load_target
from edgebit.errors import TargetError


def targets_command(
    target: Annotated[
        str | None, typer.Argument(help="Explain this one: a name, or a .toml file.", show_default="all")
    ] = None,
) -> None:
    """List the targets bundles can be compiled for, or explain one."""
    OUT.print(table_of_all() if target is None else explanation(load_target(target)))


def table_of_all() -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("Target", "Tiers, best first", "libc", "Devices"):
        table.add_column(heading)
    host = host_name()
    for name, target in known_targets().items():
        mark = " (host)" if name == host else ""
        table.add_row(f"{name}{mark}", ", ".join(target.tiers), target.libc, target.description)
    return table


def explanation(target: Target) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in (
        ("target", target.name),
        ("devices", target.description),
        ("inherits from", ", ".join(target.inherits)),
        ("architecture", f"{target.architecture}, in Python {' or '.join(target.machines)}"),
        ("tiers, best first", ", ".join(target.tiers)),
        ("scheduled for", target.tune or "no processor in particular"),
        ("threads", target.threads),
        ("libc", f"{target.libc} ({target.zig_target})"),
        ("pages", f"up to {target.page_size // 1024} KB"),
        ("wheel tag", target.wheel_tag),
        ("compile for it", f"edgebit compile MODEL --target {target.name}"),
    ):
        if value:
            table.add_row(name, value)
    return table


def host_name() -> str:
    try:
        return host_target().name
    except TargetError:
        return ""
