"""What a file holds and when it begins and ends, checked on its packets, because headers lie.

Knows containers. The head is read until every stream has given its first frame, the tail from shortly before the promised end; nothing
between is touched, so that two hours take no longer than two minutes. Decoding for a purpose is left to `decode` and `audio`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import av.container
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from asd_core.errors import Unreadable, Unsupported
from asd_core.media.source import MAX_PIXELS, MAX_SIDE, decode_packet, open_container, read_packets
from asd_core.records import AudioTrack, MediaInfo, VideoTrack
from asd_core.timeline import presentation_time

HEAD_SECONDS = 10.0  # how far into the file a stream's first packet is waited for, once the picture has begun
HEAD_BYTES = 48 << 20  # the same in bytes, for streams without sensible stamps
HEAD_FRAMES = 8  # frames looked at for interlacing
RATE_PACKETS = 48  # packets from which a frame rate is measured
TAIL_SECONDS = (3.0, 15.0, 120.0)  # how long before the promised end the last packets are looked for, in turn
MAX_DURATION = 48 * 3600.0  # seconds: beyond two days a stamp is broken or hostile
SPARSE_BYTES = 16  # a second: fewer than any picture or sound has; then too a stamp is broken or hostile
SPARSE_SECONDS = 600.0  # up to which that harms nobody
NOMINAL_RATE = 25.0  # for a picture whose rate neither header nor packets tell: a single frame


@dataclass(slots=True)
class _Seen:
    """What the packets and frames of one stream showed; times in container seconds."""

    first: float | None = None  # first decoded presentation
    last: float | None = None  # end of the last packet's presentation
    stamps: list[float] = field(default_factory=list)  # of the first packets
    frames: list[VideoFrame | AudioFrame] = field(default_factory=list)
    packets: int = 0


def probe(path: Path) -> MediaInfo:
    """Return what the file holds, on the asset's clock.

    Time zero is the earliest presentation of the chosen picture and of the default (else first) sound, after edit lists and codec
    priming. Without picture `video` is None, without sound `audio_tracks` is empty; cover art is no picture.

    Raises:
        Unreadable: no media, or not one frame and not one sound that can be decoded.
        Unsupported: a codec, a size or a length that nothing here can take.
    """
    with open_container(path) as container:
        picture = _choose_picture(container)
        sounds = [s for s in container.streams.audio if s.codec_context is not None and s.codec_context.name]
        _refuse_unknown(path, container, picture, sounds)
        streams: list[VideoStream | AudioStream] = [*([picture] if picture else []), *sounds]
        seen = {stream.index: _Seen() for stream in streams}
        _read_head(path, container, streams, seen)
        alive = [stream for stream in streams if seen[stream.index].first is not None]
        if not alive:
            raise Unreadable(f"{path.name}: the header is there but not a single frame or sound can be decoded; check the file or its source.")
        _read_tail(path, container, alive, seen)
        picture = picture if picture in alive else None
        sounds = [stream for stream in sounds if stream in alive]
        return _describe(path, container, picture, sounds, seen)


def _choose_picture(container: av.container.InputContainer) -> VideoStream | None:
    """Return the default, else the largest, video stream that is no attached picture and can be decoded; None without one."""
    attached = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails | av.stream.Disposition.still_image
    moving = [s for s in container.streams.video if not s.disposition & attached and s.codec_context is not None and s.codec_context.name]

    def rank(stream: VideoStream) -> tuple[bool, int, int]:
        return (not stream.disposition & av.stream.Disposition.default, -stream.codec_context.width * stream.codec_context.height, stream.index)

    return min(moving, key=rank, default=None)


def _refuse_unknown(path: Path, container: av.container.InputContainer, picture: VideoStream | None, sounds: list[AudioStream]) -> None:
    """Raise where nothing can be decoded, or where the picture is too large."""
    if picture is not None:
        refuse_large(path, picture.codec_context.width, picture.codec_context.height)
    elif not sounds:
        if any(stream.type in {"video", "audio"} for stream in container.streams):
            raise Unsupported(f"{path.name}: nothing here decodes its picture or sound; convert it to H.264 and AAC.")
        raise Unreadable(f"{path.name}: the file has neither picture nor sound; check that it is the right one.")


def refuse_large(path: Path, width: int, height: int) -> None:
    """Raise Unsupported for a picture beyond `MAX_SIDE` on a side or `MAX_PIXELS` in all."""
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise Unsupported(f"{path.name}: its picture of {width}x{height} exceeds {MAX_SIDE}x{MAX_SIDE}; scale it down first.")


def _read_head(path: Path, container: av.container.InputContainer, streams: list[VideoStream | AudioStream], seen: dict[int, _Seen]) -> None:
    """Decode the first frames of every stream; stop as soon as each has shown itself or waited long enough.

    A damaged beginning is read through, to the end of the file if need be: only so is it known that nothing can be decoded.
    """
    taken = 0
    beginning: float | None = None
    for stream in streams:
        stream.codec_context.thread_count = 1
    for packet in read_packets(container, *streams):
        stream, state = packet.stream, seen[packet.stream_index]
        _note(packet, state)
        if _wants(stream, state):
            _take(path, state, decode_packet(stream, packet), packet)
        taken += packet.size
        if state.stamps and state.first is not None:
            beginning = state.stamps[0] if beginning is None else beginning
        if all(not _wants(s, seen[s.index]) and _rate_known(s, seen[s.index]) for s in streams):
            return
        overdue = taken > HEAD_BYTES or (
            beginning is not None and state.stamps and packet_seconds(packet, state.stamps[-1]) > beginning + HEAD_SECONDS
        )
        if overdue and all(seen[s.index].first is not None or not seen[s.index].packets for s in streams):
            return
    for stream in streams:  # short files: what the decoders still hold
        if _wants(stream, seen[stream.index]):
            _take(path, seen[stream.index], decode_packet(stream, None), None)


def packet_seconds(packet: Packet[Any], otherwise: float) -> float:
    """Return the packet's presentation in container seconds, its decoding time for want of that, else `otherwise`."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return otherwise if stamp is None or packet.time_base is None else presentation_time(stamp, packet.time_base, 0.0)


