"""An ONNX file counted before it is parsed: four megabytes of empty nodes would become gigabytes of objects.

Walks the wire format of protobuf by ONNX's own descriptors: (field number << 3 | kind), then a varint (kind
0), 8 bytes (1), a length and as many bytes (2), or 4 bytes (5). Nothing is read of bytes and texts, so
weights inside a file cost nothing. What is not protobuf at all is left to the parser's own complaint.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import onnx

from edgebit.errors import GraphError

_MOST_MESSAGES = 200_000  # nodes, attributes, tensors, …: 2B-4T has 8,000
_MOST_FIELDS = 2_000_000
_DEEPEST = 32
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_MESSAGE = 11  # the number of a field's type, where that is a message


def check_wire_size(path: Path) -> None:
    """Raises GraphError for a file of more messages, numbers or nested graphs than any model has."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            counter = _Counter(content)
            try:
                counter.message(0, len(content), onnx.ModelProto.DESCRIPTOR, 0)
            except (IndexError, ValueError):
                return  # truncated
            except OverflowError as reason:
                raise GraphError(f"{path}: {reason}; it is damaged or no model") from None


class _Counter:
    """OverflowError where there is too much, IndexError or ValueError where a message does not end."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content = content
        self.messages = self.fields = 0

    def message(self, position: int, end: int, descriptor: Any, depth: int) -> None:
        self.messages += 1
        if self.messages > _MOST_MESSAGES:
            raise OverflowError(f"more than {_MOST_MESSAGES} nodes, tensors and attributes")
        if depth > _DEEPEST:
            raise OverflowError(f"messages nested {_DEEPEST} deep")
        numbers = descriptor.fields_by_number
        while position < end:
            self.fields += 1
            if self.fields > _MOST_FIELDS:
                raise OverflowError(f"more than {_MOST_FIELDS} fields")
            tag, position = self.varint(position)
            kind = tag & 7
            if kind == _VARINT:
                _, position = self.varint(position)
            elif kind == _BYTES:
                length, position = self.varint(position)
                field = numbers.get(tag >> 3)
                if position + length > end:
                    raise ValueError
                if field is not None and field.type == _MESSAGE:
                    self.message(position, position + length, field.message_type, depth + 1)
                position += length
            elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
                position += 8 if kind == _EIGHT_BYTES else 4
            else:
                raise ValueError

    def varint(self, position: int) -> tuple[int, int]:
        """A number and where it ends."""
        value = shift = 0
        while True:
            byte = self.content[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, position
            shift += 7
            if shift > 63:
                raise ValueError
