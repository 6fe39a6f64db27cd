"""How an embedding table is stored, read as token embeddings and turned into logits: a class for each form.

The places and kernels of a form are those `native/head.c` asks for (plan.h, ``eb_head``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from edgebit.compiler.head_bounds import GROUP
from edgebit.compiler.head_components import Components
from edgebit.compiler.head_int8 import int8_sections
from edgebit.compiler.head_planes import PlanePacker
from edgebit.compiler.head_s4 import S4Packer
from edgebit.compiler.head_survivors import SurvivorCount
from edgebit.compiler.memory import align
from edgebit.compiler.plan import COUNT, Argument, HeadKind, KernelInstance, Scalar, Space, constant
from edgebit.compiler.sections import Sections
from edgebit.compiler.weights import PADDING, Chunks


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


@dataclass(frozen=True)
class ExactHead:
    """The bfloat16 rows as two lossless planes, of which certified screening reads the first.

    ``count`` is told how every row is screened.
    """

    components: Components
    count: SurvivorCount | None = None

    def embedding(self, sections: Sections, table: Any, width: int) -> EmbeddingKernel:
        places = self._planes(sections, table)
        order = ("plane1", "plane2", "bounds", "escape_index", "escapes", "outliers")
        weights = tuple(Argument(Space.WEIGHTS, places[name]) for name in order)
        scalars = (COUNT, constant(align(width, GROUP) // GROUP), constant(width))
        return EmbeddingKernel(KernelInstance("head_rows"), weights, scalars)

    def logits(self, sections: Sections, table: Any) -> HeadLayout:
        kernels = {"lm_head": "lm_head_rows", "rows": "head_rows", "screen": "head_screen"}
        return HeadLayout(
            HeadKind.EXACT,
            {slot: KernelInstance(name) for slot, name in kernels.items()},
            self._planes(sections, table),
            align(sections.table(table).columns, GROUP),
        )

    def _planes(self, sections: Sections, variable: Any) -> dict[str, int]:
        """Offsets of the sections of the planes, by the names of plan.h."""
        table = sections.table(variable)

        def packed() -> dict[str, tuple[int, Chunks]]:
            source = (table.name, table.rows, table.columns, table.data, self.components)
            return PlanePacker(*source, self.count).sections()

        return sections.weights.add_group(table.name, packed)


@dataclass(frozen=True)
class S4Head:
    """Planes, of which certified screening reads rows that survived codes of 4 bits, kept beside them."""

    planes: ExactHead
    count: SurvivorCount | None = None

    def embedding(self, sections: Sections, table: Any, width: int) -> EmbeddingKernel:
        return self.planes.embedding(sections, table, width)

    def logits(self, sections: Sections, table: Any) -> HeadLayout:
        layout = self.planes.logits(sections, table)
        found = sections.table(table)

        def packed() -> dict[str, tuple[int, Chunks]]:
            source = (found.name, found.rows, found.columns, found.data, self.planes.components)
            return S4Packer(*source, self.count).sections()

        return HeadLayout(
            HeadKind.S4,
            {**layout.kernels, "screen_codes": KernelInstance("head_screen_u4")},
            {**layout.places, **sections.weights.add_group(f"{found.name}.s4", packed)},
            layout.plane_width,
        )


@dataclass(frozen=True)
class Int8Head:
    """int8 rows with one scale each: lossy, for machines that have no room for more."""

    def embedding(self, sections: Sections, table: Any, width: int) -> EmbeddingKernel:
        places = self._rows(sections, table)
        weights = tuple(Argument(Space.WEIGHTS, places[name]) for name in ("table", "scales"))
        return EmbeddingKernel(KernelInstance("embedding_int8"), weights, (COUNT, constant(width // PADDING)))

    def logits(self, sections: Sections, table: Any) -> HeadLayout:
        kernels = {"lm_head": KernelInstance("lm_head_int8"), "quantize": KernelInstance("quantize")}
        return HeadLayout(HeadKind.INT8, kernels, self._rows(sections, table))

    def _rows(self, sections: Sections, variable: Any) -> dict[str, int]:
        table = sections.table(variable)
        made = partial(int8_sections, table.name, table.rows, table.columns, table.data)
        return sections.weights.add_group(table.name, made)
