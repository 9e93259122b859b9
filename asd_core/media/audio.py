"""Sound as mono 16 kHz on the asset's clock: sample `s` stands at `s / 16000` seconds, whatever the stream's priming, gaps or drift.

Samples are placed by presentation stamps, never by counting alone. The down-mix keeps speech: the centre of a surround mix leads, a
silent side does not halve the other, and sides in opposite phase do not cancel.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from asd_core.errors import RequestError, Unreadable
from asd_core.media.mixdown import Mixdown, fold
from asd_core.media.source import decode_packet, open_container, read_packets, set_aside
from asd_core.records import AudioTrack, MediaInfo
from asd_core.timeline import presentation_time

RATE = 16_000  # Hz: what the speaking networks and the voice detector hear
BLOCK_SAMPLES = RATE // 2  # samples in a chunk: long enough to tell a silent channel from a pause
JUMP = 0.040  # seconds by which a stamp must leave the running count to be a gap or an overlap at once
DRIFT = 0.010  # seconds by which stamps must leave it on average, over about a hundred frames, to be drift
_MEMORY = 0.02  # weight of a new frame in that average
_TAIL = 1.0  # seconds of sound kept beyond the probed end; more is a broken stamp


def read_audio(path: Path, info: MediaInfo, track_index: int) -> Iterator[NDArray[np.int16]]:
    """Yield one sound stream as mono chunks of 16 kHz from time zero to its end.

    A late start and gaps are silence, what lies before time zero is cut, overlaps are cut, and damaged packets leave silence. Nothing is
    yielded where no sound can be decoded.

    Args:
        path: the file.
        info: what `probe` said of it.
        track_index: stream index, one of `info.audio_tracks`.

    Raises:
        RequestError: there is no such sound stream.
        Unreadable: the file is gone or no longer media.
    """
    track = next((track for track in info.audio_tracks if track.index == track_index), None)
    if track is None:
        known = ", ".join(str(track.index) for track in info.audio_tracks) or "none"
        raise RequestError(f"{path.name}: stream {track_index} is no sound; its sound streams are: {known}.")
    limit = round((info.duration + _TAIL) * RATE)
    mixdown = Mixdown()
    for block in _blocks(_place(_frames(path, track), info.origin), limit):
        yield np.clip(np.rint(mixdown.mix(block) * 32768), -32768, 32767).astype(np.int16)


def _frames(path: Path, track: AudioTrack) -> Generator[AudioFrame]:
    """Yield what the decoder gives, stepping over packets that it refuses."""
    with open_container(path) as container:
        stream = container.streams[track.index] if track.index < len(container.streams) else None
        if not isinstance(stream, AudioStream):
            raise Unreadable(f"{path.name}: stream {track.index} is no sound any more; the file has changed since it was probed.")
        set_aside(container, stream)
        for packet in read_packets(container, stream):
            yield from decode_packet(stream, packet)
        yield from decode_packet(stream, None)


class _Run:
    """A stretch of frames without gap or change of form, resampled as one."""

    def __init__(self, frame: AudioFrame, start: float) -> None:
        self.start = start  # seconds on the asset's clock
        self.form = _form(frame)
        self._names = [channel.name for channel in frame.layout.channels]
        self._rate = frame.sample_rate
        self._taken = 0  # samples at the stream's rate
        self._lead = 0.0  # mean seconds by which stamps are ahead of the count
        # Packed, not planar: beyond eight channels PyAV reads past the planes that a frame holds in place.
        self._resampler = AudioResampler(format="flt", layout=frame.layout.name, rate=RATE)

    def continues(self, frame: AudioFrame, start: float | None) -> bool:
        """Return whether a frame goes on where this run is; its stamp may jitter, but not jump or drift away."""
        if _form(frame) != self.form:
            return False
        if start is None:
            return True
        lead = start - (self.start + self._taken / self._rate)
        self._lead += _MEMORY * (lead - self._lead)
        return abs(lead) <= JUMP and abs(self._lead) <= DRIFT

    def add(self, frame: AudioFrame | None) -> NDArray[np.float32]:
        """Return the (C, S) samples that a frame (None: the end) brings out of the resampler, surround folded to two sides."""
        if frame is not None:
            self._taken += frame.samples
            frame.pts = None  # placed by us: the resampler must not
        ready = [out.to_ndarray().reshape(-1, len(self._names)).T for out in self._resampler.resample(frame)]
        samples = np.concatenate(ready, axis=1) if ready else np.zeros((len(self._names), 0), np.float32)
        return fold(np.ascontiguousarray(samples), self._names)


def _form(frame: AudioFrame) -> tuple[int, str, str]:
    return frame.sample_rate, frame.layout.name, frame.format.name


def _place(frames: Iterator[AudioFrame], origin: float) -> Iterator[tuple[int | None, NDArray[np.float32]]]:
    """Yield (position, (C, S) samples at 16 kHz); the position is a sample on the asset's clock at the head of a run, None within it."""
    run: _Run | None = None
    for frame in frames:
        if frame.samples == 0 or frame.sample_rate <= 0:
            continue
        start = presentation_time(frame.pts, frame.time_base, origin) if frame.pts is not None and frame.time_base else None
        if run is not None and run.continues(frame, start):
            yield None, run.add(frame)
            continue
        if run is not None:
            yield None, run.add(None)
        run = _Run(frame, start if start is not None else 0.0)
        yield (None if start is None else round(start * RATE)), run.add(frame)
    if run is not None:
        yield None, run.add(None)


def _blocks(placed: Iterator[tuple[int | None, NDArray[np.float32]]], limit: int) -> Iterator[NDArray[np.float32]]:
    """Yield (C, S) blocks without gap or overlap from sample 0 on, at most `limit` samples in all.

    Blocks end at whole multiples of `BLOCK_SAMPLES`, or where the number of channels changes.
    """
    blocks = _Blocks()
    skip = 0  # samples still to be cut: before time zero, or an overlap
    for position, samples in placed:
        if position is not None:
            skip = max(0, blocks.cursor - position)
            while blocks.cursor < min(position, limit):
                silence = min(min(position, limit) - blocks.cursor, BLOCK_SAMPLES)
                yield from blocks.add(np.zeros((blocks.channels, silence), np.float32))
        cut = min(skip, samples.shape[1])
        skip -= cut
        yield from blocks.add(samples[:, cut : cut + limit - blocks.cursor])
        if blocks.cursor >= limit:
            break
    yield from blocks.flush()


class _Blocks:
    """Samples that wait until their block is full."""

    def __init__(self) -> None:
        self.cursor = 0  # the sample on the asset's clock at which the next one goes
        self._held: list[NDArray[np.float32]] = []

    @property
    def channels(self) -> int:
        """Return the channels of the block being filled; one where none is."""
        return self._held[0].shape[0] if self._held else 1

    def add(self, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks that (C, S) more samples complete."""
        if self._held and self.channels != samples.shape[0] and samples.shape[1]:
            yield from self.flush()
        while samples.shape[1]:
            room = BLOCK_SAMPLES - self.cursor % BLOCK_SAMPLES
            self._held.append(samples[:, :room])
            self.cursor += self._held[-1].shape[1]
            samples = samples[:, room:]
            if self.cursor % BLOCK_SAMPLES == 0:
                yield from self.flush()

    def flush(self) -> Iterator[NDArray[np.float32]]:
        """Yield what is held, if anything."""
        if self._held:
            yield np.concatenate(self._held, axis=1)
            self._held = []
