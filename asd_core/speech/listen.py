"""From a stream of samples to what the later stages know of the sound; and which of several sound tracks to listen to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from asd_core.records import AudioTrack, KindSpan, Sound, Span
from asd_core.speech.activity import ActivityOptions, ActivityStream, VoiceDetector, load_voice_detector, runs, speech_spans
from asd_core.speech.mfcc import COEFFICIENTS, SAMPLE_RATE, MfccStream
from asd_core.timeline import GRID_HZ, MFCC_PER_INSTANT, instant_count, intersection, total

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """What counts as silence, and how speech is cut out of the detector's probabilities.

    silence_level: dBFS; below it nothing is meant to be heard (16-bit dither lies near -96, a muted analogue line near -65).
    shortest_silence: seconds; a shorter silence is a pause, not a span of its own.
    shortest_sound: seconds above `silence_level` that a track must have not to count as silent.
    """

    silence_level: float = -60.0
    shortest_silence: float = 2.0
    shortest_sound: float = 0.2
    activity: ActivityOptions = field(default_factory=ActivityOptions)


def no_sound() -> Sound:
    """Return the sound of an asset that has none: all arrays empty."""
    empty = np.zeros(0, np.float32)
    return Sound(audio_track=None, mfcc=np.zeros((0, COEFFICIENTS), np.float32), activity=empty, level=empty, speech=(), spans=())


def without_cepstra(sound: Sound) -> Sound:
    """Return a sound whose MFCC rows, 19 MB an hour, are let go: once tracks are scored nothing reads them."""
    return replace(sound, mfcc=sound.mfcc[:0].copy(), activity=sound.activity.copy(), level=sound.level.copy())


def listen(
    chunks: Iterable[NDArray[np.int16]],
    duration: float,
    *,
    audio_track: int | None = None,
    options: ListenOptions | None = None,
    detector: VoiceDetector | None = None,
    on_progress: Progress | None = None,
) -> Sound:
    """Return MFCC, speech activity, level and silences of one sound track, in one pass over its samples.

    Args:
        chunks: mono 16 kHz int16 samples from time zero on, in pieces of any length; the result does not depend on the pieces.
        duration: seconds of the asset. Sound beyond it is left out; where the sound ends sooner, silence follows.
        audio_track: stream index to be noted in the result.
        options: levels and lengths.
        detector: voice detector; Silero's where none is given. It is reset before use.
        on_progress: called as ("listen", seconds heard, duration).
    """
    options = options or ListenOptions()
    instants = instant_count(duration)
    cepstra, activity = MfccStream(), ActivityStream(detector or load_voice_detector())
    rows = []
    heard = 0
    limit = instants * SAMPLE_RATE // GRID_HZ + SAMPLE_RATE // GRID_HZ  # the last row reaches 15 ms beyond its instant
    for chunk in chunks:
        piece = chunk[: limit - heard]
        if len(piece) == 0:
            break
        rows.append(cepstra.push(piece))
        activity.push(piece)
        heard += len(piece)
        if on_progress is not None:
            on_progress("listen", min(heard / SAMPLE_RATE, duration), duration)
    rows.append(cepstra.finish(instants * MFCC_PER_INSTANT))
    mfcc = np.concatenate(rows)[: instants * MFCC_PER_INSTANT]
    probabilities, level = activity.finish(instants)
    whole = [Span(0.0, duration)]  # the last instant may last longer than the asset
    return Sound(
        audio_track=audio_track,
        mfcc=mfcc,
        activity=probabilities,
        level=level,
        speech=tuple(intersection(speech_spans(probabilities, options.activity), whole)),
        spans=_silences(level, whole, options),
    )


def _silences(level: NDArray[np.float32], whole: Sequence[Span], options: ListenOptions) -> tuple[KindSpan, ...]:
    quiet = intersection(runs(level < options.silence_level), whole)
    return tuple(KindSpan(span.start, span.end, "silence") for span in quiet if span.end - span.start >= options.shortest_silence - 1e-9)


def is_silent(sound: Sound, options: ListenOptions | None = None) -> bool:
    """Return whether a sound has next to nothing above the level of silence; true for no sound."""
    options = options or ListenOptions()
    return float(np.count_nonzero(sound.level >= options.silence_level)) / GRID_HZ < options.shortest_sound


def listen_to_asset(
    tracks: Sequence[AudioTrack],
    open_track: Callable[[int], Iterable[NDArray[np.int16]]],
    duration: float,
    options: ListenOptions | None = None,
    *,
    detector: VoiceDetector | None = None,
    on_progress: Progress | None = None,
) -> Sound:
    """Return the sound that an asset is judged by: its default track unless that is silent, else the one with most speech.

    The first track stands in where none is flagged as default. Other tracks are heard only when that one is silent; between equals the
    earlier stream wins, and where all are silent the default stays. No tracks: `no_sound()`.

    Args:
        tracks: the asset's sound tracks.
        open_track: gives the samples of the track with a stream index, as `listen` wants them.
        duration: seconds of the asset.
        options: levels and lengths.
        detector: as in `listen`.
        on_progress: as in `listen`; starts again for every track heard.
    """
    if not tracks:
        return no_sound()
    detector = detector or load_voice_detector()

    def hear(track: AudioTrack) -> Sound:
        return listen(open_track(track.index), duration, audio_track=track.index, options=options, detector=detector, on_progress=on_progress)

    default = next((track for track in tracks if track.default), tracks[0])
    first = hear(default)
    if not is_silent(first, options):
        return first
    others = [hear(track) for track in sorted(tracks, key=lambda t: t.index) if track.index != default.index]
    audible = [sound for sound in others if not is_silent(sound, options)]
    return max(audible, key=lambda sound: total(sound.speech), default=first)  # max keeps the first of equals
