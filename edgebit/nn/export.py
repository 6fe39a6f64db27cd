"""A torch module with ternary layers → an ONNX file whose operators edgebit compiles and onnxruntime runs."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from onnxscript.values import Op
from torch import Tensor, nn

from edgebit.errors import GraphError
from edgebit.graph import operators
from edgebit.nn.layers import BitConv2d, BitLinear
from edgebit.nn.quantize import activation_codes, weight_trits

_LARGEST_FILE = 1 << 30  # bytes; protobuf ends at 2 GB: larger weights stand beside the file


@torch.library.custom_op("edgebit::bit_linear", mutates_args=())
def bit_linear(x: Tensor, weight: Tensor, weight_scale: Tensor) -> Tensor:
    """ai.edgebit::BitLinear of packed trits [N, K/4] and scales [1] or [N]."""
    codes, scale = activation_codes(x)
    return nn.functional.linear(codes, unpack_trits(weight)) * (weight_scale / scale)


@bit_linear.register_fake
def _(x: Tensor, weight: Tensor, weight_scale: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@torch.library.custom_op("edgebit::ternary_matmul", mutates_args=())
def ternary_matmul(x: Tensor, weight: Tensor, weight_scale: Tensor) -> Tensor:
    """ai.edgebit::TernaryMatMul of packed trits [N, K/4] and scales [1] or [N, 1]."""
    return nn.functional.linear(x, unpack_trits(weight)) * weight_scale.reshape(-1)


@ternary_matmul.register_fake
def _(x: Tensor, weight: Tensor, weight_scale: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _opaque(name: str) -> Op:
    """A node without a body: torch's exporter would inline that of a function, and does it wrongly."""
    parameter, schema = onnx.defs.OpSchema.FormalParameter, onnx.defs.OpSchema
    inputs = [("x", "float"), ("weight", "uint8"), ("weight_scale", "float")]
    signature = schema(
        name,
        operators.DOMAIN,
        operators.DOMAIN_VERSION,
        inputs=[parameter(name, f"tensor({dtype})") for name, dtype in inputs],
        outputs=[parameter("y", "tensor(float)")],
    )
    return Op(operators.edgebit_opset, name, op_schema=signature)


_BIT_LINEAR, _TERNARY_MATMUL = map(_opaque, (operators.BitLinear.name, operators.TernaryMatMul.name))


def _bit_linear_node(x: Any, weight: Any, weight_scale: Any) -> Any:
    return _BIT_LINEAR(x, weight, weight_scale)


def _ternary_matmul_node(x: Any, weight: Any, weight_scale: Any) -> Any:
    return _TERNARY_MATMUL(x, weight, weight_scale)


class _Packed(nn.Module):
    """A ternary layer as it is exported: its trits, four to a byte."""

    def __init__(self, layer: BitLinear | BitConv2d) -> None:
        super().__init__()
        self.layer = [layer]  # not a submodule: its master weights are not exported
        self.floats = layer.activation_quantization == "none"
        self.columns = layer.matrix().shape[1]
        trits, multiplier = weight_trits(layer.matrix().detach(), layer.granularity)
        of_rows = self.floats and layer.granularity == "row"
        self.register_buffer("weight", pack_trits(trits))
        self.register_buffer("weight_scale", multiplier[:, None] if of_rows else multiplier)

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer[0]
        rows = layer.patches(x) if isinstance(layer, BitConv2d) else x
        if rows.shape[-1] != self.columns:  # torch.export does not look into the operator
            raise ValueError(f"a ternary layer of {self.columns} inputs is given {rows.shape[-1]}")
        if rows.shape[-1] % 4:  # the operator has whole bytes of trits; zeros change neither scale nor sum
            rows = nn.functional.pad(rows, (0, -rows.shape[-1] % 4))
        product = torch.ops.edgebit.ternary_matmul if self.floats else torch.ops.edgebit.bit_linear
        return layer.finish(product(rows, self.weight, self.weight_scale))


