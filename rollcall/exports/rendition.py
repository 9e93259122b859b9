"""A rendition: an H.264 and AAC copy of an asset on the asset's own clock, upright, with square pixels, optionally drawn upon.

The copy begins at time zero whatever the source's offsets: a late picture is preceded by a black frame, late sound by silence, so a
player's `currentTime` is the time of every turn and box. Serves the overlay and the pages' proxies. Meant to run in the decoding child.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError
from numpy.typing import NDArray

from asd_core.errors import Unreadable, Unsupported
from asd_core.media.probe import probe
from asd_core.media.source import open_container
from asd_core.records import MediaInfo, VideoTrack

CLOCK = Fraction(1, 90_000)  # the time base of the copy's picture: fine enough for every frame rate
PROXY_SIDE = 1280
SOUND_HZ = 48_000
SOUND_BLOCK = 1024  # samples in an AAC frame
LATE = 0.02  # seconds: a picture that begins later than this is preceded by black
LARGEST_GAP = 0.05  # seconds of missing sound that are left to the player; longer ones become silence

Draw = Callable[[NDArray[np.uint8], float], NDArray[np.uint8]]
Progress = Callable[[str, float, float], None]


def write_rendition(
    source: Path,
    info: MediaInfo,
    target: Path,
    *,
    audio_track: int | None,
    longest_side: int | None = None,
    draw: Draw | None = None,
    rows_below: int = 0,
    on_progress: Progress | None = None,
) -> None:
    """Write the copy beside `target` and rename it when it is whole.

    Args:
        source: the asset.
        info: what `probe` says of it.
        target: an mp4; replaced if there.
        audio_track: stream index of the sound to keep, None for none.
        longest_side: larger pictures are scaled down to it.
        draw: called with each (H, W, 3) RGB picture and its time; returns the (H + rows_below, W, 3) picture to show.
        rows_below: an even number of rows that `draw` adds.
        on_progress: called as ("rendition", seconds done, seconds in all).

    Raises:
        Unsupported: there is neither picture nor sound.
        Unreadable: nothing could be decoded.
    """
    if info.video is None and audio_track is None:
        raise Unsupported(f"{source.name} has neither picture nor sound to show")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open_container(source) as container, av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as copy:
            picture = _Picture(copy, container, info, longest_side, draw, rows_below) if info.video else None
            sound = _Sound(copy, container, audio_track, info) if audio_track is not None else None
            for packet in container.demux([writer.stream for writer in (picture, sound) if writer is not None]):
                with suppress(InvalidDataError):  # a damaged stretch: the copy goes on after it
                    for frame in packet.decode():
                        if isinstance(frame, av.VideoFrame) and picture is not None:
                            picture.take(frame)
                        elif isinstance(frame, av.AudioFrame) and sound is not None:
                            sound.take(frame)
                if on_progress and packet.pts is not None and packet.time_base is not None:
                    on_progress("rendition", min(max(float(packet.pts * packet.time_base) - info.origin, 0.0), info.duration), info.duration)
            for writer in (picture, sound):
                if writer is not None:
                    writer.finish()
        part.replace(target)
    except FFmpegError as error:
        raise Unreadable(f"{source.name} cannot be converted for viewing: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def write_proxy(source: str, audio_track: int | None, target: str, on_progress: Progress | None = None) -> None:
    """Write the copy that pages show where a browser cannot play the original: at most 1280 pixels on its longest side."""
    info = probe(Path(source))
    write_rendition(Path(source), info, Path(target), audio_track=audio_track, longest_side=PROXY_SIDE, on_progress=on_progress)


def shown_size(video: VideoTrack, longest_side: int | None) -> tuple[int, int]:
    """Return the even (width, height) of the copy before anything is drawn below it."""
    scale = min(1.0, longest_side / max(video.width, video.height)) if longest_side else 1.0
    return max(2, round(video.width * scale / 2) * 2), max(2, round(video.height * scale / 2) * 2)


class _Picture:
    """Takes decoded frames in order of presentation and writes them upright."""

    def __init__(
        self,
        copy: av.container.OutputContainer,
        container: av.container.InputContainer,
        info: MediaInfo,
        longest_side: int | None,
        draw: Draw | None,
        rows_below: int,
    ) -> None:
        assert info.video is not None
        self.stream = container.streams[info.video.index]
        self.stream.thread_type = "AUTO"
        self._video, self._origin, self._draw, self._copy = info.video, info.origin, draw, copy
        self._size_wh = shown_size(info.video, longest_side)
        self._graph: av.filter.Graph | None = None
        self._shape: tuple[int, int, str] | None = None
        self._last = -1
        # Before the first packet is written: a container cannot gain a stream later.
        self._writer = copy.add_stream("libx264", rate=max(1, round(info.video.frame_rate)), options={"preset": "veryfast", "crf": "23"})
        self._writer.width, self._writer.height, self._writer.pix_fmt = self._size_wh[0], self._size_wh[1] + rows_below, "yuv420p"
        self._writer.time_base = self._writer.codec_context.time_base = CLOCK
        self._writer.codec_context.gop_size = 50  # a seek lands within two seconds

    def take(self, frame: av.VideoFrame) -> None:
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is None or self._shape != shape:  # some broadcasts change their size within a programme
            self._graph, self._shape = self._upright(frame), shape
        self._graph.vpush(frame)
        self._drain(self._graph)

    def finish(self) -> None:
        if self._graph is not None:
            with suppress(FFmpegError):
                self._graph.vpush(None)
                self._drain(self._graph)
        if self._last < 0:
            raise Unreadable("no frame of the picture can be decoded")
        self._copy.mux(self._writer.encode(None))

    def _upright(self, frame: av.VideoFrame) -> av.filter.Graph:
        steps = [("bwdif", "mode=send_frame:deint=interlaced")] if self._video.interlaced else []
        steps += {90: [("transpose", "clock")], 180: [("hflip", ""), ("vflip", "")], 270: [("transpose", "cclock")]}.get(self._video.rotation, [])
        steps += [("scale", f"{self._size_wh[0]}:{self._size_wh[1]}:flags=area"), ("setsar", "1"), ("format", "rgb24" if self._draw else "yuv420p")]
        graph = av.filter.Graph()
        nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=self.stream.time_base)]
        nodes += [graph.add(name, arguments) for name, arguments in steps]
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        return graph

    def _drain(self, graph: av.filter.Graph) -> None:
        while True:
            try:
                frame = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if frame.pts is None or frame.time_base is None:
                continue
            self._write(frame, float(frame.pts * frame.time_base) - self._origin)

    def _write(self, frame: av.VideoFrame, time: float) -> None:
        if self._draw is not None:
            frame = av.VideoFrame.from_ndarray(self._draw(frame.to_ndarray(), max(time, 0.0)), format="rgb24").reformat(format="yuv420p")
        stamp = round(time / CLOCK)
        if stamp <= self._last:
            return
        if self._last < 0 and stamp > round(LATE / CLOCK):
            self._encode(_black(frame.width, frame.height), 0)
        self._encode(frame, stamp)

    def _encode(self, frame: av.VideoFrame, stamp: int) -> None:
        frame.pts, frame.time_base, frame.pict_type = stamp, CLOCK, 0
        self._last = stamp
        self._copy.mux(self._writer.encode(frame))


class _Sound:
    """Takes decoded sound and writes stereo without gaps from time zero on."""

    def __init__(self, copy: av.container.OutputContainer, container: av.container.InputContainer, index: int, info: MediaInfo) -> None:
        self.stream = container.streams[index]
        self._origin, self._copy = info.origin, copy
        self._resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SOUND_HZ)
        self._writer = copy.add_stream("aac", rate=SOUND_HZ, layout="stereo")
        self._waiting: list[NDArray[np.float32]] = []
        self._heard = 0  # samples taken so far, on the asset's clock
        self._written = 0

    def take(self, frame: av.AudioFrame) -> None:
        if frame.pts is not None and frame.time_base is not None:
            missing = round((float(frame.pts * frame.time_base) - self._origin) * SOUND_HZ) - self._heard
            if missing > (LARGEST_GAP * SOUND_HZ if self._heard else 0):
                self._append(np.zeros((2, missing), np.float32))
            elif missing < 0 and self._heard == 0:
                self._heard = missing  # what lies before time zero is cut in _append
        frame.pts = None
        for resampled in self._resampler.resample(frame):
            self._append(resampled.to_ndarray())
        self._encode(whole=False)

    def finish(self) -> None:
        for resampled in self._resampler.resample(None):
            self._append(resampled.to_ndarray())
        self._encode(whole=True)
        self._copy.mux(self._writer.encode(None))

    def _append(self, samples: NDArray[np.float32]) -> None:
        cut = min(max(-self._heard, 0), samples.shape[1])
        self._heard += samples.shape[1]
        self._waiting.append(samples[:, cut:])

    def _encode(self, *, whole: bool) -> None:
        for block in self._blocks(whole=whole):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, self._written, Fraction(1, SOUND_HZ)
            self._written += block.shape[1]
            self._copy.mux(self._writer.encode(frame))

    def _blocks(self, *, whole: bool) -> Iterator[NDArray[np.float32]]:
        samples = np.concatenate(self._waiting, axis=1) if self._waiting else np.zeros((2, 0), np.float32)
        count = samples.shape[1] - (0 if whole else samples.shape[1] % SOUND_BLOCK)
        self._waiting = [samples[:, count:]]
        for start in range(0, count, SOUND_BLOCK):
            yield samples[:, start : min(start + SOUND_BLOCK, count)]


def _black(width: int, height: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24").reformat(format="yuv420p")
