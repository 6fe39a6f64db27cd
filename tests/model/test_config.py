"""config.json: what is read, and what is refused with the key and the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgebit.errors import ConfigError
from edgebit.model.config import ModelConfig, read_config
from edgebit.model.facts import Llama3Scaling, ProjectionNorm
from tests.builders import ODD, TINY, checkpoint_config

# As published: head_dim and linear sizes are derived, auto_map names files that do not exist (SPEC 1.1).
BITNET_2B_4T = {
    "architectures": ["BitNetForCausalLM"],
    "auto_map": {
        "AutoConfig": "configuration_bitnet.BitNetConfig",
        "AutoModelForCausalLM": "m.BitNetForCausalLM",
    },
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "hidden_act": "relu2",
    "hidden_size": 2560,
    "initializer_range": 0.02,
    "intermediate_size": 6912,
    "max_position_embeddings": 4096,
    "model_type": "bitnet",
    "rms_norm_eps": 1e-05,
    "num_attention_heads": 20,
    "num_hidden_layers": 30,
    "num_key_value_heads": 5,
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 128256,
    "quantization_config": {
        "quant_method": "bitnet",
        "linear_class": "autobitlinear",
        "quantization_mode": "offline",
    },
}


def read(folder: Path, **changes: Any) -> ModelConfig:
    """The tiny BitNet configuration with entries replaced, or removed by None."""
    return parse(folder, checkpoint_config("packed", TINY) | changes)


def parse(folder: Path, values: dict[str, Any]) -> ModelConfig:
    present = {key: value for key, value in values.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(present))
    return read_config(folder)


def test_the_published_2b_model(tmp_path: Path) -> None:
    config = parse(tmp_path, BITNET_2B_4T)
    assert config.family.name == "bitnet"
    assert (config.head_dim, config.query_size, config.key_value_size) == (128, 2560, 640)
    assert config.projections["mlp.down_proj"] == (2560, 6912)
    assert (config.rms_norm_eps, config.rope_theta, config.hidden_act) == (1e-5, 500000.0, "relu2")
    assert config.tie_word_embeddings
    assert config.quantization.scale_is_multiplier
    assert (config.bos_token_id, config.eos_token_ids) == (128000, (128001,))


def llama_of(**values: Any) -> dict[str, Any]:
    quantization = {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]}
    common = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu"}
    return common | {"quantization_config": quantization, "tie_word_embeddings": False} | values


def test_falcon3(tmp_path: Path) -> None:
    """Falcon3-1B-Instruct-1.58bit: heads of 256, no sub-norms, an lm_head of its own (SPEC 4)."""
    sizes = {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 18,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 131072,
        "rope_theta": 1000042,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 8192,
    }
    config = parse(tmp_path, llama_of(**sizes))
    assert (config.family.name, config.hidden_act, config.head_dim) == ("llama", "silu", 256)
    assert not config.quantization.scale_is_multiplier
    assert config.rope_theta == 1000042.0
    assert config.norms == {"input_layernorm": 2048, "post_attention_layernorm": 2048}


def test_llama_3_of_hf1bitllm(tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "rope_theta": 500000.0,
        "is_bitnet_config": True,
        "attention_bias": False,
        "pretraining_tp": 1,
    }
    config = parse(tmp_path, llama_of(**sizes))
    assert (config.head_dim, config.key_value_size) == (128, 1024)
    assert not config.quantization.scale_is_multiplier
    assert not config.tie_word_embeddings


ONEBITLLM_LARGE = {
    "architectures": ["BitnetForCausalLM"],
    "model_type": "llama",
    "weight_bits": 1,
    "input_bits": 8,
    "hidden_act": "silu",
    "hidden_size": 1536,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "vocab_size": 32002,
    "max_position_embeddings": 2048,
}


def test_1bitllm_is_ternary_without_saying_so(tmp_path: Path) -> None:
    config = parse(tmp_path, ONEBITLLM_LARGE)
    assert (config.family.name, config.hidden_act) == ("1bitllm", "silu")
    assert config.norms["self_attn.inner_attn_ln"] == 1536
    assert config.norms["mlp.ffn_layernorm"] == 4096
    for other, complaint in (({"weight_bits": 4}, "4, expected 1"), ({"input_bits": 16}, "16, expected 8")):
        with pytest.raises(ConfigError, match=complaint):
            parse(tmp_path, ONEBITLLM_LARGE | other)


def test_a_llama_with_its_own_head_dim(tmp_path: Path) -> None:
    config = parse(tmp_path, checkpoint_config("llama", ODD))
    assert config.family.name == "llama"
    assert (config.hidden_act, config.tie_word_embeddings) == ("silu", False)
    assert (config.head_dim, config.query_size, config.hidden_size) == (16, 64, 136)
    assert not config.quantization.scale_is_multiplier
    assert config.family.attention_sub_norm is None


def test_defaults_are_those_of_transformers(tmp_path: Path) -> None:
    """BitNetConfig: 2048 positions, untied; BitNetQuantConfig: bitlinear."""
    config = read(
        tmp_path,
        tie_word_embeddings=None,
        max_position_embeddings=None,
        num_key_value_heads=None,
        quantization_config={"quant_method": "bitnet"},
    )
    assert not config.tie_word_embeddings
    assert config.max_position_embeddings == 2048
    assert config.num_key_value_heads == config.num_attention_heads
    assert not config.quantization.scale_is_multiplier


def test_rope_theta_of_newer_files(tmp_path: Path) -> None:
    parameters = {"rope_type": "default", "rope_theta": 1000042.0}
    assert read(tmp_path, rope_theta=None, rope_parameters=parameters).rope_theta == 1000042.0
    assert read(tmp_path, rope_theta=None).rope_theta == 10000.0


def test_several_end_tokens(tmp_path: Path) -> None:
    assert read(tmp_path, eos_token_id=[7, 9]).eos_token_ids == (7, 9)
    assert read(tmp_path, eos_token_id=None).eos_token_ids == ()


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def test_rope_scaling_of_llama_3_in_old_and_new_files(tmp_path: Path) -> None:
    old = read(tmp_path, rope_scaling=LLAMA3)
    new = read(tmp_path, rope_theta=None, rope_parameters=LLAMA3 | {"rope_theta": 500000.0})
    assert old.rope_scaling == new.rope_scaling == Llama3Scaling(8.0, 1.0, 4.0, 64)
    assert old.rope_theta == new.rope_theta == 500000.0


def test_a_norm_inside_every_projection(tmp_path: Path) -> None:
    entry = {"quant_method": "bitnet", "use_rms_norm": True}
    assert read(tmp_path, quantization_config=entry).projection_norm == ProjectionNorm("rms_norm", 1e-6)
    own = read(tmp_path, quantization_config=entry | {"rms_norm_eps": 1e-3})
    assert own.norms["mlp.down_proj.rms_norm"] == own.intermediate_size
    assert own.projection_norm == ProjectionNorm("rms_norm", 1e-3)
    assert read(tmp_path).projection_norm is None


def test_biases(tmp_path: Path) -> None:
    assert read(tmp_path).biased == ()
    assert len(read(tmp_path, attention_bias=True).biased) == 4
    assert len(read(tmp_path, attention_bias=True, mlp_bias=True).biased) == 7


def quantization(**changes: Any) -> dict[str, Any]:
    return {"quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"} | changes}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"architectures": ["MambaForCausalLM"]},
            "MambaForCausalLM is not supported; supported are BitNetFor",
        ),
        ({"architectures": None}, 'no "architectures" entry'),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported; supported are relu2, silu"),
        ({"quantization_config": None}, "no quantization_config, expected quant_method 'bitnet'"),
        (quantization(quant_method="gptq"), "quant_method 'gptq', expected quant_method 'bitnet'"),
        (quantization(linear_class="superlinear"), "linear_class 'superlinear' is not known"),
        (
            quantization(modules_to_not_convert=["lm_head", "q_proj"]),
            "modules_to_not_convert names ['q_proj']",
        ),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_parameters of type 'yarn'"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
        ({"rope_parameters": [1]}, "rope_parameters is [1], expected an object"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 8.0}}, "rope_scaling of type 'yarn'"),
        (
            {"rope_scaling": LLAMA3 | {"low_freq_factor": 4.0}},
            "rope_scaling: low_freq_factor is not below high_freq_factor",
        ),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling.low_freq_factor is missing"),
        (
            {"rope_scaling": LLAMA3 | {"original_max_position_embeddings": None}},
            "original_max_position_embeddings is missing",
        ),
        ({"use_sliding_window": True}, "use_sliding_window true needs layer_types"),
        ({"layer_types": ["full_attention"]}, "expected a list of 2 names"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "layer_types names 'linear_attention'"),
        ({"layer_types": ["sliding_attention", "full_attention"]}, "sliding_window is missing"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping 30.0 is not supported"),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": "128"}, "hidden_size is '128', expected a positive integer"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0, expected a positive integer"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0, expected a positive number"),
        ({"rope_theta": "much"}, "rope_theta is 'much', expected a positive number"),
        ({"num_attention_heads": 3}, "hidden_size 128 is not a multiple of num_attention_heads 3"),
        ({"num_key_value_heads": 3}, "num_attention_heads 4 is not a multiple of num_key_value_heads 3"),
        ({"head_dim": 17}, "head_dim 17 is odd"),
        ({"intermediate_size": 190}, "intermediate_size 190 is not a multiple of 4"),
        ({"eos_token_id": [1, "x"]}, "eos_token_id: token id [1, 'x']"),
        ({"bos_token_id": -1}, "bos_token_id: token id -1"),
    ],
)
def test_what_cannot_be_computed_is_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, **changes)
    assert complaint in str(caught.value)
    assert str(tmp_path / "config.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[1]", b"[" * 100_000])
def test_a_config_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.json: (not valid JSON|holds a list)"):
        read_config(tmp_path)
