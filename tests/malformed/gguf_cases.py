"""GGUF files: containers written by hand, a valid file cut or with other numbers in it, other metadata."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.builders import BOS, END_OF_TEXT, Shape, write_checkpoint
from tests.gguf_files import Recipe, vocabulary, write_gguf
from tests.malformed.damage import Case, Cases, change_bytes

FILE = "model.gguf"
ARCHITECTURE = "bitnet-b1.58"
_CHECKPOINT = "checkpoint"  # beside the folder of the model
HUGE = 2**63
Metadata = dict[str, Any]


def write(folder: Path) -> None:
    write_checkpoint(
        folder.with_name(_CHECKPOINT),
        "packed",
        Shape(hidden_size=256, intermediate_size=256, layers=1, heads=4, key_value_heads=2),
    )
    folder.mkdir()
    _write(folder, {})


def _write(folder: Path, changes: Metadata) -> None:
    source = folder.with_name(_CHECKPOINT)
    words = vocabulary((source / "tokenizer.json").read_bytes(), "llama-bpe", BOS, END_OF_TEXT)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    words["tokenizer.chat_template"] = settings["chat_template"]
    for key, value in changes.items():
        words[key] = value(words[key]) if callable(value) else value
    write_gguf(source, folder / FILE, Recipe(ARCHITECTURE, metadata=words))


def _metadata(key: str, value: Any) -> Case:
    """The file with another value (a function: of the right one) of a key, None: without it."""
    return lambda folder: _write(folder, {key: value})


def header(tensors: int, pairs: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def tensor(name: bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)


CONTAINERS = {
    "empty": b"",
    "magic": b"GGML" + bytes(40),
    "magic alone": b"GGUF",
    "version 1": header(0, 0, 1),
    "version 4": header(0, 0, 4),
    "big-endian": header(0, 0, 3 << 24),
    "nothing inside": header(0, 0) + bytes(64),
    "huge tensors": header(HUGE, 0),
    "many tensors": header(1 << 16, 0) + bytes(64),
    "huge pairs": header(0, HUGE),
    "many pairs": header(0, 1 << 16) + bytes(64),
    "huge key": header(0, 1) + struct.pack("<Q", HUGE),
    "huge text": header(0, 1) + text(b"k") + struct.pack("<IQ", 8, HUGE),
    "huge array": header(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 4, HUGE),
    "array past the end": header(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 4, 1000) + bytes(64),
    "many texts": header(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 8, 1 << 20) + bytes(64),
    "two million empty texts": header(0, 1)
    + text(b"k")
    + struct.pack("<IIQ", 9, 8, 2_000_000)
    + bytes(16 << 20),
    "array of arrays": header(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 9, 1) + bytes(64),
    "arrays in arrays": header(0, 1) + text(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 100_000,
    "unknown kind": header(0, 1) + text(b"k") + struct.pack("<I", 77) + bytes(64),
    "array of unknown kind": header(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 77, 1) + bytes(64),
    "twice a key": header(0, 2) + 2 * (text(b"k") + struct.pack("<IB", 0, 1)),
    "key not UTF-8": header(0, 1) + text(b"\xff") + struct.pack("<IB", 0, 1),
    "text not UTF-8": header(0, 1) + text(b"k") + struct.pack("<I", 8) + text(b"\xc3\x28"),
    "no dimensions": header(1, 0) + tensor(b"t", (), 0, 0) + bytes(64),
    "five dimensions": header(1, 0) + tensor(b"t", (1,) * 5, 0, 0) + bytes(64),
    "huge dimensions": header(1, 0) + tensor(b"t", (HUGE, HUGE), 0, 0) + bytes(64),
    "no values": header(1, 0) + tensor(b"t", (0,), 0, 0) + bytes(64),
    "odd offset": header(1, 0) + tensor(b"t", (4,), 0, 4) + bytes(256),
    "offset outside": header(1, 0) + tensor(b"t", (4,), 0, HUGE) + bytes(256),
    "half a block": header(1, 0) + tensor(b"t", (128,), 35, 0) + bytes(256),
    "gap": header(2, 0) + tensor(b"t", (8,), 0, 0) + tensor(b"u", (8,), 0, 64) + bytes(256),
    "gap at the start": header(1, 0) + tensor(b"t", (8,), 0, 32) + bytes(256),
    "overlap": header(2, 0) + tensor(b"t", (16,), 0, 0) + tensor(b"u", (16,), 0, 32) + bytes(256),
    "twice a tensor": header(2, 0) + tensor(b"t", (8,), 0, 0) + tensor(b"t", (8,), 0, 32) + bytes(256),
    "alignment of 3": header(0, 1) + text(b"general.alignment") + struct.pack("<II", 4, 3),
    "alignment of nothing": header(0, 1) + text(b"general.alignment") + struct.pack("<II", 4, 0),
    "alignment of 2 GB": header(0, 1) + text(b"general.alignment") + struct.pack("<II", 4, 1 << 31),
    "alignment a text": header(0, 1) + text(b"general.alignment") + struct.pack("<I", 8) + text(b"32"),
}


TYPES = (0, 1, 2, 8, 14, 24, 34, 36, 38, 42, 143, 99)  # larger, refused, smaller and unknown ones


def _entry(name: bytes, change: Callable[[bytes, int], bytes]) -> Case:
    """Change the file, knowing where the entry of a tensor goes on behind its name."""
    return change_bytes(FILE, lambda content: change(content, content.index(text(name)) + 8 + len(name)))


def _packed(form: str, place: int, *values: int) -> Callable[[bytes, int], bytes]:
    """Numbers ``place`` bytes behind a tensor's name."""
    data = struct.pack(form, *values)
    return lambda content, at: content[: at + place] + data + content[at + place + len(data) :]


