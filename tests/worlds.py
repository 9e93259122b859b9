"""Made media with known truth: flashes and beeps at known times, in the shapes that real containers have.

Each maker writes one file and returns its `World`: the times, on the asset's clock, at which a white flash of 80 ms begins and a beep of
1 kHz and 80 ms begins. Names say what is odd about the file. Picture grey 40 between flashes; sound digital silence between beeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SOUND_HZ = 48000
LONG = 0.08  # seconds of a flash and of a beep
TICK = Fraction(1, 90000)


@dataclass(frozen=True)
class World:
    """A made file and what is true of it."""

    path: Path
    duration: float
    flashes: tuple[float, ...]
    beeps: tuple[float, ...]


def flash_and_beep(
    path: Path,
    *,
    rate: Fraction | int = 25,
    seconds: float = 4.0,
    video_start: float = 0.0,
    audio_start: float = 0.0,
    size: tuple[int, int] = (320, 180),
    codec: str = "libx264",
    sound_codec: str = "aac",
    sounds: Sequence[str] = ("beeps",),
    keep: Callable[[int], bool] = lambda _: True,
    default_sound: int | None = None,
    layout: str = "mono",
) -> World:
    """Write flashes and beeps at 0.5, 1.5, 2.5 … s of the asset's clock.

    Args:
        path: the suffix chooses the container.
        rate: nominal frames a second.
        seconds: length from the earlier of both starts to the end.
        video_start: container time of the first frame.
        audio_start: likewise of the sound.
        size: width and height.
        codec: of the picture.
        sound_codec: of the sound.
        sounds: a sound track each: "beeps", "silence", "tone" (440 Hz all the time) or "left" (stereo, beeps on the left side only).
        keep: which frames, by number, are written; leaving some out makes the frame rate vary.
        default_sound: which sound track is flagged as default.
        layout: of the sound.
    """
    origin = min([video_start, *([audio_start] if sounds else [])])
    moments = tuple(float(t) for t in np.arange(0.5, seconds, 1.0))
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=Fraction(rate))
        video.width, video.height, video.pix_fmt, video.codec_context.time_base = *size, "yuv420p", TICK
        tracks = [container.add_stream(sound_codec, rate=SOUND_HZ, layout="stereo" if kind == "left" else layout) for kind in sounds]
        for number, track in enumerate(tracks):
            if default_sound is not None:
                track.disposition = av.stream.Disposition.default if number == default_sound else av.stream.Disposition(0)
        for number in range(round(seconds * Fraction(rate))):
            time = video_start - origin + number / Fraction(rate)
            if time >= seconds or not keep(number):
                continue
            frame = av.VideoFrame.from_ndarray(_picture(float(time), moments, size), format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = round((time + Fraction(origin)) / TICK), TICK
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for kind, track in zip(sounds, tracks, strict=True):
            for frame in _sound_frames(kind, track, audio_start - origin, seconds, moments, origin):
                container.mux(track.encode(frame))
            container.mux(track.encode(None))
    begins = (video_start - origin, audio_start - origin)
    heard = "beeps" in sounds or "left" in sounds
    return World(path, seconds, tuple(t for t in moments if t >= begins[0]), tuple(t for t in moments if heard and t >= begins[1]))


def _picture(time: float, moments: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    lit = any(moment - 1e-6 <= time < moment + LONG for moment in moments)
    return np.full((size[1], size[0]), 235 if lit else 40, np.uint8)


def _sound_frames(kind: str, track, start: float, seconds: float, moments: Sequence[float], origin: float):
    times = start + np.arange(round((seconds - start) * SOUND_HZ)) / SOUND_HZ
    samples = np.zeros(len(times), np.float32)
    if kind == "tone":
        samples[:] = 0.3 * np.sin(2 * np.pi * 440 * times)
    elif kind != "silence":
        for moment in moments:
            on = (times >= moment) & (times < moment + LONG)
            samples[on] = 0.5 * np.sin(2 * np.pi * 1000 * times[on])
    layout = track.layout.name
    resampler = av.AudioResampler(format=track.format.name, layout=layout, rate=SOUND_HZ, frame_size=track.codec_context.frame_size or 1024)
    sides = np.stack([samples, np.zeros_like(samples)]) if kind == "left" else np.stack([samples] * track.layout.nb_channels)
    offset = round((start + origin) * SOUND_HZ)
    for first in range(0, len(samples), SOUND_HZ):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sides[:, first : first + SOUND_HZ]), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, offset + first, Fraction(1, SOUND_HZ)
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def film_rate(folder: Path) -> World:
    """23.976 frames a second: no flash falls on a frame of the 25 Hz grid."""
    return flash_and_beep(folder / "film_rate.mp4", rate=Fraction(24000, 1001), seconds=6)


def varying_rate(folder: Path) -> World:
    """30 frames a second of which every third, and in the second second every other, is missing."""
    return flash_and_beep(folder / "varying_rate.mkv", rate=30, keep=lambda n: n % 3 != 2 and not (30 <= n < 60 and n % 2))


def late_clock(folder: Path) -> World:
    """A transport stream whose clock begins at 37 s."""
    return flash_and_beep(folder / "late_clock.ts", video_start=37.0, audio_start=37.0, sound_codec="mp2")


def late_sound(folder: Path) -> World:
    """The sound begins 700 ms after the picture."""
    return flash_and_beep(folder / "late_sound.mkv", audio_start=0.7)


def late_picture(folder: Path) -> World:
    """The picture begins 400 ms after the sound."""
    return flash_and_beep(folder / "late_picture.mkv", video_start=0.4)


def two_sounds(folder: Path) -> World:
    """Two sound tracks; the first is silent and flagged as default, the second beeps."""
    return flash_and_beep(folder / "two_sounds.mkv", sounds=("silence", "beeps"), default_sound=0)


def one_sided(folder: Path) -> World:
    """Stereo with a dead right side."""
    return flash_and_beep(folder / "one_sided.mkv", sounds=("left",), sound_codec="pcm_s16le")


def silent(folder: Path) -> World:
    """A sound track that is digital silence."""
    return flash_and_beep(folder / "silent.mp4", sounds=("silence",))


def no_sound(folder: Path) -> World:
    """No sound track at all."""
    return flash_and_beep(folder / "no_sound.mp4", sounds=())


def one_frame(folder: Path) -> World:
    """A single frame, without sound."""
    return flash_and_beep(folder / "one_frame.mp4", seconds=0.04, sounds=())
