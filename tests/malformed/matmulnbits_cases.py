"""A graph of MatMulNBits nodes that edgebit did not export, and the genai_config.json that describes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from edgebit.graph import build, save, with_matmulnbits
from edgebit.model import open_checkpoint
from tests.builders import Shape, write_checkpoint
from tests.malformed.damage import WRONG, Case, Cases, broken_text, change_tree, put, remove
from tests.malformed.onnx_cases import changed, changed_attribute, node_of, other_input, other_tensor

CONFIG = "genai_config.json"
MATRIX = "model.layers.0.mlp.down_proj"
NODE = f"{MATRIX}.MatMulNBits"
PACKED, SCALES, ZEROS = (f"{MATRIX}.weight.{part}" for part in ("packed", "scales", "zero_points"))
ROWS, COLUMNS, BLOCKS = 64, 96, 3  # of 32 columns


def write(folder: Path) -> None:
    shape = Shape(hidden_size=ROWS, intermediate_size=COLUMNS, layers=1, vocab_size=320)
    checkpoint = write_checkpoint(folder.with_name("checkpoint"), "packed", shape)
    save(with_matmulnbits(build(open_checkpoint(checkpoint))), folder)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    del model.metadata_props[:]
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def _settings(*path: str, key: str, allowed: set[str]) -> dict[str, Case]:
    return {
        f"{key} {kind}": change_tree(CONFIG, put(*path, key, value=value))
        for kind, value in WRONG.items()
        if kind not in allowed
    }


def cases() -> Cases:
    ones = np.full((ROWS, BLOCKS, 8), 0x55, np.uint8)
    mixed = ones.copy()
    mixed[5, 1, 2] = 0b11_10_01_00
    scales = np.ones(ROWS * BLOCKS, np.float32)
    damaged_scales = {"NaN": np.nan, "infinite": np.inf}
    return {
        **{
            f"{name} {value}": changed_attribute(NODE, name, i=value)
            for name in ("N", "K", "block_size", "bits")
            for value in (0, -1, 1, 3, 2**40, 2**62)
        },
        **{
            f"{name} a text": changed_attribute(NODE, name, type=3, s=b"many")
            for name in ("N", "K", "block_size", "bits")
        },
        "no attributes": changed(lambda model: node_of(model, NODE).ClearField("attribute")),
        "no input": other_input(NODE, 0, ""),
        "no weights": other_input(NODE, 1, ""),
        "no scales": other_input(NODE, 2, ""),
        "computed weights": other_input(NODE, 1, "model.layers.0.mlp.gated"),
        "computed scales": other_input(NODE, 2, "model.layers.0.mlp.gated"),
        "weights and scales exchanged": other_input(NODE, 1, SCALES),
        "columns in another order": changed(lambda model: node_of(model, NODE).input.append(ZEROS)),
        "more than three values": other_tensor(PACKED, mixed),
        "fewer bytes": other_tensor(PACKED, ones[:, :2]),
        "weights of floats": other_tensor(PACKED, ones.astype(np.float32)),
        "fewer scales": other_tensor(SCALES, scales[:-1]),
        "scales of texts": changed(
            lambda model: model.graph.initializer.append(
                TensorProto(name="texts", data_type=TensorProto.STRING, dims=[1], string_data=[b"x"])
            )
        ),
        **{
            f"scale {kind}": other_tensor(SCALES, np.where(np.arange(scales.size) == 7, value, scales))
            for kind, value in damaged_scales.items()
        },
        "scales that differ by block": other_tensor(SCALES, np.arange(1, scales.size + 1, dtype=np.float32)),
        "fewer zero points": other_tensor(ZEROS, np.full(ROWS - 1, 0x55, np.uint8)),
        "zero points between codes": other_tensor(ZEROS, np.full(ROWS * BLOCKS, 0.5, np.float32)),
        "zero points NaN": other_tensor(ZEROS, np.full(ROWS * BLOCKS, np.nan, np.float32)),
        **broken_text(CONFIG),
        **_settings("model", key="context_length", allowed={"number"}),
        **_settings("model", key="bos_token_id", allowed={"number", "zero"}),
        **_settings("model", key="eos_token_id", allowed={"number", "zero", "list"}),
        "model missing": change_tree(CONFIG, remove("model")),
        "model a list": change_tree(CONFIG, put("model", value=[])),
        "context missing": change_tree(CONFIG, remove("model", "context_length")),
        "context past the tables": change_tree(CONFIG, put("model", "context_length", value=100_000)),
        "stop outside": change_tree(CONFIG, put("model", "eos_token_id", value=100_000)),
        "stops of texts": change_tree(CONFIG, put("model", "eos_token_id", value=["x"])),
        "description missing": lambda folder: (folder / CONFIG).unlink(),
    }
