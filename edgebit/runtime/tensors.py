"""Inputs and outputs of a graph as Python has them: buffers, numbers, lists of numbers; numpy arrays too.

Nothing is imported for it: whatever offers the buffer protocol is taken as it lies in memory.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from .errors import RuntimeModelError

FORMATS: Dict[str, str] = {
    "float32": "f",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "bool": "?",
}
"""Codes of the struct module, in the order of enum eb_dtype."""

_KINDS = {
    **dict.fromkeys("bhilqn", "i"),
    **dict.fromkeys("BHILQN", "u"),
    "f": "f",
    "d": "f",
    "?": "?",
}


@dataclass(frozen=True)
class TensorInfo:
    """One input or output: its name in the graph, its element type, its fixed shape."""

    name: str
    dtype: str
    shape: Tuple[int, ...]

    @property
    def count(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def item_bytes(self) -> int:
        return array(FORMATS[self.dtype]).itemsize if self.dtype != "bool" else 1

    @property
    def size(self) -> int:
        return self.count * self.item_bytes

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def to_bytes(value: Any, info: TensorInfo) -> bytes:
    """The bytes of an input. Raises RuntimeModelError naming it and what it should be."""
    try:
        view = memoryview(value)
    except TypeError:
        return _of_numbers(value, info)
    is_raw = view.format == "B" and view.ndim == 1 and isinstance(value, (bytes, bytearray))
    if not is_raw:
        kinds = [(_KINDS.get(code), size) for code, size in ((view.format[-1:], view.itemsize), _own(info))]
        swapped = view.format[:1] in ((">", "!") if sys.byteorder == "little" else ("<",))
        if kinds[0] != kinds[1] or (swapped and view.itemsize > 1):
            raise RuntimeModelError(
                f"input {info.name} has elements of format {view.format!r}, {view.itemsize} bytes each: "
                f"expected {info}"
            )
    shaped = view.ndim > 1 and tuple(view.shape or ()) != info.shape
    if view.nbytes != info.size or shaped:
        found = f"{view.nbytes} bytes" if is_raw else f"shape {list(view.shape or ())}"
        raise RuntimeModelError(f"input {info.name} has {found}: expected {info}, {info.size} bytes")
    return view.tobytes()


def _own(info: TensorInfo) -> Tuple[str, int]:
    return FORMATS[info.dtype], info.item_bytes


def _of_numbers(value: Any, info: TensorInfo) -> bytes:
    if info.shape and not isinstance(value, (list, tuple)):
        raise RuntimeModelError(
            f"input {info.name} is of type {type(value).__name__}: expected {info} as numbers in lists, "
            "as bytes, or as what offers its buffer, such as a numpy array"
        )
    shape: List[int] = []
    level = value
    while isinstance(level, (list, tuple)):
        shape.append(len(level))
        level = level[0] if level else None
    if shape != list(info.shape) and shape != [info.count]:
        raise RuntimeModelError(f"input {info.name} has shape {shape}: expected {info}")
    try:
        numbers = list(_flat(value))
        if len(numbers) != info.count:
            raise RuntimeModelError(f"input {info.name} has {len(numbers)} numbers: expected {info}")
        if info.dtype == "bool":
            return bytes(bool(number) for number in numbers)
        return array(FORMATS[info.dtype], numbers).tobytes()
    except (TypeError, ValueError, OverflowError) as error:
        raise RuntimeModelError(f"input {info.name} holds what is no {info.dtype}: {error}") from error


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def as_view(data: bytearray, info: TensorInfo) -> memoryview[Any]:
    """An output: ``tolist()`` gives nested lists, of a scalar its number, ``numpy.asarray`` an array on the
    same memory.
    """
    view: Any = memoryview(data)
    shaped: memoryview[Any] = view.cast(FORMATS[info.dtype], info.shape)
    return shaped


def seeded_inputs(inputs: Sequence[TensorInfo], seed: int) -> List[bytes]:
    """Inputs that a seed stands for in a self-test: floats from -1 to 1, integers 0 or 1.

    One xorshift generator runs through all of them; edgebit-run has the same.
    """
    state = (seed * 2654435761 + 1) & 0xFFFFFFFF
    made = []
    for info in inputs:
        floats = info.dtype == "float32"
        numbers: List[Any] = []
        for _ in range(info.count):
            state ^= (state << 13) & 0xFFFFFFFF
            state ^= state >> 17
            state ^= (state << 5) & 0xFFFFFFFF
            numbers.append((state >> 8) * 2.0**-23 - 1.0 if floats else state >> 31)
        made.append(bytes(numbers) if info.dtype == "bool" else array(FORMATS[info.dtype], numbers).tobytes())
    return made
