"""Plans and weights of an lm_head that would read elsewhere are refused when a model is loaded."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from tests.runtime.builders import toy_library
from tests.runtime.head_cases import KINDS, SCREENED, VOCAB, screened, table
from tests.runtime.head_model import HeadStruct, Weights


def refusal(weights: Weights, **changes: int) -> str:
    head = HeadStruct.from_buffer_copy(weights.head)
    for name, value in changes.items():
        setattr(head, name, value)
    error = ctypes.create_string_buffer(256)
    size = ctypes.c_uint64(len(weights.data))
    accepted = toy_library().eb_probe_head_check(ctypes.byref(head), weights.vocab_size, size, error, 256)
    assert bool(accepted) == (error.value == b"")
    return error.value.decode().replace("libmodel.so is damaged: its lm_head ", "")


PLANES = "plane1 plane2 bounds escape_index escapes outliers components sigma".split()
SECTIONS = {
    "full": ["table"],
    "int8": ["table", "scales"],
    "exact": PLANES,
    "s4": [*PLANES, "codes", "code_bounds"],
}


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_plan_whose_lm_head_reads_elsewhere_is_refused(kind: str) -> None:
    weights = KINDS[kind](table())
    assert refusal(weights) == ""
    for name in SECTIONS[kind]:
        for wrong in (len(weights.data) + 64, 2**64 - 64, getattr(weights.head, name) + 4):
            assert refusal(weights, **{name: wrong}) == "reads outside the weights"
    assert refusal(weights, hidden=2**32) == "reads outside the arena"
    assert refusal(weights, kind=5) == "is of no kind"
    for wrong in (0, 65, 2**31):
        assert refusal(weights, width=wrong) == "has a width that is no multiple of 64"
    kernels = {
        "full": ["lm_head"],
        "int8": ["lm_head", "quantize"],
        "exact": ["lm_head", "rows", "screen"],
        "s4": ["lm_head", "rows", "screen", "screen_codes"],
    }
    for name in kernels[kind]:
        assert refusal(weights, **{name: 2**32 - 1}) == "names a kernel that is not there"
    if kind in SCREENED:
        for wrong in (0, 128, 512, 2**31):
            assert refusal(weights, plane_width=wrong) == "has planes of another width"


def test_escapes_beyond_the_end_of_the_weights_are_refused() -> None:
    weights = screened("exact")
    data = weights.data.copy()
    last = data[weights.head.escape_index :][4 * VOCAB : 4 * VOCAB + 4].view(np.uint32)

    def accepted() -> bool:
        address, size = ctypes.c_void_p(data.ctypes.data), ctypes.c_uint64(data.size)
        check = toy_library().eb_probe_head_check_weights
        return bool(check(ctypes.byref(weights.head), VOCAB, address, size))

    assert last[0] > 0
    assert accepted()
    last[0] = (data.size - weights.head.escapes) // 4
    assert accepted()
    last[0] += 1
    assert not accepted()
    last[0] = 2**32 - 1
    assert not accepted()
