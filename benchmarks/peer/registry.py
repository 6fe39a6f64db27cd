"""The table of engines and of what each is measured with. A new peer is a row here and a module beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """`module` is imported in the child process; `package` is the distribution that must be installed."""

    name: str
    module: str
    package: str
    install: str


@dataclass(frozen=True)
class Contender:
    """An engine with one form of the model (`models.MAKERS`) and a setting its module understands.

    `lossless`: weights and head are those of the checkpoint, nothing is quantised further. `full_size`: fast
    enough for the table of the whole model. `timed`: False for what only serves to check the others.
    """

    name: str
    engine: str
    model: str
    variant: str = ""
    lossless: bool = True
    full_size: bool = True
    timed: bool = True
    remark: str = ""


EDGEBIT = "edgebit"
ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(EDGEBIT, "benchmarks.peer.edgebit_bundle", "edgebit", "pip install -e ."),
        Engine(
            "llama.cpp",
            "benchmarks.peer.llama_cpp_gguf",
            "llama-cpp-python",
            "pip install --no-binary llama-cpp-python llama-cpp-python (builds for this CPU)",
        ),
        Engine("onnxruntime", "benchmarks.peer.onnxruntime_graph", "onnxruntime", "pip install onnxruntime"),
        Engine(
            "transformers",
            "benchmarks.peer.transformers_cpu",
            "transformers",
            "pip install torch==2.13.0 transformers accelerate",
        ),
        Engine(
            "litespark",
            "benchmarks.peer.litespark_cpu",
            "litespark-inference",
            "pip install torch==2.13.0 litespark-inference",
        ),
    )
}

OWN = Contender("edgebit", EDGEBIT, "bundle")
# The reference of all logits where it is installed.
INDEPENDENT = Contender(
    "transformers, float32", "transformers", "checkpoint", "float32", full_size=False, timed=False
)
# The fair peer: the same information per weight, and a head that is not quantised.
FAIR_PEER = "llama.cpp TQ2_0, f16 head"
CONTENDERS: tuple[Contender, ...] = (
    OWN,
    Contender(FAIR_PEER, "llama.cpp", "gguf-f16", remark="activations in Q8_K: int8 per 256 values"),
    Contender(
        "llama.cpp TQ2_0, bf16 head",
        "llama.cpp",
        "gguf-bf16",
        full_size=False,
        remark="activations in Q8_K: int8 per 256 values",
    ),
    Contender(
        "llama.cpp TQ2_0, q6_K head",
        "llama.cpp",
        "gguf-q6_k",
        lossless=False,
        remark="activations in Q8_K; the head llama-quantize chooses",
    ),
    Contender("litespark, bf16 head", "litespark", "masters", "bf16"),
    Contender(
        "litespark, int4 head", "litespark", "masters", "int4", lossless=False, remark="litespark's default"
    ),
    Contender(
        "onnxruntime, ai.edgebit graph",
        "onnxruntime",
        "onnx",
        full_size=False,
        remark="plain ONNX operators: made to be right everywhere, not fast",
    ),
    Contender(
        "onnxruntime, MatMulNBits 2 bits",
        "onnxruntime",
        "matmulnbits",
        full_size=False,
        remark="activations quantised by onnxruntime, per block",
    ),
    Contender(
        "transformers, bfloat16",
        "transformers",
        "checkpoint",
        "bfloat16",
        full_size=False,
        remark="weights unpacked to bfloat16",
    ),
    INDEPENDENT,
)
