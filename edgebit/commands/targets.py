"""`edgebit targets`: what can be compiled for."""

from __future__ import annotations

from rich.table import Table

from edgebit.commands.console import OUT
from edgebit.compiler.target import host_target, known_targets
from edgebit.errors import TargetError


def targets_command() -> None:
    """List the targets bundles can be compiled for."""
    try:
        host = host_target().name
    except TargetError:
        host = ""
    table = Table(box=None, pad_edge=False)
    for heading in ("Target", "Tiers, best first", "Devices"):
        table.add_column(heading)
    for name, target in known_targets().items():
        mark = " (host)" if name == host else ""
        table.add_row(f"{name}{mark}", ", ".join(target.tiers), target.description)
    OUT.print(table)
