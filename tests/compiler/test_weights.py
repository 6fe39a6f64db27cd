"""weights.bin: the U16 layout, padding, and the file around the sections."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebit.compiler import weights as layout
from edgebit.compiler.weights import Packed, Weights
from edgebit.errors import CompileError

Trits = npt.NDArray[np.int8]


def onnx_codes(trits: Trits) -> npt.NDArray[np.uint8]:
    """The bytes of the ONNX file: 4 columns a byte, LSB first, code = value + 1; missing columns hold 3."""
    rows, columns = trits.shape
    codes = np.full((rows, -(-columns // 4) * 4), 3, np.uint8)
    codes[:, :columns] = trits + 1
    fields = codes.reshape(rows, -1, 4)
    packed = fields[..., 0] | fields[..., 1] << 2 | fields[..., 2] << 4 | fields[..., 3] << 6
    return packed.astype(np.uint8)


def matrix(trits: Trits, name: str = "w") -> Packed:
    return Packed(name, trits.shape[0], trits.shape[1], lambda: onnx_codes(trits))


def section(size_and_chunks: tuple[int, layout.Chunks]) -> bytes:
    size, chunks = size_and_chunks
    data = b"".join(chunks())
    assert len(data) == size
    return data


def unpack_u16(data: bytes, columns: int) -> Trits:
    """By definition: field g of byte (i, j) of block (n, k) is w[16n + i, 16k + 4g + j] + 1."""
    words = -(-columns // 64) * 4
    blocks = np.frombuffer(data, np.uint8).reshape(-1, words, 16, 4)
    trits = np.zeros((blocks.shape[0] * 16, words * 16), np.int8)
    for (n, k, i, j), byte in np.ndenumerate(blocks):
        for g in range(4):
            trits[16 * n + i, 16 * k + 4 * g + j] = ((int(byte) >> (2 * g)) & 3) - 1
    return trits


@given(st.integers(1, 70), st.integers(1, 140), st.integers(0, 2**32 - 1))
def test_a_stacked_matrix_unpacks_to_its_trits_and_zeros(rows: int, columns: int, seed: int) -> None:
    trits = np.random.default_rng(seed).integers(-1, 2, (rows, columns)).astype(np.int8)
    found = unpack_u16(section(layout.stacked([matrix(trits)])), columns)
    assert found.shape[0] % 64 == 0 and found.shape[1] % 64 == 0
    np.testing.assert_array_equal(found[:rows, :columns], trits)
    assert not found[rows:].any() and not found[:, columns:].any()


def test_matrices_stack_at_multiples_of_16_rows() -> None:
    random = np.random.default_rng(1)
    first, second = (random.integers(-1, 2, (n, 64)).astype(np.int8) for n in (20, 16))
    found = unpack_u16(section(layout.stacked([matrix(first), matrix(second)])), 64)
    np.testing.assert_array_equal(found[:20], first)
    assert not found[20:32].any()
    np.testing.assert_array_equal(found[32:48], second)


def test_gate_and_up_interleave_in_blocks_of_16_rows() -> None:
    random = np.random.default_rng(2)
    gate, up = (random.integers(-1, 2, (64, 128)).astype(np.int8) for _ in range(2))
    found = unpack_u16(section(layout.interleaved(matrix(gate), matrix(up))), 128).reshape(4, 2, 16, 128)
    np.testing.assert_array_equal(found[:, 0].reshape(64, 128), gate)
    np.testing.assert_array_equal(found[:, 1].reshape(64, 128), up)


def test_code_3_is_refused_with_its_place() -> None:
    codes = onnx_codes(np.zeros((32, 64), np.int8))
    codes[21, 3] |= 0b11 << 4
    with pytest.raises(CompileError, match=r"tensor w: code 3 at row 21, columns 12\.\.15"):
        section(layout.stacked([Packed("w", 32, 64, lambda: codes)]))


def test_a_table_keeps_bfloat16_and_refuses_what_it_cannot_hold() -> None:
    table = np.random.default_rng(3).standard_normal((5, 70)).astype(ml_dtypes.bfloat16)
    data = section(layout.bfloat16_table("t", 5, 128, lambda: table))
    found = np.frombuffer(data, np.uint16).reshape(5, 128)
    np.testing.assert_array_equal(found[:, :70], table.view(np.uint16))
    assert not found[:, 70:].any()
    exact = table.astype(np.float32)
    assert section(layout.bfloat16_table("t", 5, 128, lambda: exact)) == data
    with pytest.raises(CompileError, match="bfloat16 cannot hold"):
        section(layout.bfloat16_table("t", 5, 128, lambda: exact + np.float32(1e-3)))


def test_a_vector_that_is_not_finite_is_refused() -> None:
    with pytest.raises(CompileError, match="tensor n: value 2 is not finite"):
        layout.float_vector("n", np.array([1, 2, np.nan], np.float32), 64)


def test_the_file_has_aligned_sections_and_the_hash_of_its_content() -> None:
    weights = Weights()
    offsets = [weights.add(name, len(data), lambda data=data: iter([data])) for name, data in CONTENT.items()]
    assert weights.add("a", 3, lambda: iter([b"abc"])) == offsets[0]
    file = io.BytesIO()
    identity = weights.write(file)
    data = file.getvalue()
    magic, version, zero, size, stored = struct.unpack("<8sIIQ32s8x", data[:64])
    assert (magic, version, zero, size, stored) == (b"EDGEBITW", 1, 0, len(data), identity)
    assert hashlib.sha256(data[64:]).digest() == identity
    for offset, content in zip(offsets, CONTENT.values(), strict=True):
        assert offset % 64 == 0 and data[offset : offset + len(content)] == content


CONTENT = {"a": b"abc", "b": bytes(range(200)), "c": b"x" * 64}


def test_the_file_is_written_in_whole_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the sections come in; the header goes in at last."""
    places = []

    class File(io.BytesIO):
        def write(self, data: Any) -> int:
            places.append((self.tell(), len(data)))
            return super().write(data)

    monkeypatch.setattr(layout, "_FILE_BLOCK", 256)
    pieces = [bytes([i]) * size for i, size in enumerate((1, 300, 255, 256, 700, 64))]
    weights = Weights()
    weights.add("s", 1576, lambda: iter(pieces))
    file = File()
    weights.write(file)
    assert places == [*((at, 256) for at in range(0, 1536, 256)), (1536, 128), (0, 64)]
    assert file.getvalue()[64:1640] == b"".join(pieces)


def test_a_section_of_the_wrong_size_is_an_error() -> None:
    def short() -> Iterator[bytes]:
        yield b"12"

    weights = Weights()
    weights.add("s", 3, short)
    with pytest.raises(CompileError, match="section s: 2 bytes, expected 3"):
        weights.write(io.BytesIO())
