"""The self-test of a bundle: prompts, and what was recorded for them when it was made: tokens, answers and
logits, or embeddings.

The bits of all these are the same on every CPU tier and for every number of threads, so a device where they
are others computes wrongly, whatever its answers look like. The workstation records with the functions that
the device compares with (edgebit/self_test.py, doctor.py); edgebit-run does the same in C.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Dict, List, Optional, Sequence, Type, Union

from .engine import TASK_EMBED, TASK_GENERATE, TASK_RUN, Engine
from .errors import IntegrityError
from .sampling import Sampling
from .tensors import seeded_inputs

LONGEST_ANSWER = 8  # tokens
GREEDY = Sampling()
Note = Callable[[int], None]


@dataclass(frozen=True)
class Sample:
    """One prompt as manifest.json has it. `answer`: its greedy continuation, a stop token included;
    `logits_sha256`: of float32 little-endian logits behind the prompt, then behind the answer.
    """

    digest_of: ClassVar[str] = "logits"

    prompt: str
    tokens: List[int]
    answer: List[int]
    logits_sha256: str

    @property
    def digest(self) -> str:
        return self.logits_sha256


@dataclass(frozen=True)
class EmbeddingSample:
    """One text of a model that makes embeddings. `embedding_sha256`: of the float32 little-endian vector."""

    digest_of: ClassVar[str] = "embedding"

    prompt: str
    tokens: List[int]
    embedding_sha256: str

    @property
    def digest(self) -> str:
        return self.embedding_sha256


@dataclass(frozen=True)
class TensorSample:
    """Inputs that `seeded_inputs` makes of a seed. `outputs_sha256`: of all outputs as they lie in memory."""

    digest_of: ClassVar[str] = "outputs"

    seed: int
    outputs_sha256: str

    @property
    def prompt(self) -> str:
        return f"inputs of seed {self.seed}"

    @property
    def tokens(self) -> List[int]:
        return []

    @property
    def digest(self) -> str:
        return self.outputs_sha256


AnySample = Union[Sample, EmbeddingSample, TensorSample]
SAMPLES: Dict[str, Type[AnySample]] = {
    TASK_GENERATE: Sample,
    TASK_EMBED: EmbeddingSample,
    TASK_RUN: TensorSample,
}


@dataclass(frozen=True)
class Difference:
    """Where a device departs from what was recorded. `token`: index of the first other token, None: the
    tokens are the same and the logits are not.
    """

    prompt: str
    part: str  # "prompt", "answer", "sha256 of the logits" or "of the embedding"
    token: Optional[int]
    expected: str  # token ids, or a sha256
    found: str

    def __str__(self) -> str:
        place = self.part if self.token is None else f"token {self.token} of the {self.part}"
        return f"prompt {self.prompt!r}: {place} is {self.found}, expected {self.expected}"


def read_samples(manifest: Dict[str, Any]) -> List[AnySample]:
    """The self-test of a manifest. Raises IntegrityError where it has none."""
    try:
        samples = [SAMPLES[manifest["task"]](**entry) for entry in manifest["self_test"]]
    except (KeyError, TypeError):
        samples = []
    if samples:
        return samples
    raise IntegrityError("manifest.json holds no self-test: compile the model again")


def sample_tokens(engine: Engine, prompt: str) -> List[int]:
    """Tokens of a prompt as the task of the model has them."""
    return engine.text.tokenize(prompt, True, False, add_eos=engine.info.task == TASK_EMBED)


def take_sample(engine: Engine, prompt: str, tokens: Sequence[int]) -> AnySample:
    """What the model makes of a prompt that leaves room for an answer. Raises RuntimeModelError."""
    if engine.info.task == TASK_EMBED:
        embedding = hashlib.sha256(engine.embed(tokens).tobytes())
        return EmbeddingSample(prompt, list(tokens), embedding.hexdigest())
    return _answer(engine, prompt, tokens)


def take_tensor_sample(engine: Engine, seed: int) -> TensorSample:
    """What a graph makes of the inputs of a seed. Raises RuntimeModelError."""
    digest = hashlib.sha256()
    for output in engine.run(seeded_inputs(engine.info.inputs, seed)):
        digest.update(output)
    return TensorSample(seed, digest.hexdigest())


def _answer(engine: Engine, prompt: str, tokens: Sequence[int]) -> Sample:
    digest = hashlib.sha256()
    answer: List[int] = []
    engine.rewind(0)
    engine.evaluate(tokens)
    digest.update(engine.logits())
    for _ in range(min(LONGEST_ANSWER, engine.info.context - len(tokens))):
        answer.append(engine.sample(GREEDY))
        engine.evaluate(answer[-1:])
        if engine.text.is_stop(answer[-1]):
            break
    digest.update(engine.logits())
    return Sample(prompt, list(tokens), answer, digest.hexdigest())


def find_difference(engine: Engine, samples: Sequence[AnySample], note: Note) -> Optional[Difference]:
    """The first place where the model departs from its samples, None where it gives the same.

    `note` hears how many samples are done. Raises RuntimeModelError where the model cannot run.
    """
    for done, sample in enumerate(samples):
        note(done)
        if isinstance(sample, TensorSample):
            difference = _compare(sample, [], take_tensor_sample(engine, sample.seed))
        else:
            tokens = sample_tokens(engine, sample.prompt)
            found = take_sample(engine, sample.prompt, sample.tokens) if tokens == sample.tokens else None
            difference = _compare(sample, tokens, found)
        if difference:
            return difference
    return None


def _compare(sample: AnySample, tokens: List[int], found: Optional[AnySample]) -> Optional[Difference]:
    if found is None:
        return _first_other_token(sample.prompt, "prompt", sample.tokens, tokens)
    if isinstance(sample, Sample) and isinstance(found, Sample) and found.answer != sample.answer:
        return _first_other_token(sample.prompt, "answer", sample.answer, found.answer)
    if found.digest != sample.digest:
        part = f"sha256 of the {sample.digest_of}"
        return Difference(sample.prompt, part, None, sample.digest, found.digest)
    return None


def _first_other_token(prompt: str, part: str, expected: List[int], found: List[int]) -> Difference:
    same = 0
    while expected[same : same + 1] == found[same : same + 1]:
        same += 1
    return Difference(prompt, part, same, _token(expected, same), _token(found, same))


def _token(tokens: List[int], index: int) -> str:
    return str(tokens[index]) if index < len(tokens) else "missing"
