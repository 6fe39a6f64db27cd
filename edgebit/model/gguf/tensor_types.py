"""The tensor types of ggml by their number in a file: those edgebit reads, and what to do about the others.

Numbers are those of ggml.h, 36 to 39 also those of Microsoft's bitnet.cpp, which took numbers that ggml had
given up or gives to another type today (39: TL2 there, MXFP4 in ggml).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from edgebit.model.tensor_files import FLOAT_DTYPES


@dataclass(frozen=True)
class TensorType:
    """``block`` values in a row are stored together in ``size`` bytes; ``trailer`` bytes end the tensor.

    ``block`` divides a row, of I2_S, which knows no rows, the whole tensor.
    """

    name: str
    block: int
    size: int
    trailer: int = 0

    def bytes(self, shape: tuple[int, ...]) -> int | None:
        """The bytes of a tensor of ``shape``, None where its values do not fill whole blocks."""
        values = prod(shape)
        if (values if self.trailer else shape[-1]) % self.block:
            return None
        return values // self.block * self.size + self.trailer


I2_S = "I2_S"
TQ1_0 = "TQ1_0"
TQ2_0 = "TQ2_0"
Q2_0 = "Q2_0"
Q2_0_OF_128 = "Q2_0 of 128"
PQ2_0 = "PQ2_0"
PTQ1_0 = "PTQ1_0"
TERNARY_TYPES = (I2_S, TQ1_0, TQ2_0)
GROUP_TYPES = (Q2_0, Q2_0_OF_128, PQ2_0, PTQ1_0)
TABLE_TYPES = (*FLOAT_DTYPES, "Q8_0", "Q6_K", Q2_0, Q2_0_OF_128, PQ2_0)

TENSOR_TYPES: Mapping[int, TensorType] = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    8: TensorType("Q8_0", 32, 34),
    14: TensorType("Q6_K", 256, 210),
    30: TensorType("BF16", 1, 2),
    34: TensorType(TQ1_0, 256, 54),
    35: TensorType(TQ2_0, 256, 66),
    36: TensorType(I2_S, 128, 32, trailer=32),
    42: TensorType(Q2_0, 64, 18),
    142: TensorType(PQ2_0, 128, 34),
    143: TensorType(PTQ1_0, 128, 28),
}
# What files of PrismML hold under a number of another type; only the bytes between tensors tell.
LEGACY_TYPES: Mapping[int, TensorType] = {42: TensorType(Q2_0_OF_128, 128, 34)}


def tensor_type(name: str) -> TensorType:
    """The type of that name."""
    return next(kind for kind in (*TENSOR_TYPES.values(), *LEGACY_TYPES.values()) if kind.name == name)


_FOR_ONE_BUILD = (
    "is laid out for one build of bitnet.cpp on one kind of processor; take the I2_S file of the same model, "
    "or its safetensors"
)
_NOT_TERNARY = (
    "holds more than three values; ternary weights come as "
    f"{', '.join((*TERNARY_TYPES, Q2_0))} (llama-quantize makes TQ2_0) or as floats"
)

_REFUSED: Mapping[int, tuple[str, str]] = {
    37: ("I8_S", _NOT_TERNARY),
    38: ("TL1", _FOR_ONE_BUILD),
    39: ("TL2 or MXFP4", f"as TL2 {_FOR_ONE_BUILD}"),
}
# By their numbers from 0 on, "-" where ggml gave a number up.
_OTHERS = (
    "F32 F16 Q4_0 Q4_1 - - Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S "
    "IQ4_NL IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M BF16 - - - TQ1_0 TQ2_0 - - - - NVFP4 Q1_0"
).split()


def refusal(number: int) -> str:
    """The end of a sentence that begins with the tensor: why its type is not read, and the way out."""
    if number in _REFUSED:
        name, reason = _REFUSED[number]
        return f"is of type {name}, which {reason}"
    if number < len(_OTHERS) and _OTHERS[number] != "-":
        return f"is of type {_OTHERS[number]}, which {_NOT_TERNARY}"
    known = ", ".join(kind.name for kind in TENSOR_TYPES.values())
    return f"is of type {number}, which edgebit does not know; it reads {known}"
