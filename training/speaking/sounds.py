"""Sounds for a face: its own, foreign ones, shifted ones, mixtures, noise, music and silence, each with its labels.

All of it happens on band energies (`data.sound_bands`), in which a gain is a factor, an equaliser a factor per band and a mixture a sum (of
sounds that do not know of each other); cepstra are made last. So one decoded face is shown with many sounds at little cost.

Whatever is done to foreign sound is done to own sound alike: otherwise level, noise floor or an edit would tell them apart (methods.md, E1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from asd_core.speech.mfcc import SAMPLE_RATE
from training.speaking.data import SAMPLES, Clip, Clips, mfcc_of, sound_bands

Bands = NDArray[np.float32]  # (T, 4, 27)
Labels = NDArray[np.int8]  # (T,) 1 speaks, 0 does not, -1 not known
SETS = ("own", "mixed", "foreign", "near", "other", "unvoiced")  # the sounds that each face is shown with
FOREIGN = slice(2, 5)  # of SETS
EDGE = 2  # instants beside a change of label that are not judged
NEAREST_SHIFT, FURTHEST_SHIFT = 8, 50  # instants: 0.32 to 2 s
CANDIDATES = 8  # foreign cuts of which the one active like the own sound is taken


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one clip."""

    clips: Clips
    clip: Clip
    first: int  # in the arrays
    count: int

    def __getitem__(self, kind: str) -> NDArray[Any]:
        return self.clips[kind][self.first : self.first + self.count]


class Pool:
    """Where pieces are drawn from: people with the square root of their minutes, their clips with their length."""

    def __init__(self, clips: Clips, held_out: bool) -> None:
        self._clips = clips
        self.by_person: dict[str, list[Clip]] = {}
        for clip in clips.clips:
            if clip.held_out == held_out:
                self.by_person.setdefault(clip.person, []).append(clip)

    def draw(self, count: int, rng: np.random.Generator, person: str | None = None, other_than: str | None = None) -> Piece | None:
        """Return a random piece of `count` instants, of or not of a person; None where the person has none so long."""
        for _ in range(30):
            chosen = person or self._person(rng)
            long = [clip for clip in self.by_person[chosen] if clip.count >= count]
            if chosen != other_than and long:
                lengths = np.array([clip.count for clip in long], float)
                clip = long[int(rng.choice(len(long), p=lengths / lengths.sum()))]
                return Piece(self._clips, clip, clip.first + int(rng.integers(clip.count - count + 1)), count)
            if person:
                return None
        return None

    def _person(self, rng: np.random.Generator) -> str:
        people = list(self.by_person)
        weights = np.sqrt([sum(clip.count * clip.weight for clip in self.by_person[person]) for person in people])
        return people[int(rng.choice(len(people), p=weights / weights.sum()))]


