"""`edgebit export`: a model as an ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgebit.commands.console import OUT, StageDisplay
from edgebit.commands.model_options import Activation, ActivationQuantization, I2sBlock, ModelFamily, Pooling


def export_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the graph.")],
    model: Annotated[
        str | None,
        typer.Argument(help="Checkpoint folder or Hugging Face repo id; none: the built-in model."),
    ] = None,
    flavor: Annotated[
        str,
        typer.Option(
            help="edgebit: exact. matmulnbits: onnxruntime's fast operator of two bits, which rounds "
            "activations once more."
        ),
    ] = "edgebit",
    i2s_block: I2sBlock = None,
    model_family: ModelFamily = None,
    activation: Activation = None,
    pooling: Pooling = None,
    activation_quantization: ActivationQuantization = None,
) -> None:
    """Write a model as an ONNX graph that plain onnxruntime runs and `edgebit compile` takes."""
    import edgebit
    from edgebit.model import Overrides

    with StageDisplay() as display:
        overrides = Overrides(i2s_block, model_family, activation, pooling, activation_quantization)
        path = edgebit.export(model, output, display, overrides, flavor)
    OUT.print(f"{path}: written in {display.seconds:.1f} s", markup=False, soft_wrap=True)