def pack_trits(trits: Tensor) -> Tensor:
    """[N, K] of -1, 0, 1 → uint8 [N, ceil(K/4)]: two bits each, low bits first, code = value + 1."""
    codes = nn.functional.pad((trits + 1).to(torch.uint8), (0, -trits.shape[1] % 4), value=1)
    fields = codes.reshape(codes.shape[0], -1, 4)
    return fields[..., 0] | fields[..., 1] << 2 | fields[..., 2] << 4 | fields[..., 3] << 6


def unpack_trits(packed: Tensor) -> Tensor:
    """uint8 [N, K/4] → float32 [N, K], as `pack_trits` packs them."""
    fields = torch.stack([(packed >> shift) & 3 for shift in (0, 2, 4, 6)], -1)
    return fields.reshape(packed.shape[0], -1).to(torch.float32) - 1


def export_torch(
    module: nn.Module,
    example_inputs: Tensor | Sequence[Tensor],
    path: str | os.PathLike[str],
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_shapes: Any = None,
) -> Path:
    """Write ``module`` as it is in eval mode to the .onnx file ``path`` and return it.

    Shapes are those of ``example_inputs``, the batch too, but for ``dynamic_shapes``, which torch.onnx.export
    explains: dimensions with a name, which `edgebit.compile` gives sizes (``dims``). ``module`` itself stays
    as it is. onnxruntime runs the file too, with torch's values within a few float32 roundings, and one more
    code of a quantiser where such a rounding tips it. Raises GraphError with torch's reason where the module
    cannot be exported.
    """
    file = Path(path)
    if file.suffix != ".onnx":
        raise GraphError(f"{file}: name a file that ends in .onnx")
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    model = _exported(_packed(module), inputs, input_names, output_names, dynamic_shapes)
    for kind, names, values in (
        ("input", input_names, model.graph.inputs),
        ("output", output_names, model.graph.outputs),
    ):
        if names is not None and len(names) != len(values):
            named = f"{len(names)} {kind}_names: {', '.join(names)}"
            raise GraphError(f"{type(module).__name__}: {len(values)} {kind}s and {named}")
    model.functions.update({function.identifier(): function for function in operators.functions()})
    model.opset_imports[operators.DOMAIN] = operators.DOMAIN_VERSION
    tensors = [value.const_value for value in model.graph.initializers.values()]
    is_large = sum(tensor.nbytes for tensor in tensors if tensor is not None) > _LARGEST_FILE
    try:
        ir.save(model, file, external_data=f"{file.name}.data" if is_large else None)
    except OSError as error:
        raise GraphError(f"{file}: cannot be written ({error.strerror or error})") from error
    return file


def _packed(module: nn.Module) -> nn.Module:
    """A copy of the module in eval mode with packed layers."""
    whole = nn.Sequential(copy.deepcopy(module)).eval()
    for parent in list(whole.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BitLinear | BitConv2d):
                setattr(parent, name, _Packed(child))
    return whole[0]


@contextmanager
def _silent() -> Iterator[None]:
    """Without what the exporter says of packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _exported(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
    dynamic_shapes: Any,
) -> ir.Model:
    table: dict[Any, Any] = {
        torch.ops.edgebit.bit_linear.default: _bit_linear_node,
        torch.ops.edgebit.ternary_matmul.default: _ternary_matmul_node,
    }
    try:
        with _silent(), torch.no_grad():
            program = torch.onnx.export(
                module,
                inputs,
                dynamo=True,
                opset_version=operators.OPSET_VERSION,
                custom_translation_table=table,
                input_names=input_names,
                output_names=output_names,
                dynamic_shapes=dynamic_shapes,
                verbose=False,
            )
    except Exception as error:  # torch.export and the exporter raise what their parts do
        reason = _first_line(_cause(error))
        raise GraphError(f"{type(module).__name__}: torch.onnx.export cannot export it: {reason}") from error
    assert program is not None
    model: ir.Model = program.model
    return model


def _cause(error: BaseException) -> BaseException:
    """What went wrong at first: the exporter's own errors say which of its steps it was, in colour."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
