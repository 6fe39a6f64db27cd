"""Is an exported folder a valid ONNX model, by ONNX's own judgement?"""

from __future__ import annotations

from pathlib import Path

import onnx

from edgebit.errors import GraphError
from edgebit.graph.storage import MODEL_FILE


def check(path: str | Path) -> None:
    """Run onnx.checker and strict shape inference with data propagation over a saved model of any size.

    Weights stay on disk: the checker goes by path and inference reads the graph alone. Raises GraphError.
    """
    file = Path(path) / MODEL_FILE if Path(path).is_dir() else Path(path)
    try:
        onnx.checker.check_model(str(file), full_check=True)
        graph = onnx.load(str(file), load_external_data=False)
        onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, OSError, ValueError) as reason:
        raise GraphError(f"{file}: not a valid ONNX model ({str(reason).strip()})") from None
