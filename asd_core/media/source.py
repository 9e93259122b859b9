"""Opening files that nobody vouches for: which containers are let in, and how the decoder library's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.container
import av.error
import av.stream
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from asd_core.errors import Unreadable, Unsupported

# The decoders' own chatter about damaged bytes would fill a log; what matters of it comes back as errors. Set on the library's side: a
# Python callback would need the interpreter's lock in decoder threads, and closing a file while they log would then never end.
av.logging.set_libav_level(av.logging.PANIC)

MAX_SIDE = 8192  # pixels: beyond 8K UHD a header is hostile or nothing here can afford it
MAX_PIXELS = MAX_SIDE * MAX_SIDE
MAX_DEMUX_ERRORS = 200  # unreadable stretches in a row before the rest of a file is given up

# Demuxers that read one file and nothing else. Left out on purpose: playlists (hls, concat, dash), which would open other files and
# addresses; tty, which takes any text for a picture; still images.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpegtsraw,mpeg,mpegvideo,avi,mxf,gxf,flv,asf,ogg,wav,w64,aiff,mp3,aac,ac3,eac3,flac,"
    "dts,dv,rm,nut,ivf,h264,hevc,av1,obu,m4v,vc1,caf,au,amr,ape,wv,tta,avs2,ffm,nsv,pva,wtv,y4m,yuv4mpegpipe,lmlm4,film_cpk,smk,bink"
)


def open_container(path: Path) -> av.container.InputContainer:
    """Return the opened file; only that one file is ever read, whatever its bytes ask for.

    Raises:
        Unreadable: it does not exist, is empty, or is not media.
        Unsupported: nothing here reads this kind of container.
    """
    if not path.is_file():
        raise Unreadable(f"{path.name}: there is no such file; check the path.")
    if path.stat().st_size == 0:
        raise Unreadable(f"{path.name}: the file is empty; copy it again from its source.")
    try:
        return av.open(f"file:{path}", options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.error.DecoderNotFoundError, av.error.DemuxerNotFoundError) as error:
        raise Unsupported(f"{path.name}: nothing here reads this kind of file; convert it to MP4 or Matroska.") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise Unreadable(f"{path.name}: not a video or sound file, or damaged beyond use; check the file or its source.") from error


def read_packets(container: av.container.InputContainer, *streams: av.stream.Stream) -> Iterator[Packet[Any]]:
    """Yield the packets of the given streams to the end of the file, stepping over stretches that cannot be read.

    Flush packets are left out: end a decoder with `decode_packet(context, None)`.
    """
    errors = 0
    while errors < MAX_DEMUX_ERRORS:
        try:
            for packet in container.demux(*streams):
                if packet.size:
                    errors = 0
                    yield packet
        except (av.error.EOFError, IndexError):  # PyAV's demux ends with an IndexError where streams appeared on the way: damaged FLV
            return
        except (av.error.FFmpegError, OSError):
            errors += 1
        else:
            return


def set_aside(container: av.container.InputContainer, *wanted: av.stream.Stream) -> None:
    """Have the demuxer skip every other stream, so that their bytes are not read where the container allows it."""
    indexes = {stream.index for stream in wanted}
    for stream in container.streams:
        if stream.index not in indexes:
            stream.discard = av.stream.Discard.all


def decode_packet(stream: VideoStream | AudioStream, packet: Packet[Any] | None, *, strict: bool = False) -> list[Any]:
    """Return the frames that a packet (None: the end) gives; none where it is damaged.

    Raises:
        av.error.FFmpegError: it is damaged and `strict` is set.
    """
    try:
        frames = list(stream.codec_context.decode(packet))
    except av.error.MemoryError:
        raise
    except av.error.FFmpegError:
        if strict:
            raise
        return []
    for frame in frames:
        if not frame.time_base and stream.time_base:  # PyAV leaves it out on what a decoder still held at the end
            frame.time_base = stream.time_base
    return frames
