"""Recording the self-test of a bundle: what the model answers to three prompts, run by its own engine.

`python -m edgebit.bundle.samples FOLDER LIBRARY` prints it as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from edgebit.errors import BundleError
from edgebit.runtime.engine import TASK_GENERATE, TASK_RUN, Engine
from edgebit.runtime.program import run_program
from edgebit.runtime.self_test import SAMPLES, AnySample, sample_tokens, take_sample, take_tensor_sample

PROMPTS = (
    "Hello, world",
    'Turn on the kitchen light: {"service"',
    'Zürich, 東京 & Αθήνα: 1,234 🙂 {"',
)
"""A few tokens to some forty; characters of one to four bytes, digits, signs. All logits are computed twice
for each, so three are enough: at 2B-4T they take two seconds.
"""

SEEDS = (1, 2, 3)
"""Of the inputs of a graph of tensors."""


def record_samples(folder: Path, library: Path, task: str = TASK_GENERATE) -> list[AnySample]:
    """Samples of the model for ``task`` whose weights and tokenizer are in ``folder``, run by ``library`` on
    the tier the environment asks for. Prompts that do not fit into the context are left out. Raises
    BundleError.

    In a process of its own: the weights are mapped there, beside what a compilation holds, and go with it.
    """
    result = subprocess.run(
        [sys.executable, "-m", __name__, str(folder.resolve()), str(library.resolve())],
        cwd=library.parent,  # where no other edgebit is
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        reason = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise BundleError(f"the compiled model does not run: {reason[-1]}")
    return [SAMPLES[task](**sample) for sample in json.loads(result.stdout)]


def take_samples(folder: Path, library: Path) -> list[AnySample]:
    """The samples, taken in this process. Raises RuntimeModelError."""
    with closing(Engine(folder, library=library)) as engine:
        if engine.info.task == TASK_RUN:
            return [take_tensor_sample(engine, seed) for seed in SEEDS]
        prompts = [(prompt, sample_tokens(engine, prompt)) for prompt in PROMPTS]
        return [
            take_sample(engine, prompt, tokens)
            for prompt, tokens in prompts
            if 0 < len(tokens) < engine.info.context
        ]


def print_samples(arguments: Sequence[str]) -> None:
    folder, library = map(Path, arguments)
    sys.stdout.write(json.dumps([asdict(sample) for sample in take_samples(folder, library)]))


if __name__ == "__main__":
    sys.exit(run_program(lambda: print_samples(sys.argv[1:])))
