"""Whatever the bytes are, reading them is a result or a ValueError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebit.bundle.elf import read_shared_library

HEADER = b"\x7fELF\x02\x01\x01" + bytes(9)


@given(st.binary(max_size=300))
def test_noise_after_an_elf_magic_is_read_or_refused(noise: bytes) -> None:
    try:
        read_shared_library(HEADER + noise)
    except ValueError:
        return


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not a 64-bit little-endian ELF file"):
        read_shared_library(b"MZ" + bytes(100))
