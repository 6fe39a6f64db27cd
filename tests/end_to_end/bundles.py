"""Compiled tiny models for the tests of this folder, and a view into a running engine."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebit.bundle.text import build_text_table
from edgebit.bundle.writer import write
from edgebit.compiler.compile import compile_graph
from edgebit.compiler.compiled import CompiledModel
from edgebit.compiler.plan import Argument, Space, Step
from edgebit.compiler.target import Target, load_target
from edgebit.graph import OnnxModel, build
from edgebit.model import AS_THE_FILE_SAYS, Overrides, open_checkpoint
from edgebit.progress import SILENT
from edgebit.runtime.library import SESSION, TraceFunction, bind
from edgebit.self_test import SelfTest

Array = npt.NDArray[Any]
PREFILL = 1


def compile_checkpoint(
    checkpoint: Path,
    output: Path,
    target: str | Target = "host",
    overrides: Overrides = AS_THE_FILE_SAYS,
) -> tuple[OnnxModel, CompiledModel]:
    """Compile a checkpoint folder into ``output``; returns the graph and what the compiler made of it."""
    graph = build(open_checkpoint(checkpoint, overrides))
    facts = graph.metadata
    text = build_text_table(graph.tokenizer, facts.chat_template, facts.bos_token_id, facts.stop_token_ids)
    compiled = compile_graph(graph, load_target(target) if isinstance(target, str) else target)
    write(compiled, text, output, SelfTest(compiled, SILENT))
    return graph, compiled


@dataclass
class Snapshots:
    """The arena before the first and after every prefill step of one prefill pass (``after[i]``: step i)."""

    steps: Sequence[Step]
    tokens: int
    before: bytes = b""
    after: list[bytes] = field(default_factory=list)

    def read(self, step: int, argument: Argument, dtype: Any, width: int) -> Array:
        """Rows 0..tokens-1 of a buffer after a step (−1: before the first)."""
        assert argument.space == Space.ARENA
        memory = self.after[step] if step >= 0 else self.before
        size = np.dtype(dtype).itemsize * width * self.tokens
        return np.frombuffer(memory[argument.offset : argument.offset + size], dtype).reshape(
            self.tokens, width
        )


def trace_prefill(bundle: Path, compiled: CompiledModel, tokens: Sequence[int]) -> Snapshots:
    """Evaluate ``tokens`` in one prefill pass and keep the arena after every step."""
    size = compiled.plan.arena_bytes
    snapshots = Snapshots(compiled.plan.prefill, len(tokens))
    with session(bundle) as (library, handle):
        base = library.eb_space_base(handle, int(Space.ARENA))
        snapshots.before = ctypes.string_at(base, size)

        @TraceFunction
        def keep(_user: int, phase: int, _step: int) -> None:
            if phase == PREFILL:
                snapshots.after.append(ctypes.string_at(base, size))

        library.eb_trace(handle, keep, None)
        ids = (ctypes.c_int32 * len(tokens))(*tokens)
        assert library.eb_evaluate(handle, ids, len(tokens)) == 0
    assert len(snapshots.after) == len(compiled.plan.prefill)
    return snapshots


@contextmanager
def session(bundle: Path) -> Iterator[tuple[ctypes.CDLL, SESSION]]:
    library = bind(str(bundle / "libmodel.so"))
    error = ctypes.create_string_buffer(512)
    model = library.eb_open(str(bundle).encode(), error, len(error))
    assert model, error.value.decode()
    handle = library.eb_session_open(model, 2, error, len(error))
    assert handle, error.value.decode()
    try:
        yield library, handle
    finally:
        library.eb_session_close(handle)
        library.eb_close(model)
