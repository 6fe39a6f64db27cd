"""Scheduled PrimFuncs to a relocatable object whose symbols are plain C functions.

Every kernel gets the one C type of the runtime, whatever it does::

    typedef void (*eb_kernel)(void *b0, ..., void *b7, int32_t s0, ..., int32_t s7);

**Parameter slots.** A PrimFunc names its parameters as it likes. Its i-th pointer parameter (``T.handle`` or
``T.Buffer``) is slot b<i>, its j-th ``T.int32`` parameter is slot s<j>; buffers and scalars are counted
apart, so they may be declared in any mixture. A slot that a kernel does not use, but that stands before one
it does use, is declared all the same. The lowering adds what is missing up to 8 + 8; the caller passes 0
there. Other parameter types are an error.

Nothing of TVM's packed calls remains: no argument checks, no workspace pool (every buffer a kernel allocates
is on the stack), no undefined symbol but memset, memcpy and memmove.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import PointerType, PrimType

from edgebit.errors import CompileError

from .tier import Tier

BUFFER_SLOTS = 8
SCALAR_SLOTS = 8

# Any value but 0 (the default convention) keeps TVM from wrapping the function into a packed call.
_PLAIN_C_CALL = 2


def compile_object(kernels: Mapping[str, tirx.PrimFunc], tier: Tier, triple: str) -> bytes:
    """Compile scheduled kernels to one relocatable object file.

    ``kernels`` maps symbols, used exactly as given, to PrimFuncs that follow the slot rule above. ``triple``
    is a four-part LLVM triple of the tier's architecture. The same input gives the same bytes. Raises
    CompileError (a kernel does not fit the C type) or TargetError (triple and tier contradict each other).
    """
    module = _llvm_module(kernels, tier, triple)
    with tempfile.TemporaryDirectory(prefix="edgebit-") as folder:
        path = Path(folder) / "kernels.o"
        module.write_to_file(str(path), "o")
        return path.read_bytes()


def assembly(kernels: Mapping[str, tirx.PrimFunc], tier: Tier, triple: str) -> str:
    """The assembly text of what compile_object makes, for tests and for looking at kernels."""
    return str(_llvm_module(kernels, tier, triple).inspect_source("asm"))


def _llvm_module(kernels: Mapping[str, tirx.PrimFunc], tier: Tier, triple: str) -> tvm.runtime.Module:
    target = tvm.target.Target(tier.target(triple))
    target = target.with_host(target)
    module = tvm.IRModule(
        {symbol: kernels[symbol].with_attr("global_symbol", symbol) for symbol in sorted(kernels)}
    )
    module = _to_flat_loops(target)(module)
    module = _map_functions(module, _allocate_on_stack)
    module = _map_functions(module, _to_plain_c)
    module = tvm.ir.transform.Sequential([tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()])(
        module
    )
    return tvm.get_global_func("target.build.llvm")(module, target)


def _to_flat_loops(target: tvm.target.Target) -> tvm.ir.transform.Pass:
    """TVM's lowering pipeline without what it adds for its own calling convention and runtime."""
    return tvm.ir.transform.Sequential(
        [
            tirx.transform.BindTarget(target),
            s_tir.transform.CanonicalizeLoop(),
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            s_tir.transform.CompactBufferAllocation(),
            s_tir.transform.LowerMatchBuffer(),
            tirx.transform.StmtSimplify(),
            s_tir.transform.LowerOpaqueBlock(),
            tirx.transform.FlattenBuffer(),
            tirx.transform.NarrowDataType(32),
            s_tir.transform.LoopPartition(),
            tirx.transform.VectorizeLoop(True),
            tirx.transform.StorageRewrite(),
            tirx.transform.UnrollLoop(),
            s_tir.transform.RenormalizeSplitPattern(),
            tirx.transform.StmtSimplify(),
            tirx.transform.RemoveNoOp(),
            s_tir.transform.RewriteUnsafeSelect(),
            tirx.transform.CommonSubexprElim(),
        ]
    )


def _map_functions(module: tvm.IRModule, change: object) -> tvm.IRModule:
    return tvm.IRModule({name: change(function) for name, function in module.functions.items()})  # type: ignore[operator]


def _allocate_on_stack(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Without this annotation LowerTVMBuiltin turns buffers from 1 KB on into calls of TVM's allocator."""

    def annotate(allocation: tirx.AllocBuffer) -> tirx.AllocBuffer:
        return tirx.AllocBuffer(allocation.buffer, {"disable_lower_builtin": tirx.IntImm("int32", 1)})

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.AllocBuffer, annotate)))


def _to_plain_c(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Buffer parameters become raw pointers, and the parameter list is padded to the one C type."""
    symbol = function.attrs["global_symbol"]
    pointers: list[tirx.Var] = []
    scalars: list[tirx.Var] = []
    declarations: list[tirx.Stmt] = []
    for parameter in function.params:
        if type(parameter.ty).__name__ == "BufferType":
            pointer = tirx.Var(f"{parameter.name}_data", PointerType(PrimType(str(parameter.dtype))))
            declarations.append(tirx.DeclBuffer(parameter, data=pointer))
            pointers.append(pointer)
        elif isinstance(parameter.ty, PointerType):
            pointers.append(parameter)
        elif str(parameter.ty) == "int32":
            scalars.append(parameter)
        else:
            raise CompileError(
                f"kernel {symbol}: parameter {parameter.name} has type {parameter.ty}; "
                "a kernel takes pointers and int32"
            )
    if len(pointers) > BUFFER_SLOTS or len(scalars) > SCALAR_SLOTS:
        raise CompileError(
            f"kernel {symbol}: {len(pointers)} buffers and {len(scalars)} scalars; "
            f"the C type has {BUFFER_SLOTS} and {SCALAR_SLOTS}"
        )
    pointers += [tirx.Var(f"b{i}", PointerType(PrimType("int8"))) for i in range(len(pointers), BUFFER_SLOTS)]
    scalars += [tirx.Var(f"s{i}", "int32") for i in range(len(scalars), SCALAR_SLOTS)]
    body = tirx.SeqStmt([*declarations, function.body, tirx.Evaluate(0)])
    plain = tirx.PrimFunc([*pointers, *scalars], body, function.ret_type, function.attrs)
    return plain.with_attr("calling_conv", _PLAIN_C_CALL)
