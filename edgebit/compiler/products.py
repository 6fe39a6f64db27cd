"""Where projections are computed: side by side, added to other rows, or a gate and what it gates together."""

from __future__ import annotations

from collections.abc import Sequence

from edgebit.compiler.arena import InArena, Rows
from edgebit.compiler.plan import KernelInstance
from edgebit.compiler.plan_builder import F32, PlanBuilder
from edgebit.compiler.projections import Product
from edgebit.compiler.weights import ROWS
from edgebit.errors import CompileError


def side_by_side(plan: PlanBuilder, label: str, products: Sequence[Product]) -> Rows:
    """Several results in the same rows, one behind the other: in one step where they have their codes in
    common. Rows of each are a multiple of 16.
    """
    matrices = [product.matrix for product in products]
    out = plan.arena.rows(label, sum(matrix.rows for matrix in matrices))
    codes = products[0].codes
    if all(product.codes is codes for product in products):
        plan.projection(label, "store", codes, matrices, [product.scale for product in products], out)
    else:
        column = 0
        for product in products:
            plan.projection(
                product.label, "store", product.codes, [product.matrix], [product.scale], out, column
            )
            column += product.matrix.rows
    plan.add_biases(label, products, out)
    return out


def add_to(plan: PlanBuilder, label: str, x: Rows, product: Product) -> None:
    """x + the result, in the place of x."""
    matrix = product.matrix
    if matrix.rows != x.features:
        raise CompileError(f"tensor {matrix.name}: {matrix.rows} rows, expected {x.features}")
    if product.bias is None and product.head_norm is None:
        plan.projection(label, "residual", product.codes, [matrix], [product.scale], x)
    else:
        y = plan.computed(f"{label}.projection", product)
        plan.elementwise(label, KernelInstance("add_rows"), x, [InArena(y.buffer, unit_stride=ROWS * F32)])


def gated(plan: PlanBuilder, label: str, gate: Product, up: Product, activation: str) -> Rows:
    """activation(gate) · up: in the epilogue of one step where both have their codes in common."""
    if gate.matrix.rows != up.matrix.rows:
        raise CompileError(
            f"tensor {up.matrix.name}: {up.matrix.rows} rows, expected {gate.matrix.rows} as the gate has"
        )
    plain = gate.bias is None and up.bias is None
    if plain and gate.codes is up.codes and gate.head_norm is up.head_norm is None:
        out = plan.arena.rows(label, gate.matrix.rows)
        matrices, scales = [gate.matrix, up.matrix], [gate.scale, up.scale]
        plan.gated_projection(label, f"{activation}_mul", gate.codes, matrices, scales, out)
        return out
    out, other = plan.computed(gate.label, gate), plan.computed(up.label, up)
    kernel = KernelInstance("gated", (("activation", activation),))
    plan.elementwise(label, kernel, out, [InArena(other.buffer, unit_stride=ROWS * F32)])
    return out
