"""What a model does for a token, kernel by kernel: of the built-in one as it is, of 2B-4T from one layer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path

from benchmarks.arm.boards import Processor, Work
from benchmarks.arm.cycles import Core, instructions, simd_instructions
from benchmarks.arm.emulate import BOUNDARY, EVALUATED, Emulator, Interval
from benchmarks.synthetic.architecture import ARCHITECTURES, Architecture
from benchmarks.synthetic.writer import write_checkpoint
from edgebit.pipeline import AUTO, compile_bundle
from edgebit.runtime.bench_plan import PlanFacts, Step, read_plan
from edgebit.runtime.engine import DECODE, HEAD, PREFILL

PROMPT = 48  # tokens, a multiple of every token tile
DECODED = 5  # the first one is not counted: memory is touched for the first time
CONTEXT = 256
SMALL_VOCABULARIES = (8192, 16384)
SMALL_HEAD = "exact"  # what AUTO takes for large vocabularies


@dataclass(frozen=True)
class Bundle:
    folder: Path
    plan: PlanFacts
    chunk: int


@dataclass(frozen=True)
class TokenWork:
    """Work of one token by phase, "decode" (logits and choice of the token included) and "prefill"."""

    decode: Sequence[Work]
    prefill: Sequence[Work]


def compile_for_arm(model: Path | None, folder: Path, head: str = AUTO) -> Bundle:
    """``model`` None: the built-in one."""
    compile_bundle(model, "arm64", folder, CONTEXT, head)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    return Bundle(folder, read_plan(manifest), int(manifest["plan"]["chunk"]))


def measure(bundle: Bundle, processor: Processor, emulator: Emulator, core: Core) -> TokenWork:
    """Counts of one token behind a prompt of PROMPT tokens, and of one of these."""
    run = emulator.run(bundle.folder, processor.tier, processor.emulated, PROMPT, DECODED)
    ends = [i + 1 for i, one in enumerate(run) if (one.phase, one.step) == (BOUNDARY, EVALUATED)]
    prompt, tokens = run[: ends[0]], run[ends[1] :]
    core.learn(one.blocks for one in (*prompt, *tokens))
    prefill = [
        work.times(1 / PROMPT)
        for work in _by_kernel(prompt, bundle.plan, core)
        if work.kernel in {step.kernel for step in bundle.plan.prefill}
    ]
    streamed = PROMPT / bundle.chunk  # a full chunk shares its weights among more tokens than were counted
    return TokenWork(
        decode=[work.times(1 / (DECODED - 1)) for work in _by_kernel(tokens, bundle.plan, core)],
        prefill=[replace(work, weight_bytes=work.weight_bytes * streamed) for work in prefill],
    )


def _by_kernel(run: Iterable[Interval], plan: PlanFacts, core: Core) -> list[Work]:
    found: dict[tuple[str, str], Work] = {}
    for one in run:
        step, blocks = _step(one, plan), one.blocks
        counts = instructions(blocks), simd_instructions(blocks), core.cycles(blocks)
        work = Work(step.kernel, step.label, 1, *counts, step.weight_bytes)
        key = (step.kernel, step.label)
        found[key] = found[key] + work if key in found else work
    return list(found.values())


def _step(one: Interval, plan: PlanFacts) -> Step:
    """The step an interval belongs to."""
    if one.phase == BOUNDARY:
        return Step("runtime", "between steps", 0)
    return {DECODE: plan.decode, PREFILL: plan.prefill, HEAD: plan.head}[one.phase][one.step]


@dataclass(frozen=True)
class Parts:
    """Small models of an architecture: one layer and the larger vocabulary, two and the smaller one."""

    one: Bundle
    two: Bundle

    @property
    def layer_kinds(self) -> set[tuple[str, str]]:
        """(kernel, place) of the steps that every layer has."""
        counts = [
            Counter((step.kernel, step.label) for step in (*bundle.plan.decode, *bundle.plan.prefill))
            for bundle in (self.one, self.two)
        ]
        return {kind for kind, count in counts[1].items() if count > counts[0][kind]}

    @property
    def head_kinds(self) -> set[tuple[str, str]]:
        """(kernel, place) of the steps that turn a hidden state into a token."""
        return {(step.kernel, step.label) for step in self.one.plan.head}


def whole_model(name: str, processor: Processor, emulator: Emulator, core: Core, parts: Parts) -> TokenWork:
    """The work of an architecture: its layer taken as often as it has layers, its vocabulary extrapolated."""
    architecture = ARCHITECTURES[name]
    one, two = (measure(bundle, processor, emulator, core) for bundle in (parts.one, parts.two))
    small, large = SMALL_VOCABULARIES
    reach = (architecture.vocab_size - large) / (large - small)
    layers = dict.fromkeys(parts.layer_kinds, architecture.num_hidden_layers)
    shorter = {work.kind: work for work in two.decode if work.kind in parts.head_kinds}
    decode = [
        work.extrapolated(shorter[work.kind], reach)
        if work.kind in shorter
        else work.times(layers.get(work.kind, 1))
        for work in one.decode
    ]
    prefill = [work.times(layers.get(work.kind, 1)) for work in one.prefill]
    return TokenWork(decode, prefill)


def small_models(name: str, work: Path) -> Parts:
    """Write and compile them."""
    known: Architecture = ARCHITECTURES[name]
    small, large = SMALL_VOCABULARIES
    bundles = []
    for layers, vocabulary in ((1, large), (2, small)):
        wanted = replace(known, num_hidden_layers=layers, vocab_size=vocabulary)
        checkpoint = write_checkpoint(work / f"{name}-{layers}", wanted)
        bundles.append(compile_for_arm(checkpoint, work / f"{name}-{layers}-arm64", SMALL_HEAD))
    return Parts(*bundles)


def total(work: Sequence[Work], name: str = "total") -> Work:
    return replace(reduce(add, work), kernel=name, label="")
