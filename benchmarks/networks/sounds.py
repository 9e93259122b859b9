"""What is played in place of a talker's sound: digital silence, white noise, music made by code. 16 kHz, int16, as loud as the voices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from asd_core.speech.activity import INSTANT_SAMPLES
from asd_core.speech.mfcc import SAMPLE_RATE
from benchmarks.networks.foreign_voices import LEVEL

SEED = 11
CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))  # semitones above C3: C, a, F, G
TONIC = 130.81  # Hz
BEAT = 0.5  # seconds
HARMONICS = 6


def silence(instants: int) -> NDArray[np.int16]:
    """Return digital silence of so many grid instants."""
    return np.zeros(instants * INSTANT_SAMPLES, np.int16)


def noise(instants: int) -> NDArray[np.int16]:
    """Return white noise."""
    return _levelled(np.random.default_rng(SEED).standard_normal(instants * INSTANT_SAMPLES))


def music(instants: int) -> NDArray[np.int16]:
    """Return chords that change every two seconds, struck anew on each beat, under a melody of chord notes, with a soft drum."""
    rng = np.random.default_rng(SEED)
    count = instants * INSTANT_SAMPLES
    time = np.arange(count) / SAMPLE_RATE
    beat = (time / BEAT).astype(int)
    since = time - beat * BEAT
    struck = np.minimum(since / 0.01, 1) * np.exp(-3 * since)
    chord = np.array(CHORDS)[(beat // 4) % len(CHORDS)]  # (S, 3) semitones
    tune = rng.integers(0, 3, beat[-1] + 1 if count else 1)
    notes = [*(chord[:, k] for k in range(3)), 12 + chord[np.arange(count), tune[beat]]]
    whole = np.zeros(count)
    for note, weight in zip(notes, (1.0, 0.8, 0.8, 1.2), strict=True):
        phase = 2 * np.pi * np.cumsum(TONIC * 2 ** (note / 12)) / SAMPLE_RATE
        whole += weight * struck * sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, HARMONICS + 1))
    drum = rng.standard_normal(count) * np.exp(-30 * since) * (beat % 2)
    return _levelled(whole + 0.5 * drum)


def _levelled(values: NDArray[np.float64]) -> NDArray[np.int16]:
    loud = np.sqrt(np.square(values).mean()) if len(values) else 1.0
    return np.clip(np.round(values * (LEVEL / max(float(loud), 1e-12))), -32768, 32767).astype(np.int16)


STAND_INS: Mapping[str, Callable[[int], NDArray[np.int16]]] = {"silence": silence, "noise": noise, "music": music}
