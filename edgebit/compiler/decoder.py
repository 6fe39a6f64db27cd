"""What the engine takes for granted of a decoder graph, proven on the graph before anything is built on it.

The runtime keeps the KV cache as its own state, walks positions 0, 1, 2, … and attends causally. An ONNX file
says all of this explicitly (past/present tensors, an attention mask computed from inputs, position ids), and
could say something else: these checks refuse a graph that does. One that makes embeddings sees a whole text
at once: it is causal too, and has no past and present.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgebit.errors import CompileError
from edgebit.graph.model import EMBEDDING, LOGITS

TOKENS = "input_ids"
POSITIONS = "position_ids"
MASK = "attention_mask"
_LENGTHS = ((0, 5), (3, 1), (7, 4))  # (past, new) token counts at which the mask is evaluated
_WHOLE_TEXTS = ((0, 1), (0, 9))  # the same of a graph without a past
_LONGEST = 1 << 20  # past tokens, more than a context has: what a token sees of them is its window
_LONG = 1 << 16  # windows up to here are looked at where they begin to hide tokens


@dataclass(frozen=True)
class DecoderInterface:
    """The state the engine keeps: for each layer the graph inputs that hold its past keys and values, in
    layer order. ``windows``: of the Attention nodes, by name, that see so many tokens up to their own.
    """

    caches: tuple[tuple[str, str], ...]
    windows: Mapping[str, int]


def check_decoder(model: ir.Model) -> DecoderInterface:
    """Raises CompileError unless ``model`` is causal: a decoder with logits and explicit caches (the names of
    onnxruntime-genai), or one that makes embeddings and has no caches.
    """
    graph = model.graph
    inputs = {str(value.name): value for value in graph.inputs}
    for required in (TOKENS, POSITIONS, MASK):
        if required not in inputs:
            raise CompileError(
                f"the graph has no input {required!r}: edgebit compiles decoders "
                "with the inputs of onnxruntime-genai"
            )
    outputs = {str(value.name): value for value in graph.outputs}
    embeds = EMBEDDING in outputs
    if LOGITS not in outputs and not embeds:
        raise CompileError(f"the graph has no output {LOGITS!r} or {EMBEDDING!r}; found {', '.join(outputs)}")
    attentions = [node for node in graph if node.op_type == "Attention"]
    if not attentions:
        raise CompileError("the graph has no Attention node: edgebit compiles decoders")
    caches = () if embeds else tuple(_check_cache(node, inputs, outputs) for node in attentions)
    lengths = _WHOLE_TEXTS if embeds else _LENGTHS
    masks = {
        _name(mask): _window(graph, mask, lengths) for mask in _distinct(_mask(node) for node in attentions)
    }
    windows = {str(node.name): masks[_name(_mask(node))] for node in attentions}
    for node in graph:
        if node.op_type == "RotaryEmbedding" and (len(node.inputs) < 4 or _name(node.inputs[3]) != POSITIONS):
            raise CompileError(
                f"node {node.name} (RotaryEmbedding): its positions are not the graph input {POSITIONS!r}"
            )
    return DecoderInterface(caches, {name: window for name, window in windows.items() if window})


def logits_table(model: ir.Model) -> ir.TensorProtocol:
    """The table [V, H] whose rows the logits are products with. Raises CompileError where there is none."""
    value = next((output for output in model.graph.outputs if output.name == LOGITS), None)
    node = None if value is None else value.producer()
    value = node.inputs[1] if node is not None and node.op_type == "MatMul" else None
    while value is not None and (producer := value.producer()) is not None:  # a cast, a transposition
        value = producer.inputs[0]
    if value is None or value.const_value is None or len(value.const_value.shape) != 2:
        raise CompileError("the logits are no product with the rows of a table: the graph has no lm_head")
    return value.const_value


def _check_cache(node: ir.Node, inputs: dict[str, ir.Value], outputs: dict[str, ir.Value]) -> tuple[str, str]:
    """An Attention node must read past_key_values.N.* and write present.N.* with the same N."""
    where = f"node {node.name} (Attention)"
    if len(node.inputs) < 6 or len(node.outputs) < 3:
        raise CompileError(
            f"{where}: it has no past and present keys and values: export the decoder with its cache"
        )
    names = []
    for kind, read, written in (
        ("key", node.inputs[4], node.outputs[1]),
        ("value", node.inputs[5], node.outputs[2]),
    ):
        past, present = _name(read), _name(written)
        if past not in inputs or past.rsplit(".", 1)[-1] != kind or not past.startswith("past_key_values."):
            raise CompileError(
                f"{where}: its past {kind} is {past!r}, expected a graph input past_key_values.N.{kind}"
            )
        if present not in outputs or present != past.replace("past_key_values.", "present."):
            raise CompileError(
                f"{where}: its present {kind} is {present!r}, expected the graph output of {past!r}"
            )
        names.append(past)
    return names[0], names[1]


def _mask(node: ir.Node) -> ir.Value | None:
    return node.inputs[3] if len(node.inputs) > 3 else None


def _window(graph: ir.Graph, mask: ir.Value | None, lengths: Sequence[tuple[int, int]]) -> int:
    """How many tokens up to its own a mask lets each see; 0: all.

    It must be what causality says, or that with a window, whatever nodes compute it: evaluate them with
    onnx's reference evaluator, first for one token behind a context longer than any.
    """
    if mask is None:
        raise CompileError(
            "an Attention node has no mask: edgebit expects the causal mask computed from attention_mask"
        )
    evaluator = ReferenceEvaluator(_subgraph(graph, mask))
    seen = int(_evaluated(evaluator, _LONGEST, 1).sum())
    window = 0 if seen > _LONGEST else seen
    for past, new in (*lengths, *((window + distance, 3) for distance in (-2, 2) if 2 < window < _LONG)):
        keys, queries = np.arange(past + new)[None], np.arange(past, past + new)[:, None]
        expected = (keys <= queries) & (keys > queries - (window or past + new))
        if not np.array_equal(_evaluated(evaluator, past, new), expected):
            raise CompileError(
                f"the attention mask {mask.name} is not causal (with {past} past and {new} new tokens): "
                "prefixes and bidirectional attention are not supported"
            )
    return window


def _evaluated(evaluator: ReferenceEvaluator, past: int, new: int) -> npt.NDArray[np.bool_]:
    """What ``new`` tokens see of all, [new, past + new]."""
    positions = np.arange(past, past + new, dtype=np.int64)[None]
    feeds = {MASK: np.ones((1, past + new), np.int64), POSITIONS: positions}
    needed = {str(name): feeds[str(name)] for name in evaluator.input_names}
    outputs: list[Any] = list(evaluator.run(None, needed))
    return _visible(outputs[0], (new, past + new))


def _visible(mask: npt.NDArray[np.generic], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """A boolean mask or an additive bias, as [new, total] booleans."""
    flat = np.broadcast_to(mask.reshape(mask.shape[-2:]), shape) if mask.ndim >= 2 else np.zeros(shape, bool)
    return flat if flat.dtype == np.bool_ else flat > -1e4


def _subgraph(graph: ir.Graph, output: ir.Value) -> onnx.ModelProto:
    """The nodes that compute ``output`` from the mask and position inputs, as a model of its own."""
    needed: dict[str, ir.Node] = {}
    constants: dict[str, ir.TensorProtocol] = {}
    inputs: dict[str, ir.Value] = {}
    pending: list[ir.Value | None] = [output]
    while pending:
        value = pending.pop()
        if value is None or value.name is None or value.name in inputs or value.name in constants:
            continue
        producer = value.producer()
        if producer is not None:
            key = str(producer.outputs[0].name)
            if key not in needed:
                needed[key] = producer
                pending.extend(producer.inputs)
        elif value.const_value is not None:
            constants[value.name] = value.const_value
        elif value.name in (MASK, POSITIONS):
            inputs[value.name] = value
        else:
            raise CompileError(
                f"the attention mask {output.name} depends on {value.name}; "
                f"expected {MASK} and {POSITIONS} only"
            )
    nodes = [ir.serde.serialize_node(node) for node in graph if str(node.outputs[0].name) in needed]
    proto = onnx.helper.make_graph(
        nodes,
        "mask",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None) for name in inputs],
        [onnx.helper.make_tensor_value_info(str(output.name), onnx.TensorProto.UNDEFINED, None)],
        initializer=[
            onnx.numpy_helper.from_array(np.asarray(tensor.numpy()), name)
            for name, tensor in constants.items()
        ],
    )
    return onnx.helper.make_model(
        proto, opset_imports=[onnx.helper.make_opsetid("", int(graph.opset_imports.get("", 23)))]
    )


def _name(value: ir.Value | None) -> str:
    return "" if value is None else str(value.name)


def _distinct(values: Iterator[ir.Value | None]) -> Iterator[ir.Value | None]:
    seen: set[str] = set()
    for value in values:
        if _name(value) not in seen:
            seen.add(_name(value))
            yield value
