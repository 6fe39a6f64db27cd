"""The weights of a checkpoint by the tensor names of transformers, however they are stored.

`Weights` is what a checkpoint needs of its files; there are two: `FolderWeights` here, safetensors in the
layout of transformers, and `edgebit.model.gguf.weights.GgufWeights`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgebit.errors import CheckpointError
from edgebit.model.facts import QuantizationConfig
from edgebit.model.scaled_trits import FloatProducts, PackedScaledTrits
from edgebit.model.tensor_files import FLOAT_DTYPES, StoredTensor, TensorFiles
from edgebit.model.ternary import TRITS_PER_BYTE, MasterWeights, PackedTrits, TernaryTensor, UnpackedTrits

EMBEDDING = "model.embed_tokens.weight"
LM_HEAD = "lm_head.weight"
FINAL_NORM = "model.norm.weight"
_PREFIX = "model."


class Weights(Mapping[str, StoredTensor]):
    """Tensors that stay in their files. ``path`` and ``kind`` ("BitNetForCausalLM") are for messages."""

    described_by: ClassVar[str]  # what says how large tensors have to be
    rotary_divisors: ClassVar[str | None] = None  # a tensor [head_dim / 2] that files of this kind may have
    table_dtypes: ClassVar[tuple[str, ...]] = FLOAT_DTYPES  # of an embedding or a head

    def __init__(self, path: Path, kind: str, tensors: Mapping[str, StoredTensor]) -> None:
        self.path = path
        self.kind = kind
        self._tensors = tensors

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @abstractmethod
    def projection(self, name: str, shape: tuple[int, int]) -> TernaryTensor:
        """The ternary matrix of a linear like "model.layers.0.self_attn.q_proj"."""

    @abstractmethod
    def label(self, name: str) -> str:
        """What the files call a tensor."""

    @abstractmethod
    def scale_advice(self) -> str:
        """What to look at where multipliers are implausibly large."""

    def bias(self, name: str, projection: TernaryTensor) -> npt.NDArray[np.float32]:
        """What the linear ``name``, whose matrix is ``projection``, adds: float32 [out_features]."""
        return self.vector(f"{name}.bias", projection.shape[0]).map().astype(np.float32)

    def vector(self, name: str, size: int) -> StoredTensor:
        """A norm weight or a bias."""
        return self.expect(self.find(name), FLOAT_DTYPES, (size,))

    def table(self, name: str, shape: tuple[int, int]) -> StoredTensor:
        return self.expect(self.find(name), self.table_dtypes, shape)

    def find(self, name: str) -> StoredTensor:
        tensor = self.get(name)
        if tensor is None:
            raise CheckpointError(
                f"{self.path}: tensor {self.label(name)} is missing; a {self.kind} checkpoint needs it"
            )
        return tensor

    def expect(self, tensor: StoredTensor, dtypes: tuple[str, ...], shape: tuple[int, ...]) -> StoredTensor:
        if tensor.dtype not in dtypes or tensor.shape != shape:
            found = f"{tensor.dtype} {list(tensor.shape)}"
            wanted = f"{' or '.join(dtypes)} {list(shape)}"
            where = f"{tensor.file}: tensor {tensor.name}"
            raise CheckpointError(f"{where} is {found}, expected {wanted} as {self.described_by} says")
        return tensor


class FolderWeights(Weights):
    """A folder of safetensors files. ``prefix``: what the files have for "model."."""

    described_by = "config.json"

    def __init__(
        self, files: TensorFiles, kind: str, quantization: QuantizationConfig, prefix: str = _PREFIX
    ) -> None:
        self._prefix = prefix
        super().__init__(files.folder, kind, {self._our_name(name): files[name] for name in files})
        self._quantization = quantization

    def projection(self, name: str, shape: tuple[int, int]) -> TernaryTensor:
        weight = self.find(f"{name}.weight")
        if self._quantization.products:
            return FloatProducts(self.expect(weight, FLOAT_DTYPES, shape))
        scale, sense = self.get(f"{name}.weight_scale"), self._quantization.scale_is_multiplier
        rows, columns = shape
        if weight.dtype == "U8":
            self.expect(weight, ("U8",), (rows // TRITS_PER_BYTE, columns))
            stored = self.find(f"{name}.weight_scale")
            kind = PackedScaledTrits if len(stored.shape) == 2 else PackedTrits
            return kind(weight, stored, sense)
        self.expect(weight, FLOAT_DTYPES, shape)
        return MasterWeights(weight) if scale is None else UnpackedTrits(weight, scale, sense)

    def bias(self, name: str, projection: TernaryTensor) -> npt.NDArray[np.float32]:
        """A loaded AutoBitLinear multiplies the sum of product and bias by its weight_scale (transformers):
        there the bias comes multiplied too.
        """
        bias = super().bias(name, projection)
        scaled = self._quantization.scale_is_multiplier and not projection.scale_is_computed
        return bias * projection.scale if scaled else bias

    def label(self, name: str) -> str:
        return name if name == LM_HEAD else self._prefix + name.removeprefix(_PREFIX)

    def _our_name(self, name: str) -> str:
        if name == LM_HEAD or name.startswith(_PREFIX) or not name.startswith(self._prefix):
            return name  # files of a family without a prefix may have it all the same
        return _PREFIX + name.removeprefix(self._prefix)

    def scale_advice(self) -> str:
        return (
            f"check linear_class {self._quantization.linear_class!r} in config.json, "
            "which decides the sense of weight_scale"
        )
