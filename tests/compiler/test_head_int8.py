"""The lossy head's table: codes within half a step, one scale a row."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from edgebit.compiler.head_int8 import int8_sections


def test_codes_are_within_half_a_step_of_the_table() -> None:
    rng = np.random.default_rng(0)
    magnitudes = np.exp2(rng.integers(-30, 31, (1030, 1)))
    table = (rng.standard_normal((1030, 70)) * magnitudes).astype(ml_dtypes.bfloat16)
    table[3] = 0
    made = int8_sections("e", 1030, 70, lambda: table)
    data = {name: b"".join(chunks()) for name, (_size, chunks) in made.items()}
    assert all(len(data[name]) == size for name, (size, _chunks) in made.items())
    codes = np.frombuffer(data["table"], np.uint8).reshape(1030, 128).astype(np.float64) - 128
    scales = np.frombuffer(data["scales"], "<f4").astype(np.float64)
    assert not codes[:, 70:].any() and not codes[3].any() and scales[3] == 0
    error = np.abs(codes[:, :70] * scales[:, None] - table.astype(np.float64))
    assert (error <= 0.5001 * scales[:, None]).all()
    assert (np.abs(codes).max(axis=1)[scales > 0] == 127).all()


def test_denormal_rows_do_not_wrap() -> None:
    table = np.array([[1, 150, 0x8000 | 150] + [0] * 61], np.uint16).view(ml_dtypes.bfloat16)
    table_bits = int8_sections("e", 1, 64, lambda: table)["table"][1]
    codes = np.frombuffer(b"".join(table_bits()), np.uint8)
    assert codes[1] >= 254 and codes[2] <= 2 and codes[0] in (128, 129)
