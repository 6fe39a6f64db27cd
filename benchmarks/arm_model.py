"""Predicted speed on ARM boards: ``python -m benchmarks.arm_model [--json]``.

Executed instructions are counted under emulation, turned into cycles by llvm-mca and set against the
published memory bandwidth of the boards. The assumptions are printed with the figures. Takes some minutes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.arm.boards import ASSUMPTIONS, BOARDS, PROCESSORS, Prediction, Work, predict
from benchmarks.arm.cycles import Core
from benchmarks.arm.emulate import Emulator
from benchmarks.arm.measure import (
    PROMPT,
    TokenWork,
    compile_for_arm,
    measure,
    small_models,
    total,
    whole_model,
)
from edgebit.commands.console import OUT, StageDisplay, size_text
from edgebit.errors import EdgebitError

BUILTIN, SYNTHETIC = "built-in", "2b4t"
Measured = Mapping[str, Mapping[str, TokenWork]]  # model, tier


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


def predictions(measured: Measured) -> Iterator[Prediction]:
    for model, tiers in measured.items():
        for board in BOARDS:
            work = tiers[board.processor.tier]
            for phase, tokens in (("decode", work.decode), ("prefill", work.prefill)):
                for threads in (1, board.cores):
                    yield predict(board, model, phase, tokens, threads)


def as_json(measured: Measured) -> dict[str, Any]:
    return {
        "assumptions": list(ASSUMPTIONS),
        "context": PROMPT,
        "work": {
            model: {tier: asdict(work) for tier, work in tiers.items()} for model, tiers in measured.items()
        },
        "predictions": [asdict(one) for one in predictions(measured)],
    }


def print_tables(measured: Measured) -> None:
    for model, tiers in measured.items():
        for tier, work in tiers.items():
            OUT.print(
                _work_table(f"{model}, {tier}: one decoded token at a context of {PROMPT}", work.decode)
            )
            OUT.print(_work_table(f"{model}, {tier}: one token of a prompt of {PROMPT}", work.prefill))
    table = Table("board", "model", "threads", "decode tokens/s", "prefill tokens/s", title="Predicted")
    rows: dict[tuple[str, str, int], list[str]] = {}
    for one in predictions(measured):
        rows.setdefault((one.board, one.model, one.threads), []).append(
            f"{_speed(one.low)} – {_speed(one.high)}"
        )
    for (board, model, threads), cells in rows.items():
        table.add_row(board, model, str(threads), *cells)
    OUT.print(table)
    for assumption in ASSUMPTIONS:
        OUT.print(f"* {assumption}", soft_wrap=True)


def _speed(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _work_table(title: str, work: Sequence[Work]) -> Table:
    table = Table(title=title)
    table.add_column("kernel")
    table.add_column("place")
    for heading in ("calls", "instructions", "SIMD", "cycles", "weights"):
        table.add_column(heading, justify="right")
    ordered = sorted(work, key=lambda one: -one.instructions)
    for one in [*ordered, total(work)]:
        table.add_row(one.kernel, one.label, *_cells(one))
    return table


def _cells(one: Work) -> tuple[str, ...]:
    share = one.simd / one.instructions if one.instructions else 0.0
    return (
        f"{one.calls:.3g}",
        f"{one.instructions:,.0f}",
        f"{share:.0%}",
        f"{one.cycles:,.0f}",
        size_text(round(one.weight_bytes)),
    )


def arm_model(as_json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Predict the speed on ARM boards from counted instructions."""
    with TemporaryDirectory(prefix="edgebit-arm-") as folder, StageDisplay() as display:
        measured = measure_all(display, Path(folder))
    if as_json_:
        print(json.dumps(as_json(measured), indent=2))
    else:
        print_tables(measured)


def main() -> None:
    """An error is one line on stderr and exit code 1."""
    try:
        typer.run(arm_model)
    except EdgebitError as error:
        typer.echo(f"arm_model: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
