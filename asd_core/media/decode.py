"""Pictures on the 25 Hz grid, by presentation time, from any start: the same frames as one pass over the whole file would give.

A span is entered at a keyframe that is *presented* at or before its first instant; what a decoder hands out before that keyframe (open
GOPs, broken references) is dropped. Where a seek lands too late it goes further back, at last to the beginning.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import av.error
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from asd_core.errors import Unreadable
from asd_core.media.picture import Frame, Picture
from asd_core.media.source import MAX_PIXELS, decode_packet, open_container, read_packets, set_aside
from asd_core.records import MediaInfo, VideoTrack
from asd_core.timeline import instant_count, instant_time, presentation_time

__all__ = ["Frame", "read_frames"]

FILL = 0.5  # seconds: how far beyond its presentation a frame may stand in for damaged neighbours
STEPS_BACK = (0.0, 1.0, 5.0, 30.0)  # seconds before the span at which a keyframe is sought, in turn; then the beginning
MAX_DAMAGES = 8  # after so many, one thread decodes the rest
CALM = 1.0  # seconds after damage before a keyframe is trusted to several threads again


# Bare streams carry no time stamps: a seek would count from nothing. Program streams stamp packs, not pictures: after a seek the first
# group of pictures bears the wrong ones.
_NO_SEEK = {"h264", "hevc", "mpegvideo", "m4v", "vc1", "obu", "avs2"}
_LATE_STAMPS = {"mpeg"}


class _Shown(NamedTuple):
    """A decoded picture and its presentation in seconds on the asset's clock."""

    start: float
    end: float
    picture: Picture
    key: bool  # decodable by itself, and undamaged


class _Damaged(Exception):
    """A decoder with several threads met damage."""


def read_frames(path: Path, info: MediaInfo, *, start: float, end: float, threads: int = 1) -> Iterator[Frame]:
    """Yield one frame for every grid instant in [start, end) that lies inside the picture's presentation.

    Each instant shows the frame whose presentation begins nearest to it (ties: the earlier); a frame that serves two instants comes
    twice, frames that nobody needs are decoded but never converted. Where decoding fails, an instant shows the nearest decoded frame if
    that is within `FILL` seconds of its presentation, else it is left out. Without picture nothing is yielded.

    Args:
        path: the file.
        info: what `probe` said of it.
        start: seconds on the asset's clock.
        end: seconds, exclusive.
        threads: decoder threads.

    Raises:
        Unreadable: the file is gone or no longer media.
    """
    track = info.video
    if track is None:
        return
    first = instant_count(max(start, track.start))
    stop = instant_count(min(end, track.start + track.duration))
    if first >= stop:
        return
    shown = _enter(path, info, track, instant_time(first), threads)
    with contextlib.closing(shown):
        yield from _sample(shown, first, stop, track)


def _sample(shown: Iterator[_Shown], first: int, stop: int, track: VideoTrack) -> Iterator[Frame]:
    """Yield for each instant the nearest of the pictures that can stand for it."""
    instant = first
    before: _Shown | None = None
    for after in shown:
        while instant < stop and instant_time(instant) <= after.start:
            chosen = _nearest(before, after, instant_time(instant))
            if chosen is not None:
                yield Frame(instant, chosen.picture, track)
            instant += 1
        if instant >= stop:
            return
        before = after
    for left in range(instant, stop):
        chosen = _nearest(before, None, instant_time(left))
        if chosen is not None:
            yield Frame(left, chosen.picture, track)


def _nearest(before: _Shown | None, after: _Shown | None, time: float) -> _Shown | None:
    """Return which of two neighbours begins nearer to a time, among those within `FILL` seconds of their presentation; ties: the earlier."""
    able = [shown for shown in (before, after) if shown is not None and shown.start - FILL <= time <= shown.end + FILL]
    return min(able, key=lambda shown: round(abs(shown.start - time), 6), default=None)


def _enter(path: Path, info: MediaInfo, track: VideoTrack, time: float, threads: int) -> Generator[_Shown]:
    """Yield the pictures from one at or before `time` on (or from the beginning), the same whatever the number of threads.

    Decoders conceal damage differently with several threads: from its first sign to the next sound keyframe one thread decodes.
    """
    last = -math.inf
    for _ in range(MAX_DAMAGES if threads > 1 else 0):
        try:
            for shown in _from_keyframe(path, info, track, time, threads):
                if shown.start > last:
                    last = shown.start
                    yield shown
        except _Damaged:
            pass
        else:
            return
        damaged = max(time, last)
        for shown in _from_keyframe(path, info, track, damaged, 1):
            if shown.start <= last:
                continue
            if shown.key and shown.start > damaged + CALM:
                time = shown.start
                break
            last = shown.start
            yield shown
        else:
            return
    for shown in _from_keyframe(path, info, track, time, 1):
        if shown.start > last:
            yield shown


