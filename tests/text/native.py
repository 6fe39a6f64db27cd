"""The text side of the runtime as a shared library of its own, driven through ctypes."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NATIVE = Path(__file__).parents[2] / "edgebit" / "runtime" / "native"
SOURCES = (
    "tokenizer",
    "added",
    "strings",
    "split",
    "merge",
    "unigram",
    "utf8",
    "normalize",
    "chat",
    "noise",
    "sampler",
    "message",
)
BOS, SPECIAL, EOS = 1, 2, 4
INVALID, REFUSED = -1, -3


def compile_command(output: Path, *options: str) -> list[str]:
    flags = [flag for flag in (NATIVE / "compile_flags.txt").read_text().split() if "visibility" not in flag]
    return [*flags, *options, *(str(NATIVE / f"{name}.c") for name in SOURCES), "-o", str(output)]


@functools.cache
def library() -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp(prefix="edgebit-text-"))
    path = folder / "text.so"
    command = [sys.executable, "-m", "ziglang", "cc", *compile_command(path, "-shared")]
    environment = os.environ | {"ZIG_LOCAL_CACHE_DIR": str(folder / "cache")}
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL)
    loaded = ctypes.CDLL(str(path))
    loaded.eb_text_open.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_uint64,
        ctypes.c_void_p,
        ctypes.c_int32,
    ]
    return loaded


class Refused(Exception):
    """A negative result with a sentence."""


class Text:
    """tokenizer.bin in memory, opened by the native code."""

    def __init__(self, table: bytes) -> None:
        self._aligned = np.zeros(len(table) // 8 + 1, np.uint64)
        self._aligned.view(np.uint8)[: len(table)] = np.frombuffer(table, np.uint8)
        self._text = ctypes.create_string_buffer(64)
        error = ctypes.create_string_buffer(256)
        self._library = library()
        address = self._aligned.ctypes.data
        if self._library.eb_text_open(self._text, address, len(table), error, len(error)) != 0:
            raise Refused(error.value.decode())
        self._ids = np.zeros(1 << 16, np.int32)

    def tokenize(self, text: str | bytes, flags: int = 0) -> list[int]:
        data = text.encode() if isinstance(text, str) else text
        count = self._library.eb_text_tokenize(
            self._text, data, len(data), flags, ctypes.c_void_p(self._ids.ctypes.data), len(self._ids)
        )
        if count < 0:
            raise Refused(str(count))
        if count > len(self._ids):
            self._ids = np.zeros(count, np.int32)
            return self.tokenize(text, flags)
        return self._ids[:count].tolist()

    def token_bytes(self, token: int, begins: bool = False) -> bytes:
        out = ctypes.create_string_buffer(256)
        functions = self._library.eb_text_token_bytes, self._library.eb_text_first_token_bytes
        count = functions[begins](self._text, token, out, len(out))
        if count < 0:
            raise Refused(str(count))
        return out.raw[:count]

    def detokenize(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.token_bytes(token, i == 0) for i, token in enumerate(ids))

    def is_stop(self, token: int) -> bool:
        return bool(self._library.eb_text_is_stop(self._text, token))

    def is_special(self, token: int) -> bool:
        return bool(self._library.eb_text_is_special(self._text, token))

    def chat(self, messages: Sequence[tuple[str, str | bytes]], generate: bool = True) -> list[int]:
        def strings(column: int) -> ctypes.Array[ctypes.c_char_p]:
            values = [message[column] for message in messages]
            encoded = [value.encode() if isinstance(value, str) else value for value in values]
            return (ctypes.c_char_p * len(messages))(*encoded)

        error = ctypes.create_string_buffer(300)
        count = self._library.eb_text_chat_tokens(
            self._text,
            strings(0),
            strings(1),
            len(messages),
            int(generate),
            ctypes.c_void_p(self._ids.ctypes.data),
            len(self._ids),
            error,
            len(error),
        )
        if count < 0:
            raise Refused(error.value.decode())
        return self._ids[:count].tolist()


class Sampling(ctypes.Structure):
    _fields_ = (
        ("temperature", ctypes.c_float),
        ("top_k", ctypes.c_int32),
        ("top_p", ctypes.c_float),
        ("min_p", ctypes.c_float),
        ("seed", ctypes.c_uint64),
    )


class Candidates(ctypes.Structure):
    _fields_ = (("logits", ctypes.c_void_p), ("tokens", ctypes.c_void_p), ("count", ctypes.c_int32))


class Sampler:
    """eb_sample_candidates with a scratch of its own, for logits of a vocabulary or of some tokens of it."""

    def __init__(self, vocab: int) -> None:
        self._scratch = np.zeros(vocab, np.uint64)
        self._library = library()
        self._library.eb_sample_candidates.argtypes = [
            Candidates,
            ctypes.POINTER(Sampling),
            ctypes.c_int32,
            ctypes.c_void_p,
        ]

    def __call__(
        self,
        logits: np.ndarray,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int = 0,
        position: int = 0,
        tokens: np.ndarray | None = None,
    ) -> int:
        logits = np.ascontiguousarray(logits, np.float32)
        ids = None if tokens is None else np.ascontiguousarray(tokens, np.int32)
        return int(
            self._library.eb_sample_candidates(
                Candidates(logits.ctypes.data, None if ids is None else ids.ctypes.data, len(logits)),
                Sampling(temperature, top_k, top_p, min_p, seed),
                position,
                self._scratch.ctypes.data,
            )
        )


def gumbel(bits: int) -> float:
    """The noise of 64 random bits."""
    function = library().eb_gumbel
    function.argtypes, function.restype = [ctypes.c_uint64], ctypes.c_double
    return float(function(bits))


def noise_floor(needed: float) -> int:
    """The least bits whose noise may reach a number."""
    function = library().eb_noise_floor
    function.argtypes, function.restype = [ctypes.c_double], ctypes.c_uint64
    return int(function(needed))
