"""How an embedding table is stored, read as token embeddings and turned into logits: a class for each form.

The places and kernels of a form are those `native/head.c` asks for (plan.h, ``eb_head``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edgebit.compiler.plan import COUNT, Argument, HeadKind, KernelInstance, Scalar, constant
from edgebit.compiler.sections import Sections


@dataclass(frozen=True)
class EmbeddingKernel:
    """The kernel that writes the rows of tokens, and what it takes between the tokens and the output."""

    kernel: KernelInstance
    weights: tuple[Argument, ...]
    scalars: tuple[Scalar, ...]


@dataclass(frozen=True)
class HeadLayout:
    """What `plan.Head` needs beside the place of the hidden states."""

    kind: HeadKind
    kernels: Mapping[str, KernelInstance]
    places: Mapping[str, int]
    plane_width: int = 0


class HeadForm(Protocol):
    """A table of the graph, a variable ``[V, H]`` of the fused function, as this form keeps it."""

    def embedding(self, sections: Sections, table: Any, width: int) -> EmbeddingKernel:
        """Rows of ``width`` floats (a multiple of 64)."""
        ...

    def logits(self, sections: Sections, table: Any) -> HeadLayout: ...


@dataclass(frozen=True)
class FullHead:
    """bfloat16 rows, all of which every logits computation reads."""

    def embedding(self, sections: Sections, table: Any, width: int) -> EmbeddingKernel:
        rows = sections.bfloat16_rows(table)
        return EmbeddingKernel(KernelInstance("embedding"), (rows,), (COUNT, constant(width // 16)))

    def logits(self, sections: Sections, table: Any) -> HeadLayout:
        places = {"table": sections.bfloat16_rows(table).offset}
        return HeadLayout(HeadKind.FULL, {"lm_head": KernelInstance("lm_head")}, places)
