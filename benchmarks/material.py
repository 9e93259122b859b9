"""Material for the speed benchmark: 720p and 1080p at 25 frames/s and 5 Mbit/s with one or three faces, of any length.

A stretch of a real clip is scaled, resampled to 25 frames/s and encoded once (H.264 High, AAC); its packets are then repeated with later
stamps until the length is reached. So twenty minutes cost no more encoding than twenty seconds, and every second is as dear to decode as
the first.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

SOURCES = {1: "speech_podium_japanese_abe.mp4", 3: "three_on_stage_msdwild00001.mp4"}
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
BIT_RATE = 5_000_000
RATE = 25
LOOP_SECONDS = 20
AUDIO_RATE = 48_000


def make_material(clips: Path, folder: Path, *, size: str, faces: int, minutes: float) -> Path:
    """Return a file of the wanted size, number of faces and length, made from the clips on first use and kept in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    loop = folder / f"loop_{size}_{faces}.mp4"
    if not loop.exists():
        _encode_loop(clips / SOURCES[faces], loop, SIZES[size])
    path = folder / f"{size}_{faces}_{minutes:g}min.mp4"
    if not path.exists():
        _repeat(loop, path, minutes * 60)
    return path


def _encode_loop(source: Path, target: Path, size_wh: tuple[int, int]) -> None:
    part = target.with_suffix(".part.mp4")
    with av.open(str(source)) as given, av.open(str(part), "w") as made:
        video = made.add_stream(
            "libx264",
            rate=RATE,
            options={"preset": "veryfast", "profile": "high", "nal-hrd": "cbr", "maxrate": str(BIT_RATE), "bufsize": str(BIT_RATE)},
        )
        video.width, video.height = size_wh
        video.pix_fmt = "yuv420p"
        video.bit_rate = BIT_RATE
        sound = made.add_stream("aac", rate=AUDIO_RATE, layout="stereo")
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=AUDIO_RATE, frame_size=1024)
        wanted = 0
        for frame in given.decode(given.streams.video[0], given.streams.audio[0]):
            if frame.time is None or frame.time >= LOOP_SECONDS:
                continue
            if isinstance(frame, av.VideoFrame):
                while wanted / RATE <= frame.time + 0.5 / RATE and wanted < LOOP_SECONDS * RATE:
                    scaled = frame.reformat(*size_wh, "yuv420p", interpolation="BICUBIC")
                    scaled.pts, scaled.time_base = wanted, Fraction(1, RATE)
                    made.mux(video.encode(scaled))
                    wanted += 1
            else:
                frame.pts = None
                for piece in resampler.resample(frame):
                    made.mux(sound.encode(piece))
        made.mux(video.encode(None))
        made.mux(sound.encode(None))
    part.rename(target)


def _repeat(loop: Path, target: Path, seconds: float) -> None:
    part = target.with_suffix(".part.mp4")
    with av.open(str(part), "w") as made:
        outputs = {}
        with av.open(str(loop)) as given:
            for stream in given.streams:
                outputs[stream.index] = made.add_stream_from_template(stream)
        for turn in range(int(-(-seconds // LOOP_SECONDS))):
            with av.open(str(loop)) as given:
                for packet in given.demux():
                    if packet.dts is None or packet.pts * packet.time_base >= LOOP_SECONDS:
                        continue
                    at = turn * LOOP_SECONDS
                    if at + packet.pts * packet.time_base >= seconds:
                        continue
                    shift = int(at / packet.time_base)
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = outputs[packet.stream.index]
                    made.mux(packet)
    part.rename(target)