class Mixer:
    """Makes the sounds of `SETS` for a face."""

    def __init__(self, voices: Pool, rng: np.random.Generator) -> None:
        self._voices = voices
        self._rng = rng
        self._noises = [sound_bands(noise(rng), 500) for _ in range(24)]
        self._music = [sound_bands(music(rng), 500) for _ in range(48)]

    def sounds(self, face: Piece, own: Labels, treated: bool) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Return the (6, 4 T, 13) MFCC rows of the sounds in `SETS`, and their (6, T) labels.

        Args:
            face: whose lips are seen.
            own: its labels under its own sound.
            treated: False leaves its own sound as it is, so that teachers may be asked about it.
        """
        nobody = np.zeros_like(own)
        silent = silence(face.count)
        foreign, other = self._foreign(face), self._foreign(face)
        pairs = [
            (face["bands"], own),
            self._mixed(face, own, self._foreign(face)),
            (foreign, nobody),
            (self._near(face), nobody),
            self._spliced(face["bands"], own, other) if self._rng.random() < 0.3 else (self._noisy(other), nobody),
            (self._unvoiced(face.count) if self._rng.random() < 0.8 else silent, nobody),
        ]
        rows = [mfcc_of(bands if index == 0 and not treated else self._treated(bands)) for index, (bands, _) in enumerate(pairs)]
        return np.stack(rows), np.stack([labels for _, labels in pairs])

    def _foreign(self, face: Piece) -> Bands:
        """Return another person's speech as loud as the face's own, mostly that of several cuts whose activity is most like its own."""
        drawn = [self._voices.draw(face.count, self._rng, other_than=face.clip.person) for _ in range(CANDIDATES if self._rng.random() < 0.75 else 1)]
        pieces = [piece for piece in drawn if piece is not None]
        if not pieces:
            return self._unvoiced(face.count)
        alike = [float(np.minimum(piece["vad"], face["vad"]).mean() + 0.3 * np.minimum(1 - piece["vad"], 1 - face["vad"]).mean()) for piece in pieces]
        return levelled(pieces[int(np.argmax(alike))], face)

    def _near(self, face: Piece) -> Bands:
        """Return the same person's voice from elsewhere: the same sound shifted by up to 2 s, or another cut."""
        first, last = face.clip.first - face.first, face.clip.first + face.clip.count - face.count - face.first
        shifts = [s for s in range(max(first, -FURTHEST_SHIFT), min(last, FURTHEST_SHIFT) + 1) if abs(s) >= NEAREST_SHIFT]
        if shifts and self._rng.random() < 0.6:
            shift = shifts[int(self._rng.integers(len(shifts)))]
            return np.array(face.clips["bands"][face.first + shift : face.first + shift + face.count])
        if face.clip.person in self._voices.by_person:
            piece = self._voices.draw(face.count, self._rng, person=face.clip.person)
            if piece is not None and (piece.clip.name != face.clip.name or abs(piece.first - face.first) >= NEAREST_SHIFT):
                return levelled(piece, face)
        return self._foreign(face)

    def _mixed(self, face: Piece, own: Labels, foreign: Bands) -> tuple[Bands, Labels]:
        """Return the face's own sound with another voice or noise over it, or cut into another voice; who is heard at all keeps the label."""
        kind = self._rng.random()
        if kind < 0.2:
            return self._spliced(face["bands"], own, foreign)
        over, loudest = (foreign, 15.0) if kind < 0.65 else (self._unvoiced(face.count), 25.0)
        ratio = 10 ** (-self._rng.uniform(-5, loudest) / 10) * energy(face["bands"]) / max(energy(over), 1e-9)
        return face["bands"] + np.float32(ratio) * over, own

    def _spliced(self, own: Bands, labels: Labels, foreign: Bands) -> tuple[Bands, Labels]:
        """Return own sound on one side of a cut and foreign sound on the other."""
        count = len(own)
        cut = int(self._rng.integers(count // 5, count - count // 5 + 1))
        is_own = (np.arange(count) < cut) == (self._rng.random() < 0.5)
        spliced = np.where(is_own, labels, 0).astype(np.int8)
        spliced[max(0, cut - 3) : cut + 3] = -1
        return np.where(is_own[:, None, None], own, foreign), spliced

    def _noisy(self, bands: Bands) -> Bands:
        ratio = 10 ** (-self._rng.uniform(0, 25) / 10) * energy(bands)
        over = self._unvoiced(len(bands))
        return bands + np.float32(ratio / max(energy(over), 1e-9)) * over

    def _unvoiced(self, count: int) -> Bands:
        """Return noise or music at the usual level of speech or far below."""
        pool = self._noises if self._rng.random() < 0.4 else self._music
        bands = pool[int(self._rng.integers(len(pool)))]
        start = int(self._rng.integers(len(bands) - count + 1))
        return bands[start : start + count] * np.float32(10 ** (self._rng.uniform(-45, 12) / 10))

    def _treated(self, bands: Bands) -> Bands:
        """Return the sound at another level, through another equaliser, over a faint noise, cut and rejoined at another level."""
        rng, count = self._rng, len(bands)
        gain = np.full(count, rng.uniform(-12, 12))
        if rng.random() < 0.3:
            gain[int(rng.integers(count)) :] += rng.uniform(-6, 6)
        tilt, bend = rng.normal(0, 3, 2)
        place = np.linspace(-1, 1, 26)
        curve = 10 ** ((tilt * place + bend * (place**2 - 1 / 3)) / 10)
        shaped = bands[..., :26] * curve
        whole = bands[..., 26] * shaped.sum(-1) / np.maximum(bands[..., :26].sum(-1), 1e-9)
        out = np.concatenate([shaped, whole[..., None]], -1) * 10 ** (gain / 10)[:, None, None]
        if rng.random() < 0.5:
            noise_bands = self._noises[int(rng.integers(len(self._noises)))]
            start = int(rng.integers(len(noise_bands) - count + 1))
            out = out + noise_bands[start : start + count] * 10 ** (rng.uniform(-45, -10) / 10)
        return out.astype(np.float32)


def silence(count: int) -> Bands:
    """Return digital silence."""
    return np.zeros((count, 4, 27), np.float32)


def energy(bands: Bands) -> float:
    """Return the mean energy of the loudest fifth of the rows: that of the speech, however long the pauses."""
    rows = np.sort(bands[..., 26].ravel())
    return float(rows[-max(1, len(rows) // 5) :].mean())


def levelled(piece: Piece, face: Piece) -> Bands:
    """Return a piece's sound as loud as the face's own."""
    return piece["bands"] * np.float32(energy(face["bands"]) / max(energy(piece["bands"]), 1e-9))


def judged(labels: Labels) -> Labels:
    """Return labels with -1 beside every change between speaking and not: their edges are soft by some instants."""
    masked = labels.copy()
    for change in np.flatnonzero(np.diff(labels)) + 1:
        masked[max(0, change - EDGE) : change + EDGE] = -1
    return masked


def noise(rng: np.random.Generator, instants: int = 500) -> NDArray[np.int16]:
    """Return (S,) noise of a random colour, sometimes with hum or with slow swells, at the level of speech."""
    count = instants * SAMPLES
    white = rng.standard_normal(count)
    pole = rng.choice([0.0, 0.5, 0.9, 0.98])
    sound = lfilter([1 - pole], [1, -pole], white)
    sound /= sound.std()
    times = np.arange(count) / SAMPLE_RATE
    if rng.random() < 0.3:
        sound += rng.uniform(0.3, 3) * np.sin(2 * np.pi * rng.choice([50, 60, 100, 120]) * times)
    if rng.random() < 0.5:  # steps, rustling, applause
        bumps = np.interp(times, np.arange(0, times[-1] + 1, 0.12), rng.gamma(0.7, 1.4, len(np.arange(0, times[-1] + 1, 0.12))))
        sound *= bumps
    return (sound / sound.std() * 1500).clip(-32767, 32767).astype(np.int16)


def music(rng: np.random.Generator, instants: int = 500) -> NDArray[np.int16]:
    """Return (S,) music of a kind, at the level of speech: chords of a scale, plucked or held, over a beat of noise bursts or none."""
    count = instants * SAMPLES
    sound = np.zeros(count + SAMPLE_RATE * 6)
    held = rng.random() < 0.5
    beat = rng.uniform(0.6, 3.0) if held else rng.uniform(0.25, 0.6)
    root = rng.uniform(80, 300)
    scale = np.array([0, 2, 4, 5, 7, 9, 11]) if rng.random() < 0.5 else np.array([0, 2, 3, 5, 7, 8, 10])
    bright, decay = rng.uniform(0.2, 0.8), rng.uniform(0.2, 2.0)
    times = np.arange(int(SAMPLE_RATE * (1.3 * beat if held else 1.5))) / SAMPLE_RATE
    trembling = 1 + rng.uniform(0, 0.5) * np.sin(2 * np.pi * rng.uniform(3, 7) * times)
    envelope = np.sin(np.pi * np.arange(len(times)) / len(times)) ** rng.uniform(0.2, 1) * trembling if held else np.exp(-times / decay)
    drums = rng.random() < 0.5
    for at in np.arange(0, instants / 25, beat):
        start = int(at * SAMPLE_RATE)
        for _ in range(int(rng.integers(1, 5))):
            pitch = root * 2 ** ((rng.choice(scale) + 12 * rng.integers(0, 3)) / 12)
            note = sum(bright**k * np.sin(2 * np.pi * pitch * (k + 1) * times) for k in range(5) if pitch * (k + 1) < 7500)
            sound[start : start + len(times)] += note * envelope
        if drums and rng.random() < 0.6:
            hit = rng.standard_normal(2400) * np.exp(-np.arange(2400) / rng.uniform(150, 900))
            sound[start : start + 2400] += rng.uniform(0.3, 2) * hit
    sound = sound[:count]
    return (sound / max(sound.std(), 1e-9) * 1500).clip(-32767, 32767).astype(np.int16)
