"""config.json and generation_config.json: every entry missing, of another type, or out of all proportion."""

from __future__ import annotations

from tests.malformed.damage import WRONG, Case, Cases, broken_text, change_tree, put, remove

CONFIG = "config.json"
GENERATION = "generation_config.json"
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "max_position_embeddings",
)
# Types that are right, or taken for an absent entry.
_ALLOWED = {
    **{size: {"number"} for size in _SIZES},
    "num_key_value_heads": {"null", "number"},
    "max_position_embeddings": {"null", "number"},
    "rms_norm_eps": {"number", "fraction"},
    "rope_theta": {"number", "fraction"},
    "tie_word_embeddings": {"true"},
    "hidden_act": set(),
    "architectures": set(),
    "quantization_config": set(),
    "bos_token_id": {"null", "number", "zero", "list"},
    "eos_token_id": {"null", "number", "zero", "list"},
}


def _wrong_types() -> dict[str, Case]:
    return {
        f"{key} {kind}": change_tree(CONFIG, put(key, value=value))
        for key, allowed in _ALLOWED.items()
        for kind, value in WRONG.items()
        if kind not in allowed
    }


def cases() -> Cases:
    needed = ("architectures", *_SIZES[:4], "vocab_size", "quantization_config")
    return {
        **broken_text(CONFIG),
        **_wrong_types(),
        **{f"{key} missing": change_tree(CONFIG, remove(key)) for key in needed},
        "a billion layers": change_tree(CONFIG, put("num_hidden_layers", value=10**9)),
        "a billion positions": change_tree(CONFIG, put("max_position_embeddings", value=10**9)),
        "one more layer": change_tree(CONFIG, put("num_hidden_layers", value=2)),
        "no layer of the file": change_tree(CONFIG, put("num_hidden_layers", value=3)),
        "odd heads": change_tree(CONFIG, put("num_attention_heads", value=3)),
        "other method": change_tree(CONFIG, put("quantization_config", "quant_method", value="gptq")),
        "method list": change_tree(CONFIG, put("quantization_config", "quant_method", value=["bitnet"])),
        "class list": change_tree(CONFIG, put("quantization_config", "linear_class", value=["bitlinear"])),
        "skipped number": change_tree(CONFIG, put("quantization_config", "modules_to_not_convert", value=7)),
        "skipped objects": change_tree(
            CONFIG, put("quantization_config", "modules_to_not_convert", value=[{}])
        ),
        "rope_scaling text": change_tree(CONFIG, put("rope_scaling", value="dynamic")),
        "rope_scaling unknown": change_tree(CONFIG, put("rope_scaling", value={"type": ["x"]})),
        "rope_parameters text": change_tree(CONFIG, put("rope_parameters", value={"rope_theta": "x"})),
        "architecture objects": change_tree(CONFIG, put("architectures", value=[{}])),
        **broken_text(GENERATION),
        **{
            f"{GENERATION}: eos_token_id {kind}": change_tree(GENERATION, put("eos_token_id", value=value))
            for kind, value in WRONG.items()
            if kind not in _ALLOWED["eos_token_id"]
        },
    }
