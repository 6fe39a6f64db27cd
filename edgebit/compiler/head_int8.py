"""An embedding table as int8 rows with one scale each: the lossy head.

Sections: ``table`` u8 [V][width], code = value + 128 (padding columns hold 128); ``scales`` f32 [V], the
largest magnitude of a row / 127.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from edgebit.compiler.weights import Array, Chunks, bfloat16_rows, pad

_LARGEST = 127
_ROW_BLOCK = 1024  # rows converted at a time

F32 = npt.NDArray[np.float32]


def int8_sections(
    name: str, rows: int, columns: int, data: Callable[[], Array]
) -> dict[str, tuple[int, Chunks]]:
    """Size and producer of both sections of a table [V][H], which ``data`` maps, by their names in plan.h.
    Refuses what `bfloat16_rows` refuses.
    """
    width = pad(columns)

    def blocks() -> Iterator[F32]:
        table = data()
        for first in range(0, rows, _ROW_BLOCK):
            bits = bfloat16_rows(name, np.asarray(table[first : first + _ROW_BLOCK]), first)
            yield (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)

    def table() -> Iterator[bytes]:
        for values in blocks():
            scale = _scales(values)
            divisor = np.where(scale > 0, scale, np.float32(np.inf))  # a row of zeros
            codes = np.full((len(values), width), 128, np.uint8)
            exact = np.rint(values / divisor[:, None])
            codes[:, :columns] = np.clip(exact, -_LARGEST, _LARGEST) + np.float32(128)
            yield codes.tobytes()

    def scales() -> Iterator[bytes]:
        for values in blocks():
            yield _scales(values).astype("<f4").tobytes()

    return {"table": (rows * width, table), "scales": (rows * 4, scales)}


def _scales(values: F32) -> F32:
    return np.asarray(np.abs(values).max(axis=1) / np.float32(_LARGEST))
