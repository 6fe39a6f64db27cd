"""The harness notices what it is there to notice."""

from __future__ import annotations

import numpy as np
import pytest

from edgebit.schedules.tier import TIERS
from tests.schedules.harness import Call, Program, launcher, same_bits


def test_a_write_outside_of_a_buffer_fails(float_program: Program) -> None:
    one_row = np.zeros(16, np.float32)
    with pytest.raises(AssertionError, match="wrote outside of a buffer"):
        float_program.run({"x": one_row, "y": one_row}, [Call("exp", ("x", "y"), (2,))])


def test_arrays_that_differ_in_the_sign_of_a_zero_are_not_the_same_bits() -> None:
    with pytest.raises(AssertionError, match="1 of 2 differ"):
        same_bits(np.array([0.0, 1.0], np.float32), np.array([-0.0, 1.0], np.float32))


def test_without_qemu_arm_tests_are_skipped_unless_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("EDGEBIT_REQUIRE_ARM", raising=False)
    with pytest.raises(pytest.skip.Exception, match="qemu-aarch64 is not installed"):
        launcher(TIERS["neon"])
    monkeypatch.setenv("EDGEBIT_REQUIRE_ARM", "1")
    with pytest.raises(pytest.fail.Exception, match="EDGEBIT_REQUIRE_ARM=1"):
        launcher(TIERS["neon"])
