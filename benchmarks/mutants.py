"""Damaged media: short films in several containers and codecs, and files made from them that are wrong in one way each.

A mutant is known by its seed and number alone: what is done to which film comes from them, so that any one can be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SECONDS = 1.6  # of a film: long enough for a track
SIZE = (320, 180)
RATE, SOUND_HZ = 25, 48000
HEAD = 2048  # bytes in which the containers' headers begin
FILMS = {  # file: codec of the picture, its pixel format, codec of the sound
    "h264.mp4": ("libx264", "yuv420p", "aac"),
    "h264.ts": ("libx264", "yuv420p", "mp2"),
    "h264.flv": ("libx264", "yuv420p", "aac"),
    "hevc.mkv": ("libx265", "yuv420p", "libopus"),
    "vp9.webm": ("libvpx-vp9", "yuv420p", "libopus"),
    "mpeg4.avi": ("mpeg4", "yuv420p", "mp2"),
    "mpeg2.mxf": ("mpeg2video", "yuv420p", "pcm_s16le"),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", "mp2"),
    "mjpeg.mov": ("mjpeg", "yuvj420p", "pcm_s16le"),
}
Damage = Callable[[bytearray, bytes, np.random.Generator], bytes | bytearray]


def make_seeds(film: Path, folder: Path) -> list[Path]:
    """Return the films that are damaged: the beginning of a film with faces and voices, in each shape; made once, kept in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, shape in FILMS.items():
        if not (folder / name).exists():
            part = folder / f"part-{name}"
            _encode(film, part, *shape)
            part.replace(folder / name)
    return [folder / name for name in FILMS]


def _encode(film: Path, target: Path, codec: str, pixels: str, sound_codec: str) -> None:
    with av.open(str(film)) as given, av.open(str(target), "w") as made:
        video = made.add_stream(codec, rate=RATE, options={"x265-params": "log-level=error"} if codec == "libx265" else {})
        (video.width, video.height), video.pix_fmt = SIZE, pixels
        sound = made.add_stream(sound_codec, rate=SOUND_HZ, layout="mono")
        frame_size = sound.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=sound.format.name, layout="mono", rate=SOUND_HZ, frame_size=frame_size)
        shown = 0
        for frame in given.decode(given.streams.video[0], given.streams.audio[0]):
            if frame.time is None or frame.time >= SECONDS:
                continue
            if isinstance(frame, av.VideoFrame):
                small = frame.reformat(*SIZE, pixels)
                small.pts, small.time_base, small.pict_type = shown, Fraction(1, RATE), 0
                made.mux(video.encode(small))
                shown += 1
            else:
                for piece in resampler.resample(frame):
                    made.mux(sound.encode(piece))
        made.mux(video.encode(None))
        made.mux(sound.encode(None))


def _bits(data: bytearray, _: bytes, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(0, len(data), int(2 ** rng.uniform(0, 10))):
        data[place] ^= 1 << int(rng.integers(8))
    return data


def _header_bits(data: bytearray, _: bytes, rng: np.random.Generator) -> bytearray:
    """Flip bits where the container says what follows; MP4 says it at the end."""
    for place in rng.integers(0, min(HEAD, len(data)), int(rng.integers(1, 33))):
        data[place if rng.random() < 0.5 else -1 - place] ^= 1 << int(rng.integers(8))
    return data


def _cut(data: bytearray, _: bytes, rng: np.random.Generator) -> bytearray:
    share = rng.uniform(0, 0.05) if rng.random() < 0.2 else rng.uniform(0.05, 1)
    return data[: int(len(data) * share)]


def _beheaded(data: bytearray, _: bytes, rng: np.random.Generator) -> bytearray:
    return data[int(rng.integers(1, len(data) // 2)) :]


def _spliced(data: bytearray, other: bytes, rng: np.random.Generator) -> bytes:
    """The header of another film before this one's body."""
    length = int(rng.integers(8, HEAD))
    return other[:length] + bytes(data[length if rng.random() < 0.5 else 0 :])


def _joined(data: bytearray, other: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of this film, then the end of another."""
    return bytes(data[: int(len(data) * rng.uniform(0.1, 0.9))]) + other[int(len(other) * rng.uniform(0.1, 0.9)) :]


def _noise(data: bytearray, _: bytes, rng: np.random.Generator) -> bytearray:
    length = int(len(data) * 2 ** rng.uniform(-10, -2)) + 1
    start = int(rng.integers(0, len(data) - length + 1))
    data[start : start + length] = rng.bytes(length) if rng.random() < 0.7 else bytes(length)
    return data


def _shuffled(data: bytearray, _: bytes, rng: np.random.Generator) -> bytearray:
    """A stretch that stands twice, or elsewhere."""
    start, end = sorted(int(place) for place in rng.integers(0, len(data), 2))
    stretch = bytes(data[start:end])
    if rng.random() < 0.5:
        del data[start:end]
    place = int(rng.integers(0, len(data) + 1))
    return data[:place] + stretch + data[place:]


DAMAGES: dict[str, Damage] = {
    "bits": _bits, "header bits": _header_bits, "cut": _cut, "beheaded": _beheaded, "spliced header": _spliced, "joined": _joined,
    "noise": _noise, "shuffled": _shuffled,
}  # fmt: skip


def make_mutants(seeds: Sequence[Path], folder: Path, *, seed: int, numbers: range) -> list[Path]:
    """Write damaged files; return their paths, whose names say number, damage and film."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = [path.read_bytes() for path in seeds]
    made = []
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        damage = list(DAMAGES)[number % len(DAMAGES)]
        which, other = (int(one) for one in rng.permutation(len(seeds))[:2])
        path = folder / f"{number:04d} {damage} {seeds[which].name}"
        path.write_bytes(DAMAGES[damage](bytearray(whole[which]), whole[other], rng))
        made.append(path)
    return made
