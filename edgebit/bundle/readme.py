"""README.md of a bundle: what it is, where it runs, how to use it: for who finds it on a device."""

from __future__ import annotations

from edgebit.bundle.manifest import Facts
from edgebit.compiler.target import Target
from edgebit.runtime.engine import TASK_EMBED, TASK_GENERATE, TASK_RUN

TEMPLATE = """\
# {name}

{what} compiled by edgebit. It runs by itself: nothing to install, download or compile.

* **For:** {description}
* **Needs:** Python 3.8 or later (standard library only); or nothing, for `edgebit-run` is a static program;
  or a C program that loads `libmodel.so`
* **Memory:** {memory}

{use}
## Does it work on this machine?

    python3 doctor.py

checks every file, the processor, memory and libraries, and gives the model prompts for which {recorded}
were recorded when it was compiled: with one thread, with all, and with all kernels
that this processor can run. The last line is the verdict.

{python}
## Files

| File | Content |
|---|---|
| `manifest.json` | What this model is, the target, the self-test, and the size and sha256 of every file |
| `libmodel.so` | Kernels for {tiers}, and the runtime; the best kernels for this CPU are taken |
| `edgebit-run` | The same and the programs below in one static executable: any Linux kernel, Android's too |
| `edgebit.h` | The C API of `libmodel.so` |
| `weights.bin` | Weights, mapped into memory and shared by all processes |
| `tokenizer.bin` | Tokenizer and chat format |
| `edgebit_runtime/`, {programs} | The loader and the programs |

The loader checks every file against the manifest (the content of files over 64 MB with EDGEBIT_VERIFY=1).
Results do not depend on CPU or number of threads.
The runtime is under the Apache License 2.0 (`LICENSE`); the weights are under the license of the model.
"""

GENERATE = {
    "what": "A language model",
    "use": """\
## Talk to it

    python3 chat.py
    python3 chat.py --prompt "turn on the kitchen light"
    ./edgebit-run -p "turn on the kitchen light"    # without Python; --help shows what else it does
""",
    "recorded": "its answers, and the bits of all logits,",
    "python": """\
## Measure its speed on this machine

    python3 bench.py
    python3 bench.py --profile --sweep

## From Python, in this folder

    from edgebit_runtime import load

    model = load(".")
    for piece in model.chat([{"role": "user", "content": "turn on the kitchen light"}]):
        print(piece, end="", flush=True)

`generate`, `chat`, `tokenize`, `detokenize` and `logits` are described in `edgebit_runtime/model.py`.
""",
    "programs": "`chat.py`, `bench.py`, `doctor.py`",
}
EMBED = {
    "what": "A model that embeds texts,",
    "use": """\
## Embed texts

    python3 embed.py "turn on the kitchen light"    # a JSON list of numbers: a vector of length 1
    python3 embed.py < texts.txt                    # a list for each line
    ./edgebit-run -p "turn on the kitchen light"    # without Python
""",
    "recorded": "the bits of its embeddings",
    "python": """\
## Measure its speed on this machine

    python3 bench.py --profile --sweep

## From Python, in this folder

    from edgebit_runtime import load

    model = load(".")
    lamp, light = model.embed(["dim the lamp", "turn on the kitchen light"])
    print(sum(a * b for a, b in zip(lamp, light)))  # their similarity
""",
    "programs": "`embed.py`, `bench.py`, `doctor.py`",
}
TENSORS = {
    "what": "A model of tensors",
    "use": """\
## Use it

    python3 -c 'from edgebit_runtime import load; print(load(".").info)'    # its inputs and outputs
""",
    "recorded": "the bits of its outputs",
    "python": """\
## Measure its speed on this machine

    python3 bench.py --profile --sweep

## From Python, in this folder

    from edgebit_runtime import load

    model = load(".")
    outputs = model.run({"NAME": [...]})     # numbers, bytes, an array or a numpy array for each input
    print({name: value.tolist() for name, value in outputs.items()})

`eb_run` in `edgebit.h` is the same for C.
""",
    "programs": "`bench.py`, `doctor.py`",
}
PARTS = {TASK_GENERATE: GENERATE, TASK_EMBED: EMBED, TASK_RUN: TENSORS}


def bundle_readme(task: str, model: Facts, target: Target, memory: Facts) -> str:
    return TEMPLATE.format(
        **PARTS[task],
        name=model.get("name") or "edgebit bundle",
        description=target.description,
        tiers=" and ".join(target.tiers),
        memory=memory_needed(memory),
    )


def memory_needed(memory: Facts) -> str:
    """A phrase such as 12.3 MB weights, 4.0 MB cache."""
    parts = [(part.replace("_", " "), size) for part, size in memory.items() if isinstance(size, int)]
    return ", ".join(f"{megabytes(size)} {part}" for part, size in parts)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
