"""A whole bundle of the toy model: byte tokens, a chat format, and answers spelled by a table of followers.

Token i < 256 is the byte i. After <|assistant|> the model says ANSWER, one byte a token, and stops.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from edgebit.bundle import write
from edgebit.bundle.manifest import Facts
from edgebit.bundle.samples import record_samples
from edgebit.bundle.text import build_text_table
from edgebit.bundle.writer import Untested
from edgebit.compiler.target import Target, host_target
from edgebit.runtime.self_test import Sample
from tests.runtime.builders import CONTEXT, HERE, toy_library_path, toy_weights

BOS, END, USER, ASSISTANT, SYSTEM = "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
SPECIAL = {name: 256 + i for i, name in enumerate((BOS, END, USER, ASSISTANT, SYSTEM))}
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
PLAN: Facts = {  # what edgebit/compiler/summary.py would say of native/toy_plan.c
    "kinds": [
        "embed 0 embedding",
        "append 0 cache",
        "attend 0 attention",
        "state 0 norm",
        "lm_head 40960 logits",
    ],
    "decode": "0 1 2",
    "prefill": "0 1 2",
    "head": "3 4",
    "streamed_offset": 64,
    "streamed_bytes": 2560,
    "cache_bytes_per_token": 4,
    "logits_bytes": 40960,
    "screen_bytes": 0,
    "row_bytes": 128,
    "refine_bytes": 0,
}
ANSWER = "é€😀 ok."  # no byte twice: each is the follower of the one before


def followers(answer: str = ANSWER, end: str | None = END) -> dict[int, int]:
    spelled = [SPECIAL[ASSISTANT], *answer.encode(), *([SPECIAL[end]] if end else [])]
    return dict(pairwise(spelled))


def byte_alphabet() -> dict[str, int]:
    """The printable stand-in of each byte in a byte-level tokenizer.json."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


def added_tokens() -> list[dict[str, object]]:
    return [
        {"id": i, "content": name, "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for name, i in SPECIAL.items()
    ]


@cache
def text_table() -> bytes:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    table = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(),
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": byte_alphabet(), "merges": []},
    }
    return build_text_table(json.dumps(table).encode(), TEMPLATE, SPECIAL[BOS], [SPECIAL[END]])


WORDS = {"\u2581": 261, "\u2581ok": 262, "\u2581yes": 263}


@cache
def spaced_text_table() -> bytes:
    """The same ids as a SentencePiece vocabulary with byte fallback, and WORDS."""
    vocab = {f"<0x{byte:02X}>": byte for byte in range(256)} | SPECIAL | WORDS
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    back = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    table = {
        "version": "1.0",
        "added_tokens": added_tokens(),
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, space]},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, strip],
        },
        "model": {"type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": True, "fuse_unk": True},
    }
    return build_text_table(json.dumps(table).encode(), TEMPLATE, SPECIAL[BOS], [SPECIAL[END]])


class ToyWeights:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def write(self, file: BinaryIO, advance: Callable[[int, int], None]) -> bytes:
        file.write(self.data)
        advance(self.size, self.size)
        return self.data[24:56]


class ToyModel:
    """What the compiler would hand to the bundle writer."""

    def __init__(self, table: Mapping[int, int], target: Target) -> None:
        self.target = target
        own = {"x86_64": ("avx512vnni", "avx2"), "arm64": ("dotprod",)}.get(target.architecture, ())
        self.objects: Mapping[str, list[bytes]] = {tier: [] for tier in (*own, "baseline")}  # in toy_plan.c
        self.weights = ToyWeights(toy_weights(followers=table))
        self.task = "generate"
        self.model_facts: Facts = {"name": "toy", "context": CONTEXT}
        self.plan_summary: Facts = PLAN
        self.memory: Facts = {"weights": self.weights.size}

    def plan_source(self, weights_id: bytes) -> str:
        assert weights_id == struct.pack("<32B", *range(1, 33))
        return (HERE / "toy_plan.c").read_text()


class ToyTester(Untested):
    """Records what the toy model answers on this machine."""

    def record(self, folder: Path, weights_id: bytes) -> list[Sample]:
        return record_samples(folder, toy_library_path())


def write_toy_bundle(
    output: Path,
    table: Mapping[int, int] | None = None,
    target: Target | None = None,
    text: bytes | None = None,
) -> Path:
    model = ToyModel(followers() if table is None else table, target or host_target())
    return write(model, text or text_table(), output, ToyTester())
