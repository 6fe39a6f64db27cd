"""The tensors of a GGUF file as the weights of a checkpoint: codecs by type, and rows put back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgebit.model.config import ModelConfig
from edgebit.model.gguf.architecture import Architecture
from edgebit.model.gguf.container import GgufFile, GgufTensor
from edgebit.model.gguf.group_trits import group_tensor
from edgebit.model.gguf.names import TensorNames
from edgebit.model.gguf.tensor_types import GROUP_TYPES, TABLE_TYPES, TERNARY_TYPES
from edgebit.model.gguf.trits import FloatTrits, HeadPermutedRows, separate_halves, ternary_tensor
from edgebit.model.scaled_trits import FloatProducts
from edgebit.model.tensor_files import FLOAT_DTYPES, StoredTensor
from edgebit.model.ternary import TernaryTensor
from edgebit.model.weights import Weights

_ROTATED = {"self_attn.q_proj", "self_attn.k_proj"}


class GgufWeights(Weights):
    """``i2s_block``: as of `I2sTrits`. Rows of query and key projections, and their biases, are put in the
    order of transformers where the architecture permutes them (see `HeadPermutedRows`).
    """

    described_by = "the file's metadata"
    table_dtypes = TABLE_TYPES
    rotary_divisors = "rope_freqs.weight"

    def __init__(
        self, file: GgufFile, architecture: Architecture, config: ModelConfig, i2s_block: int
    ) -> None:
        self._names = TensorNames(architecture.norms)
        named: dict[str, StoredTensor] = {
            self._names.in_transformers(name): tensor for name, tensor in file.tensors.items()
        }
        super().__init__(file.path, architecture.label or architecture.name, named)
        self._permuted_heads = config.head_dim if architecture.permuted else None
        self._takes_masters = architecture.takes_masters
        self._float_activations = config.activation_quantization == "none"
        self._i2s_block = i2s_block

    def projection(self, name: str, shape: tuple[int, int]) -> TernaryTensor:
        weight = self.find(f"{name}.weight")
        self.expect(weight, (*TERNARY_TYPES, *GROUP_TYPES, *FLOAT_DTYPES), shape)
        matrix, permuted = self._matrix(weight), self._permuted_heads_of(name)
        return matrix if permuted is None else HeadPermutedRows(matrix, permuted)

    def bias(self, name: str, projection: TernaryTensor) -> npt.NDArray[np.float32]:
        values, permuted = super().bias(name, projection), self._permuted_heads_of(name)
        return values if permuted is None else separate_halves(values, permuted)

    def _permuted_heads_of(self, name: str) -> int | None:
        return self._permuted_heads if name.split(".", 3)[-1] in _ROTATED else None

    def _matrix(self, weight: StoredTensor) -> TernaryTensor:
        if isinstance(weight, GgufTensor) and weight.dtype in GROUP_TYPES:
            return group_tensor(weight)
        if isinstance(weight, GgufTensor) and weight.dtype in TERNARY_TYPES:
            return ternary_tensor(weight, self._i2s_block)
        return FloatProducts(weight) if self._float_activations else FloatTrits(weight, self._takes_masters)

    def label(self, name: str) -> str:
        return self._names.in_file(name)

    def scale_advice(self) -> str:
        return "the file was converted with the reciprocal of the scale; convert it anew"