def _from_keyframe(path: Path, info: MediaInfo, track: VideoTrack, time: float, threads: int) -> Generator[_Shown]:
    """Yield the pictures from a sound keyframe on that is presented at or before `time`, or from the beginning."""
    for back in STEPS_BACK if info.container not in _NO_SEEK else ():
        target = time - back
        if target <= track.start + FILL:
            break
        pictures = _decode(path, info, track, target, threads)
        head = next(pictures, None)
        if head is not None and head.start <= time:
            yield head
            yield from pictures
            return
        pictures.close()
    yield from _decode(path, info, track, None, threads)


def _decode(path: Path, info: MediaInfo, track: VideoTrack, target: float | None, threads: int) -> Generator[_Shown]:
    """Yield every picture in presentation order: from the first sound keyframe that a seek to `target` leads to, or (None) all.

    Raises:
        _Damaged: with several threads, at the first sign of damage.
    """
    with open_container(path) as container:
        stream = container.streams[track.index] if track.index < len(container.streams) else None
        if not isinstance(stream, VideoStream) or stream.time_base is None:
            raise Unreadable(f"{path.name}: stream {track.index} is no picture any more; the file has changed since it was probed.")
        set_aside(container, stream)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        if target is not None:
            try:
                container.seek(int((target + info.origin) / stream.time_base), stream=stream, backward=True)
            except (av.error.FFmpegError, OSError):
                return
        frames = _frames(container, stream, strict=threads > 1)
        if target is not None:
            frames = itertools.dropwhile(lambda frame: not _is_sound_key(frame), frames)
            if info.container in _LATE_STAMPS:
                frames = itertools.dropwhile(lambda frame: not _is_sound_key(frame), itertools.islice(frames, 1, None))
        if track.interlaced:
            # The filter looks at the picture before: the first one after a seek would differ from the same one in a full pass.
            frames = itertools.islice(_deinterlace(frames), 0 if target is None else 1, None)
        yield from _present(frames, info, track)


def _is_sound_key(frame: VideoFrame) -> bool:
    return frame.key_frame and not frame.is_corrupt


def _frames(container: InputContainer, stream: VideoStream, *, strict: bool) -> Iterator[VideoFrame]:
    """Yield what the decoder gives, stepping over packets that it refuses, or (`strict`) stopping there with `_Damaged`."""
    for packet in itertools.chain(read_packets(container, stream), [None]):
        if strict and packet is not None and packet.is_corrupt:  # known before the decoder sees it, which may then say nothing
            raise _Damaged
        try:
            frames = decode_packet(stream, packet, strict=strict)
        except av.error.FFmpegError as error:
            raise _Damaged from error
        for frame in frames:
            if strict and frame.is_corrupt:
                raise _Damaged
            yield frame


def _present(frames: Iterator[VideoFrame], info: MediaInfo, track: VideoTrack) -> Iterator[_Shown]:
    """Yield the frames with their presentation; one without a stamp follows its forerunner, one that steps back in time is dropped."""
    step = 1 / track.frame_rate
    last: _Shown | None = None
    for frame in frames:
        if frame.pts is not None and frame.time_base:
            start = presentation_time(frame.pts, frame.time_base, info.origin)
        else:
            start = last.end if last is not None else track.start
        if last is not None and start <= last.start:
            continue
        length = presentation_time(frame.duration, frame.time_base, 0.0) if frame.duration and frame.time_base else step
        last = _Shown(start, start + length, Picture(frame, track), _is_sound_key(frame))
        yield last


def _deinterlace(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Yield the frames with both fields at the first field's time, filled in from their neighbours; progressive ones pass as they are.

    Source: BWDIF, Weston's three-field filter (BBC R&D White Paper 15) with the motion test of YADIF.
    """
    graph: Graph | None = None
    form: tuple[int, int, str] | None = None
    for frame in frames:
        if graph is None or form != (frame.width, frame.height, frame.format.name):
            yield from _drain(graph)
            graph, form = _field_graph(frame), (frame.width, frame.height, frame.format.name)
        graph.push(frame)
        yield from _pull(graph)
    yield from _drain(graph)


def _field_graph(frame: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    fields = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(fields)
    fields.link_to(sink)
    graph.configure()
    return graph


def _drain(graph: Graph | None) -> Iterator[VideoFrame]:
    """Yield what a filter still holds at the end."""
    if graph is not None:
        graph.push(None)
        yield from _pull(graph)


def _pull(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        if isinstance(frame, VideoFrame):
            yield frame