def _wants(stream: VideoStream | AudioStream, state: _Seen) -> bool:
    return len(state.frames) < (HEAD_FRAMES if stream.type == "video" else 1)


def _rate_known(stream: VideoStream | AudioStream, state: _Seen) -> bool:
    return stream.type != "video" or len(state.stamps) >= RATE_PACKETS


def _note(packet: Packet[Any], state: _Seen) -> None:
    """Write down a packet's stamps."""
    state.packets += 1
    if packet.is_discard or packet.time_base is None:
        return
    stamp = packet.pts if packet.pts is not None else packet.dts
    if stamp is None:
        return
    time = presentation_time(stamp, packet.time_base, 0.0)
    if len(state.stamps) < RATE_PACKETS:
        state.stamps.append(time)
    end = time + presentation_time(packet.duration or 0, packet.time_base, 0.0)
    state.last = end if state.last is None else max(state.last, end)


def _take(path: Path, state: _Seen, frames: list[VideoFrame | AudioFrame], packet: Packet[Any] | None) -> None:
    """Keep decoded frames, and the time of the earliest."""
    for frame in frames:
        if isinstance(frame, VideoFrame):
            refuse_large(path, frame.width, frame.height)
        state.frames.append(frame)
        time = float(frame.time) if frame.time is not None else (packet_seconds(packet, 0.0) if packet is not None else 0.0)
        state.first = time if state.first is None else min(state.first, time)


def _read_tail(path: Path, container: av.container.InputContainer, streams: list[VideoStream | AudioStream], seen: dict[int, _Seen]) -> None:
    """Find where every stream really ends, from the packets before the promised end, else further back, else from the whole file.

    A file cut short has no packets where its header promises them; the search goes back until it meets some.
    """
    if not any(seen[stream.index].stamps for stream in streams):  # a bare stream: its packets can only be counted
        for packet in read_packets(container, *streams):
            _note(packet, seen[packet.stream_index])
        return
    begin = min(state.first for state in seen.values() if state.first is not None)
    promised = max((_promised_end(container, stream, seen[stream.index]) for stream in streams), default=begin)
    main = streams[0]
    for before in (*TAIL_SECONDS, None):
        target = begin if before is None else promised - before
        if target <= begin and before is not None:
            continue
        try:
            container.seek(int(target / main.time_base) if main.time_base else 0, stream=main, backward=True)
        except (av.error.FFmpegError, OSError):
            continue
        found = 0
        for packet in read_packets(container, *streams):
            found += packet.stream_index == main.index
            _note(packet, seen[packet.stream_index])
        if found:
            return


def _promised_end(container: av.container.InputContainer, stream: VideoStream | AudioStream, state: _Seen) -> float:
    """Return the end of a stream by its header, in container seconds."""
    first = state.first or 0.0
    if stream.duration is not None and stream.time_base is not None:
        return first + presentation_time(stream.duration, stream.time_base, 0.0)
    if container.duration is not None:
        # Matroska counts the duration from zero, others from the first stamp: the earlier reading is the safer to seek to.
        return max(first, container.duration / av.time_base)
    return state.last if state.last is not None else first