def _renamed(name: bytes, other: bytes) -> Case:
    return change_bytes(FILE, lambda content: content.replace(text(name), text(other), 1))


def _data(name: bytes, change: Callable[[bytes], bytes]) -> Case:
    """Change the data of a matrix [256 rows, 256 columns] of TQ2_0, 66 bytes a row."""

    def changed(content: bytes, at: int) -> bytes:
        offset = struct.unpack_from("<Q", content, at + 4 + 16 + 4)[0]
        end = content.index(text(b"blk.0.ffn_down.weight"))  # the last entry: the data begins behind it
        start = -(-(end + 8 + 21 + 4 + 16 + 4 + 8) // 32) * 32 + offset
        return content[:start] + change(content[start : start + 66 * 256]) + content[start + 66 * 256 :]

    return _entry(name, changed)


def _numbers() -> dict[str, Case]:
    """The numbers of a valid file's header and of one tensor's entry replaced."""
    down, norm = b"blk.0.ffn_down.weight", b"output_norm.weight"
    return {
        "one tensor more": change_bytes(FILE, _at("<Q", 8, 1)),
        "one tensor less": change_bytes(FILE, _at("<Q", 8, -1)),
        "one pair more": change_bytes(FILE, _at("<Q", 16, 1)),
        "one pair less": change_bytes(FILE, _at("<Q", 16, -1)),
        "three dimensions": _entry(down, _packed("<I", 0, 3)),
        "one dimension": _entry(down, _packed("<I", 0, 1)),
        "columns doubled": _entry(down, _packed("<Q", 4, 512)),
        "columns of half a block": _entry(down, _packed("<Q", 4, 128)),
        "rows doubled": _entry(down, _packed("<Q", 12, 512)),
        "rows halved": _entry(down, _packed("<Q", 12, 128)),
        "rows that overflow": _entry(down, _packed("<Q", 12, 2**56)),
        **{
            f"type {kind}": _entry(down, _packed("<I", 20, kind))
            for kind in (0, 1, 2, 8, 14, 24, 34, 36, 38, 42, 143, 99)
        },
        "offset of the first": _entry(down, _packed("<Q", 24, 0)),
        "offset before the end": _entry(down, _packed("<Q", 24, 2**63 - 32)),
        "norm of integers": _entry(norm, _packed("<I", 12, 26)),
        "norm of half precision at its place": _entry(norm, _packed("<Q", 4, 512)),
        "tensor renamed": _renamed(down, b"blk.0.ffn_upup.weight"),
        "tensor of another layer": _renamed(down, b"blk.7.ffn_down.weight"),
        "code 3": _data(down, lambda data: b"\xff" + data[1:]),
        "scale NaN": _data(down, lambda data: data[:64] + b"\xff\x7f" + data[66:]),
        "scale infinite": _data(down, lambda data: data[:64] + b"\x00\x7c" + data[66:]),
        "scale negative": _data(down, lambda data: data[:64] + b"\x00\xbc" + data[66:]),
    }


def _at(form: str, place: int, step: int) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        value = struct.unpack_from(form, content, place)[0] + step
        return content[:place] + struct.pack(form, value) + content[place + struct.calcsize(form) :]

    return change


def _wrong_metadata() -> dict[str, Case]:
    integers = (
        "embedding_length",
        "feed_forward_length",
        "block_count",
        "attention.head_count",
        "context_length",
    )
    wrong = {
        "missing": None,
        "text": "seven",
        "flag": True,
        "fraction": 0.5,
        "array": [1, 2],
        "zero": 0,
        "huge": 2**32 - 1,
    }
    keys = {f"{ARCHITECTURE}.{key}": wrong for key in integers}
    keys |= {
        f"{ARCHITECTURE}.attention.head_count_kv": {"text": "x", "zero": 0, "three": 3, "huge": 2**31},
        f"{ARCHITECTURE}.attention.key_length": {"text": "x", "zero": 0, "odd": 7, "huge": 2**32 - 1},
        f"{ARCHITECTURE}.attention.layer_norm_rms_epsilon": {
            "missing": None,
            "text": "x",
            "NaN": float("nan"),
            "negative": -1.0,
            "infinite": float("inf"),
        },
        f"{ARCHITECTURE}.rope.freq_base": {"text": "x", "NaN": float("nan"), "zero": 0.0, "negative": -1.0},
        f"{ARCHITECTURE}.vocab_size": {"text": "x", "zero": 0, "another": 319},
        "general.architecture": {"number": 7, "unknown": "mamba"},
        "tokenizer.ggml.model": {"missing": None, "number": 7, "unknown": "sparkle"},
        "tokenizer.ggml.pre": {"number": 7, "unknown": "sparkle"},
        "tokenizer.ggml.tokens": {
            "missing": None,
            "text": "a",
            "numbers": [1, 2],
            "too many": lambda words: [*words, "more"],
            "half": lambda words: words[: len(words) // 2],
            "twice": lambda words: [*words[:40], words[3], *words[41:]],
        },
        "tokenizer.ggml.merges": {
            "missing": None,
            "numbers": [1, 2],
            "of one word": ["ab"],
            "of three words": ["a b c"],
            "of unknown words": ["no such"],
        },
        "tokenizer.ggml.token_type": {"text": "x", "too few": [1, 1], "texts": ["a", "b"]},
        "tokenizer.ggml.bos_token_id": {"text": "x", "outside": 100_000},
        "tokenizer.ggml.eos_token_id": {"text": "x", "outside": 2**32 - 1},
        "tokenizer.ggml.add_bos_token": {"text": "yes", "number": 1},
        "tokenizer.chat_template": {
            "number": 7,
            "broken": "{% for %}",
            "endless": "{% for i in range(10**9) %}{{ i }}{% endfor %}",
        },
    }
    return {
        f"{key} {kind}": _metadata(key, value) for key, wrong in keys.items() for kind, value in wrong.items()
    }


def cases() -> Cases:
    shares = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99)
    return {
        **{
            f"container: {name}": change_bytes(FILE, lambda _, data=data: data)
            for name, data in CONTAINERS.items()
        },
        **{
            f"the first {share:.0%}": change_bytes(
                FILE, lambda content, share=share: content[: int(len(content) * share)]
            )
            for share in shares
        },
        **_numbers(),
        **_wrong_metadata(),
    }
