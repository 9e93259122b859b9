"""Speech of known people out of the speaking tracks, as mel band energies, at three speeds.

Kept of a track are the rows under instants that are labelled speaking and at which the voice detector hears speech, joined: three seconds of
them are what a turn of three seconds gives. A sound that two tracks share (two faces of one shot, one clip found in two places) counts once,
and not at all where two different people are said to speak in it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from asd_core.timeline import MFCC_PER_INSTANT
from training.run import OUT, SHARED
from training.speaking.data import TRACKS, Clip, Clips, sound_bands

VOICES = OUT / "voice" / "voices"
BANDS = 26
THIRDS = 3  # of the people: each is left out in turn
SPEEDS = ((1, 1), (10, 9), (9, 10))  # samples up, down: as recorded, slower and deeper, faster and higher; the latter two are people of their own
SAME_SOUND = 0.975  # correlation of two tracks' loudness from their beginnings on
LONG_ENOUGH = 75  # instants to compare
LEAST_ROWS = 100  # of speech

Rows = NDArray[np.float32]  # (R, 26) band energies, a row every 10 ms


@dataclass(frozen=True, slots=True)
class Voice:
    """The speech of one track; `spans` are its rows in the arrays, by speed."""

    track: str
    person: str
    recording: str  # the file that the track was cut from
    source: str  # the collection that the file comes from
    spans: tuple[tuple[int, int], ...]
    pauses: tuple[int, int]  # rows in which nobody is heard, as recorded


class Voices:
    """All speech of one folder."""

    def __init__(self, folder: Path) -> None:
        self.voices = [Voice(**entry) for entry in json.loads((folder / "voices.json").read_text())]
        self._speech: Rows = np.load(folder / "speech.npy")
        self._pauses: Rows = np.load(folder / "pauses.npy")

    def speech(self, voice: Voice, speed: int = 0) -> Rows:
        """Return the rows in which a voice speaks."""
        return self._speech[slice(*voice.spans[speed])]

    def pauses(self, voice: Voice) -> Rows:
        """Return the rows of its track in which nobody is heard."""
        return self._pauses[slice(*voice.pauses)]


def place(person: str) -> float:
    """Return a person's place in 0..1, by the name alone: it decides what a person is used for."""
    return hashlib.sha256(person.encode()).digest()[0] / 256


def third(person: str) -> int:
    """Return which third of the people a person belongs to."""
    return int(place(person) * THIRDS)


def prepare(folder: Path = VOICES, tracks: Path = TRACKS, source: Path = SHARED / "train" / "asd") -> None:
    """Write the speech of the decoded tracks. Done before: nothing happens."""
    if (folder / "voices.json").is_file():
        return
    clips = Clips(tracks)
    entries = [entry for part in ("", "_2") for entry in json.loads((source / f"manifest{part}.json").read_text())["tracks"]]
    told = {entry["name"]: (f"{entry['source_repository']}/{entry['source_path']}", entry["source_repository"]) for entry in entries}
    speaking = spoken(clips)
    voices, speech, pauses = [], Pile(), Pile()
    for clip in clips.clips:
        sound = np.array(clips["sound"][clip.span]).ravel()
        said = speaking[clip.span]
        if said.sum() * MFCC_PER_INSTANT < LEAST_ROWS:
            continue
        spans = tuple(speech.add(rows_under(sound, said, *speed)) for speed in SPEEDS)
        silent = (clips["vad"][clip.span] < 0.1) & (clips["label"][clip.span] != 1)
        voices.append(Voice(clip.name, clip.person, *told[clip.name], spans, pauses.add(rows_under(sound, silent, 1, 1))))
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "speech.npy", np.concatenate(speech.rows))
    np.save(folder / "pauses.npy", np.concatenate(pauses.rows))
    (folder / "voices.json").write_text(json.dumps([asdict(voice) for voice in voices], indent=0) + "\n")


class Pile:
    """Rows, one lot after the other."""

    def __init__(self) -> None:
        self.rows: list[Rows] = []
        self._at = 0

    def add(self, rows: Rows) -> tuple[int, int]:
        """Put rows on the pile and return where they lie."""
        self.rows.append(rows)
        self._at += len(rows)
        return self._at - len(rows), self._at


def spoken(clips: Clips) -> NDArray[np.bool_]:
    """Return for each instant of the arrays whether its face's person, and nobody else of whom a track is known, speaks there."""
    said: NDArray[np.bool_] = (clips["label"] == 1) & (clips["vad"] >= 0.5)
    for one, other in combinations(clips.clips, 2):
        count = min(one.count, other.count)
        if count >= LONG_ENOUGH and alike(clips, one, other, count):
            first, second = slice(one.first, one.first + count), slice(other.first, other.first + count)
            both = said[first] & said[second]
            said[second] &= ~both
            if one.person != other.person:
                said[first] &= ~both
    return said


def alike(clips: Clips, one: Clip, other: Clip, count: int) -> bool:
    """Return whether two clips begin with the same sound."""
    loudness = [np.log(1 + clips["bands"][clip.first : clip.first + count, :, 26].ravel()) for clip in (one, other)]
    return min(part.std() for part in loudness) > 0 and bool(np.corrcoef(loudness)[0, 1] > SAME_SOUND)


def rows_under(sound: NDArray[np.int16], chosen: NDArray[np.bool_], up: int, down: int) -> Rows:
    """Return the band energies of a sound played at another speed under the chosen ones of its instants."""
    played = sound if up == down else resample_poly(sound.astype(np.float64), up, down)
    rows = sound_bands(np.asarray(played), max(1, len(chosen) * up // down)).reshape(-1, BANDS + 1)[:, :BANDS]
    at = np.arange(len(rows)) * down // (up * MFCC_PER_INSTANT)
    return rows[chosen[np.minimum(at, len(chosen) - 1)]]
