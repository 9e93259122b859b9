"""Scenes with a known answer, made of labelled face tracks: people who talk in turn, listen, interrupt, or are not to be seen.

A made scene is a list of turns. In a turn the talker's picture and sound come from one stretch of his or her track; the others on screen
listen (stretches of their own tracks in which they are silent, forth and back) or, in some kinds, move their lips to other words. Who is never
silent for long enough is shown only while there is something to show: cuts. All is drawn with one seeded generator.

  recorded      clips as they are, with all their tracks at their places
  alternating   two or three faces, one talks at a time
  overlapping   the same, and most turns begin before the last has ended: two own voices at once
  out_of_sight  one or two faces, and somebody who is never seen has half of the turns
  noisy         two or three faces over noise or music, 0 to 15 dB below the voices; between turns lips may move that nobody hears
  foreign_lips  as out_of_sight, but those who do not speak often move their lips to other words

Truth and what is scored: `turn_truth.py`. Whose stretches there are: `turn_cast.py`. What lies under the voices: `turn_sounds.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asd_core.speech.activity import INSTANT_SAMPLES, runs
from asd_core.speech.mfcc import SAMPLE_RATE
from asd_core.timeline import GRID_HZ, nearest_instant
from benchmarks.labelled_tracks import LabelledTrack
from benchmarks.turn_cast import Cast, source_of
from benchmarks.turn_sounds import bed, room
from benchmarks.turn_truth import HEARD, Face, Scene, heard, others_heard

LENGTH = 24  # seconds that a made scene has at least
VOICE_LEVEL, LEVEL_SPREAD = -26.0, 4.0  # dBFS of speech
TURN = (0.6, 8.0)  # seconds, log-uniform
MOST_RECORDED = 60.0  # seconds of one person in the recorded scenes


@dataclass(frozen=True)
class Style:
    """What happens in a kind of scene: shares and chances in 0..1, gaps between turns in seconds."""

    faces: tuple[int, int] = (2, 3)
    unseen: float = 0.0  # share of turns that belong to somebody out of sight
    overlap: float = 0.0  # chance that a turn begins before the last one ends
    foreign: float = 0.0  # chance that one who does not speak moves the lips to other words
    unheard: float = 0.0  # chance that one face's lips move between turns
    gap: tuple[float, float] = (0.0, 0.8)
    bed: bool = False  # noise or music under all of it


STYLES = {
    "alternating": Style(),
    "overlapping": Style(overlap=0.7),
    "out_of_sight": Style(faces=(1, 2), unseen=0.5),
    "noisy": Style(unheard=0.5, gap=(0.5, 4.0), bed=True),
    "foreign_lips": Style(faces=(1, 2), unseen=0.5, foreign=0.6),
}
KINDS = ("recorded", *STYLES)


@dataclass(frozen=True)
class _Turn:
    who: int  # of the cast; the last of it is out of sight where the style has one
    track: int
    begin: int  # instant within the track
    start: int  # instant of the scene
    length: int


def make_scenes(tracks: Sequence[LabelledTrack], *, seed: int = 1, each: int = 20) -> list[Scene]:
    """Return the recorded scenes and `each` made ones of every style; with more of them, the first stay as they are."""
    cast = Cast(tracks)
    scenes = _recorded(tracks, np.random.default_rng(seed))
    for number, (kind, style) in enumerate(STYLES.items()):
        scenes.extend(_made(kind, style, cast, np.random.default_rng([seed, number, i])) for i in range(each))
    return scenes


def _recorded(tracks: Sequence[LabelledTrack], rng: np.random.Generator) -> list[Scene]:
    clips = defaultdict(list)
    for i, track in enumerate(tracks):
        clips[track.clip].append(i)
    groups: list[list[int]] = []
    for clip in sorted(clips):
        end = -1
        for i in sorted(clips[clip], key=lambda i: (tracks[i].first, tracks[i].name)):
            if tracks[i].first >= end:
                groups.append([])
            groups[-1].append(i)
            end = max(end, tracks[i].first + len(tracks[i]))
    shown: dict[str, float] = defaultdict(float)
    scenes = []
    for g in rng.permutation(len(groups)):
        people = [tracks[i].person for i in groups[g]]
        if all(shown[person] < MOST_RECORDED for person in people):
            scenes.append(_recording([tracks[i] for i in groups[g]], groups[g]))
            for i in groups[g]:
                shown[tracks[i].person] += len(tracks[i]) / GRID_HZ
    return scenes


def _recording(tracks: Sequence[LabelledTrack], numbers: Sequence[int]) -> Scene:
    start = min(track.first for track in tracks)
    instants = max(track.first + len(track) for track in tracks) - start
    samples, voice = np.zeros(instants * INSTANT_SAMPLES, np.int16), np.zeros(instants, np.float32)
    labels = np.zeros((len(tracks), instants), np.int8)
    faces = []
    for row, track, number in zip(labels, tracks, numbers, strict=True):
        at = slice(track.first - start, track.first - start + len(track))
        samples[at.start * INSTANT_SAMPLES : at.stop * INSTANT_SAMPLES] = track.sound
        voice[at], row[at] = track.voice, track.label
        faces.append(Face(track.person, at.start, source_of(number, np.arange(len(track))), track.label))
    return Scene("recorded", samples, tuple(faces), others_heard(labels, voice))


def _made(kind: str, style: Style, cast: Cast, rng: np.random.Generator) -> Scene:
    shown = int(rng.integers(style.faces[0], style.faces[1] + 1))
    people = cast.draw(shown, int(style.unseen > 0), rng)
    turns = _draw_turns(style, cast, people, shown, rng)
    instants = max(turn.start + turn.length for turn in turns) + int(rng.integers(0, GRID_HZ))
    sound, unseen = np.zeros(instants * INSTANT_SAMPLES), np.zeros(instants, np.int8)
    speaks = np.zeros((shown, instants), np.int8)
    sources = np.full((shown, instants, 2), -1)  # track and instant of each face's picture; -1 where there is none yet
    for turn in turns:
        _speak(turn, cast.tracks[turn.track], shown, sound, unseen, speaks, rng)
        if turn.who < shown:
            own = np.arange(turn.begin, turn.begin + turn.length)
            sources[turn.who, turn.start : turn.start + turn.length] = source_of(turn.track, own)
    others = [(slice(turn.start, turn.start + turn.length), style.foreign) for turn in turns]
    for at, chance in [*others, *((gap, style.unheard) for gap in _gaps(turns))]:
        for face in rng.permutation(shown):
            if people[face] in cast.talking and (sources[face, at] < 0).all() and rng.random() < chance:
                sources[face, at] = cast.mumble(people[face], at.stop - at.start, rng)
    sound += bed(sound, rng) if style.bed else room(len(sound), rng)
    samples = np.clip(np.round(sound * 32768), -32768, 32767).astype(np.int16)
    faces: list[Face] = []
    for person, source, row in zip(people[:shown], sources, speaks, strict=True):
        faces.extend(_shown(person, source, row, cast, rng))
    return Scene(kind, samples, tuple(faces), unseen)


def _shown(person: str, source: np.ndarray, speaks: np.ndarray, cast: Cast, rng: np.random.Generator) -> list[Face]:
    """Return the tracks of one person: the whole time for who can listen, else each stretch in which there is something to show."""
    if person in cast.silent:
        return [Face(person, 0, np.where(source < 0, cast.listen(person, len(source), rng), source), speaks)]
    stretches = [(nearest_instant(span.start), nearest_instant(span.end)) for span in runs(source[:, 0] >= 0)]
    return [Face(person, first, source[first:end], speaks[first:end]) for first, end in stretches]


def _draw_turns(style: Style, cast: Cast, people: Sequence[str], shown: int, rng: np.random.Generator) -> list[_Turn]:
    turns: list[_Turn] = []
    at = nearest_instant(rng.uniform(*style.gap))
    talkers = [face for face in range(shown) if people[face] in cast.talking]
    while at < LENGTH * GRID_HZ:
        last = turns[-1].who if turns else -1
        if style.unseen and (not talkers or rng.random() < style.unseen):
            who = shown
        else:
            who = int(rng.choice([face for face in talkers if face != last] or talkers))
        wanted = nearest_instant(np.exp(rng.uniform(*np.log(TURN))))
        track, begin, length = cast.talk(people[who], wanted, rng)
        if turns and who != last and rng.random() < style.overlap:
            most = min(length, turns[-1].length) // 2
            start = at - int(rng.integers(most // 2, most + 1))
        else:
            start = at + nearest_instant(rng.uniform(*style.gap))
        turns.append(_Turn(who, track, begin, start, length))
        at = max(at, start + length)
    return turns


def _gaps(turns: Sequence[_Turn]) -> list[slice]:
    ends = [turn.start + turn.length for turn in turns[:-1]]
    return [slice(end, turn.start) for end, turn in zip(ends, turns[1:], strict=True) if turn.start > end]


def _speak(
    turn: _Turn, track: LabelledTrack, shown: int, sound: np.ndarray, unseen: np.ndarray, speaks: np.ndarray, rng: np.random.Generator
) -> None:
    """Put a turn's sound and truth into the scene."""
    own = slice(turn.begin, turn.begin + turn.length)
    at = slice(turn.start, turn.start + turn.length)
    piece = track.sound[own.start * INSTANT_SAMPLES : own.stop * INSTANT_SAMPLES] / 32768.0
    voiced = np.repeat(track.voice[own] >= HEARD, INSTANT_SAMPLES)
    power = float(np.mean(piece[voiced] ** 2)) if voiced.any() else 0.0
    gain = 10 ** ((VOICE_LEVEL + rng.uniform(-LEVEL_SPREAD, LEVEL_SPREAD)) / 20) / np.sqrt(power) if power > 0 else 1.0
    fade = np.minimum(1.0, np.minimum(np.arange(len(piece)), np.arange(len(piece))[::-1]) / (0.01 * SAMPLE_RATE))
    sound[at.start * INSTANT_SAMPLES : at.stop * INSTANT_SAMPLES] += gain * fade * piece
    if turn.who < shown:
        speaks[turn.who, at] = track.label[own]
        others = others_heard(track.label[None, own], track.voice[own])
    else:
        others = heard(track.voice[own])
    unseen[at] = np.where((unseen[at] == 1) | (others == 1), 1, np.where((unseen[at] == -1) | (others == -1), -1, 0))
