"""Who reads each value of a fused graph: what may be written in place, and what only projections want."""

from __future__ import annotations

from tvm import relax

from edgebit.compiler.fusion import bindings

_PARTS = {
    f"edgebit.{name}" for name in ("linear", "float_linear", "add_bias", "head_norm")
}  # of a projection


def readers_of(fused: relax.Function) -> dict[relax.Var, set[relax.Var]]:
    """The operators that read each value; what reads an item of a tuple reads the tuple, and what reads a
    projection, which is computed where it is wanted, reads the codes of its input.
    """
    source: dict[relax.Var, relax.Var] = {}
    readers: dict[relax.Var, set[relax.Var]] = {}
    for variable, value in bindings(fused):
        if isinstance(value, relax.TupleGetItem):
            source[variable] = value.tuple_value
        elif isinstance(value, relax.Call):
            operands = [argument for argument in value.args if isinstance(argument, relax.Var)]
            read = {source.get(operand, operand) for operand in operands}
            if value.op.name in _PARTS:
                source[variable] = source.get(operands[0], operands[0])
            else:
                for operand in read:
                    readers.setdefault(operand, set()).add(variable)
    return readers


def projected_floats(fused: relax.Function) -> set[relax.Var]:
    """Values that nothing but projections of floats reads."""
    by_projection: set[relax.Var] = set()
    by_others: set[relax.Var] = set()
    for _, value in bindings(fused):
        if isinstance(value, relax.Call):
            operands = {argument for argument in value.args if isinstance(argument, relax.Var)}
            (by_projection if value.op.name == "edgebit.float_linear" else by_others).update(operands)
    return by_projection - by_others
