"""Inputs for ternary kernels, what they have to give, and the programs that hold the kernels of a tier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm.script import tirx as T

from edgebit.schedules.catalogue import kernel, select
from edgebit.schedules.float_ops import lanes_of
from edgebit.schedules.tier import TIERS, Tier
from tests.schedules import canonical
from tests.schedules.harness import Call, Program, same_bits

Array = npt.NDArray[Any]
f32 = np.float32

BLOCKS_OF_A_UNIT = {"store": 1, "residual": 1, "relu2_mul": 2, "silu_mul": 2, "gelu_tanh_mul": 2}
EPILOGUES = tuple(BLOCKS_OF_A_UNIT)
BY_ROW = ("residual", "silu_mul")  # one of each number of blocks stands for all with scales of rows

WEIGHTS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "random": lambda rng, shape: rng.integers(0, 3, shape),
    "all codes 2": lambda rng, shape: np.full(shape, 2),
    "all codes 0": lambda rng, shape: np.zeros(shape, np.int64),
}
ACTIVATIONS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "random": lambda rng, shape: rng.integers(-128, 128, shape),
    "all 127": lambda rng, shape: np.full(shape, 127),
    "all -128": lambda rng, shape: np.full(shape, -128),
    "127 and -128": lambda rng, shape: rng.choice([127, -128], shape),
    "zeros": lambda rng, shape: np.zeros(shape, np.int64),
}


@dataclass(frozen=True)
class Case:
    """One call of a kernel: of ``ternary_gemm_*`` with a number of tokens, of ``ternary_gemv_*`` without."""

    epilogue: str
    count: int
    k: int
    tokens: int | None = None
    weights: str = "random"
    activations: str = "random"
    seed: int = 0
    extra_stride: int = 0
    weight_scale: float = 1.0
    by_row: bool = False

    @property
    def rows(self) -> int:
        return 16 * self.count * BLOCKS_OF_A_UNIT[self.epilogue]

    @property
    def kernel(self) -> str:
        by_row = "_by_row" if self.by_row else ""
        return f"ternary_{'gemv' if self.tokens is None else 'gemm'}_{self.epilogue}{by_row}"


def pack_u16(codes: Array) -> Array:
    """[rows][k] codes -> [rows/16][k/16][16][4] bytes."""
    rows, k = codes.shape
    fields = codes.astype(np.uint8).reshape(rows // 16, 16, k // 16, 4, 4).transpose(0, 2, 1, 4, 3)
    return np.bitwise_or.reduce(fields << np.array([0, 2, 4, 6], np.uint8), axis=-1)


def check(program: Program, cases: Sequence[Case]) -> None:
    """Runs all cases in one process; compares the bits of their outputs, and that nothing else changed."""
    buffers: dict[str, Array] = {}
    calls, expected = [], []
    for number, case in enumerate(cases):
        inputs, out, result = _inputs(case)
        names = [f"{number}.{name}" for name in inputs] + [f"{number}.out"]
        buffers |= dict(zip(names, [*inputs.values(), out], strict=True))
        scalars = [case.count, case.k // 16]
        if case.tokens is not None:
            scalars += [case.tokens, out.shape[1]]
        calls.append(Call(case.kernel, names, scalars))
        expected.append(result)
    after = program.run(buffers, calls)
    for number, (case, result) in enumerate(zip(cases, expected, strict=True)):
        for name in ("weights", "q", "sums", "scales", "weight_scales"):
            same_bits(after[f"{number}.{name}"], buffers[f"{number}.{name}"])
        try:
            same_bits(after[f"{number}.out"], result)
        except AssertionError as difference:
            raise AssertionError(f"{program.tier.name} {case}: {difference}") from None


def _inputs(case: Case) -> tuple[dict[str, Array], Array, Array]:
    """Buffers in the order of the kernel's slots, the output before and after the call.

    They have as many rows as there are tokens: the driver's guards are right behind the last.
    """
    rng = np.random.default_rng(case.seed)
    tokens = 1 if case.tokens is None else case.tokens
    codes = WEIGHTS[case.weights](rng, (case.rows, case.k))
    q = ACTIVATIONS[case.activations](rng, (tokens, case.k)).astype(np.int8)
    scales = np.exp(rng.normal(3, 2, tokens)).astype(f32)
    scales_of_rows = case.rows if case.by_row else case.rows // 16
    weight_scales = (case.weight_scale * np.exp(rng.normal(0, 1, max(scales_of_rows, 1)))).astype(f32)
    columns = max(16 * case.count, 16) + case.extra_stride
    out = rng.normal(0, 1, (tokens, columns)).astype(f32)
    inputs = {
        "weights": pack_u16(codes) if case.rows else np.zeros(64, np.uint8),
        "q": q,
        "sums": q.astype(np.int32).sum(axis=1, dtype=np.int32),
        "scales": scales,
        "weight_scales": weight_scales,
    }
    result = out.copy()
    written = result[:, : 16 * case.count]
    written[:] = _expected(case, codes, q, scales, weight_scales, written)
    return inputs, out, result


def _expected(
    case: Case, codes: Array, q: Array, scales: Array, weight_scales: Array, before: Array
) -> Array:
    exact = q.astype(np.int64) @ (codes.astype(np.int64).T - 1)
    row_scales = np.repeat(weight_scales, 1 if case.by_row else 16)[: case.rows]
    y = exact.astype(np.int32).astype(f32) * (row_scales[None, :] / scales[:, None])
    if case.epilogue == "store":
        return y
    if case.epilogue == "residual":
        return before + y
    pairs = y.reshape(len(q), case.count, 2, 16)
    gate, up = (pairs[:, :, i].reshape(len(q), -1) for i in range(2))
    activation = getattr(canonical, case.epilogue.removesuffix("_mul"))
    return np.asarray(activation(gate) * up)


def ternary_kernels(tier: Tier) -> dict[str, Any]:
    """All ternary kernels as the catalogue builds them for a tier."""
    epilogues = (*EPILOGUES, *(f"{epilogue}_by_row" for epilogue in BY_ROW))
    names = [f"ternary_{product}_{epilogue}" for product in ("gemv", "gemm") for epilogue in epilogues]
    return {name: kernel(name, tier) for name in names}


def modelled_kernels(tier_name: str) -> dict[str, Any]:
    """The schedules of a tier with a model in the place of their one instruction: they run on any CPU."""
    tier = TIERS[tier_name]
    return {
        f"ternary_{product}_{epilogue}": select(f"ternary_{product}_{epilogue}", tier).build(
            tier, {"dot_product": vpdpbusd_model}
        )
        for product in ("gemv", "gemm")
        for epilogue in (*EPILOGUES, *(f"{epilogue}_by_row" for epilogue in BY_ROW))
    }


def vpdpbusd_model(acc: Any, codes: Any, q: Any) -> Any:
    """What vpdpbusd computes (Intel SDM: unsigned byte times signed byte, four to a dword, wrapping sum)."""
    count = lanes_of(codes)
    wide = f"int16x{count}"
    products = T.cast(codes, wide) * T.cast(q, wide)  # at most 255 * 128 = 32640
    for byte in range(4):
        lanes = T.Shuffle([products], list(range(byte, count, 4)))
        acc = acc + T.cast(lanes, f"int32x{count // 4}")
    return acc
