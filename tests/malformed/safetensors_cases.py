"""model.safetensors: eight bytes of length, a header of JSON, data; and the index of several such files."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.malformed.damage import (
    WRONG,
    Case,
    Cases,
    broken_text,
    change_bytes,
    change_tree,
    put,
    too_much_text,
)

FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
LAYER = "model.layers.0"
WEIGHT = f"{LAYER}.mlp.down_proj.weight"
SCALE = f"{WEIGHT}_scale"
NORM = f"{LAYER}.input_layernorm.weight"
TABLE = "model.embed_tokens.weight"
Header = dict[str, Any]


def parts(content: bytes) -> tuple[Header, bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def _header(change: Callable[[Header], None]) -> Case:
    def changed(content: bytes) -> bytes:
        header, data = parts(content)
        change(header)
        return joined(json.dumps(header).encode(), data)

    return change_bytes(FILE, changed)


def _header_text(change: Callable[[bytes], bytes]) -> Case:
    def changed(content: bytes) -> bytes:
        header, data = parts(content)
        return joined(change(json.dumps(header).encode()), data)

    return change_bytes(FILE, changed)


def _data(name: str, change: Callable[[bytes], bytes]) -> Case:
    """Change the bytes of one tensor."""

    def changed(content: bytes) -> bytes:
        header, data = parts(content)
        begin, end = header[name]["data_offsets"]
        return joined(json.dumps(header).encode(), data[:begin] + change(data[begin:end]) + data[end:])

    return change_bytes(FILE, changed)


def _length(value: int) -> Case:
    return change_bytes(FILE, lambda content: struct.pack("<Q", value) + content[8:])


def _swap(first: str, second: str) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header[first], header[second] = header[second], header[first]

    return change


def _truncated() -> dict[str, Case]:
    def cut(share: float) -> Case:
        return change_bytes(FILE, lambda content: content[: int(len(content) * share)])

    shares = (0.001, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
    lengths = (0, 1, 7, 8, 9)
    return {
        **{f"the first {share:.1%}": cut(share) for share in shares},
        **{f"the first {n} bytes": change_bytes(FILE, lambda content, n=n: content[:n]) for n in lengths},
        "the last byte missing": change_bytes(FILE, lambda content: content[:-1]),
    }


def _bfloat16(value: float) -> Callable[[bytes], bytes]:
    bits = struct.pack("<f", value)[2:]
    return lambda data: bits + data[2:]


def cases() -> Cases:
    return {
        **_truncated(),
        "header of nothing": _length(0),
        "header past the end": _length(10**6),
        "header of 2^63": _length(2**63),
        "header of 2^64 - 1": _length(2**64 - 1),
        "header of 100 MB": _length(99_999_999),
        "header one byte shorter": change_bytes(
            FILE, lambda content: struct.pack("<Q", int.from_bytes(content[:8], "little") - 1) + content[8:]
        ),
        **{
            f"header {kind}": _header_text(lambda text, content=content: content)
            for kind, content in {
                "of zeros": bytes(100),
                "array": b"[]",
                "null": b"null",
                "not UTF-8": b'{"\xff": 1}',
                "deep": b"[" * 100_000,
                "deep objects": b'{"a":' * 100_000,
                "empty": b"{}",
                "long number": b'{"a": ' + b"9" * 100_000 + b"}",
            }.items()
        },
        "tensor twice": _header_text(lambda text: text[:-1] + b', "a": 1, "a": 2}'),
        "tensor of the model twice": _header_text(
            lambda text: text[:-1] + b"," + json.dumps({NORM: {"dtype": "BF16", "shape": [64]}}).encode()[1:]
        ),
        "a million arrays": _header_text(lambda text: text[:-1] + b', "x": [' + b"[]," * 8_000_000 + b"0]}"),
        "metadata of numbers": _header(put("__metadata__", value=7)),
        "metadata deep": _header_text(
            lambda text: text[:-1] + b', "__metadata__": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
        ),
        "metadata huge": _header_text(
            lambda text: text[:-1] + b', "y": {"z": "' + b"a" * (90 << 20) + b'"}}'
        ),
        **{f"entry {kind}": _header(put(WEIGHT, value=value)) for kind, value in WRONG.items()},
        **{
            f"{field} {kind}": _header(put(WEIGHT, field, value=value))
            for field in ("dtype", "shape", "data_offsets")
            for kind, value in WRONG.items()
        },
        "shape of texts": _header(put(WEIGHT, "shape", value=["16", "96"])),
        "shape of fractions": _header(put(WEIGHT, "shape", value=[16.5, 96])),
        "shape of booleans": _header(put(NORM, "shape", value=[True])),
        "shape that overflows": _header(put(WEIGHT, "shape", value=[2**32, 2**32])),
        "shape of a thousand dimensions": _header(put(WEIGHT, "shape", value=[1] * 1000)),
        "shape with nothing": _header(
            put(WEIGHT, value={"dtype": "U8", "shape": [0, 64], "data_offsets": [0, 0]})
        ),
        "shape transposed": _header(put(WEIGHT, "shape", value=[96, 16])),
        "offsets reversed": _header(lambda header: header[WEIGHT]["data_offsets"].reverse()),
        "offsets negative": _header(put(WEIGHT, "data_offsets", value=[-1536, 0])),
        "offsets huge": _header(put(WEIGHT, "data_offsets", value=[2**62, 2**62 + 1536])),
        "offsets of three": _header(put(WEIGHT, "data_offsets", value=[0, 1536, 0])),
        "offsets of texts": _header(put(WEIGHT, "data_offsets", value=["0", "1536"])),
        "overlap": _header(put(NORM, "data_offsets", value=[0, 128])),
        "overlap by one byte": _header(
            lambda header: header[NORM].update(data_offsets=[o + 1 for o in header[NORM]["data_offsets"]])
        ),
        "all in one place": _header(
            lambda header: (
                [
                    entry.update(data_offsets=[0, entry["data_offsets"][1] - entry["data_offsets"][0]])
                    for name, entry in header.items()
                    if name != "__metadata__"
                ]
                and None
            )
        ),
        "dtype unknown": _header(put(WEIGHT, "dtype", value="F4")),
        "dtype signed": _header(put(WEIGHT, "dtype", value="I8")),
        "dtype boolean": _header(put(WEIGHT, "dtype", value="BOOL")),
        "norm of integers": _header(put(NORM, "dtype", value="I16")),
        "scale of integers": _header(put(SCALE, "dtype", value="I16")),
        "tensor missing": _header(lambda header: header.pop(WEIGHT) and None),
        "scale missing": _header(lambda header: header.pop(SCALE) and None),
        "table missing": _header(lambda header: header.pop(TABLE) and None),
        "tensor of another model": _header(
            lambda header: header.update({"model.conv.weight": header.pop(NORM)})
        ),
        "weight and norm exchanged": _header(_swap(WEIGHT, NORM)),
        **{
            f"scale {value}": _data(SCALE, _bfloat16(value))
            for value in (float("nan"), float("inf"), float("-inf"), 0.0, -1.0)
        },
        **{f"norm {value}": _data(NORM, _bfloat16(value)) for value in (float("nan"), float("inf"))},
        "code 3": _data(WEIGHT, lambda data: b"\xff" + data[1:]),
        "code 3 at the end": _data(WEIGHT, lambda data: data[:-1] + b"\xc0"),
        "weights of random bytes": _data(WEIGHT, lambda data: np.random.default_rng(0).bytes(len(data))),
    }


def shard_cases() -> Cases:
    shard = "model-00001-of-00003.safetensors"

    def rewire(change: Callable[[dict[str, str]], None]) -> Case:
        return change_tree(INDEX, lambda tree: change(tree["weight_map"]))

    def vanish(folder: Path) -> None:
        (folder / shard).unlink()

    def folder_instead(folder: Path) -> None:
        (folder / shard).unlink()
        (folder / shard).mkdir()

    def link_to_itself(folder: Path) -> None:
        (folder / shard).unlink()
        (folder / shard).symlink_to(shard)

    return {
        **broken_text(INDEX),
        **too_much_text(INDEX),
        **{
            f"weight_map {kind}": change_tree(INDEX, put("weight_map", value=value))
            for kind, value in WRONG.items()
        },
        **{
            f"place {kind}": change_tree(INDEX, put("weight_map", NORM, value=value))
            for kind, value in WRONG.items()
        },
        "place outside": rewire(lambda places: places.update({NORM: f"../{shard}"})),
        "place absolute": rewire(lambda places: places.update({NORM: "/etc/hostname"})),
        "place empty": rewire(lambda places: places.update({NORM: ""})),
        "place this folder": rewire(lambda places: places.update({NORM: "."})),
        "place with a NUL": rewire(lambda places: places.update({NORM: "a\0b"})),
        "place with a very long name": rewire(lambda places: places.update({NORM: "a" * 5000})),
        "place is the index": rewire(lambda places: places.update({NORM: INDEX})),
        "tensor in another shard": rewire(
            lambda places: places.update({NORM: next(s for s in set(places.values()) if s != places[NORM])})
        ),
        "tensor left out": rewire(lambda places: places.pop(NORM) and None),
        "tensor that is nowhere": rewire(lambda places: places.update({"model.x": shard})),
        "shard missing": vanish,
        "shard is a folder": folder_instead,
        "shard is a link to itself": link_to_itself,
        "shard empty": change_bytes(shard, lambda _: b""),
        "shard cut": change_bytes(shard, lambda content: content[: len(content) // 2]),
    }
