"""From an ONNX graph to a plan, packed weights and object code."""
