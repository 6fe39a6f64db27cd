"""Compiling asks the new bundle what it must answer: here, under emulation, or says that it could not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import edgebit
from edgebit import self_test
from edgebit.bundle import parse_manifest
from edgebit.bundle.samples import PROMPTS, record_samples
from edgebit.compiler.target import load_target
from edgebit.emulation import Emulator
from edgebit.errors import BundleError, SelfTestError
from edgebit.host_library import fits_here
from edgebit.progress import SILENT
from edgebit.runtime.doctor import examine
from edgebit.runtime.self_test import LONGEST_ANSWER, AnySample, Sample
from edgebit.schedules.tier import TIERS
from edgebit.self_test import SelfTest, UntestedWarning, multiplications
from tests.builders import TINY
from tests.end_to_end.conftest import TinyModel


def samples_of(bundle: Path) -> list[Sample]:
    samples = parse_manifest((bundle / "manifest.json").read_text()).self_test
    return [sample for sample in samples if isinstance(sample, Sample)]


def test_a_bundle_carries_what_its_model_answers(packed: TinyModel) -> None:
    samples = samples_of(packed.bundle)
    assert [sample.prompt for sample in samples] == list(PROMPTS)
    with edgebit.load(packed.bundle) as model:
        for sample in samples:
            assert sample.tokens == model.tokenize(sample.prompt)
            answer = "".join(model.generate(sample.prompt, max_tokens=LONGEST_ANSWER))
            assert answer == model.detokenize(sample.answer)
    assert len({sample.logits_sha256 for sample in samples}) == len(samples)
    assert not examine(packed.bundle).faults


def test_prompts_that_do_not_fit_into_the_context_are_left_out(packed: TinyModel, tmp_path: Path) -> None:
    bundle = edgebit.compile(packed.checkpoint, output=tmp_path / "short", context=16)
    samples = samples_of(bundle)
    assert samples and all(len(sample.tokens) + len(sample.answer) <= 16 for sample in samples)
    assert not examine(bundle).faults


def test_a_model_that_does_not_run_is_one_line(packed: TinyModel, tmp_path: Path) -> None:
    library = tmp_path / "libmodel.so"
    library.write_bytes(b"no library")
    with pytest.raises(BundleError, match=r"the compiled model does not run: edgebit: .*cannot be loaded"):
        record_samples(packed.bundle, library)


def test_a_bundle_that_answers_otherwise_is_not_written(
    packed: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = self_test.record_samples

    def another(folder: Path, library: Path, task: str) -> list[AnySample]:
        first, *others = record(folder, library, task)
        assert isinstance(first, Sample)
        return [replace(first, logits_sha256="0" * 64), *others]

    monkeypatch.setattr(self_test, "record_samples", another)
    with pytest.raises(
        SelfTestError, match=r"failed its self-test on this machine.*sha256 of the logits is"
    ) as e:
        edgebit.compile(packed.checkpoint, output=tmp_path / "deep" / "bundle")
    assert "\n" not in str(e.value)
    assert list(tmp_path.iterdir()) == []


def test_a_large_model_is_asked_with_one_thread_on_its_best_tier(
    packed: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it must answer was recorded with all threads."""
    asked: list[Sequence[str]] = []
    monkeypatch.setattr(self_test, "MOST_ON_ALL_TIERS", 0)
    monkeypatch.setattr(self_test, "ask", lambda command, where: asked.append(command))
    SelfTest(packed.compiled, SILENT).run(packed.bundle)
    best = next(name for name in packed.compiled.objects if fits_here(TIERS[name]))
    assert [list(command[2:]) for command in asked] == [["--tier", best, "--threads", "1"]]


# ---- another architecture ----------------------------------------------------------------------------


@pytest.fixture
def foreign(packed: TinyModel) -> SelfTest:
    """The self-test of the tiny bundle as if it were for a machine that is not here."""
    target = replace(load_target("arm64"), machines=("toaster",))
    return SelfTest(replace(packed.compiled, target=target), SILENT)


@pytest.fixture
def bundle(packed: TinyModel, tmp_path: Path) -> Path:
    """A manifest, and a program that says what is in the file `verdict` and leaves with that in `code`."""
    (tmp_path / "manifest.json").write_bytes((packed.bundle / "manifest.json").read_bytes())
    program = tmp_path / "edgebit-run"
    program.write_text('echo asked >> "$1/log"; cat "$1/verdict"; exit $(cat "$1/code")\n')
    (tmp_path / "code").write_text("0")
    (tmp_path / "verdict").write_text("\nright: as it was\n")
    return tmp_path


def emulate_with(monkeypatch: pytest.MonkeyPatch, emulator: Emulator | None) -> None:
    monkeypatch.setattr(self_test, "find_emulator", lambda architecture: emulator)


TWO_CPUS = Emulator("qemu-x", (("/bin/sh",), ("/bin/sh",)))


def test_every_emulated_cpu_is_asked(
    foreign: SelfTest, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulate_with(monkeypatch, TWO_CPUS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        foreign.run(bundle)
    assert (bundle / "log").read_text() == "asked\nasked\n"


def test_another_answer_under_emulation_is_an_error(
    foreign: SelfTest, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulate_with(monkeypatch, TWO_CPUS)
    (bundle / "code").write_text("1")
    (bundle / "verdict").write_text("wrong: of a kind\n")
    with pytest.raises(SelfTestError, match=r"under /bin/sh, it was not written: wrong: of a kind"):
        foreign.run(bundle)


def test_a_program_that_says_nothing_has_not_passed(
    foreign: SelfTest, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulate_with(monkeypatch, TWO_CPUS)
    (bundle / "verdict").write_text("")
    with pytest.warns(UntestedWarning, match="edgebit-run gave no verdict: exit code 0 without a word"):
        foreign.run(bundle)


def test_without_an_emulator_the_reason_is_told(
    foreign: SelfTest, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulate_with(monkeypatch, None)
    with pytest.warns(UntestedWarning, match=r"was not run: there is no qemu-aarch64 here .*; run doctor.py"):
        foreign.run(bundle)


def test_a_model_too_large_for_emulation_is_not_asked(
    foreign: SelfTest, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulate_with(monkeypatch, TWO_CPUS)
    monkeypatch.setattr(self_test, "MOST_EMULATED", multiplications(foreign.compiled, samples_of(bundle)))
    with pytest.warns(UntestedWarning, match="billion multiplications would take minutes under qemu-x"):
        foreign.run(bundle)
    assert not (bundle / "log").exists()


def test_multiplications_are_those_of_the_layers_and_the_logits(packed: TinyModel) -> None:
    two_logits = multiplications(packed.compiled, [Sample("x", [], [], "")])
    assert two_logits == 2 * TINY.vocab_size * TINY.hidden_size
    layers = multiplications(packed.compiled, [Sample("x", [1, 2, 3], [4, 5], "")]) - 2 * two_logits
    heads = 2 * TINY.heads + 2 * TINY.key_value_heads  # of q and o, of k and v
    rows = heads * TINY.head_size + 3 * TINY.intermediate_size
    assert layers == pytest.approx(5 * TINY.layers * rows * TINY.hidden_size, rel=0.01)  # scales are counted
