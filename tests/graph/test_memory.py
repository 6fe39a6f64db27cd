"""A model of published size is built and saved in little memory, whatever its layout."""

from __future__ import annotations

import json
import subprocess
import sys
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.builders import TINY, Shape, checkpoint_config, write_json, write_tokenizer

# Two layers of microsoft/bitnet-b1.58-2B-4T and a quarter of its vocabulary, so that a test writes 200 MB and
# not 700. Tensors are streamed: more need no more memory, and the embedding alone exceeds the limit twice.
PUBLISHED = Shape(
    hidden_size=2560,
    intermediate_size=6912,
    layers=2,
    heads=20,
    key_value_heads=5,
    vocab_size=32064,
    positions=4096,
)
LIMIT_MB = 64

MEASURE = """
import sys, threading, time
from edgebit.graph import build, save
from edgebit.model import open_checkpoint

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

class Watch(threading.Thread):
    peak = 0.0
    running = True
    def run(self):
        while self.running:
            self.peak = max(self.peak, anonymous())
            time.sleep(0.002)

before = anonymous()
watch = Watch()
watch.start()
save(build(open_checkpoint(sys.argv[1])), sys.argv[2])
watch.running = False
watch.join()
print(watch.peak - before)
"""


def write_sparse_checkpoint(folder: Path, layout: str) -> None:
    """A checkpoint of full size whose matrices are holes in the file; only scales and norms are written."""
    folder.mkdir()
    write_tokenizer(folder, TINY.vocab_size)
    write_json(folder / "config.json", checkpoint_config(layout, PUBLISHED))
    hidden, inner = PUBLISHED.hidden_size, PUBLISHED.intermediate_size
    norms = {
        "input_layernorm": hidden,
        "post_attention_layernorm": hidden,
        "self_attn.attn_sub_norm": hidden,
        "mlp.ffn_sub_norm": inner,
    }
    linears = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden // 4, hidden),
        "self_attn.v_proj": (hidden // 4, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "model.embed_tokens.weight": ("BF16", (PUBLISHED.vocab_size, hidden)),
        "model.norm.weight": ("BF16", (hidden,)),
    }
    for layer in range(PUBLISHED.layers):
        prefix = f"model.layers.{layer}"
        shapes |= {f"{prefix}.{name}.weight": ("BF16", (size,)) for name, size in norms.items()}
        for name, (rows, columns) in linears.items():
            if layout == "master":
                shapes[f"{prefix}.{name}.weight"] = ("BF16", (rows, columns))
            else:
                shapes[f"{prefix}.{name}.weight"] = ("U8", (rows // 4, columns))
                shapes[f"{prefix}.{name}.weight_scale"] = ("BF16", (1,))
    write_holes(folder / "model.safetensors", shapes)


def write_holes(path: Path, shapes: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    header, end = {}, 0
    for name, (dtype, shape) in shapes.items():
        size = prod(shape) * (2 if dtype == "BF16" else 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        for name, (_, shape) in shapes.items():
            if len(shape) == 1:
                file.seek(start + header[name]["data_offsets"][0])
                file.write(np.ones(shape, ml_dtypes.bfloat16).tobytes())
        file.truncate(start + end)


@pytest.mark.parametrize("layout", ["packed", "master"])
def test_building_and_saving_holds_no_weights_in_memory(tmp_path: Path, layout: str) -> None:
    write_sparse_checkpoint(tmp_path / "model", layout)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "model"), str(tmp_path / "onnx")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    print(f"{layout}: {float(done.stdout):.0f} MB above the imports")
    assert float(done.stdout) < LIMIT_MB
    (tmp_path / "onnx" / "model.onnx.data").unlink()  # large, and nobody reads it again
