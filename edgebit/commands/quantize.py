"""`edgebit quantize`: floats that are ternary into the packed layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgebit.commands.console import OUT, StageDisplay, size_text
from edgebit.commands.model_options import ActivationQuantization


def quantize_command(
    model: Annotated[
        str, typer.Argument(help="Checkpoint folder or Hugging Face repo id with ternary values as floats.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the packed checkpoint.")],
    activation_quantization: ActivationQuantization = None,
) -> None:
    """Pack a checkpoint whose float weights are ternary into two bits a weight, with the scales it has.

    A model whose weights are not ternary is refused with the error that packing it would make.
    """
    import edgebit
    from edgebit.model import Overrides

    with StageDisplay() as display:
        overrides = Overrides(activation_quantization=activation_quantization)
        packed = edgebit.quantize(model, output, display, overrides)
    scales = ", ".join(f"{count} by {kind}" for kind, count in sorted(packed.granularities.items()))
    sizes = f"{size_text(packed.size)} instead of {size_text(packed.former_size)}"
    OUT.print(f"{packed.folder}: {sizes}; scales: {scales}", markup=False, soft_wrap=True)
    OUT.print(f"compile it: edgebit compile {packed.folder}", markup=False, soft_wrap=True)
