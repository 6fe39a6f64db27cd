"""Predicted speed on ARM boards: ``python -m benchmarks.arm_model [--json] [--results FILE]``.

Executed instructions are counted under emulation, turned into cycles by llvm-mca and set against the
published memory bandwidth of the boards. The assumptions are printed with the figures. Takes some minutes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.arm.boards import ASSUMPTIONS, PROCESSORS
from benchmarks.arm.cycles import Core
from benchmarks.arm.emulate import Emulator
from benchmarks.arm.measure import TokenWork, compile_for_arm, measure, small_models, whole_model
from benchmarks.arm.report import Measured, as_json, markdown, tables
from benchmarks.peer.report import write_results
from edgebit.commands.console import OUT, StageDisplay
from edgebit.errors import EdgebitError

BUILTIN, SYNTHETIC = "built-in", "2b4t"
PROGRAM = "python -m benchmarks.arm_model"


def arm_model(
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    results: Annotated[
        Path | None, typer.Option(help="Markdown file that gets the tables too, such as RESULTS.md.")
    ] = None,
) -> None:
    """Predict the speed on ARM boards from counted instructions."""
    with TemporaryDirectory(prefix="edgebit-arm-") as folder, StageDisplay() as display:
        measured = measure_all(display, Path(folder))
    if results is not None:
        write_results(results, PROGRAM, markdown(measured))
    if as_json_:
        print(json.dumps(as_json(measured), indent=2))
    else:
        print_tables(measured)


def measure_all(display: StageDisplay, work: Path) -> Measured:
    display.stage("emulator")
    emulator = Emulator(work)
    cores = {processor.tier: Core(processor.mcpu) for processor in PROCESSORS}
    display.stage("compile")
    builtin = compile_for_arm(None, work / "builtin-arm64")
    parts = small_models(SYNTHETIC, work)
    measured: dict[str, dict[str, TokenWork]] = {BUILTIN: {}, SYNTHETIC: {}}
    for processor in PROCESSORS:
        display.stage(f"count {processor.tier}")
        core = cores[processor.tier]
        measured[BUILTIN][processor.tier] = measure(builtin, processor, emulator, core)
        measured[SYNTHETIC][processor.tier] = whole_model(SYNTHETIC, processor, emulator, core, parts)
    return measured


def print_tables(measured: Measured) -> None:
    """The prediction last: it is what a reader looks for."""
    prediction, *counts = tables(measured)
    for one in (*counts, prediction):
        table = Table(title=one.title)
        for i, heading in enumerate(one.rows[0]):
            table.add_column(heading, justify="left" if i < one.names else "right")
        for row in one.rows[1:]:
            table.add_row(*row)
        OUT.print(table)
    for assumption in ASSUMPTIONS:
        OUT.print(f"* {assumption}", soft_wrap=True)


def main() -> None:
    """An error is one line on stderr and exit code 1."""
    try:
        typer.run(arm_model)
    except EdgebitError as error:
        typer.echo(f"arm_model: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
