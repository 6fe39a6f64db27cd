"""What is computed from constants is computed in canonical arithmetic too: not by the libm of a workstation.

TVM folds calls whose arguments are known by running them. Here such a call first gets a function of its own
with `canonical` arithmetic; where that has no form (a power by a tensor) TVM's own stays.
"""

from __future__ import annotations

import tvm
from tvm import relax

from edgebit.errors import CompileError
from edgebit.schedules.canonical import canonical


def canonical_constants(module: tvm.IRModule) -> tvm.IRModule:
    """``module`` with canonical functions where ``main`` calls one with nothing but constants."""
    return _Canonical(module).run()


@relax.expr_functor.mutator
class _Canonical(relax.PyExprMutator):  # type: ignore[misc]
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.module = module
        self.known: list[relax.Var] = []

    def run(self) -> tvm.IRModule:
        main = next(name for name in self.module.get_global_vars() if name.name_hint == "main")
        self.builder_.update_func(main, self.visit_expr(self.module["main"]))
        return self.builder_.get()

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        call = binding.value
        if not self._is_known(call):
            super().visit_var_binding_(binding)
            return
        self.known.append(binding.var)
        function = self.module[call.args[0]]
        try:
            body = canonical(function.body)
        except CompileError:
            super().visit_var_binding_(binding)
            return
        own = self.builder_.add_func(function.with_body(body), f"{call.args[0].name_hint}_known")
        made = relax.call_tir(own, self.visit_expr(call.args[1]), out_ty=call.ty_args[0])
        self.set_var_remap(binding.var, self.builder_.emit(made, name_hint=binding.var.name))

    def _is_known(self, value: relax.Expr) -> bool:
        """A call of a function with nothing but constants and what was computed of them."""
        if not isinstance(value, relax.Call) or not value.op.same_as(tvm.ir.Op.get("relax.call_tir")):
            return False
        return all(
            isinstance(x, tvm.ir.GenericConst) or any(x.same_as(other) for other in self.known)
            for x in value.args[1].fields
        )
