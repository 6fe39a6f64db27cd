"""Recording the self-test of a bundle: what the model answers to three prompts, run by its own engine."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from edgebit.errors import BundleError
from edgebit.runtime.engine import Engine
from edgebit.runtime.errors import RuntimeModelError
from edgebit.runtime.self_test import Sample, take_sample

PROMPTS = (
    "Hello, world",
    'Turn on the kitchen light: {"service"',
    'Zürich, 東京 & Αθήνα: 1,234 🙂 {"',
)
"""A few tokens to some forty; characters of one to four bytes, digits, signs. All logits are computed twice
for each, so three are enough: at 2B-4T they take two seconds.
"""


def record_samples(folder: Path, library: Path) -> list[Sample]:
    """Samples of the model whose weights and tokenizer are in ``folder``, run by ``library`` on the tier the
    environment asks for. Prompts that do not fit into the context are left out. Raises BundleError.
    """
    try:
        with closing(Engine(folder, library=library)) as engine:
            prompts = [(prompt, engine.tokenize(prompt, True, False)) for prompt in PROMPTS]
            return [
                take_sample(engine, prompt, tokens)
                for prompt, tokens in prompts
                if 0 < len(tokens) < engine.info.context
            ]
    except RuntimeModelError as error:
        raise BundleError(f"the compiled model does not run: {error}") from error
