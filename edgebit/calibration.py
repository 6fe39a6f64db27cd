"""Hidden states of a model on built-in text, computed by the model's own engine on this machine.

The lm_head in planes is laid out for the directions in which hidden states lie. The engine is exact: the same
model gives the same states on every workstation, whatever the target it is then compiled for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgebit.bundle.link import LIBRARY
from edgebit.bundle.text_tokenizer import library_tokenizer
from edgebit.bundle.writer import WEIGHTS
from edgebit.compiler import CompiledModel, CompileOptions, compile_graph
from edgebit.compiler.head import ExactHead
from edgebit.compiler.head_components import Components, calibrate, uncalibrated
from edgebit.compiler.plan import CHUNK, Head, Space
from edgebit.compiler.weights import Array, Weights
from edgebit.errors import CompileError
from edgebit.graph import OnnxModel
from edgebit.host_library import best_tier, this_machine, write_host_library
from edgebit.progress import Progress
from edgebit.runtime.library import MESSAGE_SIZE, bind

TEXT = "calibration.txt"
MOST_TOKENS = 2 * CHUNK
"""Two passes of prefill. 512 tokens would leave 61 rows instead of 78 in a greedy search at 2B-4T shapes with
random weights, 1,151 instead of 1,410 where the 40 largest logits are asked for: 0.01 % and 0.2 % of what a
token reads. At the built-in model they leave 1.4 rows either way, and 51 instead of 53.
"""
HELD_OUT = 8  # one state in so many is not calibrated with: screening is counted on them

States = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """What was learned, and the weights file it was learned with: its body is that of the bundle.

    ``states`` [n][H]: hidden states from which nothing was learned.
    """

    components: Components
    states: States
    weights: Weights
    path: Path


def calibrated(
    graph: OnnxModel, table: Callable[[], Array], kv: str, folder: Path, progress: Progress
) -> Calibration:
    """Run ``graph`` on the built-in text and find the components of its lm_head ``table`` [V][H].

    ``folder`` is an empty one for the weights. Raises CompileError, LinkError.
    """
    options = CompileOptions(form=ExactHead(uncalibrated(table)), kv=kv)
    states, weights = run_on_text(graph, options, folder, progress)
    held_out = np.arange(len(states)) % HELD_OUT == HELD_OUT - 1
    components = calibrate(states[~held_out], table)
    return Calibration(components, states[held_out] if held_out.any() else states, weights, folder / WEIGHTS)


def run_on_text(
    graph: OnnxModel, options: CompileOptions, folder: Path, progress: Progress
) -> tuple[States, Weights]:
    """Hidden states [n][H] behind each token of the built-in text, the model compiled with ``options`` but
    for context and tokens, which are those of the text; and the weights of the model that ran, written to
    ``folder``. Raises CompileError, LinkError.
    """
    ids = text_tokens(graph)
    tokens = sorted(set(ids))
    chosen = replace(options, context=len(ids), tokens=tokens)
    compiled = compile_graph(graph, this_machine(), chosen, progress)
    progress.stage("calibrate")
    with (folder / WEIGHTS).open("wb") as file:
        identity = compiled.weights.write(file, progress.advance)
    write_host_library(compiled, identity, folder)
    with best_tier():
        states = hidden_states(folder, compiled, [tokens.index(token) for token in ids])
    return states, compiled.weights


def text_tokens(graph: OnnxModel) -> list[int]:
    """Tokens of the built-in text: as many as the model takes, at most MOST_TOKENS."""
    text = (resources.files("edgebit") / TEXT).read_text("utf-8")
    tokenizer = library_tokenizer(graph.tokenizer)
    start = graph.metadata.bos_token_id
    ids = [] if start is None else [start]
    ids += tokenizer.encode(text, add_special_tokens=False).ids
    return ids[: min(MOST_TOKENS, graph.metadata.context_length)]


def hidden_states(folder: Path, compiled: CompiledModel, ids: list[int]) -> States:
    """Normalised hidden states [len(ids)][H] of the model in ``folder`` (weights and library)."""
    library = bind(str(folder / LIBRARY))
    message = ctypes.create_string_buffer(MESSAGE_SIZE)
    model = library.eb_open(str(folder).encode(), message, MESSAGE_SIZE)
    session = library.eb_session_open(model, 0, message, MESSAGE_SIZE) if model else None
    try:
        if not session:
            raise CompileError(f"the model cannot run on this machine: {message.value.decode()}")
        plan = compiled.plan
        chunks = [
            _states_of_chunk(library, session, plan.logits, plan.vocab_size, ids[first : first + CHUNK])
            for first in range(0, len(ids), CHUNK)
        ]
    finally:
        if session:
            library.eb_session_close(session)
        if model:
            library.eb_close(model)
    return np.concatenate(chunks)[:, : plan.hidden_size]


def _states_of_chunk(
    library: ctypes.CDLL, session: int, head: Head, vocab_size: int, ids: list[int]
) -> States:
    logits = (ctypes.c_float * (vocab_size * len(ids)))()
    tokens = (ctypes.c_int32 * len(ids))(*ids)
    if library.eb_evaluate_all(session, tokens, len(ids), logits) != 0:
        raise CompileError(f"the model cannot run: {library.eb_session_error(session).decode()}")
    place = library.eb_space_base(session, int(Space.ARENA)) + head.hidden
    size = len(ids) * head.width
    states = (ctypes.c_float * size).from_address(place)
    return np.array(states, np.float32).reshape(len(ids), head.width)
