"""``python -m benchmarks.peer.requantize FROM TO``: the head in Q6_K, as llama-quantize makes a tied one.

The ternary matrices are TQ2_0 already and are copied. llama.cpp itself quantises: this runs where it is
installed.
"""

from __future__ import annotations

import ctypes
import sys

import llama_cpp


def main() -> None:
    source, destination = (argument.encode() for argument in sys.argv[1:])
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_TQ2_0
    code = llama_cpp.llama_model_quantize(source, destination, ctypes.byref(settings))
    if code:
        sys.exit(f"llama_model_quantize returned {code}")


if __name__ == "__main__":
    main()
