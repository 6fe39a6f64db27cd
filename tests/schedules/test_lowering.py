"""Lowering: one C type for every kernel, the same bytes every time, and nothing left to link."""

from __future__ import annotations

import gc
import inspect
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm.script import tirx as T

from edgebit.errors import CompileError, TargetError
from edgebit.schedules.attention_decode import attention_decode
from edgebit.schedules.catalogue import ANY, SCHEDULES, kernel, provider, select, table
from edgebit.schedules.float_norm import rmsnorm_quantize
from edgebit.schedules.lowering import compile_object
from edgebit.schedules.parsing import quick_parsing
from edgebit.schedules.tier import TIERS, Tier, host_architecture, portable_tier, tiers_of
from tests.schedules.harness import TIER_NAMES, TRIPLES, Call, link


@T.prim_func(s_tir=True)
def slots(rows: T.int32, source: T.handle, unused: T.handle, factor: T.int32, result: T.handle) -> None:
    """Pointers and scalars mixed, and a slot nobody uses: source b0, result b2, rows s0, factor s1."""
    x = T.match_buffer(source, (rows, 16), "int32")
    y = T.match_buffer(result, (rows, 16), "int32")
    for i, j in T.grid(rows, 16):
        with T.sblock("scale"):
            vi, vj = T.axis.remap("SS", [i, j])
            y[vi, vj] = x[vi, vj] * factor


@T.prim_func(s_tir=True)
def big_scratch(source: T.handle, result: T.handle, rows: T.int32) -> None:
    """2 KB of scratch, which TVM would take from its allocator."""
    x = T.match_buffer(source, (rows, 512), "int32")
    y = T.match_buffer(result, (rows, 512), "int32")
    with T.sblock("root"):
        scratch = T.sblock_alloc_buffer((512,), "int32")
        for i in range(rows):
            for j in range(512):
                with T.sblock("reverse"):
                    vi, vj = T.axis.remap("SS", [i, j])
                    scratch[vj] = x[vi, 511 - vj]
            for j in range(512):
                with T.sblock("add"):
                    vi, vj = T.axis.remap("SS", [i, j])
                    y[vi, vj] = scratch[vj] + scratch[511 - vj]


@pytest.mark.parametrize("tier_name", TIER_NAMES)
def test_parameters_find_their_slots(tier_name: str, tmp_path: Path) -> None:
    program = link(lambda: {"eb_slots": slots}, TIERS[tier_name], tmp_path)
    x = np.arange(48, dtype=np.int32).reshape(3, 16)
    buffers = {"x": x, "y": np.zeros_like(x)}
    after = program.run(buffers, [Call("eb_slots", ("x", None, "y"), (3, -7))])
    assert np.array_equal(after["y"], x * -7)


@pytest.mark.parametrize("tier_name", TIER_NAMES)
def test_large_buffers_are_on_the_stack(tier_name: str, tmp_path: Path) -> None:
    program = link(lambda: {"eb_scratch": big_scratch}, TIERS[tier_name], tmp_path)
    x = np.arange(1024, dtype=np.int32).reshape(2, 512) ** 2
    after = program.run({"x": x, "y": np.zeros_like(x)}, [Call("eb_scratch", ("x", "y"), (2,))])
    assert np.array_equal(after["y"], x[:, ::-1] + x)


@pytest.mark.parametrize("tier_name", TIERS)
def test_objects_define_their_symbols_and_need_none(tier_name: str, tmp_path: Path) -> None:
    nm = shutil.which("llvm-nm") or shutil.which("nm")
    if nm is None:
        pytest.skip("neither llvm-nm nor nm is installed")
    path = tmp_path / "kernels.o"
    path.write_bytes(compiled({"eb_scratch": big_scratch, "eb_slots": slots}, tier_name))
    listed = subprocess.run([nm, str(path)], capture_output=True, text=True, check=True).stdout
    symbols = {line.split()[-1]: line.split()[-2] for line in listed.splitlines()}
    undefined = {name for name, kind in symbols.items() if kind == "U"}
    assert undefined <= {"memset", "memcpy", "memmove"}
    # Weak: TVM's own float16 conversions, which no kernel calls.
    assert {name for name, kind in symbols.items() if kind in "TDB"} == {"eb_scratch", "eb_slots"}


@pytest.mark.parametrize("tier_name", TIERS)
def test_the_same_kernels_give_the_same_bytes(tier_name: str) -> None:
    one = compiled({"eb_a": slots, "eb_b": big_scratch}, tier_name)
    assert one == compiled({"eb_b": big_scratch, "eb_a": slots}, tier_name)


def test_a_real_kernel_gives_the_same_bytes() -> None:
    """Scheduling anew as well: variables that TVM makes up must not show."""
    first, second = (
        compiled({"eb_k": kernel("ternary_gemm_store", TIERS["avx2"]).prim_func}, "avx2") for _ in range(2)
    )
    assert first == second


def test_objects_name_no_folder_of_the_workstation() -> None:
    assert not re.search(rb"/(home|tmp|work|root|usr)/", compiled({"eb_a": slots}, "avx2"))


