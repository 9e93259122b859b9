"""Voices for the demo: espeak-ng where it is installed, else a small formant synthesiser of our own.

Both give mono sound at 16 kHz that a voice detector takes for speech. The synthesiser makes no words: glottal pulses through moving
formants for vowels, noise for consonants, in syllables of a sentence's rhythm (source-filter model, Klatt 1980).
"""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, resample_poly

RATE = 16000
HOP = RATE // 200  # 5 ms: how often the synthesiser moves its formants
LEVEL = 10 ** (-20 / 20)  # RMS of an utterance, full scale 1


@dataclass(frozen=True, slots=True)
class Voice:
    """How somebody sounds."""

    name: str
    espeak: tuple[str, ...]  # arguments
    pitch_hz: float
    tract: float  # formants relative to an adult man's: 1.17 for a woman


VOICES = {
    "collins": Voice("collins", ("-v", "en-us+f3", "-p", "58", "-s", "165"), 205.0, 1.17),
    "hopper": Voice("hopper", ("-v", "en-us+f4", "-p", "30", "-s", "150"), 165.0, 1.08),
    "narrator": Voice("narrator", ("-v", "en-gb+m3", "-p", "35", "-s", "155"), 105.0, 0.96),
}

# Formants of vowels in Hz (Peterson and Barney 1952, men) and how long they last relative to the others.
VOWELS = {
    "a": (730, 1090, 2440, 1.15),
    "e": (530, 1840, 2480, 1.0),
    "i": (270, 2290, 3010, 0.9),
    "o": (570, 840, 2410, 1.1),
    "u": (300, 870, 2240, 0.95),
    "y": (490, 1350, 1690, 0.9),
    "x": (640, 1190, 2390, 0.8),
}
BANDWIDTHS = (70.0, 100.0, 150.0, 220.0)
# Consonants: (gap, noise) in seconds, where the noise lies in Hz, how loud it is, and whether the voice goes on through it.
CONSONANTS = {
    "s": (0.0, 0.08, 5200.0, 0.16, False),
    "f": (0.0, 0.06, 3800.0, 0.09, False),
    "t": (0.035, 0.02, 4200.0, 0.25, False),
    "k": (0.04, 0.025, 2000.0, 0.25, False),
    "m": (0.0, 0.06, 0.0, 0.0, True),
    "n": (0.0, 0.05, 0.0, 0.0, True),
    "l": (0.0, 0.045, 0.0, 0.0, True),
    "": (0.0, 0.0, 0.0, 0.0, True),
}


def engine() -> str:
    """Return which synthesiser speaks here, with its version: it belongs to the identity of what is made."""
    program = shutil.which("espeak-ng")
    if program is None:
        return "formants-1"
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "formants-1"
    return "espeak-ng " + next((word for word in said.split() if word[0].isdigit()), "?")


def speak(text: str, voice: Voice, *, seed: int = 0, speaker: str | None = None) -> NDArray[np.float32]:
    """Return an utterance (S,) at 16 kHz, without silence at its ends, at a fixed loudness.

    Args:
        text: what is said; the synthesiser of our own takes only its length in words from it.
        voice: who says it.
        seed: of the syllables.
        speaker: an answer of `engine`; None asks it.
    """
    speaker = speaker or engine()
    sound = _espeak(text, voice) if speaker.startswith("espeak") else _formants(text, voice, seed)
    sound = _trim(sound)
    return (sound * (LEVEL / max(float(np.sqrt(np.mean(sound**2))), 1e-6))).clip(-0.98, 0.98).astype(np.float32)


