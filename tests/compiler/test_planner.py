"""Plans of tiny models: steps, sizes, and what cannot be planned."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import tvm
from tvm import relax

from edgebit.compiler import compile as compiling
from edgebit.compiler.fusion import fuse
from edgebit.compiler.importer import import_onnx
from edgebit.compiler.options import CompileOptions
from edgebit.compiler.plan import CHUNK, Plan, Space
from edgebit.compiler.planner import plan
from edgebit.compiler.weights import Weights
from edgebit.errors import CompileError
from edgebit.graph import OnnxModel, build
from edgebit.model import open_checkpoint
from edgebit.progress import SILENT
from tests.builders import GROUPED, ODD, TINY, Shape, write_checkpoint


def planned(model: OnnxModel, context: int = 64) -> tuple[Plan, Weights]:
    imported = import_onnx(model.ir, ("logits",))
    return plan(imported, fuse(imported.module), model.ir.graph.initializers, context, CompileOptions())


def tiny(folder: Path, layout: str = "packed", shape: Shape = TINY) -> OnnxModel:
    return build(open_checkpoint(write_checkpoint(folder / "m", layout, shape)))


def test_a_graph_is_fused_once_however_often_it_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = []

    def noted(module: tvm.IRModule) -> relax.Function:
        fused.append(module)
        return fuse(module)

    monkeypatch.setattr(compiling, "fuse", noted)
    models = [tiny(tmp_path / name) for name in ("one", "two")]
    plans = [
        compiling._plan_decoder(model, CompileOptions(context=context), SILENT)[0]
        for model in models
        for context in (16, 64)
    ]
    assert len(fused) == 2
    assert [each.context for each in plans] == [16, 64, 16, 64]
    assert plans[:2] == plans[2:]


@pytest.mark.parametrize("shape", [TINY, ODD, GROUPED])
def test_every_argument_stays_inside_its_space(tmp_path: Path, shape: Shape) -> None:
    result, weights = planned(tiny(tmp_path, shape=shape))
    sizes = {
        Space.WEIGHTS: weights.size,
        Space.ARENA: result.arena_bytes,
        Space.CACHE: result.cache_bytes,
        Space.SCRATCH: result.scratch_bytes,
        Space.TOKENS: CHUNK * 4,
    }
    assert result.num_layers == shape.layers and result.vocab_size == shape.vocab_size
    for step in (*result.decode, *result.prefill, *result.head):
        units = step.units.value or CHUNK
        for argument in step.buffers:
            assert argument.offset % 4 == 0
            assert argument.offset + (units - 1) * argument.unit_stride < sizes[argument.space], step.label


def test_decoding_normalises_everywhere_and_never_ends_there(tmp_path: Path) -> None:
    result, _ = planned(tiny(tmp_path, "llama"))
    alone = [step.kernel.name for step in result.decode if step.everywhere]
    assert set(alone) == {"rmsnorm_quantize", "quantize", "attention_merge"}
    assert len(alone) == 5 * result.num_layers
    assert not any(step.everywhere for step in (*result.prefill, *result.head))
    shared = [step.kernel.name for step in result.decode if not step.everywhere]
    prefill = [step.kernel.name for step in result.prefill if step.kernel.name not in alone]
    many = {"gemv": "gemm", "attention_decode": "attention_prefill"}
    assert [reduce(lambda text, pair: text.replace(*pair), many.items(), name) for name in shared] == prefill
    assert not result.decode[-1].everywhere


def test_what_every_thread_makes_for_itself_is_in_its_scratch(tmp_path: Path) -> None:
    result, _ = planned(tiny(tmp_path))
    made = {"attention_merge": (2, 0), "rmsnorm_quantize": (2, 1)}  # output, and where the next step reads it
    for step, following in pairwise(result.decode):
        if step.everywhere:
            output, read = made[step.kernel.name]
            assert step.buffers[output].space == Space.SCRATCH
            assert step.buffers[output].offset == following.buffers[read].offset
            assert following.everywhere == (step.kernel.name == "attention_merge")


def test_the_tied_table_is_stored_once(tmp_path: Path) -> None:
    result, weights = planned(tiny(tmp_path))
    tables = [section for section in weights.sections if section.name == "model.embed_tokens.weight"]
    assert len(tables) == 1
    assert result.decode[0].buffers[1].offset == result.logits.places["table"] == tables[0].offset


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
    with pytest.raises(CompileError, match="2 heads of 20: the head size must be even, and all"):
        planned(tiny(tmp_path, shape=replace(TINY, head_dim=20, heads=8, key_value_heads=2)))


def test_heads_of_another_size_are_spread_and_joined(tmp_path: Path) -> None:
    """As in 1bitLLM 3B, whose heads have 100 features."""
    result, _ = planned(tiny(tmp_path, shape=replace(TINY, head_dim=20, heads=4, key_value_heads=4)))
    for steps in (result.decode, result.prefill):
        names = [step.kernel.name for step in steps if not step.everywhere]
        assert names.count("spread_heads") == names.count("join_heads") == result.num_layers
    assert result.cache_bytes == TINY.layers * 2 * 4 * 64 * 32 * 2
    aligned, _ = planned(tiny(tmp_path / "16", shape=replace(TINY, head_dim=16, heads=4, key_value_heads=4)))
    assert "spread_heads" not in {step.kernel.name for step in aligned.decode}
