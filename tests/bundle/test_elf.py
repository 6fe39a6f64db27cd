"""Whatever the bytes are, reading them is a result or a ValueError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebit.bundle.elf import read_elf

HEADERS = [b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9) for bits in (1, 2)]


@given(st.sampled_from(HEADERS), st.binary(max_size=300))
def test_noise_after_an_elf_magic_is_read_or_refused(header: bytes, noise: bytes) -> None:
    try:
        read_elf(header + noise)
    except ValueError:
        return


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not a little-endian ELF file"):
        read_elf(b"MZ" + bytes(100))
