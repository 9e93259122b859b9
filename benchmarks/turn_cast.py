"""People to make scenes of: the stretches of their labelled tracks in which they talk, and those in which they are silent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from asd_core.speech.activity import runs
from asd_core.timeline import GRID_HZ, nearest_instant
from benchmarks.labelled_tracks import LabelledTrack
from benchmarks.turn_truth import QUIET

SHORTEST_SILENCE = 1.2  # seconds: stretches of a silent face that can be shown as a listener; chains of shorter ones look like talk


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
            rows.append(source_of(i, np.concatenate([there, there[::-1]])))
        return np.concatenate(rows)[:length]

    def mumble(self, person: str, length: int, rng: np.random.Generator) -> np.ndarray:
        """Return the (length, 2) source of lips that say something else."""
        rows: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
        while sum(map(len, rows)) < length:
            i, begin, count = self.talk(person, length, rng)
            rows.append(source_of(i, np.arange(begin, begin + count)))
        return np.concatenate(rows)[:length]


def source_of(track: int, instants: np.ndarray) -> np.ndarray:
    """Return the (T, 2) track and instant of pictures of one track."""
    return np.column_stack([np.full(len(instants), track), instants])
