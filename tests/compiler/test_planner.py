"""Plans of tiny models: steps, sizes, and what cannot be planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgebit.compiler.fusion import fuse
from edgebit.compiler.importer import import_onnx
from edgebit.compiler.plan import CHUNK, Plan, Space
from edgebit.compiler.planner import plan
from edgebit.compiler.weights import Weights
from edgebit.errors import CompileError
from edgebit.graph import OnnxModel, build
from edgebit.model import open_checkpoint
from tests.builders import GROUPED, ODD, TINY, Shape, write_checkpoint


def planned(model: OnnxModel, context: int = 64) -> tuple[Plan, Weights]:
    imported = import_onnx(model.ir, ("logits",))
    return plan(imported, fuse(imported.module), model.ir.graph.initializers, context)


def tiny(folder: Path, layout: str = "packed", shape: Shape = TINY) -> OnnxModel:
    return build(open_checkpoint(write_checkpoint(folder / "m", layout, shape)))


@pytest.mark.parametrize("shape", [TINY, ODD, GROUPED])
def test_every_argument_stays_inside_its_space(tmp_path: Path, shape: Shape) -> None:
    result, weights = planned(tiny(tmp_path, shape=shape))
    sizes = {
        Space.WEIGHTS: weights.size,
        Space.ARENA: result.arena_bytes,
        Space.CACHE: result.cache_bytes,
        Space.SCRATCH: result.scratch_bytes,
        Space.TOKENS: CHUNK * 4,
        Space.LOGITS: result.vocab_size * 4,
    }
    assert result.num_layers == shape.layers and result.vocab_size == shape.vocab_size
    for step in (*result.body, *result.head):
        units = step.units.value or CHUNK
        for argument in step.buffers:
            assert argument.offset % 4 == 0
            assert argument.offset + (units - 1) * argument.unit_stride < sizes[argument.space], step.label


def test_decode_and_prefill_differ_in_the_ternary_kernel_only(tmp_path: Path) -> None:
    result, _ = planned(tiny(tmp_path, "llama"))
    for step in (*result.body, *result.head):
        assert step.prefill.name == step.decode.name.replace("gemv", "gemm")
        assert step.prefill.static == step.decode.static
    names = {step.decode.name for step in result.body}
    assert "ternary_gemv_silu_mul" in names and "quantize" in names


def test_the_tied_table_is_stored_once(tmp_path: Path) -> None:
    result, weights = planned(tiny(tmp_path))
    tables = [section for section in weights.sections if section.name == "model.embed_tokens.weight"]
    assert len(tables) == 1
    assert result.body[0].buffers[1].offset == result.head[-1].buffers[0].offset == tables[0].offset


def test_the_cache_holds_context_keys_and_values(tmp_path: Path) -> None:
    result, _ = planned(tiny(tmp_path), context=64)
    head = TINY.head_size
    assert result.cache_bytes == TINY.layers * 2 * TINY.key_value_heads * 64 * head * 2


def test_a_context_beyond_the_rotary_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="cos_cache: 256 positions, but a context of 512"):
        planned(tiny(tmp_path), context=512)


def test_a_scale_that_is_not_a_positive_number_is_refused(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    name = "model.layers.0.mlp.down_proj.weight_scale"
    model.ir.graph.initializers[name].const_value = ir.Tensor(np.array([np.nan], np.float32), name=name)
    with pytest.raises(CompileError, match=f"{name}: scale nan"):
        planned(model)


def test_a_head_size_the_kernels_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="head size must be a multiple of 16"):
        planned(tiny(tmp_path, shape=replace(TINY, head_dim=24, heads=8, key_value_heads=2)))
