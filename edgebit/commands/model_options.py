"""Options of every command that opens a model: what its file leaves out."""

from __future__ import annotations

from typing import Annotated

import typer

I2sBlock = Annotated[
    int | None,
    typer.Option(
        "--i2s-block", help="GGUF of type I2_S: 64 if the file was written on ARM.", show_default="128"
    ),
]
ModelFamily = Annotated[
    str | None,
    typer.Option(
        help="GGUF: what the layers are, bitnet (with sub-norms) or llama.", show_default="as the file says"
    ),
]
Pooling = Annotated[
    str | None,
    typer.Option(
        help="The model makes embeddings of this token's or these tokens' states: last or mean.",
        show_default="as the files say",
    ),
]
ActivationQuantization = Annotated[
    str | None,
    typer.Option(
        help="Float weights that are ternary, without a config that says more: none or int8.",
        show_default="none",
    ),
]
Activation = Annotated[
    str | None,
    typer.Option(
        help="GGUF that does not name one: relu2 or silu in the feed-forward.", show_default="by architecture"
    ),
]
