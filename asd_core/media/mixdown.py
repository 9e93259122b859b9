"""Several channels into one, for speech: the centre of a surround mix leads, a silent side does not halve the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SILENT_SHARE = 10 ** (-30 / 20)  # of the loudest channel's RMS: below it a channel carries nothing of the talk
FLOOR = 1e-5  # RMS of full scale (-100 dB): below it a block says nothing about its channels
OPPOSITE = -0.8  # correlation of two sides below which one was wired in opposite phase
RAMP_SAMPLES = 800  # 50 ms at 16 kHz: weights glide, so that a change is not heard as a click
_SIDE = 0.5  # surrounds carry room and audience
# What a named channel adds to (left, right). Low-frequency effects add nothing.
_FOLD = {
    "FC": (1.0, 1.0),
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FLC": (1.0, 0.0),
    "FRC": (0.0, 1.0),
    "DL": (1.0, 0.0),
    "DR": (0.0, 1.0),
    "BL": (_SIDE, 0.0),
    "BR": (0.0, _SIDE),
    "SL": (_SIDE, 0.0),
    "SR": (0.0, _SIDE),
    "WL": (_SIDE, 0.0),
    "WR": (0.0, _SIDE),
    "BC": (_SIDE, _SIDE),
    "LFE": (0.0, 0.0),
    "LFE2": (0.0, 0.0),
}


def fold(samples: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
    """Return a surround mix as (2, S) left and right, each with the whole centre; mono, stereo and unnamed channels as they are.

    Args:
        samples: (C, S).
        names: the C channels' names: FL, FR, FC, LFE, …
    """
    if len(names) <= 2 or not all(name in _FOLD for name in names):
        return samples
    weights = np.array([_FOLD[name] for name in names], np.float32)  # (C, 2)
    return np.asarray(weights.T @ samples, np.float32)


class Mixdown:
    """Weights that follow the channels from block to block.

    Two sides share the level equally if both are heard; if they are in opposite phase one is turned over. Of more channels each counts by
    its power. Between blocks weights glide. Deterministic: a block depends on itself and the weights before it.
    """

    def __init__(self) -> None:
        self._weights: dict[int, NDArray[np.float32]] = {}  # by number of channels: streams may change theirs

    def mix(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a block (C, S) as (S,); a single channel passes as it is."""
        channels, length = samples.shape
        if channels == 1:
            return np.asarray(samples[0], np.float32)
        before = self._weights.get(channels)
        now = _block_weights(samples)
        if now is None:
            now = before if before is not None else np.full(channels, 1 / channels, np.float32)
        self._weights[channels] = now
        mono = now @ samples
        if before is not None and not np.array_equal(before, now):
            ramp = min(RAMP_SAMPLES, length)
            glide = np.arange(ramp, dtype=np.float32) / ramp
            mono[:ramp] = (before @ samples[:, :ramp]) * (1 - glide) + mono[:ramp] * glide
        return np.asarray(mono, np.float32)


def _block_weights(samples: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return the (C,) weights that a block asks for; None where nothing is heard in it."""
    levels = np.sqrt(np.mean(np.square(samples, dtype=np.float64), axis=1))  # (C,)
    if levels.size == 0 or levels.max() < FLOOR:
        return None
    if len(levels) > 2:  # unnamed channels: microphones, or a layout that nobody wrote down; the loudest lead, copies share
        powers = np.square(levels)
        return np.asarray(powers / powers.sum(), np.float32)
    heard = levels > SILENT_SHARE * levels.max()
    weights = heard.astype(np.float32) / np.float32(heard.sum())
    if heard.all():
        correlation = float(np.mean(samples[0].astype(np.float64) * samples[1])) / float(levels[0] * levels[1])
        if correlation < OPPOSITE:
            weights[1] = -weights[1]
    return np.asarray(weights, np.float32)
