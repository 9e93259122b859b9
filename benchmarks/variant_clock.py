"""By how much a variant's sound and picture are later than those of the file it was made from, as the core reads them.

Neither networks nor turns are involved: samples are laid over samples and pictures over pictures. So what a container shifts, and what it
must not shift, is seen to the millisecond of sound and to a few milliseconds of picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asd_core.media.audio import RATE, read_audio
from asd_core.media.decode import read_frames
from asd_core.media.probe import probe
from asd_core.timeline import GRID_HZ

THUMBNAIL_WH = (96, 54)
REACH = 15  # instants on both sides within which the picture's shift is sought


def lateness(source: Path, variant: Path) -> tuple[float, float]:
    """Return the seconds by which the variant's (sound, picture) are later on the asset's clock than the source's."""
    sounds = [_sound(path) for path in (source, variant)]
    pictures = [_pictures(path) for path in (source, variant)]
    return sound_lateness(*sounds), picture_lateness(*pictures)


def sound_lateness(source: NDArray[np.float64], variant: NDArray[np.float64]) -> float:
    """Return the seconds by which the samples of a 16 kHz sound are later, where their correlation is highest."""
    size = 1 << (len(source) + len(variant)).bit_length()
    product = np.fft.irfft(np.fft.rfft(variant, size) * np.conj(np.fft.rfft(source, size)), size)
    best = int(product.argmax())
    return (best if best < size // 2 else best - size) / RATE


def picture_lateness(source: dict[int, NDArray[np.float32]], variant: dict[int, NDArray[np.float32]]) -> float:
    """Return the seconds by which pictures by instant are later, where they differ least; between instants by a parabola."""
    inner = [i for i in source if min(source) + REACH <= i <= max(source) - REACH]
    apart = []
    for shift in range(-REACH, REACH + 1):
        both = [i for i in inner if i + shift in variant]
        apart.append(float(np.mean([np.square(source[i] - variant[i + shift]).mean() for i in both])) if both else np.inf)
    best = int(np.argmin(apart))
    if not 0 < best < len(apart) - 1:
        return (best - REACH) / GRID_HZ
    before, at, after = apart[best - 1 : best + 2]
    bend = before - 2 * at + after
    return (best - REACH + ((before - after) / (2 * bend) if np.isfinite(bend) and bend > 0 else 0.0)) / GRID_HZ


def _sound(path: Path) -> NDArray[np.float64]:
    info = probe(path)
    track = next((track for track in info.audio_tracks if track.default), info.audio_tracks[0])
    return np.concatenate(list(read_audio(path, info, track.index))).astype(np.float64)


def _pictures(path: Path) -> dict[int, NDArray[np.float32]]:
    info = probe(path)
    return {frame.instant: frame.luma(THUMBNAIL_WH).astype(np.float32) for frame in read_frames(path, info, start=0.0, end=info.duration)}
