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

Truth per instant is 1, 0 or -1 (unsure). An instant is scored where all is sure and nothing changes within two instants: labels are not
better than that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from asd_core.speech.activity import INSTANT_SAMPLES, runs
from asd_core.speech.mfcc import SAMPLE_RATE
from asd_core.timeline import GRID_HZ, nearest_instant
from benchmarks.labelled_tracks import LabelledTrack

LENGTH = 24  # seconds that a made scene has at least
HEARD, QUIET = 0.5, 0.15  # probability of a voice above and below which the labels call it sure
EDGE = 2  # instants beside a change that are not scored
SHORTEST_SILENCE = 1.2  # seconds: stretches of a silent face that can be shown as a listener; chains of shorter ones look like talk
VOICE_LEVEL, LEVEL_SPREAD = -26.0, 4.0  # dBFS of speech
ROOM = (-70.0, -50.0)  # dBFS of the noise of a quiet room
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


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a scene: from instant `first` on, the (T, 2) track and instant that each picture is from, and whether (T,) it speaks."""

    person: str
    first: int
    source: np.ndarray
    speaks: np.ndarray


@dataclass(frozen=True, eq=False)
class Scene:
    """Sound, faces, and whether (T,) somebody out of sight speaks."""

    kind: str
    samples: np.ndarray  # (640 T,) int16
    faces: tuple[Face, ...]
    unseen: np.ndarray

    def truth(self) -> np.ndarray:
        """Return (F + 1, T) of 1, 0, -1: each face, and last whoever is out of sight."""
        rows = np.zeros((len(self.faces) + 1, len(self.unseen)), np.int8)
        for row, face in zip(rows, self.faces, strict=False):
            row[face.first : face.first + len(face.speaks)] = face.speaks
        rows[-1] = self.unseen
        return rows

    def scored(self) -> np.ndarray:
        """Return (T,) whether an instant is scored."""
        truth = self.truth()
        changes = np.flatnonzero((np.diff(truth, axis=1) != 0).any(axis=0))
        near = np.zeros(truth.shape[1], np.bool_)
        for edge in changes:  # between edge and edge + 1
            near[max(0, edge + 1 - EDGE) : edge + 1 + EDGE] = True
        return ~near & (truth >= 0).all(axis=0)


@dataclass(frozen=True)
class _Turn:
    who: int  # of the cast; the last of it is out of sight where the style has one
    track: int
    begin: int  # instant within the track
    start: int  # instant of the scene
    length: int


class Cast:
    """People to make scenes of, each with the stretches in which they talk and those in which they are silent."""

    def __init__(self, tracks: Sequence[LabelledTrack]) -> None:
        self.tracks = tracks
        self.talking: dict[str, list[int]] = defaultdict(list)
        self.silent: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        for i, track in enumerate(tracks):
            if (track.label == 1).sum() >= GRID_HZ:
                self.talking[track.person].append(i)
            for span in runs((track.label == 0) | ((track.label == -1) & (track.voice < QUIET))):
                if span.end - span.start >= SHORTEST_SILENCE:
                    self.silent[track.person].append((i, nearest_instant(span.start), nearest_instant(span.end)))
        self.voices = sorted(self.talking)
        self.listeners = sorted(self.silent)

    def draw(self, shown: int, others: int, rng: np.random.Generator) -> list[str]:
        """Return the people of a scene, all different: one who can listen, the rest of those shown, and others who can talk."""
        first = str(rng.choice(self.listeners))
        return [first, *rng.choice([voice for voice in self.voices if voice != first], shown - 1 + others, replace=False).tolist()]

    def talk(self, person: str, length: int, rng: np.random.Generator) -> tuple[int, int, int]:
        """Return (track, first instant, length) of a stretch of speech, the best of a few drawn; shorter where the track is."""
        best, most = (0, 0, 0), -2.0
        for _ in range(6):
            i = int(rng.choice(self.talking[person]))
            label = self.tracks[i].label
            begin = int(rng.integers(0, max(1, len(label) - length + 1)))
            piece = label[begin : begin + length]
            share = float((piece == 1).mean() - (piece == -1).mean())
            if share > most:
                best, most = (i, begin, len(piece)), share
        return best

    def listen(self, person: str, length: int, rng: np.random.Generator) -> np.ndarray:
        """Return the (length, 2) source of a silent face: stretches drawn by their length, each forth and back."""
        lengths = np.array([end - begin for _, begin, end in self.silent[person]], np.float64)
        rows: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
        while sum(map(len, rows)) < length:
            i, begin, end = self.silent[person][int(rng.choice(len(lengths), p=lengths / lengths.sum()))]
            there = np.arange(begin, end)
            rows.append(_source(i, np.concatenate([there, there[::-1]])))
        return np.concatenate(rows)[:length]

    def mumble(self, person: str, length: int, rng: np.random.Generator) -> np.ndarray:
        """Return the (length, 2) source of lips that say something else."""
        rows: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
        while sum(map(len, rows)) < length:
            i, begin, count = self.talk(person, length, rng)
            rows.append(_source(i, np.arange(begin, begin + count)))
        return np.concatenate(rows)[:length]


def _source(track: int, instants: np.ndarray) -> np.ndarray:
    return np.column_stack([np.full(len(instants), track), instants])


def make_scenes(tracks: Sequence[LabelledTrack], *, seed: int = 1, each: int = 20) -> list[Scene]:
    """Return the recorded scenes and `each` made ones of every style; with more of them, the first stay as they are."""
    cast = Cast(tracks)
    scenes = _recorded(tracks, np.random.default_rng(seed))
    for number, (kind, style) in enumerate(STYLES.items()):
        scenes.extend(_made(kind, style, cast, np.random.default_rng([seed, number, i])) for i in range(each))
    return scenes


def heard(voice: np.ndarray) -> np.ndarray:
    """Return whether a voice is heard: 1, 0, or -1 between the limits."""
    return np.where(voice >= HEARD, 1, np.where(voice < QUIET, 0, -1)).astype(np.int8)


def others_heard(labels: np.ndarray, voice: np.ndarray) -> np.ndarray:
    """Return (T,) whether somebody speaks who is none of the (F, T) faces: a voice while all of them are surely silent."""
    unknown = (labels == -1).any(axis=0) & ~(labels == 1).any(axis=0)
    return np.where((labels == 1).any(axis=0), 0, np.where(unknown, -1, heard(voice))).astype(np.int8)


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
        faces.append(Face(track.person, at.start, _source(number, np.arange(len(track))), track.label))
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
            sources[turn.who, turn.start : turn.start + turn.length] = _source(turn.track, own)
    others = [(slice(turn.start, turn.start + turn.length), style.foreign) for turn in turns]
    for at, chance in [*others, *((gap, style.unheard) for gap in _gaps(turns))]:
        for face in rng.permutation(shown):
            if people[face] in cast.talking and (sources[face, at] < 0).all() and rng.random() < chance:
                sources[face, at] = cast.mumble(people[face], at.stop - at.start, rng)
    sound += _bed(sound, rng) if style.bed else _noise(len(sound), rng) * 10 ** (rng.uniform(*ROOM) / 20)
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


def _bed(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise (of a colour between white and brown) or music (chords of decaying tones) some dB below the speech."""
    voiced = sound[np.abs(sound) > 1e-3]
    level = np.sqrt(np.mean(voiced**2)) * 10 ** (-rng.uniform(0, 15) / 20)
    made = _noise(len(sound), rng) if rng.random() < 0.5 else _music(len(sound), rng)
    return made * level / np.sqrt(np.mean(made**2))


def _noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of power 1."""
    made = lfilter([1.0], [1.0, -rng.uniform(0, 0.98)], rng.standard_normal(count))
    return made / np.sqrt(np.mean(made**2))


def _music(count: int, rng: np.random.Generator) -> np.ndarray:
    made = np.zeros(count)
    beat = int(rng.uniform(0.25, 0.6) * SAMPLE_RATE)
    time = np.arange(4 * beat) / SAMPLE_RATE
    fading = np.exp(-time / 0.5) * np.minimum(1, time / 0.01)
    steps = np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17, 19])  # semitones of two octaves in major
    tones = [fading * sum(np.sin(2 * np.pi * 165.0 * 2 ** (step / 12) * k * time) / k**1.5 for k in range(1, 7)) for step in steps]
    for start in range(0, count, beat):
        for tone in rng.choice(len(tones), 3, replace=False):
            made[start : start + len(time)] += tones[tone][: count - start]
    return made
