"""`edgebit run`: one answer of a bundle on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgebit.commands.console import ERR
from edgebit.errors import UsageError
from edgebit.runtime.embed import as_json
from edgebit.runtime.engine import TASK_EMBED

_USUAL: dict[str, Any] = {  # the defaults below
    "max_tokens": None,
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "seed": 0,
    "stop": [],
    "speculate": True,
}


def run_command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    prompt: Annotated[str, typer.Argument(help="What to say to the model, or the text to embed.")],
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer, in tokens.", show_default="until it is done")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    top_k: Annotated[int, typer.Option(min=0, help="0 is all tokens.")] = 0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    min_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least probability, as a part of the likeliest token's.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same answer, on every device.")] = 0,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Instruction in front of the conversation.")
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="End the answer before this; may be repeated.", show_default=False),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, show_default="the CPUs worth using")] = None,
    no_speculation: Annotated[
        bool, typer.Option("--no-speculation", help="Never try several tokens at once; the text is the same.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text, without the chat format.")] = False,
) -> None:
    """Print the model's answer to one prompt, and its speed.

    Of a model that makes embeddings: the embedding of the text, a list of numbers in JSON.
    """
    import edgebit

    sampling: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "seed": seed,
        "stop": stop or [],
        "speculate": not no_speculation,
    }
    if raw and system is not None:
        raise UsageError("--raw continues a text without the chat format, --system is of the chat format")
    with edgebit.load(bundle, threads) as model:
        if model.info.task == TASK_EMBED:
            if raw or system is not None or sampling != _USUAL:
                raise UsageError(f"{bundle}: makes embeddings, options of answers are not for it")
            typer.echo(as_json(model.embed([prompt])[0]))
            return
        before = [] if system is None else [{"role": "system", "content": system}]
        pieces = (
            model.generate(prompt, **sampling)
            if raw
            else model.chat([*before, {"role": "user", "content": prompt}], **sampling)
        )
        for piece in pieces:
            typer.echo(piece, nl=False)
        typer.echo()
        ERR.print(str(model.stats), style="dim", markup=False, soft_wrap=True)
