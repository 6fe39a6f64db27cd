"""What a bundle or a model consists of: layers, bytes per part, tiers, memory needed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgebit.bundle.manifest import MANIFEST, Facts, FileEntry, parse_manifest
from edgebit.errors import BundleError
from edgebit.graph import OnnxModel
from edgebit.model.ternary import TRITS_PER_BYTE
from edgebit.runtime.engine import TASK_EMBED, TASK_GENERATE, TASK_RUN

LAYER = re.compile(r"\blayers\.(\d+)\.")
_SCALE = ".weight_scale"
CACHE_INPUT = re.compile(r"^past_key_values\.\d+\.(key|value)$")
COUNTS = tuple(
    f"{form}_{count}"
    for form in ("exact", "s4")
    for count in ("survivors", "survivors_top_40", "token_bytes")
)
"""Of the plan: what screening the lm_head left of the built-in text, and read for a token."""

CACHE_ELEMENT_BYTES = 2  # float16 in a bundle, whatever the graph's own cache is


@dataclass(frozen=True)
class Part:
    """A kind of tensor or a file; `count` of them take `size` bytes together."""

    name: str
    count: int
    size: int


@dataclass(frozen=True)
class Report:
    """`facts` as they stand in the manifest or the graph, `parts` by their place, `memory` in bytes."""

    title: str
    facts: Facts
    parts: tuple[Part, ...]
    memory: Mapping[str, int]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def as_json(self) -> dict[str, object]:
        return {
            "title": self.title,
            "facts": {key.replace(" ", "_"): value for key, value in self.facts.items()},
            "parts": [{"name": part.name, "count": part.count, "bytes": part.size} for part in self.parts],
            "bytes": self.size,
            "memory": dict(self.memory),
        }


def inspect_bundle(folder: Path) -> Report:
    """Of a bundle folder, from its manifest. Raises BundleError."""
    path = folder / MANIFEST
    try:
        manifest = parse_manifest(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: {error}") from error
    facts: dict[str, str | int | float | bool | None] = {
        key: value if isinstance(value, (str, int, float)) or value is None else ", ".join(value)
        for key, value in manifest.model.items()
    }
    target = manifest.target
    facts |= {
        "task": manifest.task,
        "target": target.name,
        "tiers": ", ".join(target.tiers),
        "weights layout": manifest.weights.layout,
        **_counts(manifest.plan),
    }
    memory = {name: size for name, size in manifest.memory.items() if isinstance(size, int)}
    return Report(str(folder), facts, tuple(bundle_parts(manifest.files)), memory)


def _counts(plan: Facts) -> dict[str, int | float]:
    found = {name: plan.get(name) for name in COUNTS}
    return {name: count for name, count in found.items() if isinstance(count, (int, float))}


def bundle_parts(files: Mapping[str, FileEntry]) -> list[Part]:
    """Files at the root one by one, folders as a whole."""
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for path, entry in files.items():
        place, slash, _ = path.partition("/")
        count[place + slash] += 1
        size[place + slash] += entry.size
    return [Part(name, count[name], size[name]) for name in sorted(size, key=lambda name: -size[name])]


def inspect_graph(graph: OnnxModel) -> Report:
    """Of a checkpoint or ONNX file: the tensors of all layers by the module they belong to."""
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    layers: set[int] = set()
    for name, value in graph.ir.graph.initializers.items():
        if value.const_value is None:
            continue
        found = LAYER.search(name)
        if found:
            layers.add(int(found[1]))
        part = part_name(name)
        count[part] += 1
        size[part] += value.const_value.nbytes
    parts = [Part(name, count[name], size[name]) for name in size]
    weights = sum(part.size for part in parts)
    if not graph.is_language_model:
        facts: Facts = {"name": graph.metadata.name, "task": TASK_RUN, **_interface(graph.ir.graph)}
        return Report(graph.metadata.name, facts, tuple(parts), {"weights": weights})
    metadata = graph.metadata
    facts = {
        "name": metadata.name,
        "family": metadata.family,
        "layers": len(layers),
        "context": metadata.context_length,
        "task": TASK_EMBED if graph.makes_embeddings else TASK_GENERATE,
        "chat format": metadata.chat_template is not None,
        **_projections(graph.ir.graph),
        **({"overrides": ", ".join(metadata.overrides)} if metadata.overrides else {}),
    }
    per_token = cache_bytes_per_token(graph.ir.graph)
    memory = {
        "weights": weights,
        "cache per token": per_token,
        "cache of the whole context": per_token * metadata.context_length,
    }
    return Report(metadata.name, facts, tuple(parts), memory)


def _interface(graph: ir.Graph) -> dict[str, str]:
    """Inputs and outputs of a graph of tensors, "image [1, 1, 8, 8]"."""
    return {
        name: ", ".join(f"{value.name} {_shape(value.shape)}" for value in values)
        for name, values in (("inputs", graph.inputs), ("outputs", graph.outputs))
    }


def _shape(shape: ir.Shape | None) -> str:
    return "" if shape is None else f"[{', '.join(str(getattr(d, 'value', d)) for d in shape)}]"


def _projections(graph: ir.Graph) -> dict[str, str]:
    """What activations are to ternary weights, and how many of these share a multiplier."""
    floats = any(node.op_type == "TernaryMatMul" for node in graph)
    names = (name for name in graph.initializers if name.endswith(_SCALE))
    return {
        "activations": "floats" if floats else "int8 per token",
        "one scale for a": " or ".join(sorted({_granularity(graph, name) for name in names})),
    }


def _granularity(graph: ir.Graph, scale: str) -> str:
    shape, packed = (
        graph.initializers[name].const_value.shape.numpy()  # type: ignore[union-attr]
        for name in (scale, scale.removesuffix(_SCALE) + ".weight")
    )
    if shape == (1,):
        return "matrix"
    groups = shape[1] if len(shape) > 1 else 1
    return "row" if groups == 1 else f"group of {packed[1] * TRITS_PER_BYTE // groups}"


def part_name(tensor: str) -> str:
    """model.layers.3.mlp.up_proj.weight_scale → mlp.up_proj: the module, the same in every layer."""
    module = LAYER.sub("", tensor).removeprefix("model.")
    for suffix in (_SCALE, ".weight"):
        module = module.removesuffix(suffix)
    return module if module != tensor else "constants and rotary tables"


def cache_bytes_per_token(graph: ir.Graph) -> int:
    elements = 0
    for value in graph.inputs:
        if value.name is not None and CACHE_INPUT.match(value.name) and value.shape is not None:
            product = 1
            for dimension in value.shape:
                product *= dimension if isinstance(dimension, int) else 1  # batch and length: one each
            elements += product
    return elements * CACHE_ELEMENT_BYTES
