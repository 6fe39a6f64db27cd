"""What a compilation may be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgebit.compiler.head import FullHead, HeadForm


@dataclass(frozen=True)
class CompileOptions:
    """``context``: tokens, rounded up to a multiple of 16; None: what the model was trained for. ``form``:
    how the lm_head is kept. ``kv``: element type of the KV cache, "f16" or "int8". ``tokens``: a vocabulary
    of these only, numbered anew, to look at hidden states.
    """

    context: int | None = None
    form: HeadForm = field(default_factory=FullHead)
    kv: str = "f16"
    tokens: Sequence[int] | None = None
