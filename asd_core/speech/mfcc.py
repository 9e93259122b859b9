"""Mel-frequency cepstra as the speaking networks were trained on them, computed as the sound arrives.

Row r covers the samples [160 r, 160 r + 400) of the asset's 16 kHz clock; four rows stand under one grid instant. The numbers are those
of python_speech_features 0.6 with its defaults on int16 sample values (rectangular window, HTK-like mel scale, natural logarithm,
orthonormal DCT-II, lifter 22, coefficient 0 replaced by the log energy); other libraries' defaults give other numbers. Only the padding
differs: rows go on in silence to the end that the caller names, so that every instant has its four.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

SAMPLE_RATE = 16_000
HOP = SAMPLE_RATE // 100  # samples: 10 ms
WINDOW = SAMPLE_RATE // 40  # samples: 25 ms
COEFFICIENTS = 13
_FFT = 512
_MELS = 26
_PRE_EMPHASIS = 0.97
_LIFTER = 22
# Rows are computed in blocks of this many at fixed places of the clock: a matrix product may round differently with another height,
# and the rows must not depend on how the sound was cut into chunks.
_BLOCK_ROWS = 1000
_EPSILON = float(np.finfo(np.float64).eps)


@cache
def _mel_filters() -> NDArray[np.float64]:
    """Return the (26, 257) triangular filters, corners rounded down to FFT bins as python_speech_features does."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700.0)
    corners = 700 * (10 ** (np.linspace(0, top, _MELS + 2) / 2595.0) - 1)
    bins = np.floor((_FFT + 1) * corners / SAMPLE_RATE)
    filters = np.zeros((_MELS, _FFT // 2 + 1))
    for row in range(_MELS):
        left, centre, right = bins[row : row + 3]
        rising = np.arange(int(left), int(centre))
        falling = np.arange(int(centre), int(right))
        filters[row, rising] = (rising - left) / (centre - left)
        filters[row, falling] = (right - falling) / (right - centre)
    return filters


def band_energies(emphasised: NDArray[np.float64], rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (rows, 26) energies in mel bands and the (rows,) whole energy of windows that begin at every HOP of pre-emphasised samples."""
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP][:rows]  # (rows, 400) a view
    power = 1.0 / _FFT * np.square(np.absolute(np.fft.rfft(frames, _FFT)))  # (rows, 257)
    return power @ _mel_filters().T, power.sum(axis=1)


def cepstra(bands: NDArray[np.floating], energy: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the (..., 13) cepstra of (..., 26) band energies and their (...) whole energy."""
    rows = dct(np.log(np.where(bands == 0, _EPSILON, bands)), type=2, axis=-1, norm="ortho")[..., :COEFFICIENTS]
    rows *= 1 + _LIFTER / 2.0 * np.sin(np.pi * np.arange(COEFFICIENTS) / _LIFTER)
    rows[..., 0] = np.log(np.where(energy == 0, _EPSILON, energy))
    return np.asarray(rows, np.float32)


def _cepstra(emphasised: NDArray[np.float64], rows: int) -> NDArray[np.float32]:
    """Return the (rows, 13) cepstra of the windows that begin at every HOP of pre-emphasised samples."""
    return cepstra(*band_energies(emphasised, rows))


class MfccStream:
    """The cepstra of a sound that comes in chunks; holds at most one block of ten seconds of it."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.float64]] = []  # pre-emphasised samples from the first row not yet computed on
        self._pending = 0  # how many they are
        self._last = 0.0
        self._rows = 0

    def push(self, samples: NDArray[np.int16]) -> NDArray[np.float32]:
        """Take the next (S,) samples and return the (R, 13) rows that they completed, R a multiple of a block and often 0."""
        if len(samples):
            values = samples.astype(np.float64)
            self._pieces.append(values - _PRE_EMPHASIS * np.concatenate([[self._last], values[:-1]]))
            self._pending += len(values)
            self._last = values[-1]
        finished = []
        needed = (_BLOCK_ROWS - 1) * HOP + WINDOW
        while self._pending >= needed:
            finished.append(_cepstra(self._head(needed), _BLOCK_ROWS))
            self._drop(_BLOCK_ROWS * HOP)
        return self._count(finished)

    def finish(self, rows: int) -> NDArray[np.float32]:
        """Return the rows that are still owed, so that there are `rows` in all; past the end of the sound stands silence.

        Sound beyond the last row is left out.
        """
        finished = []
        missing = rows - self._rows
        while missing > 0:
            count = min(missing, _BLOCK_ROWS)
            needed = (count - 1) * HOP + WINDOW
            piece = self._head(needed)
            finished.append(_cepstra(np.pad(piece, (0, needed - len(piece))), count))
            self._drop(count * HOP)
            missing -= count
        return self._count(finished)

    def _head(self, count: int) -> NDArray[np.float64]:
        """Return the first samples that wait, at most `count`. Pieces are joined only when a block is due."""
        if len(self._pieces) != 1:
            self._pieces = [np.concatenate(self._pieces)] if self._pieces else [np.zeros(0)]
        return self._pieces[0][:count]

    def _drop(self, count: int) -> None:
        self._pieces = [self._head(self._pending)[count:]]
        self._pending = len(self._pieces[0])

    def _count(self, finished: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        rows = np.concatenate(finished) if finished else np.zeros((0, COEFFICIENTS), np.float32)
        self._rows += len(rows)
        return rows


def mfcc_rows(samples: NDArray[np.int16], rows: int | None = None) -> NDArray[np.float32]:
    """Return the (rows, 13) cepstra of a whole sound of int16 samples.

    Without `rows` there are as many as python_speech_features gives: the last one is the first that reaches the end. No samples and no
    `rows`: (0, 13).
    """
    if rows is None:
        rows = 0 if len(samples) == 0 else 1 + max(0, -(-(len(samples) - WINDOW) // HOP))
    stream = MfccStream()
    return np.concatenate([stream.push(samples), stream.finish(rows)])[:rows]