def _trim(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sound from its first to its last 10 ms that is not more than 35 dB below the loudest."""
    blocks = sound[: len(sound) // 160 * 160].reshape(-1, 160)
    power = np.sqrt((blocks**2).mean(axis=1))
    loud = np.nonzero(power > power.max() * 10 ** (-35 / 20))[0]
    return sound[loud[0] * 160 : (loud[-1] + 1) * 160]


def _espeak(text: str, voice: Voice) -> NDArray[np.float64]:
    said = subprocess.run(["espeak-ng", *voice.espeak, "-g", "0", "--stdout", text], capture_output=True, timeout=60, check=True).stdout
    with wave.open(io.BytesIO(said)) as sound:
        rate = sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2").astype(np.float64) / 32768
    divisor = int(np.gcd(rate, RATE))
    return np.asarray(resample_poly(samples, RATE // divisor, rate // divisor), dtype=np.float64)


def _formants(text: str, voice: Voice, seed: int) -> NDArray[np.float64]:
    """Return babble with the rhythm of a sentence: about 1.5 syllables a word, four to five a second."""
    rng = np.random.default_rng([seed, len(text), *map(ord, voice.name[:4])])
    syllables = max(2, round(1.5 * len(text.split())))
    plan = [_syllable(rng, voice, k / syllables, last=k == syllables - 1) for k in range(syllables)]
    pitch, loudness, noise, noise_hz = (np.concatenate([part[k] for part in plan]) for k in range(4))  # (T,) a value each 5 ms
    formants = _glide(np.concatenate([part[4] for part in plan]))  # (T, 4)
    voiced = _filter(_glottis(pitch, _soft(loudness, 4), rng), formants, BANDWIDTHS)
    hiss = rng.standard_normal(len(voiced)) * np.repeat(_soft(noise, 2), HOP)
    hissing = _filter(hiss, np.clip(noise_hz, 1500, 7000)[:, None], (900.0,))
    voiced /= max(float(np.sqrt(np.mean(voiced**2))), 1e-9)
    hissing /= max(float(np.sqrt(np.mean(hissing**2))), 1e-9)
    return voiced + 0.22 * hissing


def _syllable(rng: np.random.Generator, voice: Voice, along: float, *, last: bool) -> tuple[NDArray[np.float64], ...]:
    """Return pitch, loudness, noise, its place (each (T,)) and formants (T, 4) of a consonant and a vowel, a row each 5 ms."""
    gap, rustle, place, amount, through = CONSONANTS[str(rng.choice(list(CONSONANTS)))]
    f1, f2, f3, long = VOWELS[str(rng.choice(list(VOWELS)))]
    duration = rng.uniform(0.11, 0.17) * long * (1.35 if last else 1.0)
    steps = [round(part / 0.005) for part in (gap, rustle, duration)]
    stress = rng.uniform(0.55, 1.0)
    vowel = stress * np.hanning(steps[2] + 4)[2:-2] ** 0.35
    loudness = np.concatenate([np.zeros(steps[0]), np.full(steps[1], 0.25 * stress if through else 0.0), vowel])
    noise = np.concatenate([np.zeros(steps[0]), np.full(steps[1], amount), np.zeros(steps[2])])
    tune = voice.pitch_hz * (1.12 - 0.25 * along) * (1 + 0.08 * (stress - 0.75) / 0.25)
    pitch = tune * (1 + 0.01 * rng.standard_normal(len(loudness)))
    formants = np.array([f1, f2, f3, 3500.0]) * voice.tract
    rows = np.tile(formants, (len(loudness), 1))
    if through and rustle:
        rows[: steps[0] + steps[1]] *= np.array([0.45, 0.9, 1.0, 1.0])
    return pitch, loudness, noise, np.full(len(loudness), place), rows


def _glottis(pitch: NDArray[np.float64], loudness: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the flow of air through the vocal folds, differentiated: pulses after Rosenberg 1971, with a little breath."""
    phase = np.cumsum(np.repeat(pitch, HOP)) / RATE % 1.0
    opening = np.where(phase < 0.4, 0.5 * (1 - np.cos(np.pi * phase / 0.4)), np.where(phase < 0.56, np.cos(np.pi * (phase - 0.4) / 0.32), 0.0))
    breath = 0.015 * rng.standard_normal(len(opening)) * (0.3 + opening)
    return (np.diff(opening, prepend=0.0) + breath * 0.3) * np.repeat(loudness, HOP)


def _filter(sound: NDArray[np.float64], formants: NDArray[np.float64], bandwidths: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the sound through one resonator after another, each moved every 5 ms: `formants` is (T, F) in Hz."""
    for k, bandwidth in enumerate(bandwidths[: formants.shape[1]]):
        radius = np.exp(-np.pi * bandwidth / RATE)
        state = np.zeros(2)
        parts = []
        for step, hz in enumerate(np.minimum(formants[:, k], 7600.0)):
            poles = [1.0, -2 * radius * np.cos(2 * np.pi * hz / RATE), radius**2]
            part, state = lfilter([sum(poles)], poles, sound[step * HOP : (step + 1) * HOP], zi=state)
            parts.append(part)
        sound = np.concatenate(parts)
    return sound


def _soft(values: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Return the values smoothed over about `steps` steps, same length."""
    kernel = np.hanning(2 * steps + 1)
    return np.convolve(values, kernel / kernel.sum(), mode="same")


def _glide(formants: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return formants that slide from sound to sound within some 40 ms, as a tongue does."""
    padded = np.pad(formants, ((5, 5), (0, 0)), mode="edge")
    return np.stack([_soft(padded[:, k], 5)[5:-5] for k in range(formants.shape[1])], axis=1)
