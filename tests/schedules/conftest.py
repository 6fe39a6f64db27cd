"""Float kernels and building blocks, compiled once per session and tier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tvm.script import tirx as T

from edgebit.schedules import float_ops as ops
from edgebit.schedules.catalogue import kernel
from edgebit.schedules.epilogue import ACTIVATIONS
from edgebit.schedules.float_tier import native_f16
from edgebit.schedules.tier import TIERS, Tier
from tests.schedules.harness import FLOAT_TIER_NAMES, Program, link

HEAD_DIMS = (16, 32, 64, 128)
NORMED_HEAD_DIMS = (16, 48, 80, 128)
NORMS = ("rmsnorm", "rmsnorm_quantize", "rmsnorm_rows", "rmsnorm_residual", "pool_last", "pool_mean")
SPREAD = ((20, 32), (100, 112))
EPS = 1e-5
FACTOR = 25.298221588134766

# (head dimension, query heads of a key head): powers of two and others, one row to many, one tile to many
ATTENTION_SHAPES = ((16, 8), (32, 2), (48, 3), (80, 5), (128, 4), (256, 1))
INT8_SHAPES = ((48, 3), (128, 4))
WINDOWED = (((16, 8), "f16", 129), ((48, 3), "int8", 32))
# Without vector registers LLVM compiles each of them for seconds: the small ones stand for all.
SCALAR_TIERS = ("vfp", "rv64gc")
SCALAR_SHAPES = ((16, 8), (32, 2), (48, 3))


def float_kernels(tier: Tier, head_dims: Sequence[int] = HEAD_DIMS) -> dict[str, Any]:
    """Every float kernel by symbol: those specialised for a head dimension once for each given."""
    kernels = {name: kernel(name, tier) for name in ("embedding", "quantize", "lm_head", "normalize")}
    kernels |= {name: kernel(name, tier, eps=EPS) for name in NORMS}
    kernels |= {name: kernel(name, tier) for name in ("add_bias", "add_rows")}
    kernels |= {f"gated_{name}": kernel("gated", tier, activation=name) for name in ACTIVATIONS}
    kernels["scale_rows"] = kernel("scale_rows", tier, factor=FACTOR)
    for d, padded in SPREAD:
        for name in ("spread_heads", "join_heads"):
            kernels[f"{name}_{d}"] = kernel(name, tier, head_dim=d, padded=padded)
    for d in NORMED_HEAD_DIMS:
        kernels[f"head_norm_{d}"] = kernel("head_norm", tier, eps=EPS, head_dim=d)
    for d in head_dims:
        for kv in ("f16", "int8"):
            kernels[f"rope_append_{d}_{kv}"] = kernel("rope_append", tier, head_dim=d, kv=kv)
    return dict(kernels)


def attention_kernels(
    tier: Tier,
    shapes: Sequence[tuple[int, int]] = ATTENTION_SHAPES,
    int8_shapes: Sequence[tuple[int, int]] = INT8_SHAPES,
) -> dict[str, Any]:
    """The attention kernels by symbol, once for each (head dimension, group) given of each kind of cache."""
    kernels = {f"attention_merge_{d}": kernel("attention_merge", tier, head_dim=d) for d, _ in shapes}
    for kv, chosen in (("f16", shapes), ("int8", int8_shapes)):
        for name in ("attention_decode", "attention_prefill"):
            for d, group in chosen:
                built = kernel(name, tier, head_dim=d, scale=d**-0.5, group=group, kv=kv)
                kernels[f"{name}_{d}_{group}_{kv}"] = built
    for (d, group), kv, window in WINDOWED:
        for name in ("attention_decode", "attention_prefill"):
            kernels[f"{name}_{d}_{group}_{kv}_{window}"] = kernel(
                name, tier, head_dim=d, scale=d**-0.5, group=group, kv=kv, window=window
            )
    return dict(kernels)


def building_blocks(tier: Tier) -> dict[str, Any]:
    """One elementwise kernel for each function of float_ops: buffers x, y; scalar count / 16."""
    native = native_f16(tier)
    blocks = {
        "exp": elementwise(ops.exp, "float32", "float32"),
        "exp_rounded13": elementwise(lambda x: ops.exp_rounded(x, 13), "float32", "float32"),
        "round13": elementwise(lambda x: ops.round_significant(x, 13), "float32", "float32"),
        "round16": elementwise(lambda x: ops.round_significant(x, 16), "float32", "float32"),
        "canonical_nan": elementwise(ops.canonical_nan, "float32", "float32"),
        "bf16_to_f32": elementwise(ops.bf16_to_f32, "uint16", "float32"),
        "f16_to_f32_portable": elementwise(lambda x: ops.f16_to_f32(x, False), "uint16", "float32"),
        "f32_to_f16_portable": elementwise(lambda x: ops.f32_to_f16(x, False), "float32", "uint16"),
    }
    if native:
        blocks["f16_to_f32_native"] = elementwise(lambda x: ops.f16_to_f32(x, True), "uint16", "float32")
        blocks["f32_to_f16_native"] = elementwise(lambda x: ops.f32_to_f16(x, True), "float32", "uint16")
    return blocks


def elementwise(function: Callable[[Any], Any], source: str, result: str) -> Any:
    @T.prim_func(s_tir=True)  # type: ignore[untyped-decorator, unused-ignore]
    def block(x_data: T.handle, y_data: T.handle, count: T.int32) -> None:
        T.func_attr({"tirx.noalias": True})
        x = T.match_buffer(x_data, (count, 16), source)
        y = T.match_buffer(y_data, (count, 16), result)
        for i in range(count):
            value: T.let = x[i, ops.ALL]
            y[i, ops.ALL] = function(value)

    return block


_programs: dict[str, Program] = {}  # pytest forgets a session's fixture with every change of its parameter


@pytest.fixture(scope="session", params=FLOAT_TIER_NAMES)
def float_program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The float kernels and building blocks on each tier this workstation can run."""
    tier = TIERS[request.param]
    if tier.name not in _programs:
        folder = tmp_path_factory.mktemp(f"float-{tier.name}")
        _programs[tier.name] = link(lambda: float_kernels(tier) | building_blocks(tier), tier, folder)
    return _programs[tier.name]


@pytest.fixture(scope="session", params=FLOAT_TIER_NAMES)
def attention_program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The attention kernels on each tier this workstation can run."""
    tier = TIERS[request.param]
    shapes = (SCALAR_SHAPES, SCALAR_SHAPES[-1:]) if tier.name in SCALAR_TIERS else ()
    folder = tmp_path_factory.mktemp(f"attention-{tier.name}")
    return link(lambda: attention_kernels(tier, *shapes), tier, folder)
