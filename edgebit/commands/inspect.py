"""`edgebit inspect`: what a bundle or a model consists of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from edgebit.commands.console import OUT, size_text
from edgebit.commands.model_options import Activation, ActivationQuantization, I2sBlock, ModelFamily, Pooling
from edgebit.errors import UsageError

if TYPE_CHECKING:
    from edgebit.inspection import Report


def inspect_command(
    source: Annotated[
        str | None,
        typer.Argument(
            help="Bundle, checkpoint folder, .gguf file, repo id or .onnx file; none: the built-in model."
        ),
    ] = None,
    i2s_block: I2sBlock = None,
    model_family: ModelFamily = None,
    activation: Activation = None,
    pooling: Pooling = None,
    activation_quantization: ActivationQuantization = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show layers, bytes per part, tiers and the memory needed."""
    from edgebit.bundle import is_bundle
    from edgebit.inspection import inspect_bundle, inspect_graph
    from edgebit.model import Overrides

    overrides = Overrides(i2s_block, model_family, activation, pooling, activation_quantization)
    if source is not None and is_bundle(Path(source)):
        if overrides.describe():
            raise UsageError(
                f"{source}: {', '.join(overrides.describe())} is for checkpoints, not for bundles"
            )
        report = inspect_bundle(Path(source))
    else:
        from edgebit.pipeline import open_graph

        report = inspect_graph(open_graph(source, overrides))
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        show(report)


def show(report: Report) -> None:
    facts = Table(box=None, show_header=False, pad_edge=False)
    for key, value in report.facts.items():
        facts.add_row(key.replace("_", " "), str(value))
    parts = Table(box=None, pad_edge=False)
    parts.add_column("Part")
    parts.add_column("Number", justify="right")
    parts.add_column("Bytes", justify="right")
    parts.add_column("Size", justify="right")
    for part in report.parts:
        parts.add_row(part.name, str(part.count), str(part.size), size_text(part.size))
    parts.add_row("total", "", str(report.size), size_text(report.size), style="bold")
    memory = Table(box=None, pad_edge=False)
    memory.add_column("Memory needed")
    memory.add_column("Bytes", justify="right")
    memory.add_column("Size", justify="right")
    for key, size in report.memory.items():
        memory.add_row(key.replace("_", " "), str(size), size_text(size))
    for table in (facts, parts, memory):
        OUT.print(table)
        OUT.print()