def test_a_float_parameter_is_refused() -> None:
    @T.prim_func(s_tir=True)
    def scaled(source: T.handle, factor: T.float32) -> None:
        x = T.match_buffer(source, (16,), "float32")
        for i in range(16):
            with T.sblock("scale"):
                vi = T.axis.spatial(16, i)
                x[vi] = x[vi] * factor

    with pytest.raises(CompileError, match="eb_scaled: parameter factor has type"):
        compiled({"eb_scaled": scaled}, "avx2")


def test_nine_scalars_are_refused() -> None:
    @T.prim_func(s_tir=True)
    def many(
        out: T.handle,
        a: T.int32,
        b: T.int32,
        c: T.int32,
        d: T.int32,
        e: T.int32,
        f: T.int32,
        g: T.int32,
        h: T.int32,
        i: T.int32,
    ) -> None:
        y = T.match_buffer(out, (1,), "int32")
        y[0] = a + b + c + d + e + f + g + h + i

    with pytest.raises(CompileError, match="1 buffers and 9 scalars"):
        compiled({"eb_many": many}, "avx2")


@pytest.mark.parametrize("triple", ["aarch64-unknown-linux-gnu", "x86_64-linux-gnu", ""])
def test_a_triple_that_does_not_fit_is_refused(triple: str) -> None:
    with pytest.raises(TargetError, match="does not fit tier avx2"):
        compile_object({"eb_a": slots}, TIERS["avx2"], triple)


def test_tiers_of_an_architecture_end_with_one_that_needs_nothing() -> None:
    for architecture in TRIPLES:
        *better, last = tiers_of(architecture)
        assert all(tier.requires for tier in better)
        assert last.requires == ()


@pytest.mark.parametrize("tier", TIERS.values(), ids=list(TIERS))
def test_a_tier_has_all_that_the_tier_standing_in_for_it_uses(tier: Tier) -> None:
    if tier.base is not None:
        base = TIERS[tier.base]
        better = tiers_of(tier.architecture)
        assert better.index(tier) < better.index(base)
        assert set(base.requires) <= set(tier.requires)
        assert (base.mcpu, base.float_abi, base.abi) == (tier.mcpu, tier.float_abi, tier.abi)


def test_kernels_without_a_schedule_of_the_tier_are_those_of_the_one_below() -> None:
    i8mm = TIERS["i8mm"]
    assert provider("head_screen", i8mm) == TIERS["dotprod"]
    assert provider("rmsnorm", replace(i8mm, mcpu="cortex-a53")) == replace(TIERS["neon"], mcpu="cortex-a53")
    assert kernel("quantize", TIERS["armv7neon"]).tier == TIERS["vfp"]
    with pytest.raises(TargetError, match="no tier for architecture 'mips'"):
        tiers_of("mips")


def test_the_portable_tier_uses_no_schedule_of_an_isa() -> None:
    """It has the portable form of a ternary kernel, or the one that serves every tier."""
    tier = portable_tier(host_architecture())
    products = [name for name in SCHEDULES if name.startswith("ternary")]
    assert any("portable" in select(name, tier).function for name in products)
    for name in products:
        assert ANY in SCHEDULES[name] or "portable" in select(name, tier).function, name


def test_every_schedule_of_the_catalogue_exists() -> None:
    """The table names modules and functions: they are there."""
    for row in SCHEDULES.values():
        for schedule in row.values():
            module = __import__(f"edgebit.schedules.{schedule.module}", fromlist=[schedule.function])
            assert callable(getattr(module, schedule.function))


def test_the_table_has_every_kernel_and_tier() -> None:
    header, _, *rows = table().splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")][1:] == list(TIERS)
    assert [row.split("`")[1] for row in rows] == list(SCHEDULES)


def test_quick_parsing_gives_the_kernels_that_tvm_gives() -> None:
    """Kernels with inline functions, in one of them another, parsed as TVM does it by itself, once and again;
    `inspect` is then what it was.
    """
    tier, stack_frames = TIERS["sse2"], inspect.getouterframes
    shape = {"group": 4, "head_dim": 64, "scale": 0.125}
    parsed = [rmsnorm_quantize(tier, eps=1e-5), attention_decode(tier, **shape)]
    for _ in range(2):
        quick = [
            kernel("rmsnorm_quantize", tier, eps=1e-5).prim_func,
            kernel("attention_decode", tier, **shape).prim_func,
        ]
        for ours, theirs in zip(quick, parsed, strict=True):
            tvm.ir.assert_structural_equal(ours, theirs, map_free_vars=True)
    with pytest.raises(ZeroDivisionError), quick_parsing():
        assert inspect.stack()[0].code_context is None
        assert inspect.stack()[0].frame is inspect.currentframe()
        _ = 1 // 0
    assert inspect.getouterframes is stack_frames and gc.isenabled()


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(CompileError, match="no kernel 'conv2d'"):
        kernel("conv2d", TIERS["avx2"])


def compiled(kernels: dict[str, Any], tier_name: str) -> bytes:
    tier = TIERS[tier_name]
    return compile_object(kernels, tier, TRIPLES[tier.architecture])
