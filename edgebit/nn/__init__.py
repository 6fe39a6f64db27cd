"""torch modules of ternary layers, and their way to ONNX. Needs the extra ``edgebit[torch]``.

model = nn.Sequential(BitConv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), BitLinear(2048, 10))
...                                                       # train as any other module
edgebit.export_torch(model, (torch.zeros(1, 1, 8, 8),), "digits.onnx")
edgebit.compile("digits.onnx", "arm64", "digits-pi")
"""

from edgebit.nn.export import export_torch
from edgebit.nn.layers import BitConv2d, BitLinear
from edgebit.nn.quantize import activation_codes, ternary_linear, weight_trits

__all__ = ["BitConv2d", "BitLinear", "activation_codes", "export_torch", "ternary_linear", "weight_trits"]
