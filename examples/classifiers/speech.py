"""Words made of formants: a source of pulses or noise through resonators, spoken by voices that are drawn.

This is no recorded speech. It stands in for it where no recordings can be had: what is learnt from it shows
that a keyword spotter trains, compiles and runs, not how well one hears people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

RATE = 8000  # samples a second
SAMPLES = 8000  # of a clip: one second
BANDWIDTHS = (80.0, 110.0, 160.0)  # of the three formants, Hz

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sound:
    """Formants in Hz at its begin and end, seconds, and how much of the source is noise (0: a vowel)."""

    begin: tuple[int, int, int]
    end: tuple[int, int, int]
    seconds: float
    noise: float = 0.0
    level: float = 1.0


_A, _E, _I, _O, _U = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
)
_N, _W, _R = (250, 1300, 2300), (300, 650, 2200), (310, 1060, 1380)
_S = Sound((2500, 3300, 3700), (2500, 3300, 3700), 0.12, noise=1.0, level=0.5)
_F = Sound((1200, 2400, 3400), (1200, 2400, 3400), 0.10, noise=1.0, level=0.3)
_STOP = Sound((400, 1700, 2600), (400, 1700, 2600), 0.03, noise=1.0, level=0.6)


def _glide(begin: tuple[int, int, int], end: tuple[int, int, int], seconds: float) -> Sound:
    return Sound(begin, end, seconds)


WORDS: dict[str, tuple[Sound, ...]] = {
    "yes": (_glide(_I, _E, 0.12), _glide(_E, _E, 0.12), _S),
    "no": (_glide(_N, _N, 0.08), _glide(_O, _U, 0.25)),
    "on": (_glide(_A, _O, 0.18), _glide(_N, _N, 0.12)),
    "off": (_glide(_A, _O, 0.18), _F),
    "stop": (_S, _STOP, _glide(_A, _A, 0.15), _STOP),
    "go": (_STOP, _glide(_O, _U, 0.28)),
    "right": (_glide(_R, _A, 0.10), _glide(_A, _I, 0.18), _STOP),
    "one": (_glide(_W, _A, 0.14), _glide(_A, _N, 0.10), _glide(_N, _N, 0.08)),
}
LABELS = (*WORDS, "(silence)")


def clip(label: str, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """One second of a voice that says ``label`` somewhere, in noise: float32 [SAMPLES], at most 1."""
    background = generator.normal(0, 10 ** generator.uniform(-3.0, -1.5), SAMPLES)
    if label in WORDS:
        said = say(WORDS[label], generator) * generator.uniform(0.2, 0.9)
        start = generator.integers(0, SAMPLES - len(said))
        background[start : start + len(said)] += said
    return np.clip(background, -1, 1).astype(np.float32)


def say(sounds: tuple[Sound, ...], generator: np.random.Generator) -> Floats:
    """A word by a voice of its own pitch, length of vocal tract and speed; the loudest sample is 1."""
    pitch, tract, speed = (
        generator.uniform(85, 240),
        generator.uniform(0.85, 1.18),
        generator.uniform(0.8, 1.25),
    )
    parts = [_sound(sound, pitch, tract, speed, generator) for sound in sounds]
    word = np.concatenate(parts)
    return np.asarray(word / np.abs(word).max())


def _sound(sound: Sound, pitch: float, tract: float, speed: float, generator: np.random.Generator) -> Floats:
    """In pieces of ten milliseconds, between which the formants move; filters keep their state."""
    count = int(sound.seconds / speed * RATE)
    phase = np.cumsum(np.full(count, pitch / RATE) * (1 + generator.normal(0, 0.01)))
    pulses = np.diff(np.floor(phase), prepend=0.0)
    source = (1 - sound.noise) * pulses + sound.noise * generator.normal(0, 0.2, count)
    ramp = np.minimum(1, np.minimum(np.arange(count) + 1, np.arange(count)[::-1] + 1) / (0.008 * RATE))
    states = [np.zeros(2) for _ in BANDWIDTHS]
    pieces = []
    for first in range(0, count, RATE // 100):
        piece = source[first : first + RATE // 100]
        place = first / count
        for i, bandwidth in enumerate(BANDWIDTHS):
            frequency = tract * ((1 - place) * sound.begin[i] + place * sound.end[i])
            piece, states[i] = _resonate(piece, frequency, bandwidth, states[i])
        pieces.append(piece)
    voiced = np.concatenate(pieces)
    return np.asarray(voiced / (np.abs(voiced).max() + 1e-9) * ramp * sound.level)


def _resonate(x: Floats, frequency: float, bandwidth: float, state: Floats) -> tuple[Floats, Floats]:
    """Klatt's resonator of two poles."""
    radius = np.exp(-np.pi * bandwidth / RATE)
    b1 = 2 * radius * np.cos(2 * np.pi * min(frequency, 0.48 * RATE) / RATE)
    b2 = -(radius**2)
    y, state = lfilter([1 - b1 - b2], [1, -b1, -b2], x, zi=state)
    return np.asarray(y), np.asarray(state)


def clips(count: int, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """``count`` clips [count, SAMPLES] and the index of each in LABELS; every seed has voices of its own."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % len(LABELS)
    return np.stack([clip(LABELS[label], generator) for label in labels]), labels
