"""Write a trained run as a packed Hugging Face checkpoint.

``python examples/home_assistant/export.py --run RUN`` writes to the folder of the built-in model.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from training.model import BitNet, ModelSize, quantize_weight
from training.tokenizer import BOS, EOS, EOT, token_id

BUILTIN = Path(__file__).parents[2] / "edgebit" / "model" / "builtin"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
MAX_NEW_TOKENS = 128


def pack_trits(trits: Tensor) -> Tensor:
    """[N, K] in {-1, 0, 1} to [N/4, K] uint8 (SPEC 1.4).

    Bits 2i..2i+1 of packed row r hold the code (trit + 1) of row i*N/4 + r.
    """
    rows, columns = trits.shape
    if rows % 4:
        raise ValueError(f"{rows} rows cannot be packed by fours")
    codes = (trits + 1).to(torch.uint8).reshape(4, rows // 4, columns)
    return codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6


def packed_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Master weights to the packed layout: ``<projection>.weight`` uint8 and ``.weight_scale`` (mean |W|)."""
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith("_proj.weight"):
            trits, multiplier = quantize_weight(value)
            tensors[f"model.{name}"] = pack_trits(trits.round())
            tensors[f"model.{name}_scale"] = multiplier.reshape(1).bfloat16()
        else:
            tensors[f"model.{name}"] = value.bfloat16()
    return {name: tensor.contiguous() for name, tensor in sorted(tensors.items())}


def model_config(size: ModelSize, bos: int, eos: int) -> dict[str, Any]:
    return {
        "architectures": ["BitNetForCausalLM"],
        "bos_token_id": bos,
        "eos_token_id": eos,
        "hidden_act": "relu2",
        "hidden_size": size.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": size.intermediate_size,
        "max_position_embeddings": size.max_position_embeddings,
        "model_type": "bitnet",
        "num_attention_heads": size.num_attention_heads,
        "num_hidden_layers": size.num_hidden_layers,
        "num_key_value_heads": size.num_key_value_heads,
        "quantization_config": {
            "linear_class": "autobitlinear",
            "quant_method": "bitnet",
            "quantization_mode": "offline",
        },
        "rms_norm_eps": size.rms_norm_eps,
        "rope_theta": size.rope_theta,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": size.vocab_size,
    }


def export(run: Path, output: Path) -> None:
    """Write model.safetensors, config.json, generation_config.json and the tokenizer of ``run``."""
    state = torch.load(run / "training.pt", weights_only=True)
    size = ModelSize(**state["size"])
    model = BitNet(size)
    model.load_state_dict(state["model"])
    tokenizer = Tokenizer.from_file(str(run / "tokenizer" / "tokenizer.json"))
    bos, eos, eot = (token_id(tokenizer, token) for token in (BOS, EOS, EOT))

    output.mkdir(parents=True, exist_ok=True)
    save_file(packed_tensors(model.state_dict()), output / "model.safetensors", metadata={"format": "pt"})
    generation = {
        "bos_token_id": bos,
        "do_sample": False,
        "eos_token_id": [eos, eot],
        "max_new_tokens": MAX_NEW_TOKENS,
    }
    (output / "model.safetensors").chmod(0o644)  # safetensors makes it private
    write_json(output / "config.json", model_config(size, bos, eos))
    write_json(output / "generation_config.json", generation)
    for name in TOKENIZER_FILES:
        shutil.copyfile(run / "tokenizer" / name, output / name)


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder given to train.py as --output")
    parser.add_argument("--output", type=Path, default=BUILTIN)
    options = parser.parse_args()
    export(options.run, options.output)
    total = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{options.output}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
