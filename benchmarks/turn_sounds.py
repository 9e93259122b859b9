"""What is heard under the voices of a made scene: the noise of a room, and louder noise or music. Nothing here knows who speaks."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from asd_core.speech.mfcc import SAMPLE_RATE

ROOM = (-70.0, -50.0)  # dBFS of the noise of a quiet room
BELOW = (0.0, 15.0)  # dB of a bed below the speech


def room(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the noise of a quiet room."""
    return _noise(count, rng) * 10 ** (rng.uniform(*ROOM) / 20)


def bed(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise (of a colour between white and brown) or music (chords of decaying tones) some dB below the speech."""
    voiced = sound[np.abs(sound) > 1e-3]
    level = np.sqrt(np.mean(voiced**2)) * 10 ** (-rng.uniform(*BELOW) / 20)
    made = _noise(len(sound), rng) if rng.random() < 0.5 else _music(len(sound), rng)
    return made * level / np.sqrt(np.mean(made**2))


def _noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of power 1."""
    made = lfilter([1.0], [1.0, -rng.uniform(0, 0.98)], rng.standard_normal(count))
    return made / np.sqrt(np.mean(made**2))


def _music(count: int, rng: np.random.Generator) -> np.ndarray:
    made = np.zeros(count)
    beat = int(rng.uniform(0.25, 0.6) * SAMPLE_RATE)
    time = np.arange(4 * beat) / SAMPLE_RATE
    fading = np.exp(-time / 0.5) * np.minimum(1, time / 0.01)
    steps = np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17, 19])  # semitones of two octaves in major
    tones = [fading * sum(np.sin(2 * np.pi * 165.0 * 2 ** (step / 12) * k * time) / k**1.5 for k in range(1, 7)) for step in steps]
    for start in range(0, count, beat):
        for tone in rng.choice(len(tones), 3, replace=False):
            made[start : start + len(time)] += tones[tone][: count - start]
    return made