def _describe(
    path: Path, container: av.container.InputContainer, picture: VideoStream | None, sounds: list[AudioStream], seen: dict[int, _Seen]
) -> MediaInfo:
    """Return the record of what was seen."""
    chosen = next((s for s in sounds if s.disposition & av.stream.Disposition.default), sounds[0] if sounds else None)
    clock = [seen[s.index].first for s in (picture, chosen) if s is not None]
    origin = min(time for time in clock if time is not None)
    video = _describe_video(path, picture, seen[picture.index], origin) if picture is not None else None
    tracks = tuple(_describe_audio(stream, seen[stream.index], origin) for stream in sounds)
    duration = max([track.start + track.duration for track in tracks] + ([video.start + video.duration] if video else []))
    if duration > MAX_DURATION:
        raise Unsupported(
            f"{path.name}: its time stamps span {duration / 3600:.0f} hours, which is more than 48; rewrite the file with sound stamps."
        )
    size = path.stat().st_size
    if duration > SPARSE_SECONDS and size < duration * SPARSE_BYTES:
        raise Unreadable(
            f"{path.name}: its time stamps span {duration / 3600:.1f} hours, for which {size} bytes are too few; rewrite the file with sound stamps."
        )
    return MediaInfo(
        container=container.format.name,
        duration=duration,
        origin=origin,
        start_timecode=_timecode(container),
        video=video,
        audio_tracks=tracks,
    )


def _describe_video(path: Path, stream: VideoStream, state: _Seen, origin: float) -> VideoTrack:
    frame = state.frames[0]
    assert isinstance(frame, VideoFrame)
    rotation = round(-frame.rotation / 90) * 90 % 360
    aspect = float(stream.sample_aspect_ratio or 1)
    aspect = aspect if 0.2 <= aspect <= 5 else 1.0  # beyond that a header is broken
    width, height = max(1, round(frame.width * aspect)), frame.height
    if rotation in {90, 270}:
        width, height = height, width
    refuse_large(path, width, height)
    rate = _frame_rate(stream, state)
    first = state.first or 0.0
    shown = max((float(f.time) for f in state.frames if f.time is not None), default=first) + 1 / rate
    counted = first + state.packets / rate if not state.stamps else first
    return VideoTrack(
        index=stream.index,
        codec=stream.codec.canonical_name,
        pixel_format=frame.format.name,
        width=width,
        height=height,
        coded_width=frame.width,
        coded_height=frame.height,
        rotation=rotation,
        sample_aspect=aspect,
        frame_rate=rate,
        interlaced=any(f.interlaced_frame for f in state.frames if isinstance(f, VideoFrame)),
        start=first - origin,
        duration=max(state.last or 0.0, shown, counted) - first,
    )


def _frame_rate(stream: VideoStream, state: _Seen) -> float:
    """Return the mean frames a second: the header's where its index or the packets bear it out, else what the packets show."""
    gaps = sorted(later - earlier for earlier, later in pairwise(sorted(set(state.stamps))))
    measured = len(gaps) / sum(gaps) if gaps else None
    if stream.frames > 1 and stream.duration and stream.time_base:
        indexed = stream.frames / presentation_time(stream.duration, stream.time_base, 0.0)
        if 0.1 <= indexed <= 1000:
            return indexed
    header = float(stream.average_rate) if stream.average_rate else None
    if header is not None and 0.1 <= header <= 1000 and (measured is None or abs(header / measured - 1) < 0.1):
        return header
    return measured if measured is not None and 0.1 <= measured <= 1000 else NOMINAL_RATE


def _describe_audio(stream: AudioStream, state: _Seen, origin: float) -> AudioTrack:
    first = state.first or 0.0
    frame = state.frames[0]
    assert isinstance(frame, AudioFrame)
    return AudioTrack(
        index=stream.index,
        codec=stream.codec.canonical_name,
        channels=len(frame.layout.channels),
        layout=frame.layout.name,
        sample_rate=frame.sample_rate,
        language=_known_language(stream.metadata.get("language")),
        title=stream.metadata.get("title") or stream.metadata.get("handler_name") or None,
        default=bool(stream.disposition & av.stream.Disposition.default),
        start=first - origin,
        duration=max(state.last or 0.0, first + frame.samples / frame.sample_rate) - first,
    )


def _known_language(tag: str | None) -> str | None:
    return None if tag in {None, "", "und"} else tag


def _timecode(container: av.container.InputContainer) -> str | None:
    """Return the source timecode of the first frame as written (hh:mm:ss:ff, or ; for drop frame); None where there is none."""
    for metadata in (container.metadata, *(stream.metadata for stream in container.streams)):
        if metadata.get("timecode"):
            return str(metadata["timecode"])
    return None
