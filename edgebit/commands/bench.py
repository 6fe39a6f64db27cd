"""`edgebit bench`: the speed of a bundle on this machine, and what the machine would allow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from edgebit.commands.console import ERR, OUT

if TYPE_CHECKING:
    from edgebit.runtime.table import Table as Facts


def bench_command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    threads: Annotated[int | None, typer.Option(show_default="the CPUs worth using")] = None,
    prefill: Annotated[
        int | None, typer.Option(help="Tokens of the prompt.", show_default="128, or what the context holds")
    ] = None,
    decode: Annotated[
        int | None, typer.Option(help="Tokens after it.", show_default="64, or what the context holds")
    ] = None,
    repeat: Annotated[int, typer.Option(help="Repetitions.")] = 5,
    profile: Annotated[bool, typer.Option("--profile", help="Show the time of every kernel.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Measure every number of threads too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure a bundle: speed, memory, and how near decoding comes to the speed of the memory.

    Of a model that embeds texts or runs tensors: the time of a call, and of every step of it with --profile.

    `python3 BUNDLE/bench.py` does the same on the device.
    """
    import json

    from edgebit.runtime.bench import Options, bench

    options = Options(threads, prefill, decode, repeat, profile, sweep)
    with ERR.status("") as status:
        report = bench(bundle, options, status.update)
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
        return
    for table in report.tables():
        show(table)


def show(facts: Facts) -> None:
    table = Table(box=None, pad_edge=False, show_header=any(facts.columns), title_justify="left")
    for i, column in enumerate(facts.columns):
        table.add_column(column, justify="left" if i in facts.left else "right")
    for row in facts.rows:
        table.add_row(*row)
    if facts.title:
        OUT.print(facts.title, style="bold", markup=False)
    OUT.print(table)
    OUT.print()
