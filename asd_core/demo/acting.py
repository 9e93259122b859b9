"""How a face moves while its voice is heard: lips by loudness and timbre, head and eyes by themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asd_core.demo.portraits import Pose
from asd_core.demo.voice import LEVEL, RATE
from asd_core.timeline import GRID_HZ

SMOOTHING = 0.08  # seconds of sound that shape one mouth
QUIET = 0.08  # share of the usual loudness below which lips stay shut


def act(sound: NDArray[np.float32] | None, frames: int, *, seed: int) -> list[Pose]:
    """Return a pose for each of `frames` frames of a face whose own voice is `sound` (S,) at 16 kHz; None for one who never speaks."""
    rng = np.random.default_rng(seed)
    opening, rounding = lips(sound, frames) if sound is not None else (np.zeros(frames), np.zeros(frames))
    times = np.arange(frames) / GRID_HZ
    nod = np.convolve(opening, np.hanning(13) / np.hanning(13).sum(), mode="same") if frames > 13 else opening
    phases = rng.uniform(0, 2 * np.pi, 4)
    sway_x = 0.050 * np.sin(2 * np.pi * 0.17 * times + phases[0]) + 0.026 * np.sin(2 * np.pi * 0.53 * times + phases[1])
    sway_y = 0.026 * np.sin(2 * np.pi * 0.23 * times + phases[2]) + 0.018 * np.sin(2 * np.pi * 0.67 * times + phases[3]) + 0.05 * nod
    smile = (
        (1 - np.clip(3 * nod, 0, 1)) * 0.22 * np.sin(2 * np.pi * 0.37 * times + phases[1]) * np.sin(2 * np.pi * 0.11 * times + phases[3])
    )  # nobody alive keeps quite still
    lids = _blinks(times, rng)
    return [
        Pose(float(o), float(r), (float(x), float(y)), float(lid))
        for o, r, x, y, lid in zip(opening, rounding + smile, sway_x, sway_y, lids, strict=True)
    ]


def lips(sound: NDArray[np.float32], frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return opening (0..1) and rounding (-1..1) for each frame: open by loudness, round for dark sounds, spread and nearly shut for hissing.

    Each is measured in a Hann window of twice `SMOOTHING` around the frame's time, so that lips follow the sound without lag.
    """
    window = np.hanning(2 * round(SMOOTHING * RATE))
    centres = (np.arange(frames) * RATE) // GRID_HZ
    padded = np.pad(sound.astype(np.float64), len(window))
    heard = padded[centres[:, None] + len(window) // 2 + np.arange(len(window))] * window  # (T, W)
    loudness = np.sqrt((heard**2).sum(axis=1) / window.sum()) / LEVEL
    spectrum = np.abs(np.fft.rfft(heard, axis=1)) ** 2
    hertz = np.fft.rfftfreq(len(window), 1 / RATE)
    centroid = (spectrum * hertz).sum(axis=1) / np.maximum(spectrum.sum(axis=1), 1e-9)
    hissing = np.clip((centroid - 2200) / 1800, 0, 1)
    opening = np.clip((loudness - QUIET) / 1.3, 0, 1) ** 0.75 * (1 - 0.6 * hissing)
    rounding = np.clip((1000 - centroid) / 600, -1, 1) * np.clip(opening * 3, 0, 1)
    return opening, rounding


def _blinks(times: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how far the lids are shut at each time: a blink of a fifth of a second every few seconds."""
    shut = np.zeros_like(times)
    moment = rng.uniform(0.8, 3.0)
    while len(times) and moment < times[-1]:
        shut = np.maximum(shut, np.clip(1.25 - np.abs(times - moment) / 0.08, 0, 1))
        moment += rng.uniform(2.4, 4.8)
    return shut
