"""An ONNX graph together with what a compiled model needs besides it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from edgebit.errors import GraphError
from edgebit.model.tokenizer import TOKENIZER_FILE

_PREFIX = "edgebit."
_FORMAT = "1"
_LARGEST = 1 << 31

TENSORS = "tensors"  # the family of a graph that is no language model
LOGITS = "logits"
EMBEDDING = "embedding"


@dataclass(frozen=True)
class GraphMetadata:
    """The facts of a language model that its graph does not hold; metadata_props "edgebit.*" of the file."""

    name: str
    family: str
    context_length: int
    bos_token_id: int | None
    stop_token_ids: tuple[int, ...]
    chat_template: str | None
    eos_token_id: int | None = None  # behind a text that is embedded
    overrides: tuple[str, ...] = ()  # what a person said about the model, "activation relu2"

    @classmethod
    def of_tensors(cls, name: str) -> GraphMetadata:
        """Of a graph without texts: tensors in, tensors out."""
        return cls(
            name=name,
            family=TENSORS,
            context_length=0,
            bos_token_id=None,
            eos_token_id=None,
            stop_token_ids=(),
            chat_template=None,
        )

    def to_properties(self) -> dict[str, str]:
        values = {
            "format": _FORMAT,
            "name": self.name,
            "family": self.family,
            "context_length": str(self.context_length),
            "stop_token_ids": json.dumps(self.stop_token_ids),
        }
        if self.bos_token_id is not None:
            values["bos_token_id"] = str(self.bos_token_id)
        if self.eos_token_id is not None:
            values["eos_token_id"] = str(self.eos_token_id)
        if self.chat_template is not None:
            values["chat_template"] = self.chat_template
        if self.overrides:
            values["overrides"] = json.dumps(self.overrides)
        return {_PREFIX + key: value for key, value in values.items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: str) -> GraphMetadata:
        """Raises GraphError naming ``source`` and the property that is missing or malformed."""
        values = {k.removeprefix(_PREFIX): v for k, v in properties.items() if k.startswith(_PREFIX)}
        if values.get("format") != _FORMAT:
            found = values.get("format", "absent")
            raise GraphError(
                f"{source}: metadata edgebit.format is {found}, expected {_FORMAT}; export with edgebit"
            )
        try:
            bos, eos = values.get("bos_token_id"), values.get("eos_token_id")
            return cls(
                name=values["name"],
                family=values["family"],
                context_length=_count(values["context_length"], least=1),
                bos_token_id=None if bos is None else _count(bos),
                eos_token_id=None if eos is None else _count(eos),
                stop_token_ids=tuple(map(_count, _list(values["stop_token_ids"]))),
                chat_template=values.get("chat_template"),
                overrides=tuple(map(str, _list(values.get("overrides", "[]")))),
            )
        except KeyError as key:
            raise GraphError(f"{source}: metadata edgebit.{key.args[0]} is missing; export again") from None
        except (ValueError, TypeError, RecursionError) as reason:
            raise GraphError(f"{source}: metadata edgebit.* is malformed ({reason}); export again") from None


def is_described(properties: Mapping[str, str]) -> bool:
    """Whether a file has any metadata of ours."""
    return any(key.startswith(_PREFIX) for key in properties)


def _count(value: str | int, least: int = 0) -> int:
    number = int(value)
    if not least <= number < _LARGEST:
        raise ValueError(f"{number} is no number of tokens and no token")
    return number


def _list(text: str) -> list[Any]:
    values = json.loads(text)
    if not isinstance(values, list):
        raise ValueError(f"{text[:60]} is no list")
    return values


@dataclass(frozen=True)
class OnnxModel:
    """``ir`` holds small tensors and views of files, no weights; ``files`` are saved beside model.onnx."""

    ir: ir.Model
    metadata: GraphMetadata
    files: Mapping[str, bytes]

    @property
    def is_language_model(self) -> bool:
        return self.metadata.family != TENSORS

    @property
    def makes_embeddings(self) -> bool:
        """A vector for a text, not logits for tokens."""
        return any(value.name == EMBEDDING for value in self.ir.graph.outputs)

    @property
    def tokenizer(self) -> bytes:
        """The content of tokenizer.json."""
        return self.files[TOKENIZER_FILE]
