"""The checkpoint shipped with the package: complete, small, and in the layout of BitNet b1.58 2B-4T."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from tokenizers import Tokenizer
from training.tokenizer import CHAT_TEMPLATE, SPECIAL_TOKENS

BUILTIN = Path(__file__).parents[2] / "edgebit" / "model" / "builtin"
PROJECTIONS = {
    "self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}


@pytest.fixture(scope="module")
def config() -> dict[str, object]:
    content: dict[str, object] = json.loads((BUILTIN / "config.json").read_text())
    return content


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(BUILTIN / "tokenizer.json"))


def test_the_checkpoint_is_small() -> None:
    assert sum(path.stat().st_size for path in BUILTIN.iterdir()) <= 3_000_000


def test_the_config_names_the_packed_format(config: dict[str, object]) -> None:
    assert config["architectures"] == ["BitNetForCausalLM"]
    assert config["quantization_config"] == {
        "linear_class": "autobitlinear",
        "quant_method": "bitnet",
        "quantization_mode": "offline",
    }


def test_every_projection_is_packed_with_its_scale(config: dict[str, object]) -> None:
    layers = config["num_hidden_layers"]
    assert isinstance(layers, int)
    with safe_open(BUILTIN / "model.safetensors", "np") as tensors:
        assert len(tensors.keys()) == 2 + layers * (4 + 2 * 7)
        for layer in range(layers):
            for part, names in PROJECTIONS.items():
                for name in names:
                    weight = tensors.get_slice(f"model.layers.{layer}.{part}.{name}.weight")
                    scale = tensors.get_slice(f"model.layers.{layer}.{part}.{name}.weight_scale")
                    assert weight.get_dtype() == "U8"
                    assert (scale.get_dtype(), scale.get_shape()) == ("BF16", [1])


def test_no_trit_code_is_invalid() -> None:
    with safe_open(BUILTIN / "model.safetensors", "np") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - not a dictionary
            if name.endswith("_proj.weight"):
                packed = tensors.get_tensor(name)
                assert not any(((packed >> shift & 3) == 3).any() for shift in (0, 2, 4, 6))


def test_four_to_six_million_weights(config: dict[str, object]) -> None:
    count = 0
    with safe_open(BUILTIN / "model.safetensors", "np") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - not a dictionary
            rows, *columns = tensors.get_slice(name).get_shape()
            count += rows * (columns[0] * (4 if name.endswith("_proj.weight") else 1) if columns else 1)
    assert 4_000_000 <= count <= 6_000_000


def test_the_vocabulary_fits_the_embedding(config: dict[str, object], tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() == config["vocab_size"]


def test_generation_stops_at_either_end_token(tokenizer: Tokenizer) -> None:
    generation = json.loads((BUILTIN / "generation_config.json").read_text())
    ends = [tokenizer.token_to_id(token) for token in ("<|end_of_text|>", "<|eot_id|>")]
    assert generation["eos_token_id"] == ends
    assert generation["do_sample"] is False


def test_text_is_encoded_behind_one_bos(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("turn on the light").ids
    assert ids.count(tokenizer.token_to_id(SPECIAL_TOKENS[0])) == 1
    assert tokenizer.decode(ids) == "turn on the light"


def test_the_chat_template_is_that_of_the_family() -> None:
    assert json.loads((BUILTIN / "tokenizer_config.json").read_text())["chat_template"] == CHAT_TEMPLATE


def test_the_chat_template_renders_roles(tokenizer: Tokenizer) -> None:
    from jinja2 import Template

    messages = [{"role": "user", "content": " lights on "}]
    rendered = Template(CHAT_TEMPLATE).render(messages=messages, add_generation_prompt=True)
    assert rendered == "User: lights on<|eot_id|>Assistant: "
