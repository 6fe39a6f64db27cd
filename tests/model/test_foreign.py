"""Folders and files that are something else: the error says what was found and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from edgebit.errors import EdgebitError
from edgebit.model import Overrides, open_checkpoint
from tests.builders import Shape, change_json, write_checkpoint
from tests.gguf_files import Recipe, write_gguf

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1178562980\n"

FOLDERS: Mapping[str, tuple[dict[str, bytes], str]] = {
    "empty": ({}, r"no config\.json.* but the folder is empty$"),
    "a LoRA adapter": (
        {"adapter_config.json": b"{}", "adapter_model.safetensors": b""},
        r"adapter_config\.json makes it a LoRA adapter: merge it into its base model",
    ),
    "weights of torch alone": (
        {"pytorch_model.bin": b""},
        r"pytorch_model\.bin is of torch.*save_pretrained",
    ),
    "weights without a config": ({"model.safetensors": b""}, r"but model\.safetensors stands alone$"),
    "an ONNX graph": ({"model.onnx": b""}, r"model\.onnx is a graph; name the file instead"),
    "other things": ({"a.txt": b"", "b.txt": b""}, r"but there is only a\.txt, b\.txt$"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_without_a_config_is_described(kind: str, tmp_path: Path) -> None:
    files, complaint = FOLDERS[kind]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EdgebitError, match=complaint):
        open_checkpoint(tmp_path)


WEIGHTS: Mapping[str, tuple[str, str]] = {
    "torch": ("pytorch_model-00001-of-00002.bin", r"of torch, which is not read: .*save_pretrained"),
    "checkpoint": ("consolidated.00.pth", r"consolidated\.00\.pth is of torch"),
    "shards": ("model-00001-of-00002.safetensors", r"is a shard without model\.safetensors\.index\.json"),
    "another name": ("consolidated.safetensors", r"is not model\.safetensors, as transformers names weights"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_in_other_files_are_named(kind: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "packed")
    (folder / "model.safetensors").rename(folder / WEIGHTS[kind][0])
    with pytest.raises(EdgebitError, match=rf"neither model\.safetensors nor .*{WEIGHTS[kind][1]}"):
        open_checkpoint(folder)


CONFIGS: Mapping[str, tuple[dict[str, Any], str]] = {
    "GPTQ": ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"quant_method 'gptq', expected"),
    "AWQ": ({"quantization_config": {"quant_method": "awq"}}, r"and no conversion makes others so$"),
    "MLX": ({"quantization": {"bits": 2, "group_size": 128}}, r"packed by MLX; take the model"),
    "of images": (
        {"architectures": ["Gemma3ForConditionalGeneration"], "vision_config": {}},
        r"Gemma3ForConditionalGeneration, which does not take text alone, is not supported; supported are",
    ),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_models_of_other_kinds_are_named(kind: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "llama")
    change_json(folder / "config.json", **CONFIGS[kind][0])
    with pytest.raises(EdgebitError, match=CONFIGS[kind][1]):
        open_checkpoint(folder)


def test_pointers_of_git_lfs_are_not_the_files(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "packed")
    for path, source in (
        (tmp_path / "m.gguf", tmp_path / "m.gguf"),
        (folder / "tokenizer.json", folder),
        (folder / "model.safetensors", folder),
    ):
        path.write_bytes(LFS)
        with pytest.raises(EdgebitError, match=r"is a pointer of Git LFS, not the file itself; run `git lfs"):
            open_checkpoint(source)


def test_a_gguf_file_in_parts_has_to_be_joined(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=1)
    for name in ("token_embd.weight", "output_norm.weight"):
        writer.add_tensor(name, np.zeros((1, 32), np.float32))
    writer.write_header_to_file(tmp_path / "m.gguf")
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    first, second = sorted(tmp_path.iterdir())
    with pytest.raises(EdgebitError, match=rf"one model in 2 files; .*--merge {first.name} model\.gguf"):
        open_checkpoint(tmp_path)
    for part in (first, second):
        with pytest.raises(EdgebitError, match=r"is one of 2 files of a model; join them: llama-gguf-split"):
            open_checkpoint(part)
    second.rename(tmp_path / "other.gguf")
    with pytest.raises(EdgebitError, match="holds several models, name one of them"):
        open_checkpoint(tmp_path)


def test_a_family_that_does_not_fit_is_named_as_the_person_said_it(tmp_path: Path) -> None:
    shape = Shape(hidden_size=256, intermediate_size=256, layers=1, heads=4, key_value_heads=2)
    for layout, architecture, family, complaint in (
        ("llama", "llama", "bitnet", r"ffn_sub_norm\.weight is missing; a bitnet \(--model-family\)"),
        ("packed", "bitnet-b1.58", "llama", r"attn_sub_norm\.weight belongs to no llama \(--model-family\)"),
    ):
        folder = write_checkpoint(tmp_path / layout, layout, shape)
        path = write_gguf(folder, folder / "m.gguf", Recipe(architecture))
        with pytest.raises(EdgebitError, match=complaint):
            open_checkpoint(path, Overrides(model_family=family, activation="relu2"))


def test_a_repository_without_weights_that_are_read_says_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    for files, complaint in (
        (["config.json", "pytorch_model.bin"], r"nor a GGUF file; pytorch_model\.bin is of torch"),
        (["README.md", "adapter_config.json"], r"adapter_config\.json makes it a LoRA adapter"),
        (["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"], r"owner/name: holds one model in 2 files"),
    ):
        monkeypatch.setattr("huggingface_hub.list_repo_files", lambda *_, files=files, **__: files)
        with pytest.raises(EdgebitError, match=complaint):
            open_checkpoint("owner/name")
