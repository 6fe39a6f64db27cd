"""`edgebit compile`: a model into a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from edgebit.commands.console import OUT, StageDisplay, size_text
from edgebit.commands.model_options import Activation, ActivationQuantization, I2sBlock, ModelFamily, Pooling
from edgebit.compiler.target import known_targets
from edgebit.errors import UsageError


def compile_command(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Checkpoint folder, .gguf file, hub repo id or .onnx file; none: the built-in model."
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            help="What to compile for; see `edgebit targets`.",
            autocompletion=lambda: ["host", *known_targets()],
        ),
    ] = "host",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Bundle folder.", show_default="MODEL-TARGET")
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens a conversation can hold.", show_default="all the model knows"),
    ] = None,
    head: Annotated[
        str,
        typer.Option(
            help="How the lm_head is kept: exact (two lossless planes, of which a token reads 40 %), s4 (the "
            "planes and codes of 4 bits, of which a token reads 28 %), full (bfloat16), auto (the one that "
            "pays): the same tokens. int8 is smaller and lossy."
        ),
    ] = "auto",
    kv: Annotated[str, typer.Option(help="KV cache: f16, or int8 of half the size, which is lossy.")] = "f16",
    dim: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SIZE", help=".onnx file of tensors: the size of a named dimension."),
    ] = None,
    wheel: Annotated[
        bool, typer.Option("--wheel", help="Also write a Python wheel beside it: pip installs the model.")
    ] = False,
    i2s_block: I2sBlock = None,
    model_family: ModelFamily = None,
    activation: Activation = None,
    pooling: Pooling = None,
    activation_quantization: ActivationQuantization = None,
) -> None:
    """Compile a model into a bundle: a folder that runs by itself on the target's devices."""
    import edgebit
    from edgebit.model import Overrides

    overrides = Overrides(i2s_block, model_family, activation, pooling, activation_quantization)
    with StageDisplay() as display:
        dims = sizes_of(dim or [])
        bundle = edgebit.compile(model, target, output, context, display, head, kv, overrides, dims)
        package = edgebit.wheel(bundle, progress=display) if wheel else None
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    OUT.print(f"{bundle}: {size_text(size)} in {display.seconds:.1f} s", markup=False, soft_wrap=True)
    for program, use in (("embed.py", "embed texts"), ("chat.py", "talk to it")):
        if (bundle / program).is_file():
            OUT.print(f"{use}: python3 {bundle / program}", markup=False, soft_wrap=True)
    if package is not None:
        OUT.print(f"install it: pip install {package}", markup=False, soft_wrap=True)


def sizes_of(options: Sequence[str]) -> dict[str, int]:
    """The sizes of `--dim NAME=SIZE`. Raises UsageError."""
    sizes: dict[str, int] = {}
    for option in options:
        name, _, size = option.rpartition("=")
        if not name or not size.isascii() or not size.isdigit() or len(size) > 10:
            raise UsageError(f"--dim {option}: expected NAME=SIZE, such as batch=1")
        if name in sizes:
            raise UsageError(f"--dim {name} is there twice")
        sizes[name] = int(size)
    return sizes
