"""What each token attends to, as boolean masks computed from the inputs of the graph."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from edgebit.graph.assembler import BATCH, INT64, SEQUENCE, Assembler, Dims


def causal_masks(
    graph: Assembler,
    attention_mask: ir.Value,
    position_ids: ir.Value,
    total: str,
    windows: Iterable[int],
) -> dict[int, ir.Value]:
    """Masks [batch, 1, sequence, total] by window: key positions up to the query's own, padding excluded, and
    of a window other than 0 the last so many of them.

    A key's position is counted from the mask, not made by Range, whose length TVM cannot prove equal to the
    cache's.
    """
    node, boolean = graph.node, ir.DataType.BOOL
    square: Dims = [BATCH, SEQUENCE, total]
    one, axis1, axis2 = (graph.integers(*c) for c in (("one", 1), ("axis1", [1]), ("axis2", [2])))
    count = node("CumSum", [attention_mask, one], "mask.count", INT64, [BATCH, total])
    position = node("Sub", [count, one], "mask.key_position", INT64, [BATCH, total])
    key = node("Unsqueeze", [position, axis1], "mask.key", INT64, [BATCH, 1, total])
    query = node("Unsqueeze", [position_ids, axis2], "mask.query", INT64, [BATCH, SEQUENCE, 1])
    causal = node("LessOrEqual", [key, query], "mask.causal", boolean, square)
    present = node("Cast", [attention_mask], "mask.present", boolean, [BATCH, total], to=boolean)
    keep = node("Unsqueeze", [present, axis1], "mask.keep", boolean, [BATCH, 1, total])
    visible = node("And", [causal, keep], "mask.visible", boolean, square)
    masks = {0: node("Unsqueeze", [visible, axis1], "mask", boolean, [BATCH, 1, SEQUENCE, total])}
    for window in sorted(set(windows) - {0}):
        name = f"mask.window_{window}"
        size = graph.integers(f"{name}.size", window)
        begin = node("Sub", [query, size], f"{name}.begin", INT64, [BATCH, SEQUENCE, 1])
        inside = node("Greater", [key, begin], f"{name}.inside", boolean, square)
        both = node("And", [visible, inside], f"{name}.visible", boolean, square)
        masks[window] = node("Unsqueeze", [both, axis1], name, boolean, [BATCH, 1, SEQUENCE, total])
    return masks
