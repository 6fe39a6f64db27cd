"""Rows of one width into rows of another: what stands between dense tensors and padded ones."""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc


def copy_rows(rows: int, columns: int, source_width: int, target_width: int) -> PrimFunc:
    """The first ``columns`` of each row; a function of one block, to be scheduled by `default_schedule`.

    Buffers: source [rows][source_width], target [rows][target_width].
    """

    @T.prim_func(s_tir=True)
    def kernel(source_data: T.handle, target_data: T.handle) -> None:
        source = T.match_buffer(source_data, (rows, source_width), "float32")
        target = T.match_buffer(target_data, (rows, target_width), "float32")
        for row, column in T.grid(T.int64(rows), T.int64(columns)):
            with T.sblock("copy"):
                r, c = T.axis.remap("SS", [row, column])
                target[r, c] = source[r, c]

    return kernel
