"""A voice by the linear measure: which bands of its spectrum go up and down together, seen in the directions in which people differ.

No steps and no choices by chance: Fisher's discriminant of the covariances of log band energies, and of their changes, over a stretch. The
mean of each band is taken away, and with it what a microphone does to all of the stretch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.voice.data import BANDS, SPEEDS, Rows, Voices

DIRECTIONS = 60
SHRINKAGE = 0.3  # of the covariance within people towards a round one: the stretches are few
ROWS = 300  # of a stretch to learn from, half of it shared with the next

Vectors = NDArray[np.float64]


def together(rows: Rows) -> Vectors:
    """Return the (702,) covariances of the log energies of a stretch, and of their changes over 20 ms."""
    logs = np.log(rows.astype(np.float64) + 1)
    logs -= logs.mean(axis=0)
    upper = np.triu_indices(BANDS)
    return np.concatenate([(part.T @ part / len(part))[upper] for part in (logs, logs[2:] - logs[:-2])])


@dataclass(frozen=True, slots=True, eq=False)
class Discriminant:
    """Where vectors are counted from, the spread of each number, and the directions (N, 60)."""

    mean: Vectors
    spread: Vectors
    directions: Vectors

    @classmethod
    def fit(cls, vectors: Vectors, people: NDArray[np.int64]) -> Discriminant:
        """Return the directions in which the means of people (M,) lie furthest apart for how far the vectors (M, N) of one person do."""
        mean, spread = vectors.mean(axis=0), vectors.std(axis=0)
        standard = (vectors - mean) / spread
        means = np.stack([standard[people == person].mean(axis=0) for person in range(people.max() + 1)])
        off = (standard - means[people])[np.bincount(people)[people] > 1]
        within = off.T @ off / len(off)
        within += SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
        whiten = np.linalg.inv(np.linalg.cholesky(within))
        _, directions = np.linalg.eigh(whiten @ (means.T @ means / len(means)) @ whiten.T)
        return cls(mean, spread, (directions[:, -DIRECTIONS:].T @ whiten).T)

    def __call__(self, vectors: Vectors) -> Vectors:
        """Return (M, 60), whose cosine says how alike two voices are."""
        return ((vectors - self.mean) / self.spread) @ self.directions


def learn(voices: Voices, chosen: Callable[[str], bool], rows: int = ROWS) -> Discriminant:
    """Return what the chosen people teach; a person at another speed is another person."""
    vectors, names = [], []
    for voice in voices.voices:
        if chosen(voice.person):
            for speed in range(len(SPEEDS)):
                heard = voices.speech(voice, speed)
                pieces = [together(heard[first : first + rows]) for first in range(0, len(heard) - rows + 1, rows // 2)]
                vectors += pieces
                names += [f"{voice.person} {speed}"] * len(pieces)
    return Discriminant.fit(np.stack(vectors), np.unique(names, return_inverse=True)[1])
