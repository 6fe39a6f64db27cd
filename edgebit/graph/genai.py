"""genai_config.json: what onnxruntime-genai has to be told of a decoder to run it.

Its names of inputs and outputs are those of our graphs already. The cache grows as the graph says, it is not
one buffer for past and present.
"""

from __future__ import annotations

import json
from typing import Any

import onnx_ir as ir

from edgebit.errors import GraphError
from edgebit.graph.model import GraphMetadata, OnnxModel
from edgebit.model.jsonfile import quoted

GENAI_FILE = "genai_config.json"
_TYPE = "llama"  # any of the decoders without vision, speech or an encoder: they are run the same way
_PAST = "past_key_values.{}.key"
_NAMES = {
    "inputs": {
        "input_ids": "input_ids",
        "attention_mask": "attention_mask",
        "position_ids": "position_ids",
        "past_key_names": "past_key_values.%d.key",
        "past_value_names": "past_key_values.%d.value",
    },
    "outputs": {
        "logits": "logits",
        "present_key_names": "present.%d.key",
        "present_value_names": "present.%d.value",
    },
}


def genai_config(model: OnnxModel) -> bytes | None:
    """Content of the file for a decoder with a cache, None for any other graph."""
    graph, metadata = model.ir.graph, model.metadata
    inputs = {str(value.name): value for value in graph.inputs}
    outputs = {str(value.name): value for value in graph.outputs}
    attention = next((node for node in graph if node.op_type == "Attention"), None)
    embedding = next((node for node in graph if node.op_type == "Gather"), None)
    if attention is None or embedding is None or _PAST.format(0) not in inputs or "logits" not in outputs:
        return None
    cache = _sizes(inputs[_PAST.format(0)])
    decoder: dict[str, Any] = {
        "session_options": {"provider_options": []},
        "filename": "model.onnx",
        "head_size": cache[3],
        "hidden_size": _sizes(embedding.outputs[0])[-1],
        **_NAMES,
        "num_attention_heads": attention.attributes["q_num_heads"].as_int(),
        "num_hidden_layers": sum(name.endswith(".key") for name in inputs),
        "num_key_value_heads": cache[1],
    }
    stops = list(metadata.stop_token_ids)
    entries: dict[str, Any] = {
        "context_length": metadata.context_length,
        "decoder": decoder,
        "eos_token_id": stops,
        "pad_token_id": stops[0] if stops else 0,
        "type": _TYPE,
        "vocab_size": _sizes(outputs["logits"])[-1],
    }
    if metadata.bos_token_id is not None:
        entries["bos_token_id"] = metadata.bos_token_id
    search = {"max_length": metadata.context_length, "past_present_share_buffer": False}
    return (json.dumps({"model": entries, "search": search}, indent=2) + "\n").encode()


def metadata_from(config: dict[str, Any], name: str, source: str, template: str | None) -> GraphMetadata:
    """What a genai_config.json says of a graph that edgebit did not export; GraphError where it does not."""
    model = config.get("model")
    if not isinstance(model, dict):
        raise GraphError(f"{source}: has no model; expected the file that onnxruntime-genai reads")
    stops = model.get("eos_token_id", [])
    facts = {
        "context_length": model.get("context_length"),
        "bos_token_id": model.get("bos_token_id", 0),
        **{f"eos_token_id {i}": stop for i, stop in enumerate(stops if isinstance(stops, list) else [stops])},
    }
    for key, value in facts.items():
        least = 1 if key == "context_length" else 0
        if type(value) is not int or not least <= value < 1 << 31:
            raise GraphError(f"{source}: model.{key} is {quoted(value)}, expected an integer from {least} on")
    return GraphMetadata(
        name=name,
        family=str(model.get("type", "onnx")),
        context_length=facts["context_length"],
        bos_token_id=model.get("bos_token_id"),
        stop_token_ids=tuple(sorted({value for key, value in facts.items() if key.startswith("eos")})),
        chat_template=template,
    )


def _sizes(value: ir.Value) -> list[Any]:
    return [] if value.shape is None else list(value.shape)
