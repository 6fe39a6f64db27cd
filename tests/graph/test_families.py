"""The graph of every family is the model transformers computes, and none of its rules can be left out.

Each test computes the logits of a tiny checkpoint twice, by transformers in float32 and by the graph in
onnxruntime; then every special rule of the family is broken in turn, and the same check has to fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgebit.graph import build, check, save
from edgebit.model import Checkpoint, ModelConfig, open_checkpoint
from edgebit.model import checkpoint as reader
from edgebit.model.config import read_config
from edgebit.model.facts import QuantizationConfig
from tests.families import VOCABULARY, is_packed, write_model
from tests.graph.running import Runner
from tests.reference import Floats, divergence, transformers_logits

PROMPTS = np.random.default_rng(3).integers(0, VOCABULARY - 3, (2, 40))
SAME = 1e-4  # divergence; the few int8 codes that a last place of a float moves cost up to 5e-5

Break = Callable[[ModelConfig], ModelConfig]


def of_family(**changes: object) -> Break:
    return lambda config: replace(config, family=replace(config.family, **changes))  # type: ignore[arg-type]


def of_config(**changes: object) -> Break:
    return lambda config: replace(config, **changes)  # type: ignore[arg-type]


def other_sense(config: ModelConfig) -> ModelConfig:
    flipped = {"bitlinear": "autobitlinear", "autobitlinear": "bitlinear"}
    return replace(config, quantization=QuantizationConfig(flipped[config.quantization.linear_class]))


NO_QK_NORM = of_family(query_norm=None, key_norm=None)
OWN_NORM: dict[str, Break] = {
    "norm of projections": of_config(projection_norm=None),
    "its epsilon": lambda c: replace(c, projection_norm=replace(c.projection_norm, eps=1e-6)),  # type: ignore[type-var]
}
GEMMA3: dict[str, Break] = {
    "1 + weight": of_family(norm_offset=0.0),
    "factor of embeddings": of_family(scales_embedding=False),
    "norm behind attention": of_family(attention_post_norm=None),
    "norm behind the MLP": of_family(mlp_post_norm=None),
    "norms of heads": NO_QK_NORM,
    "GELU": of_config(hidden_act="silu"),
    "window": of_config(layer_windows=(0, 0, 0)),
    "size of the window": of_config(layer_windows=(21, 0, 21)),
    "theta of windows": lambda c: replace(c, local_rope_theta=c.rope_theta),
    "scale of scores": lambda c: replace(c, attention_scale=c.head_dim**-0.5),
}
RULES: dict[str, dict[str, Break]] = {
    "packed": {
        "norm before o_proj": of_family(attention_sub_norm=None),
        "norm before down_proj": of_family(mlp_sub_norm=None),
        "squared ReLU": of_config(hidden_act="silu"),
        "scale sense": other_sense,
    },
    "llama": {
        "SiLU": of_config(hidden_act="relu2"),
        "scale sense": other_sense,
        "own lm_head": of_config(tie_word_embeddings=True),
    },
    "1bitllm": {
        "inner_attn_ln": of_family(attention_sub_norm=None),
        "ffn_layernorm": of_family(mlp_sub_norm=None),
        "SiLU": of_config(hidden_act="relu2"),
    },
    "llama rms_norm": OWN_NORM,
    "packed with biases": {"biases": of_config(biased=())},  # multiplied by weight_scale, too
    "llama with biases": {"biases": of_config(biased=())},
    "llama biases": {
        "biases": of_config(biased=()),
        "biases of attention": lambda c: replace(c, biased=c.biased[4:]),
        "biases of the MLP": lambda c: replace(c, biased=c.biased[:4]),
    },
    "llama rope": {
        "scaling": of_config(rope_scaling=None),
        "its factor": lambda c: replace(c, rope_scaling=replace(c.rope_scaling, factor=4.0)),  # type: ignore[type-var]
    },
    "qwen3": {"norms of heads": NO_QK_NORM},
    "qwen3 rms_norm": {
        **OWN_NORM,
        "norms of heads": NO_QK_NORM,
        "own lm_head": of_config(tie_word_embeddings=True),
    },
    "gemma3": GEMMA3,
    # packed by transformers' functions and unpacked by its layers, in both senses of the scale
    "falcon-e, bitlinear": {
        "SiLU": of_config(hidden_act="relu2"),
        "scale sense": other_sense,
        "own lm_head": of_config(tie_word_embeddings=True),
    },
    "qwen3, autobitlinear": {"norms of heads": NO_QK_NORM, "scale sense": other_sense},
    "qwen3 rms_norm, bitlinear": {**OWN_NORM, "norms of heads": NO_QK_NORM, "scale sense": other_sense},
    "gemma3, bitlinear": {**GEMMA3, "scale sense": other_sense},
    "gemma3 rms_norm, autobitlinear": {**GEMMA3, **OWN_NORM, "scale sense": other_sense},
    "llama biases, bitlinear": {
        "biases of attention": lambda c: replace(c, biased=c.biased[4:]),
        "biases of the MLP": lambda c: replace(c, biased=c.biased[:4]),
        "scale sense": other_sense,
    },
}


def graph_logits(checkpoint: Checkpoint, folder: Path) -> Floats:
    runner = Runner(save(build(checkpoint), folder))
    return runner.step(PROMPTS, runner.start(batch=len(PROMPTS)))


@pytest.mark.parametrize("name", RULES)
def test_the_graph_is_the_model_and_every_rule_matters(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, twin = write_model(tmp_path, name)
    load_dtype = torch.bfloat16 if is_packed(name) else torch.float32  # SPEC 1.3
    expected = transformers_logits(twin, PROMPTS, torch.float32, load_dtype=load_dtype)
    assert divergence(expected, graph_logits(open_checkpoint(folder), tmp_path / "right")) <= SAME
    check(tmp_path / "right")
    monkeypatch.setattr(Checkpoint, "verify", lambda _: None)  # a tensor that is left out would be refused
    for number, (rule, broken) in enumerate(RULES[name].items()):
        monkeypatch.setattr(reader, "read_config", lambda path, broken=broken: broken(read_config(path)))
        wrong = divergence(expected, graph_logits(open_checkpoint(folder), tmp_path / f"wrong-{number}"))
        assert wrong > 3 * SAME, f"without the rule {rule!r} {name} computes the same: {wrong}"
