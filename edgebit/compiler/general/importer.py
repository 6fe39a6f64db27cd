"""A graph of any operators → Relax: constants are computed on the way, unknown operators taken apart."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir
import tvm
from tvm import relax

from edgebit.compiler.general.constants import fold, neutral
from edgebit.compiler.general.converters import GENERAL_CONVERTERS
from edgebit.compiler.general.function_bodies import function_body
from edgebit.compiler.importer import Importer
from edgebit.errors import CompileError


class GeneralImporter(Importer):
    """Of each node, the first of these that there is:

    1. its value, where its inputs are constants or their shapes are all that it asks for (`constants`);
    2. our converter, or TVM's;
    3. the nodes of the body that the standard defines for the operator (`function_bodies`).
    """

    def __init__(self, model: ir.Model, parameters: Collection[str]) -> None:
        super().__init__(model, {}, GENERAL_CONVERTERS, parameters)

    def node(self, node: ir.Node) -> None:
        inputs = [None if value is None else self.values[str(value.name)] for value in node.inputs]
        known = fold(node, inputs, self.opset)
        kept = neutral(node, inputs) if known is None else None
        if known is not None:
            self.values[str(node.outputs[0].name)] = relax.const(tvm.runtime.tensor(known))
        elif kept is not None:
            self.values[str(node.outputs[0].name)] = inputs[kept]
        else:
            self._converted(node, inputs)

    def _converted(self, node: ir.Node, inputs: list[relax.Expr | None]) -> None:
        try:
            super().node(node)
        except CompileError:
            body = function_body(node, [None if x is None else x.ty for x in inputs], self.opset)
            if body is None:
                raise
            self._inline(node, body)

    def _inline(self, node: ir.Node, body: ir.Graph) -> None:
        """The nodes of ``body`` under the name of ``node``, which errors then give."""
        outside = self.values
        given = [value for value in node.inputs if value is not None]
        self.values = {
            str(inner.name): outside[str(value.name)] for inner, value in zip(body.inputs, given, strict=True)
        }
        for each in body:
            each.name = f"{node.name or node.op_type}.{each.op_type}"
            self.node(each)
        made = [self.values[str(value.name)] for value in body.outputs]
        self.values = outside
        outputs = [value for value in node.outputs if value.name]
        self.values.update(zip((str(value.name) for value in outputs), made, strict=True))
