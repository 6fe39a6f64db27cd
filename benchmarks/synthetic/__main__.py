"""``python -m benchmarks.synthetic 2b4t DIR``: a random checkpoint of a real model's architecture."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from benchmarks.synthetic.architecture import ARCHITECTURES, BYTES, SPECIAL_TOKENS
from benchmarks.synthetic.writer import write_checkpoint
from edgebit.commands.console import OUT, StageDisplay, size_text
from edgebit.errors import EdgebitError, UsageError


def synthetic(
    model: Annotated[str, typer.Argument(help=f"Architecture: {', '.join(ARCHITECTURES)}.")],
    folder: Annotated[Path, typer.Argument(help="Checkpoint folder to write.")],
    layers: Annotated[int | None, typer.Option(min=1, help="Layers.", show_default="the model's")] = None,
    vocab: Annotated[
        int | None,
        typer.Option(
            min=BYTES + SPECIAL_TOKENS,
            help=f"Tokens, {SPECIAL_TOKENS} special ones included.",
            show_default="the model's",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Write a checkpoint of a model's exact architecture with random weights and a tokenizer of its size."""
    if model not in ARCHITECTURES:
        raise UsageError(f"architecture {model!r} is unknown; known are {', '.join(ARCHITECTURES)}")
    known = ARCHITECTURES[model]
    wanted = replace(
        known, num_hidden_layers=layers or known.num_hidden_layers, vocab_size=vocab or known.vocab_size
    )
    with StageDisplay() as display:
        write_checkpoint(folder, wanted, seed, display)
    size = sum(path.stat().st_size for path in folder.iterdir())
    OUT.print(f"{folder}: {size_text(size)} in {display.seconds:.1f} s", markup=False, soft_wrap=True)


def main() -> None:
    """An error is one line on stderr and exit code 1."""
    try:
        typer.run(synthetic)
    except EdgebitError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'writing failed'}: {error.strerror or error}")


def fail(reason: str) -> NoReturn:
    typer.echo(f"benchmarks.synthetic: {reason}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
