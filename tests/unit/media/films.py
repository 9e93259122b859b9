"""Films in which every frame shows its own number, and sounds whose every moment is known; both written with PyAV."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

BITS = 8
SIZE_WH = (192, 108)


def numbered(number, size_wh=SIZE_WH):
    """A grey picture whose upper half shows the bits of `number` as bright and dark fields, the lower half a ramp."""
    width, height = size_wh
    picture = np.tile(np.linspace(40, 200, width), (height, 1))
    for bit in range(BITS):
        picture[: height // 2, bit * width // BITS : (bit + 1) * width // BITS] = 220 if number >> bit & 1 else 30
    return picture.astype(np.uint8)


def number_of(grey):
    """The number that a picture (h, w) shows."""
    height, width = grey.shape
    return sum(
        1 << bit
        for bit in range(BITS)
        if grey[height // 8 : height * 3 // 8, bit * width // BITS + width // 32 : (bit + 1) * width // BITS - width // 32].mean() > 125
    )


def write_film(
    path,
    codec="libx264",
    *,
    count=75,
    rate=Fraction(25),
    pixel_format="yuv420p",
    size_wh=SIZE_WH,
    options=None,
    stamps=None,
    time_base=None,
    sound=None,
    draw=numbered,
    aspect=None,
    rotation=None,
    muxer=None,
):
    """Write `count` numbered frames (with `stamps` in units of `time_base` where given), and `sound` as (codec, hz, layout, float (C, S))."""
    with av.open(str(path), "w", options=muxer or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size_wh, pixel_format
        stream.codec_context.time_base = time_base or 1 / Fraction(rate)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        track = _add_sound(out, sound) if sound is not None else None
        for number in range(count):
            grey = draw(number, size_wh)
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey, format="rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts = stamps[number] if stamps is not None else number
            frame.time_base = stream.codec_context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if track is not None:
            _write_sound(out, track, sound)
    return path


def write_sound(path, sound, stamps=None):
    """Write a file with `sound` only; `stamps` are the pts, in samples, of each block of 1024."""
    with av.open(str(path), "w") as out:
        _write_sound(out, _add_sound(out, sound), sound, stamps)
    return path


def _add_sound(out, sound):
    codec, hz, layout, _ = sound
    return out.add_stream(codec, rate=hz, layout=layout)


def _write_sound(out, track, sound, stamps=None):
    codec, hz, layout, samples = sound
    form = "s16" if codec.startswith("pcm") else "fltp"
    resampler = av.AudioResampler(format=track.codec_context.format.name, layout=layout, rate=hz)
    for block, start in enumerate(range(0, samples.shape[1], 1024)):
        piece = np.ascontiguousarray(samples[:, start : start + 1024], np.float32)
        if form == "s16":
            piece = np.round(piece.T.reshape(1, -1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(piece, format=form, layout=layout)
        frame.sample_rate, frame.time_base = hz, Fraction(1, hz)
        frame.pts = start if stamps is None else stamps[block]
        for ready in resampler.resample(frame) if form != "s16" else [frame]:
            out.mux(track.encode(ready))
    for ready in resampler.resample(None) if form != "s16" else []:
        out.mux(track.encode(ready))
    out.mux(track.encode(None))


def babble(seconds, hz=48000, seed=0):
    """Noise with the slow swell of speech, (S,) float: it correlates with itself at one lag only."""
    generator = np.random.default_rng(seed)
    count = round(seconds * hz)
    noise = np.convolve(generator.standard_normal(count + 15), np.ones(16) / 4, "valid")
    return (0.1 * noise * (1.2 + np.sin(2 * np.pi * 3 * np.arange(count) / hz))).astype(np.float32)
