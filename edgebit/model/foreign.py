"""Folders and files that are no checkpoint edgebit reads: what they are instead, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

_LFS = b"version https://git-lfs"
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
_TORCH = (
    "is of torch, which is not read: load it with transformers and save_pretrained, which writes "
    "model.safetensors"
)
# The first pattern that a name of the folder matches says what it is.
_KINDS = (
    ("libmodel.so", "makes it a bundle, which is compiled already; compile what it was made from"),
    (
        "adapter_config.json",
        "makes it a LoRA adapter: merge it into its base model (merge_and_unload of peft, then "
        "save_pretrained) and compile that",
    ),
    ("model-*-of-*.safetensors", "is a shard without model.safetensors.index.json; download the whole model"),
    ("*.safetensors", "is not model.safetensors, as transformers names weights"),
    *((pattern, _TORCH) for pattern in ("*.bin", "*.pth", "*.pt", "*.ckpt")),
    ("*.onnx", "is a graph; name the file instead of its folder"),
    ("*.gguf", "is a model of its own; name the file instead of its folder"),
)


def describe(folder: Path) -> str:
    """What a folder has in the place of what was expected, and the way out; for the end of a sentence."""
    return describe_names(entry.name for entry in folder.iterdir())


def describe_names(found_names: Iterable[str]) -> str:
    """The same of a repository's files."""
    names = sorted(found_names)
    if not names:
        return "the folder is empty"
    for pattern, meaning in _KINDS:
        found = next((name for name in names if fnmatch(name, pattern)), None)
        if found is not None:
            return f"{found} {meaning}"
    return f"there is only {', '.join(names[:3])}{' and more' if names[3:] else ''}"


def git_lfs_pointer(beginning: bytes) -> str | None:
    """What to do with a file that begins so, where it stands for the one that Git LFS keeps elsewhere."""
    if not beginning.startswith(_LFS):
        return None
    return "is a pointer of Git LFS, not the file itself; run `git lfs pull`, or download the file"


def parts_of_one(names: list[str]) -> bool:
    """Whether names of GGUF files are those of one that llama-gguf-split took apart."""
    found = [_SPLIT.fullmatch(name) for name in names]
    return len({part and (part[1], part[3]) for part in found}) == 1 and None not in found
